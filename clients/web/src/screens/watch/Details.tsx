// Why a job failed, in full: the message, what it said while it ran, and the traceback of its plugin.

import { useEffect, useState } from "react";

import { reuse } from "../../app/intents";
import { complain } from "../../app/notices";
import { call } from "../../server/client";
import { useServer } from "../../server/store";
import type { JobRecord, LogLine } from "../../server/types";
import { CopyButton } from "../../ui/CopyButton";
import { Dialog } from "../../ui/Dialog";
import { retry } from "../../app/jobs";
import { deviceOf, jobTitle } from "../../ui/format";
import css from "./Details.module.css";


export function Details({ job, onClose }: { job: JobRecord; onClose: () => void }) {
  const text = useLog(job.id);
  const { error } = job;
  const all = [`${job.name} ${job.id}`, error && `${error.code}: ${error.message}`, error?.hint, text].filter(Boolean).join("\n");
  const actions = (
    <>
      <CopyButton text={all} what="all of this" />
      <button type="button" onClick={() => reuse(job).catch(complain)}>Open in form</button>
      <button type="button" className="primary" onClick={() => (onClose(), retry(job.id))}>Retry</button>
    </>
  );
  return (
    <Dialog title={`Why ${jobTitle(job.name)} failed`} onClose={onClose} actions={actions}>
      {error && <p className={css.message}>{error.message}</p>}
      {error?.hint && <p className={css.message}>{error.hint}</p>}
      <dl className={css.facts}>
        <div><dt>Error</dt><dd>{error?.code}</dd></div>
        <div><dt>Job</dt><dd>{job.id}</dd></div>
        {deviceOf(job.worker) && <div><dt>Ran on</dt><dd>{deviceOf(job.worker)}</dd></div>}
        <div><dt>Attempts</dt><dd>{job.attempt}</dd></div>
      </dl>
      <h3>What it said</h3>
      <pre className={css.log} tabIndex={0}>{text || "Nothing."}</pre>
    </Dialog>
  );
}

/** What is kept of a job's log; what this page has heard, where the server keeps none. */
function useLog(job: string): string {
  const heard = useServer((server) => server.lines);
  const [kept, setKept] = useState<LogLine[] | null>(null);
  useEffect(() => {
    call<{ lines: LogLine[] }>("logs", { job, limit: 200 }).then(({ lines }) => setKept(lines), () => setKept(null));
  }, [job]);
  return (kept ?? heard.filter((line) => line.job === job)).map(({ text }) => text).join("\n");
}
