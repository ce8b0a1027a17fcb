// One job that runs: what it looks like so far, how far it is, and how to steer it.

import { Eye, ListPlus, Pause, Play, SkipForward, Square, X } from "lucide-react";
import { memo, useEffect } from "react";
import { Link } from "wouter";

import { useServer, wantOutputs } from "../../server/store";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { deviceOf, duration, jobTitle } from "../../ui/format";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import { useNow } from "../../ui/useNow";
import { extend } from "../../app/intents";
import { cancel, hold, keep, release, skip } from "../../app/jobs";
import { complain } from "../../app/notices";
import { reviewAddress, toReview, useWhole } from "../../app/programs";
import { Parts } from "./Parts";
import css from "./RunningCard.module.css";
import { about, attempt, summary } from "./words";

const NONE: ArtifactRecord[] = [];
const SHOWN = 12; // results on a card, the newest

export const RunningCard = memo(function RunningCard({ job, parts }: { job: JobRecord; parts?: JobRecord[] }) {
  const { id, name, session } = job;
  const type = useServer((server) => server.catalogue[name]);
  useEffect(() => wantOutputs(id), [id]);
  const said = summary(job, type);
  const device = deviceOf(job.worker);
  return (
    <article className={css.card} aria-labelledby={`running-${id}`}>
      <Media job={job} part={parts?.find(({ state }) => state === "running")?.id} />
      <div className={css.body}>
        <header>
          <h3 id={`running-${id}`}>{jobTitle(name)}</h3>
          {device.includes("/") && <span className={css.session} title={`On ${device}`}>{device}</span>}
          <span className={css.session} title={`Session ${session}`}>{session}</span>
        </header>
        {said && <p className={css.summary} title={said}>{said}</p>}
        {job.children ? <Whole job={job} /> : <Progress job={job} />}
        {!!job.children && <Parts job={job} />}
        <Waits job={job} parts={parts} />
        {attempt(job) && <p className={css.note}>{attempt(job)}</p>}
        <Actions job={job} program={!!type?.program} severalResults={!!type?.output.list && !type.program} />
      </div>
    </article>
  );
});

function Media({ job, part }: { job: JobRecord; part?: string }) {
  const { id, name } = job;
  const preview = useServer(({ previews }) => previews[id] ?? (part && previews[part]));
  const outputs = useServer((server) => server.outputs[id] ?? NONE).filter(isPicture);
  const asked = useAsked(job);
  const newest = asked ?? outputs.at(-1);
  const shown = preview || (newest && thumbnailUrl(newest, 768));
  const strip = preview || asked ? outputs : outputs.slice(0, -1);
  return (
    <div className={css.media}>
      <div className={css.preview}>
        {shown ? <img src={shown} alt={preview ? `Preview of ${jobTitle(name)}` : asked ? "The first to be picked or rejected" : "The newest result"} />
          : !toReview(job).length && <span className={css.nothing} />}
      </div>
      {strip.length > 0 && (
        <ul className={css.strip} aria-label="Finished so far">
          {strip.length > SHOWN && <li className={css.more}>+{strip.length - SHOWN}</li>}
          {strip.slice(-SHOWN).map((artifact) => (
            <li key={artifact.id + artifact.sha256}>
              <Link href={`/results/${artifact.id}`} aria-label={`Result ${artifact.idx + 1}`}>
                <img src={thumbnailUrl(artifact, 128)} alt="" />
              </Link>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** The first picture that a person is asked about: a result of one of the parts. */
function useAsked(job: JobRecord): ArtifactRecord | undefined {
  const [first] = toReview(job);
  const [maker] = first?.split(".") ?? [];
  useEffect(() => {
    if (maker) wantOutputs(maker);
  }, [maker]);
  const found = useServer(({ outputs }) => (maker ? outputs[maker]?.find(({ id }) => id === first) : undefined));
  return found && isPicture(found) ? found : undefined;
}

function Progress({ job: { id, started, created } }: { job: JobRecord }) {
  const progress = useServer((server) => server.progress[id]);
  const now = useNow();
  const elapsed = now / 1000 - (started ?? created);
  if (!progress) return <Bar label="Starting …" elapsed={elapsed} />;
  const { step, total, phase, first, since, at, eta_seconds } = progress;
  const pace = step > first ? (at - since) / 1000 / (step - first) : undefined;
  const left = (eta_seconds ?? (pace && pace * (total - step))) ?? undefined;
  const parts = [
    phase && phase.charAt(0).toUpperCase() + phase.slice(1),
    total > 1 && `${Math.floor(step)} of ${total}`,
    left !== undefined && left > 0.5 && `${about(Math.max(0, left - (now - at) / 1000))} left`,
  ];
  return <Bar label={parts.filter(Boolean).join(" · ")} value={total > 0 ? step / total : undefined} elapsed={elapsed} />;
}

/** A program as one thing: how many of its parts have ended. */
function Whole({ job }: { job: JobRecord }) {
  const now = useNow();
  const { ended, total, left, at } = useWhole(job);
  const rest = left !== undefined && left > 0.5 && job.state !== "held" && ended < total;
  const label = [`${ended.toLocaleString()} of ${total.toLocaleString()} parts`, rest && `${about(Math.max(0, left - (now - at) / 1000))} left`];
  return <Bar label={label.filter(Boolean).join(" · ")} value={ended / total} elapsed={now / 1000 - job.created} />;
}

/** That a person is wanted, and the way to what is to be looked at. */
function Waits({ job, parts = [] }: { job: JobRecord; parts?: JobRecord[] }) {
  const asking = [job, ...parts].find((each) => toReview(each).length);
  const count = asking ? toReview(asking).length : 0;
  if (job.state === "held") return <p className={css.note} role="status">On hold: what runs already goes on, the rest waits.</p>;
  if (!asking) return null;
  return (
    <div className={css.waits}>
      <p role="status">Waits for you: {count === 1 ? "a result is" : `${count} results are`} to be picked or rejected.</p>
      <Link href={reviewAddress(asking)} className={css.review}><Eye size={16} aria-hidden="true" /> Review {count === 1 ? "it" : "them"}</Link>
    </div>
  );
}

function Bar({ label, value, elapsed }: { label: string; value?: number; elapsed: number }) {
  return (
    <div className={css.progress}>
      <progress max={1} value={value} aria-label="Progress" />
      <p>
        <span>{label}</span>
        <time title="Since it began">{duration(elapsed)}</time>
      </p>
    </div>
  );
}

function Actions({ job, program, severalResults }: { job: JobRecord; program: boolean; severalResults: boolean }) {
  const { id, state, cancel: asked } = job;
  if (asked) return <p className={css.note} role="status">{asked === "keep" ? "Stopping; what is there stays …" : "Stopping …"}</p>;
  return (
    <div className={css.actions}>
      {program && state === "held" && (
        <button type="button" className="primary" onClick={() => release(id)} title="Let it and its parts go on">
          <Play size={16} aria-hidden="true" /> Release
        </button>
      )}
      {program && state !== "held" && (
        <button type="button" onClick={() => hold(id)} title="Keep it and its parts from going on; what runs already ends">
          <Pause size={16} aria-hidden="true" /> Hold
        </button>
      )}
      {program && (
        <button type="button" onClick={() => void extend(job).catch(complain)} title="Change or add to what it does; what is done stays">
          <ListPlus size={16} aria-hidden="true" /> Extend
        </button>
      )}
      {severalResults && (
        <>
          <button type="button" onClick={() => skip(id)} title="Leave the rest of this picture and go on with the next">
            <SkipForward size={16} aria-hidden="true" /> Skip
          </button>
          <button type="button" onClick={() => keep(id)} title="Stop now and keep what is there">
            <Square size={14} aria-hidden="true" /> Stop and keep
          </button>
        </>
      )}
      <button type="button" className="danger" onClick={() => cancel(id)} title="Stop it and keep nothing of it">
        <X size={16} aria-hidden="true" /> Cancel
      </button>
    </div>
  );
}
