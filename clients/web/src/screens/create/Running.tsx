// The job that runs: its preview, how far it is, and the ways to stop it.

import { SkipForward, Square, X } from "lucide-react";

import { cancel, keep, skip } from "../../app/jobs";
import { words } from "../../forms/schema";
import { useServer } from "../../server/store";
import type { JobRecord, Progress } from "../../server/types";
import { duration } from "../../ui/format";
import css from "./Stage.module.css";

export function Running({ job }: { job: JobRecord }) {
  const progress = useServer((server) => server.progress[job.id]);
  const preview = useServer((server) => server.previews[job.id]);
  const several = useServer(({ catalogue }) => catalogue[job.name]?.output.list);
  return (
    <>
      <div className={css.picture}>
        {preview ? <img className={css.preview} src={preview} alt={`Preview of ${job.name}`} /> : <div className={css.soon} />}
      </div>
      <div className={css.progress}>
        <progress aria-label={`Progress of ${job.name}`} max={1} value={shareOf(progress)} />
        <p role="status">{textOf(progress)}</p>
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

/** Undefined, which shows as "busy", while nothing is known. */
const shareOf = (progress?: Progress): number | undefined =>
  progress && progress.total > 0 ? progress.step / progress.total : undefined;

function textOf(progress?: Progress): string {
  if (!progress) return "Starting …";
  const { phase, step, total, eta_seconds: eta } = progress;
  const parts = [phase && words(phase), total > 1 && `${Math.floor(step)} of ${total}`, eta && eta > 1 && `${duration(eta)} left`];
  return parts.filter(Boolean).join(" · ");
}
