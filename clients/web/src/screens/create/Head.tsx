// What is at the head of the form: which job it is, which session its results go to.

import { ChevronDown, FolderOpen } from "lucide-react";
import { useState } from "react";

import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import css from "./Head.module.css";
import { JobChooser } from "./JobChooser";
import { SessionChooser } from "./SessionChooser";

export function Head({ job }: { job: JobType }) {
  const [open, setOpen] = useState<"job" | "session" | null>(null);
  const session = useServer((server) => server.session);
  const close = () => setOpen(null);
  return (
    <header className={css.head}>
      <button type="button" className={css.job} aria-haspopup="dialog" onClick={() => setOpen("job")} title={`${job.full}: ${job.help}`}>
        <span>
          <b>{job.name}</b>
          <small>{job.help || job.title}</small>
        </span>
        <ChevronDown size={16} aria-label="Choose another job" />
      </button>
      <button
        type="button" className={css.session} aria-haspopup="dialog" aria-label={`Session ${session}`} title={`Session: ${session}`}
        onClick={() => setOpen("session")}
      >
        <FolderOpen size={16} aria-hidden="true" />
        <span>{session}</span>
      </button>
      {open === "job" && <JobChooser present={job.full} onClose={close} />}
      {open === "session" && <SessionChooser onClose={close} />}
    </header>
  );
}
