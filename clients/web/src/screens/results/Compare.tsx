// Two to four results side by side, zoomed and moved as one, or two wiped over each other; and in what they differ.

import { ArrowLeft, Columns2, SplitSquareHorizontal, ThumbsDown, ThumbsUp } from "lucide-react";
import { type PointerEvent, useEffect, useRef, useState } from "react";
import { Link } from "wouter";

import { useKeys } from "../../app/keys";
import { words } from "../../forms/schema";
import { call, sentence } from "../../server/client";
import type { ArtifactRecord, ErrorBody } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { jobTitle } from "../../ui/format";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import { review } from "../../app/results";
import css from "./Compare.module.css";
import { useGallery } from "./gallery";
import { Stage } from "./Stage";
import { FITTED, useView, type Viewing, zoomed } from "./view";
import { shown } from "./words";

const STEP = 1.25; // of the zoom keys
const LETTERS = "ABCD";
const ALIKE = 0.02; // enlarged sizes are rounded

/** What `compare` answers. */
interface Difference {
  jobs: (string | null)[];
  changed: Record<string, [unknown, unknown]>;
  added: Record<string, unknown>;
  removed: Record<string, unknown>;
  facts: Record<string, [unknown, unknown]>;
}

interface Known {
  artifacts: ArtifactRecord[];
  /** The first one compared with each of the others. */
  differences: Difference[];
}

export function Compare({ ids, onClose }: { ids: string[]; onClose: () => void }) {
  const [known, setKnown] = useState<Known | null>(null);
  const [problem, setProblem] = useState<ErrorBody | null>(null);
  const viewing = useView();
  const [wiping, setWiping] = useState(false);
  useEffect(() => void read(ids).then(setKnown, setProblem), []);
  const latest = useGallery(({ artifacts }) => artifacts); // tells of reviews
  const artifacts = known?.artifacts.map((each) => latest.find(({ id }) => id === each.id) ?? each) ?? [];
  const pictures = artifacts.every(isPicture);
  const [a, b] = artifacts;
  const canWipe = pictures && artifacts.length === 2 && isAlike(a, b);
  useKeys(
    {
      escape: ["Back to the gallery", onClose],
      w: ["Wipe, or side by side", () => canWipe && setWiping(!wiping)],
      "+": ["Larger", () => viewing.setView(zoomed(STEP))],
      "-": ["Smaller", () => viewing.setView(zoomed(1 / STEP))],
      "0": ["Fit", () => viewing.setView(() => FITTED)],
    },
    "Side by side",
  );
  return (
    <section className={css.compare} aria-label="Side by side">
      <header className={css.bar}>
        <button type="button" className="quiet" onClick={onClose} aria-label="Back to the gallery" title="Back to the gallery (Esc)">
          <ArrowLeft size={20} aria-hidden="true" />
        </button>
        <h2>{known ? `${artifacts.length} results side by side` : "Side by side"}</h2>
        {canWipe && (
          <button type="button" aria-pressed={wiping} onClick={() => setWiping(!wiping)} title="Wipe, or side by side (W)">
            {wiping ? <Columns2 size={16} aria-hidden="true" /> : <SplitSquareHorizontal size={16} aria-hidden="true" />}
            {wiping ? "Side by side" : "Wipe"}
          </button>
        )}
      </header>
      {problem && <Empty title="These cannot be compared">{sentence(problem)}</Empty>}
      {known && (
        <>
          {wiping ? <Wipe artifacts={artifacts} {...viewing} /> : <Sides artifacts={artifacts} {...viewing} />}
          <Differences artifacts={artifacts} differences={known.differences} />
        </>
      )}
    </section>
  );
}

/** Of one shape: the same picture enlarged, for example. */
const isAlike = (a: ArtifactRecord, b: ArtifactRecord) => {
  const [one, other] = [a.facts.width! * b.facts.height!, b.facts.width! * a.facts.height!];
  return Math.abs(one - other) <= ALIKE * Math.max(one, other);
};

/** As large as the largest one of that shape is each shown, so that what belongs together is beside each other. */
const largest = (artifact: ArtifactRecord, among: ArtifactRecord[]) =>
  among.filter((each) => isAlike(artifact, each)).reduce((a, b) => (b.facts.width! > a.facts.width! ? b : a), artifact).facts;

async function read(ids: string[]): Promise<Known> {
  const [first, ...others] = ids;
  const artifacts = Promise.all(ids.map(async (id) => (await call<{ artifact: ArtifactRecord }>("artifact", { id })).artifact));
  const differences = Promise.all(others.map((other) => call<Difference>("compare", { a: first, b: other })));
  return { artifacts: await artifacts, differences: await differences };
}

function Sides({ artifacts, ...viewing }: { artifacts: ArtifactRecord[] } & Viewing) {
  return (
    <div className={css.sides} data-count={artifacts.length}>
      {artifacts.map((artifact, at) => (
        <figure key={artifact.id}>
          {isPicture(artifact) ? <Stage artifact={artifact} like={largest(artifact, artifacts)} {...viewing} /> : <Empty title={words(artifact.kind)} />}
          <figcaption>
            <b>{LETTERS[at]}</b>
            <Link href={`/results/${artifact.id}`}>Open</Link>
            <Verdicts artifact={artifact} />
          </figcaption>
        </figure>
      ))}
    </div>
  );
}

function Verdicts({ artifact: { id, review: state } }: { artifact: ArtifactRecord }) {
  const say = (verdict: "picked" | "rejected") => void review([id], state === verdict ? "new" : verdict);
  return (
    <>
      <button type="button" className="quiet" aria-label="Pick" aria-pressed={state === "picked"} onClick={() => say("picked")}>
        <ThumbsUp size={16} aria-hidden="true" />
      </button>
      <button type="button" className="quiet" aria-label="Reject" aria-pressed={state === "rejected"} onClick={() => say("rejected")}>
        <ThumbsDown size={16} aria-hidden="true" />
      </button>
    </>
  );
}

function Wipe({ artifacts: [a, b], ...viewing }: { artifacts: ArtifactRecord[] } & Viewing) {
  const [part, setPart] = useState(0.5);
  const box = useRef<HTMLDivElement>(null);
  const follow = (event: PointerEvent<HTMLElement>) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const { left, width } = box.current!.getBoundingClientRect();
    setPart(Math.min(1, Math.max(0, (event.clientX - left) / width)));
  };
  const percent = `${part * 100}%`;
  return (
    <div ref={box} className={css.wipe}>
      <Stage artifact={a} like={largest(a, [b])} {...viewing} />
      <div className={css.over} style={{ clipPath: `inset(0 0 0 ${percent})` }}>
        <Stage artifact={b} like={largest(b, [a])} {...viewing} />
      </div>
      <div
        className={css.handle}
        style={{ left: percent }}
        role="slider"
        tabIndex={0}
        aria-label="Where A ends and B begins"
        aria-valuenow={Math.round(part * 100)}
        aria-valuemin={0}
        aria-valuemax={100}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={follow}
        onKeyDown={({ key }) => {
          const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[key];
          if (by) setPart(Math.min(1, Math.max(0, part + by)));
        }}
      />
    </div>
  );
}

interface Line {
  name: string;
  title: string;
  values: unknown[];
}

function Differences({ artifacts, differences }: { artifacts: ArtifactRecord[]; differences: Difference[] }) {
  const job = differences[0].jobs[0];
  const jobs = [job, ...differences.map(({ jobs: [, other] }) => other)];
  const lines: Line[] = [
    ...(new Set(jobs).size > 1 ? [{ name: "job", title: "Job", values: jobs.map((each) => (each ? jobTitle(each) : "Upload")) }] : []),
    ...linesOf(differences).map((line) => ({ ...line, title: words(line.name) })),
  ];
  if (!lines.length) return <p className={css.equal}>Their parameters and facts are equal.</p>;
  return (
    <div className={css.table} tabIndex={0} role="group" aria-label="In what they differ">
      <table>
        <thead>
          <tr>
            <th scope="col">Differs</th>
            {artifacts.map((artifact, at) => (
              <th key={artifact.id} scope="col">
                {isPicture(artifact) && <img src={thumbnailUrl(artifact, 192)} alt="" />} {LETTERS[at]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lines.map(({ name, title, values }) => (
            <tr key={name}>
              <th scope="row">{title}</th>
              {values.map((value, at) => <td key={at}>{value === undefined ? <i>not there</i> : shown(value)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One line for each parameter or fact in which any of them differs from the first. */
function linesOf(differences: Difference[]): Omit<Line, "title">[] {
  const pairs = differences.map(({ changed, added, removed, facts }) => ({
    ...facts, ...changed,
    ...Object.fromEntries(Object.entries(added).map(([name, value]) => [name, [undefined, value]])),
    ...Object.fromEntries(Object.entries(removed).map(([name, value]) => [name, [value, undefined]])),
  })) as Record<string, [unknown, unknown]>[];
  const names = [...new Set(pairs.flatMap(Object.keys))];
  return names.map((name) => {
    const first = pairs.find((each) => name in each)![name][0];
    return { name, values: [first, ...pairs.map((each) => (name in each ? each[name][1] : first))] };
  });
}
