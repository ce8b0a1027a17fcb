// Which jobs are shown where: what runs, what comes next, what has ended; the parts of programs under their program.

import { useMemo } from "react";

import { isUnderWay, UNFINISHED, useServer } from "../../server/store";
import type { JobRecord } from "../../server/types";

interface Lists {
  running: JobRecord[];
  /** As they will run, then those that wait. */
  upcoming: JobRecord[];
  /** The newest first. */
  ended: JobRecord[];
  /** By program. */
  parts: Map<string, JobRecord[]>;
}

export function useLists(session: string): Lists {
  const jobs = useServer((server) => server.jobs);
  const order = useServer((server) => server.order);
  return useMemo(() => listsOf(jobs, order, session), [jobs, order, session]);
}

function listsOf(jobs: Record<string, JobRecord>, order: string[], session: string): Lists {
  const lists: Lists = { running: [], upcoming: [], ended: [], parts: new Map() };
  const inOrder = new Set(order);
  const late = Object.keys(jobs).filter((id) => !inOrder.has(id)).sort(); // told of by events only, or over
  for (const id of [...order, ...late]) {
    const job = jobs[id];
    if (!job?.params || (session && job.session !== session)) continue; // an event alone does not tell what it is
    if (job.parent && jobs[job.parent]) lists.parts.set(job.parent, [...(lists.parts.get(job.parent) ?? []), job]);
    else if (!UNFINISHED.includes(job.state)) lists.ended.push(job);
    else if (isUnderWay(job)) lists.running.push(job);
    else lists.upcoming.push(job);
  }
  lists.ended.sort((a, b) => (b.finished ?? b.created) - (a.finished ?? a.created));
  return lists;
}

/** Jobs that can change places: each plugin has a queue of its own, and one for its programs, by priority. */
export function lane(job: JobRecord, isProgram: boolean): string {
  return [job.name.split(".")[0], isProgram, job.priority].join(" ");
}
