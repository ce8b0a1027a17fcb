// The jobs that a program begins with, before anything runs: in what they differ, one a line.

import { useState } from "react";

import { same, words } from "../../forms/schema";
import type { Plan } from "../../server/types";
import { Dialog } from "../../ui/Dialog";
import { jobTitle } from "../../ui/format";
import css from "./Create.module.css";

const PAGE = 100;

export function Planned({ jobs, onClose }: { jobs: NonNullable<Plan["jobs"]>; onClose: () => void }) {
  const [shown, setShown] = useState(PAGE);
  const names = [...new Set(jobs.flatMap(({ params }) => Object.keys(params)))];
  const [equal, differ] = [true, false].map((wanted) =>
    names.filter((name) => jobs.every(({ params }) => same(params[name], jobs[0].params[name])) === wanted));
  return (
    <Dialog title={`${jobs.length.toLocaleString()} ${jobs.length === 1 ? "job" : "jobs"} to begin with`} onClose={onClose}>
      {equal.length > 0 && <p>All: {equal.map((name) => `${words(name).toLowerCase()} ${text(jobs[0].params[name])}`).join(" · ")}</p>}
      <div className={css.planned} tabIndex={0} role="group" aria-label="The jobs">
        <table>
          <thead>
            <tr><th scope="col">Job</th>{differ.map((name) => <th key={name} scope="col">{words(name)}</th>)}</tr>
          </thead>
          <tbody>
            {jobs.slice(0, shown).map(({ job, params, key }) => (
              <tr key={key}><td title={key}>{jobTitle(job)}</td>{differ.map((name) => <td key={name}>{text(params[name])}</td>)}</tr>
            ))}
          </tbody>
        </table>
        {jobs.length > shown && <button type="button" onClick={() => setShown(shown + PAGE)}>Show more</button>}
      </div>
    </Dialog>
  );
}

const text = (value: unknown): string => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
