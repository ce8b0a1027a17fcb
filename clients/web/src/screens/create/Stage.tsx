// What comes out: the job that runs now with its preview, then the newest results of the session, large.

import { useEffect, useRef, useState } from "react";

import { useLatest } from "../../server/latest";
import { isUnderWay, UNFINISHED, useServer } from "../../server/store";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import { Answer } from "./Answer";
import { Failure } from "./Failure";
import { Queue } from "./Queue";
import { Result } from "./Result";
import { Running } from "./Running";
import css from "./Stage.module.css";
import { useSubmitting } from "./submitting";

const opened = Date.now() / 1000;

export function Stage() {
  const { artifacts, read } = useLatest();
  const answer = useSubmitting((state) => state.answer);
  const [pinned, pin] = useState<string | null>(null);
  const jobs = useSessionJobs();
  const running = jobs.find(({ state }) => state === "running") ?? jobs.find(isUnderWay);
  const waiting = jobs.filter((job) => UNFINISHED.includes(job.state) && !isUnderWay(job));
  const newest = artifacts[0];
  const failed = jobs.find(({ state, finished }) => state === "failed" && (finished ?? 0) > Math.max(opened, newest?.created ?? 0));
  const latest = jobs[0]?.id;
  useEffect(() => pin(null), [latest]); // a new job is what one wants to see
  const shown = artifacts.find(({ id }) => id === pinned) ?? newest;
  const idle = !running && !shown && !failed && !answer;
  return (
    <section className={css.stage} aria-label="What comes out" data-idle={idle && !waiting.length}>
      <Queue waiting={waiting} />
      <div className={css.big}>
        {answer ? <Answer answer={answer} />
          : running && !pinned ? <Running job={running} />
          : failed && !pinned ? <Failure job={failed} />
          : shown ? <Result key={shown.id} artifact={shown} />
          : read && <Empty title={waiting.length ? "Soon" : "Nothing made yet"}>{waiting.length ? "It is in the queue." : "What you run appears here."}</Empty>}
      </div>
      {artifacts.length > (running ? 0 : 1) && <Strip artifacts={artifacts} shown={running && !pinned ? "" : shown?.id} onChoose={pin} />}
    </section>
  );
}

/** The jobs of the session that this page knows, the newest first; those of programs are their affair. */
function useSessionJobs(): JobRecord[] {
  const session = useServer((server) => server.session);
  const jobs = useServer((server) => server.jobs);
  return Object.values(jobs)
    .filter((job) => job.session === session && !job.parent)
    .sort((a, b) => b.created - a.created || (a.id < b.id ? 1 : -1));
}

function Strip({ artifacts, shown, onChoose }: {
  artifacts: ArtifactRecord[]; shown?: string; onChoose: (id: string) => void;
}) {
  const chosen = useRef<HTMLButtonElement>(null);
  useEffect(() => void chosen.current?.scrollIntoView({ block: "nearest", inline: "nearest" }), [shown]);
  return (
    <ul className={css.strip} aria-label="Newest results">
      {artifacts.map((artifact) => (
        <li key={artifact.id}>
          <button
            ref={artifact.id === shown ? chosen : undefined} type="button" aria-current={artifact.id === shown}
            aria-label={`Show ${artifact.name ?? artifact.kind}`} data-review={artifact.review} onClick={() => onChoose(artifact.id)}
          >
            {isPicture(artifact) ? <img loading="lazy" src={thumbnailUrl(artifact, 192)} alt="" /> : <span>{artifact.kind}</span>}
          </button>
        </li>
      ))}
    </ul>
  );
}
