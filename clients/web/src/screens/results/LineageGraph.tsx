// The lineage of a result, drawn: from what it was made on the left, what was made of it on the right.

import { useEffect, useMemo, useRef, useState } from "react";

import { sentence } from "../../server/client";
import type { ArtifactRecord } from "../../server/types";
import { useAsked } from "../../ui/asked";
import { Empty } from "../../ui/Empty";
import { jobTitle } from "../../ui/format";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import { graphOf, NODE, type Relative } from "./lineage";
import css from "./LineageGraph.module.css";
import { aboutOf } from "./words";

const COLUMN = 12; // shown of one column at first, and more with every wish
const LIMIT = 1000; // that the server tells

interface Told {
  artifacts: Relative[];
  more: boolean;
}

interface Props {
  artifact: ArtifactRecord;
  onOpen: (id: string) => void;
}

export function LineageGraph({ artifact, onOpen }: Props) {
  const { id } = artifact;
  const up = useAsked<Told>("lineage", { id, direction: "ancestors", limit: LIMIT });
  const down = useAsked<Told>("lineage", { id, direction: "descendants", limit: LIMIT });
  const near = useAsked<Told>("lineage", { id, direction: "ancestors", depth: 1 }); // tells the parents of this one
  const maker = useAsked<{ job: { name: string } }>(artifact.job ? "job" : null, { id: artifact.job });
  const [most, setMost] = useState(COLUMN);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => setMost(COLUMN), [id]);
  const graph = useMemo(() => {
    if (!up.answer || !down.answer || !near.answer) return null;
    const self: Relative = { ...artifact, parents: near.answer.artifacts.map((each) => each.id), job_name: maker.answer?.job.name };
    return graphOf(self, up.answer.artifacts, down.answer.artifacts, most);
  }, [artifact, up.answer, down.answer, near.answer, maker.answer, most]);
  const ready = graph !== null;
  useEffect(() => {
    const self = box.current?.querySelector<HTMLElement>("[aria-current]");
    if (self) box.current!.scrollTo(self.offsetLeft - box.current!.clientWidth / 2, self.offsetTop - box.current!.clientHeight / 2);
  }, [ready, id]);
  const error = up.error ?? down.error;
  if (error) return <Empty title="The lineage cannot be shown">{sentence(error)}</Empty>;
  if (!graph) return <Empty title="Looking …" />;
  if (graph.nodes.length === 1) {
    return <Empty title="It stands alone">It was made from nothing else, and nothing was made of it yet. Send it to another job, and it will show here.</Empty>;
  }
  return (
    <div ref={box} className={css.box} role="group" aria-label="Lineage" tabIndex={0}>
      <div className={css.graph} style={{ width: graph.width, height: graph.height }}>
        <svg width={graph.width} height={graph.height} aria-hidden="true">
          {graph.edges.map(({ from, to }) => {
            const [x, y] = [from.x + NODE.width, from.y + NODE.height / 2];
            const [end, bottom] = [to.x, to.y + NODE.height / 2];
            const bend = Math.max(24, (end - x) / 2);
            return <path key={`${from.artifact.id} ${to.artifact.id}`} d={`M${x},${y} C${x + bend},${y} ${end - bend},${bottom} ${end},${bottom}`} />;
          })}
        </svg>
        {graph.nodes.map(({ artifact: each, x, y }) => (
          <button
            key={each.id}
            type="button"
            className={css.node}
            style={{ left: x, top: y, width: NODE.width, height: NODE.height }}
            aria-current={each.id === id || undefined}
            aria-label={`${each.job_name ? jobTitle(each.job_name) : "Upload"}: ${aboutOf(each)}`}
            onClick={() => each.id !== id && onOpen(each.id)}
          >
            {isPicture(each) ? <img src={thumbnailUrl(each, 192)} alt="" loading="lazy" decoding="async" /> : <i>{each.kind}</i>}
            <span>{each.job_name ? jobTitle(each.job_name) : each.name ?? "Upload"}</span>
          </button>
        ))}
        {graph.hidden.map(({ depth, count, x, y }) => (
          <button key={depth} type="button" className={css.more} style={{ left: x, top: y, width: NODE.width }} onClick={() => setMost(most * 2)}>
            {count}{(depth < 0 ? up : down).answer?.more ? " or more" : ""} more
          </button>
        ))}
      </div>
    </div>
  );
}
