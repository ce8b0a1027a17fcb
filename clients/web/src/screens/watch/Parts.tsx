// The jobs of a program: under it, a page at a time, however many thousands there are.

import { RotateCcw } from "lucide-react";
import { useEffect, useState } from "react";

import { retry } from "../../app/jobs";
import { complain } from "../../app/notices";
import { call } from "../../server/client";
import { merge, UNFINISHED, useServer } from "../../server/store";
import type { JobRecord } from "../../server/types";
import { jobTitle } from "../../ui/format";
import css from "./Parts.module.css";
import { summary } from "./words";

const PAGE = 50;
const LOOK_MS = 2000; // between two readings of what changes
const OF = { unfinished: "To come", done: "Done", failed: "Failed", all: "All" };

export function Parts({ job }: { job: JobRecord }) {
  const [open, setOpen] = useState(false);
  return (
    <details className={css.parts} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>Its parts</summary>
      {open && <List job={job} />}
    </details>
  );
}

function List({ job }: { job: JobRecord }) {
  const ended = !UNFINISHED.includes(job.state);
  const [of, setOf] = useState<keyof typeof OF>(ended ? "all" : "unfinished");
  const { parts, more, readMore } = usePages(job, of);
  return (
    <>
      <div className={css.which} role="group" aria-label="Which of its parts">
        {(Object.keys(OF) as (keyof typeof OF)[]).filter((each) => !ended || each !== "unfinished").map((each) => (
          <button key={each} type="button" className="quiet" aria-pressed={of === each} onClick={() => setOf(each)}>{OF[each]}</button>
        ))}
      </div>
      <ul className={css.list}>
        {parts?.map((part) => <Part key={part.id} part={part} />)}
        {parts?.length === 0 && <li>None.</li>}
        {more && <li><button type="button" className="quiet" onClick={readMore}>Show more</button></li>}
      </ul>
    </>
  );
}

/** What is to come as it will run, everything else the newest first. */
function usePages(job: JobRecord, of: keyof typeof OF) {
  const [limit, setLimit] = useState(PAGE);
  const [read, setRead] = useState<{ of: string; parts: JobRecord[] } | null>(null);
  const version = `${job.state} ${job.children} ${job.children_ended}`;
  const many = Math.min(limit, 1000);
  useEffect(() => setLimit(PAGE), [of]);
  useEffect(() => {
    let wanted = true;
    const look = async () => {
      const which = of === "unfinished" ? { order: "queue" } : of === "all" ? {} : { state: of };
      const { jobs } = await call<{ jobs: JobRecord[] }>("jobs", { parent: job.id, ...which, limit: many });
      if (!wanted) return;
      setRead({ of, parts: jobs });
      for (const part of jobs.filter(({ state }) => state === "running")) merge(part); // from now on events tell of it
    };
    const timer = setTimeout(() => void look().catch(complain), read?.of === of && read.parts.length >= many ? LOOK_MS : 0);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [job.id, of, many, version]);
  const parts = read?.of === of ? read.parts : undefined;
  return { parts, more: parts?.length === many && many < 1000, readMore: () => setLimit(limit + 2 * PAGE) };
}

function Part({ part: listed }: { part: JobRecord }) {
  const part = useServer((server) => server.jobs[listed.id] ?? listed);
  const type = useServer((server) => server.catalogue[part.name]);
  const progress = useServer((server) => server.progress[part.id]);
  const share = progress?.total ? ` ${Math.floor((100 * progress.step) / progress.total)} %` : "";
  const said = summary({ ...part, params: part.params ?? listed.params }, type);
  return (
    <li data-state={part.state}>
      <b>{jobTitle(listed.name)}</b>
      <span className={css.summary} title={part.error?.message ?? said}>{part.error?.message ?? said}</span>
      <span>{part.state}{part.state === "running" && share}{part.metrics?.reused_from && ", made before"}</span>
      {part.state === "failed" && (
        <button type="button" className="quiet" onClick={() => void retry(part.id)} aria-label={`Retry ${said}`} title="Retry it by itself">
          <RotateCcw size={14} aria-hidden="true" />
        </button>
      )}
    </li>
  );
}
