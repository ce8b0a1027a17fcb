// What has ended lately: results to look at, failures to understand and to try again.

import { FilePenLine, ListPlus, RotateCcw } from "lucide-react";
import { memo, useEffect, useState } from "react";
import { Link } from "wouter";

import { extend, reuse } from "../../app/intents";
import { complain } from "../../app/notices";
import { useServer, wantOutputs } from "../../server/store";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { clock, duration, jobTitle } from "../../ui/format";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import { retry } from "../../app/jobs";
import { Details } from "./Details";
import { Parts } from "./Parts";
import css from "./Ended.module.css";
import { summary } from "./words";

const PAGE = 20;
const SHOWN = 6; // results in a row
const NONE: ArtifactRecord[] = [];

export function Ended({ jobs }: { jobs: JobRecord[] }) {
  const [shown, setShown] = useState(PAGE);
  const [opened, setOpened] = useState<JobRecord | null>(null);
  return (
    <>
      <ul className={css.list}>
        {jobs.slice(0, shown).map((job) => <EndedRow key={job.id} job={job} onDetails={setOpened} />)}
      </ul>
      {jobs.length > shown && (
        <button type="button" className={css.more} onClick={() => setShown(shown + PAGE)}>Show more</button>
      )}
      {opened && <Details job={opened} onClose={() => setOpened(null)} />}
    </>
  );
}

const EndedRow = memo(function EndedRow({ job, onDetails }: { job: JobRecord; onDetails: (job: JobRecord) => void }) {
  const { id, name, state, error, session } = job;
  const type = useServer((server) => server.catalogue[name]);
  const said = summary(job, type);
  return (
    <li className={css.row} data-state={state} data-job={id}>
      {state !== "failed" && <Results job={job} />}
      <div className={css.what}>
        <p className={css.name}>
          <b>{jobTitle(name)}</b>
          <span title={said}>{said}</span>
        </p>
        {state === "failed" && error && (
          <p className={css.error}>
            <span>{error.message}</span> {error.hint && <span className={css.hint}>{error.hint}</span>}
          </p>
        )}
        <p className={css.facts}>
          <span>{state === "done" ? "Done" : state === "failed" ? "Failed" : "Cancelled"}{took(job)}</span>
          <span className={css.session} title={`Session ${session}`}>{session}</span>
        </p>
        {!!job.children && <Parts job={job} />}
      </div>
      <div className={css.actions}>
        {state === "failed" && <button type="button" onClick={() => onDetails(job)}>Details</button>}
        <button type="button" className={state === "failed" ? undefined : "quiet"} onClick={() => retry(id)} aria-label={`${state === "done" ? "Make anew" : "Retry"}: ${jobTitle(name)} ${said}`} title={state === "done" ? "Make anew" : "Retry"}>
          <RotateCcw size={16} aria-hidden="true" /> {state === "failed" && "Retry"}
        </button>
        {type?.program && (
          <button type="button" className={state === "failed" ? undefined : "quiet"} onClick={() => void extend(job).catch(complain)} aria-label={`Extend: ${jobTitle(name)} ${said}`} title="Change or add to what it did; what is done stays">
            <ListPlus size={16} aria-hidden="true" /> {state === "failed" && "Extend"}
          </button>
        )}
        <button type="button" className={state === "failed" ? undefined : "quiet"} onClick={() => reuse(job).catch(complain)} aria-label={`Open in form: ${jobTitle(name)} ${said}`} title="Open in form">
          <FilePenLine size={16} aria-hidden="true" /> {state === "failed" && "Open in form"}
        </button>
      </div>
    </li>
  );
});

function Results({ job: { id, state } }: { job: JobRecord }) {
  const all = useServer((server) => server.outputs[id] ?? NONE);
  useEffect(() => wantOutputs(id), [id]);
  const pictures = all.filter(isPicture);
  if (!pictures.length) return <span className={css.nothing}>{state === "done" && all[0] ? all[0].kind : ""}</span>;
  return (
    <ul className={css.results} aria-label="Results">
      {pictures.slice(0, SHOWN).map((artifact) => (
        <li key={artifact.id + artifact.sha256}>
          <Link href={`/results/${artifact.id}`} aria-label={`Result ${artifact.idx + 1}`}>
            <img src={thumbnailUrl(artifact, 128)} alt="" loading="lazy" />
          </Link>
        </li>
      ))}
      {pictures.length > SHOWN && <li className={css.rest}>+{pictures.length - SHOWN}</li>}
    </ul>
  );
}

function took({ created, started, finished, children, metrics }: JobRecord): string {
  if (metrics?.reused_from) return " · made before";
  const time = [finished && ` · ${clock(finished)}`, children && ` · ${children.toLocaleString()} parts`].filter(Boolean).join("");
  const began = children ? created : started; // a program begins anew after each wait
  return began && finished ? `${time} · took ${duration(finished - began)}` : time;
}
