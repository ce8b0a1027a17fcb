// Which job is to go on with results: all that take them, by plugin, found by typing.

import { useRef, useState } from "react";

import { turns } from "../app/fitting";
import { type Entrance, fittingInputs, sendTo } from "../app/intents";
import { words } from "../forms/schema";
import { useServer } from "../server/store";
import type { ArtifactRecord, JobType } from "../server/types";
import { Dialog, firstToFocus } from "./Dialog";
import { jobTitle } from "./format";
import { hasWords, namedFirst, walk } from "./search";
import css from "./SendTo.module.css";

export function SendTo({ artifacts, onClose }: { artifacts: ArtifactRecord[]; onClose: () => void }) {
  const title = artifacts.length === 1 ? "Send to" : `Send ${artifacts.length} results to`;
  return (
    <Dialog title={title} onClose={onClose}>
      <JobChoice artifacts={artifacts} onChosen={onClose} />
    </Dialog>
  );
}

/** The jobs that take all of these; the chosen one's form opens with them. */
export function JobChoice({ artifacts, onChosen }: { artifacts: ArtifactRecord[]; onChosen: () => void }) {
  const catalogue = useServer((server) => server.catalogue);
  const [search, setSearch] = useState("");
  const list = useRef<HTMLDivElement>(null);
  const able = Object.values(catalogue).filter(({ full }) => fittingInputs(full, artifacts).length);
  const isConverted = ({ full }: JobType) => fittingInputs(full, artifacts)[0].through.length > 0;
  const takers = [...able.filter((job) => !isConverted(job)), ...able.filter(isConverted)];
  const alike = takers.filter(({ full, title, help }) => hasWords(`${words(full)} ${title} ${help}`, search));
  const found = namedFirst(alike, ({ name }) => name, search);
  const groupOf = (job: JobType) => (isConverted(job) ? CONVERTED : job.title);
  const groups = [...new Set(found.map(groupOf))];
  const choose = (job: JobType, input?: string) => {
    onChosen();
    sendTo(job.full, artifacts, input);
  };
  if (!takers.length) return <p>No job of any plugin takes {artifacts.length === 1 ? `a result of the kind ${artifacts[0].kind}` : "all of these"}.</p>;
  return (
    <div className={css.choice} onKeyDown={(event) => walk(event, list.current!)}>
      <input
        type="search"
        value={search}
        placeholder={`Search in ${takers.length} jobs`}
        aria-label="Search in jobs"
        ref={firstToFocus}
        onChange={({ target }) => setSearch(target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || !found[0]) return;
          event.preventDefault(); // or the button that gets the focus back is pressed, too
          choose(found[0]);
        }}
      />
      <div ref={list} className={css.list}>
        {groups.map((group) => (
          <section key={group} aria-label={group}>
            <h3>{group}</h3>
            {found.filter((job) => groupOf(job) === group).map((job) => <Taker key={job.full} job={job} artifacts={artifacts} onChoose={choose} />)}
          </section>
        ))}
        {!found.length && <p>No job is called so.</p>}
      </div>
    </div>
  );
}

const CONVERTED = "Converted first";

/** What is made fit first, and by which plugin; nothing where it fits. */
const through = ({ through: by }: Entrance): string => by.map((converter) => `${turns(converter)} by ${converter.title}.`).join(" ");

interface TakerProps {
  job: JobType;
  artifacts: ArtifactRecord[];
  onChoose: (job: JobType, input?: string) => void;
}

function Taker({ job, artifacts, onChoose }: TakerProps) {
  const [first, ...others] = fittingInputs(job.full, artifacts);
  const single = artifacts.length > 1 && !first.port.list;
  const said = [through(first), single && "Runs once for each.", job.help].filter(Boolean).join(" ");
  return (
    <div className={css.taker}>
      <button type="button" onClick={() => onChoose(job)}>
        <b>{jobTitle(job.full)}</b>
        <span>{said}</span>
      </button>
      {others.map((entrance) => (
        <button
          key={entrance.name} type="button" className={css.input} onClick={() => onChoose(job, entrance.name)}
          title={`As ${words(entrance.name).toLowerCase()}. ${through(entrance)}`}
        >
          as {words(entrance.name).toLowerCase()}{entrance.through.length > 0 && " *"}
        </button>
      ))}
    </div>
  );
}
