// One job of the queue: its place, when it is done or what it waits for, and what can be done with it.

import { useSortable } from "@dnd-kit/sortable";
import { CSS } from "@dnd-kit/utilities";
import { ArrowDownToLine, ArrowUpToLine, Ellipsis, GripVertical, Pause, Play, X } from "lucide-react";
import { memo } from "react";
import { Link } from "wouter";

import { reuse } from "../../app/intents";
import { complain } from "../../app/notices";
import { useServer } from "../../server/store";
import type { JobRecord } from "../../server/types";
import { Menu } from "../../ui/Menu";
import { useNow } from "../../ui/useNow";
import { cancel, hold, release, toEnd } from "../../app/jobs";
import { reviewAddress, toReview } from "../../app/programs";
import { jobTitle } from "../../ui/format";
import css from "./Queue.module.css";
import { about, attempt, summary, waitsFor } from "./words";

interface Props {
  job: JobRecord;
  place: number;
  places: number;
  top: number;
  selected: boolean;
  onSelect: (id: string, range: boolean) => void;
}

export const QueueRow = memo(function QueueRow({ job, place, places, top, selected, onSelect }: Props) {
  const { id, name, session, state } = job;
  const type = useServer((server) => server.catalogue[name]);
  const { attributes, listeners, setNodeRef, transform, transition, isDragging } = useSortable({ id });
  const said = summary(job, type);
  const label = `${jobTitle(name)}${said ? `: ${said}` : ""}`;
  return (
    <li
      ref={setNodeRef} className={css.row} data-dragging={isDragging || undefined} data-selected={selected || undefined}
      data-job={id} aria-setsize={places} aria-posinset={place + 1}
      style={{ top, transform: CSS.Translate.toString(transform), transition }}
    >
      <button type="button" className={css.grip} {...attributes} {...listeners} aria-label={`Move ${label}`}>
        <GripVertical size={18} aria-hidden="true" />
      </button>
      <input
        type="checkbox" checked={selected} aria-label={`Select ${label}`}
        onChange={(event) => onSelect(id, (event.nativeEvent as MouseEvent).shiftKey)}
      />
      <span className={css.place} aria-hidden="true">{place + 1}</span>
      <div className={css.what}>
        <p className={css.name}>
          <b>{jobTitle(name)}</b>
          <span title={said}>{said}</span>
        </p>
        <p className={css.when}>
          <When job={job} />
          <span className={css.session} title={`Session ${session}`}>{session}</span>
        </p>
      </div>
      <div className={css.actions}>
        <button type="button" className={`quiet ${css.wide}`} onClick={() => toEnd(id, "front")} aria-label={`To the front: ${label}`} title="To the front">
          <ArrowUpToLine size={16} aria-hidden="true" />
        </button>
        {state === "held" ? (
          <button type="button" className="quiet" onClick={() => release(id)} aria-label={`Release ${label}`} title="Release">
            <Play size={16} aria-hidden="true" />
          </button>
        ) : (
          <button type="button" className={`quiet ${css.wide}`} onClick={() => hold(id)} aria-label={`Hold ${label}`} title="Hold">
            <Pause size={16} aria-hidden="true" />
          </button>
        )}
        <button type="button" className="quiet" onClick={() => cancel(id)} aria-label={`Cancel ${label}`} title="Cancel">
          <X size={16} aria-hidden="true" />
        </button>
        <Menu label={<Ellipsis size={16} aria-hidden="true" />} name={`More for ${label}`} className="quiet">
          <button type="button" onClick={() => toEnd(id, "front")}><ArrowUpToLine size={16} aria-hidden="true" /> To the front</button>
          <button type="button" onClick={() => toEnd(id, "back")}><ArrowDownToLine size={16} aria-hidden="true" /> To the back</button>
          {state !== "held" && <button type="button" onClick={() => hold(id)}><Pause size={16} aria-hidden="true" /> Hold</button>}
          <button type="button" onClick={() => reuse(job).catch(complain)}>Open in its form</button>
        </Menu>
      </div>
    </li>
  );
});

function When({ job }: { job: JobRecord }) {
  const paused = useServer((server) => server.queue.paused);
  const jobs = useServer((server) => (job.state === "queued" ? undefined : server.jobs));
  const readAt = useServer((server) => server.readAt);
  const now = useNow(5000);
  if (jobs && toReview(job).length) return <span>{waitsFor(job, jobs)} <Link href={reviewAddress(job)}>Review</Link></span>;
  if (jobs) return <span>{waitsFor(job, jobs)}</span>;
  const machine = job.waits_for?.find(({ remote }) => remote);
  if (machine && machine.remote_state !== "connected") return <span>Waits for {machine.remote}, which is {machine.remote_state}</span>;
  if (attempt(job)) return <span>{attempt(job)}</span>;
  if (paused) return <span>Waits; the queue is paused</span>;
  if (job.position === undefined) return <span>In the queue</span>;
  if (job.eta_seconds == null) return <span>{job.position === 0 ? "Next" : `After ${job.position} others`}</span>;
  const left = Math.max(0, job.eta_seconds - (now - readAt) / 1000);
  return <span>Done in {about(left)}</span>;
}
