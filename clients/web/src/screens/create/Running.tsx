// The job that runs: its preview, how far it is, and the ways to stop it.

import { Eye, Play, SkipForward, Square, X } from "lucide-react";
import { Link } from "wouter";

import { cancel, keep, release, skip } from "../../app/jobs";
import { reviewAddress, toReview, useWhole } from "../../app/programs";
import { words } from "../../forms/schema";
import { useServer } from "../../server/store";
import type { JobRecord, Progress } from "../../server/types";
import { duration } from "../../ui/format";
import css from "./Stage.module.css";

export function Running({ job }: { job: JobRecord }) {
  const progress = useServer((server) => server.progress[job.id]);
  const preview = useServer((server) => server.previews[job.id]);
  const type = useServer(({ catalogue }) => catalogue[job.name]);
  const several = type?.output.list && !type.program;
  const part = useServer(({ jobs, previews }) => preview ?? partOf(job, jobs, previews));
  const { ended, total, left } = useWhole(job);
  const asking = useServer(({ jobs }) => (total ? whoAsks(job, jobs) : undefined));
  const wanted = asking ? toReview(asking).length : 0;
  const whole = [
    job.state === "held" ? "On hold" : wanted ? `Waits for you: ${wanted} to be picked or rejected` : "",
    `${ended.toLocaleString()} of ${total.toLocaleString()} parts`, left && left > 1 && `${duration(left)} left`,
  ].filter(Boolean).join(" · ");
  return (
    <>
      <div className={css.picture}>
        {part ? <img className={css.preview} src={part} alt={`Preview of ${job.name}`} /> : <div className={css.soon} />}
      </div>
      <div className={css.progress}>
        <progress aria-label={`Progress of ${job.name}`} max={1} value={total ? ended / total : shareOf(progress)} />
        <p role="status">{total ? whole : textOf(progress)}</p>
        {asking && <Link href={reviewAddress(asking)} className={css.review}><Eye size={16} aria-hidden="true" /> Review</Link>}
        {job.state === "held" && (
          <button type="button" className="primary" onClick={() => void release(job.id)}><Play size={16} aria-hidden="true" /> Release</button>
        )}
        {several && (
          <button type="button" title="Leave this one and go on with the next" onClick={() => void skip(job.id)}>
            <SkipForward size={16} aria-hidden="true" /> Skip
          </button>
        )}
        {several && (
          <button type="button" title="Stop, and keep what there is" onClick={() => void keep(job.id)}>
            <Square size={14} aria-hidden="true" /> Stop
          </button>
        )}
        <button type="button" title="Stop, and keep nothing" onClick={() => void cancel(job.id)}>
          <X size={16} aria-hidden="true" /> Cancel
        </button>
      </div>
    </>
  );
}

/** The program, or its part, that waits for a person to look at results. */
const whoAsks = (job: JobRecord, jobs: Record<string, JobRecord>): JobRecord | undefined =>
  [job, ...Object.values(jobs).filter(({ parent }) => parent === job.id)].find((each) => toReview(each).length);

/** The preview of a part that runs, where the program has none of its own. */
const partOf = ({ id }: JobRecord, jobs: Record<string, JobRecord>, previews: Record<string, string>): string | undefined =>
  Object.keys(previews).map((each) => (jobs[each]?.parent === id ? previews[each] : undefined)).find(Boolean);

/** Undefined, which shows as "busy", while nothing is known. */
const shareOf = (progress?: Progress): number | undefined =>
  progress && progress.total > 0 ? progress.step / progress.total : undefined;

function textOf(progress?: Progress): string {
  if (!progress) return "Starting …";
  const { phase, step, total, eta_seconds: eta } = progress;
  const parts = [phase && words(phase), total > 1 && `${Math.floor(step)} of ${total}`, eta && eta > 1 && `${duration(eta)} left`];
  return parts.filter(Boolean).join(" · ");
}
