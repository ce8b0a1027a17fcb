// Which job is to go on with results: all that take them, by plugin, found by typing.

import { useRef, useState } from "react";

import { fittingInputs, sendTo } from "../app/intents";
import { words } from "../forms/schema";
import { useServer } from "../server/store";
import type { ArtifactRecord, JobType } from "../server/types";
import { Dialog, firstToFocus } from "./Dialog";
import { jobTitle } from "./format";
import { hasWords, walk } from "./search";
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
  const takers = Object.values(catalogue).filter(({ full }) => fittingInputs(full, artifacts).length);
  const found = takers.filter(({ full, title, help }) => hasWords(`${words(full)} ${title} ${help}`, search));
  const plugins = [...new Set(found.map(({ title }) => title))];
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
        onKeyDown={({ key }) => key === "Enter" && found[0] && choose(found[0])}
      />
      <div ref={list} className={css.list}>
        {plugins.map((plugin) => (
          <section key={plugin} aria-label={plugin}>
            <h3>{plugin}</h3>
            {found.filter(({ title }) => title === plugin).map((job) => <Taker key={job.full} job={job} artifacts={artifacts} onChoose={choose} />)}
          </section>
        ))}
        {!found.length && <p>No job is called so.</p>}
      </div>
    </div>
  );
}

interface TakerProps {
  job: JobType;
  artifacts: ArtifactRecord[];
  onChoose: (job: JobType, input?: string) => void;
}

function Taker({ job, artifacts, onChoose }: TakerProps) {
  const [, ...others] = fittingInputs(job.full, artifacts);
  const single = artifacts.length > 1 && !fittingInputs(job.full, artifacts)[0][1].list;
  return (
    <div className={css.taker}>
      <button type="button" onClick={() => onChoose(job)}>
        <b>{jobTitle(job.full)}</b>
        <span>{single ? `Runs once for each. ${job.help}` : job.help}</span>
      </button>
      {others.map(([input]) => (
        <button key={input} type="button" className={css.input} onClick={() => onChoose(job, input)} title={`As ${words(input).toLowerCase()}`}>
          as {words(input).toLowerCase()}
        </button>
      ))}
    </div>
  );
}
