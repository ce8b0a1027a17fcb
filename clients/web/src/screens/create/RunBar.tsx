// The bar below the form: Run, how often, what it would make, what stands against it.

import { ListPlus, Play, RotateCcw, X } from "lucide-react";
import { useState } from "react";

import { type Draft, extendNow, setDraft, useForms } from "../../app/intents";
import { useServer } from "../../server/store";
import type { JobType, Plan } from "../../server/types";
import { clock, duration, jobTitle } from "../../ui/format";
import css from "./Create.module.css";
import { useSubmitting } from "./submitting";
import { Planned } from "./Planned";
import { usePlan } from "./usePlan";

const MOST_TIMES = 99;

export function RunBar({ job, draft, problem }: { job: JobType; draft: Draft; problem?: string }) {
  const { times, waiting } = useSubmitting();
  const online = useServer(({ connection }) => connection.state === "online");
  const plan = usePlan(job, draft);
  const waits = waiting > 0 && !online && `${waiting} ${waiting === 1 ? "waits" : "wait"} for the connection`;
  const seeds = plan && plannedSeeds(plan);
  const [looks, setLooks] = useState(false);
  const extended = useForms(({ extended }) => extended[job.full]);
  return (
    <footer className={css.bar}>
      {problem && <p className="error" role="alert">{problem}</p>}
      {extended && (
        <p className={css.extends} role="status">
          <span>Adds to the {jobTitle(job.full)} of {clock(extended.created)}: what is done stays, only what is new runs.</span>
          <button type="button" className="quiet" onClick={() => extendNow(job.full)} aria-label="Start a new one instead" title="Start a new one instead">
            <X size={16} aria-hidden="true" />
          </button>
        </p>
      )}
      <p className={css.plan} role="status" title={seeds ? `Seeds: ${seeds}` : undefined}>
        {waits || (plan && planned(plan, job, times)) || "\u00a0"}
        {!waits && plan?.jobs && plan.jobs.length > 0 && <button type="button" className={css.look} onClick={() => setLooks(true)}>Show them</button>}
      </p>
      {looks && plan?.jobs && <Planned jobs={plan.jobs} onClose={() => setLooks(false)} />}
      <div className={css.run}>
        <button type="submit" className="primary" title="Ctrl+Enter">
          {extended ? <ListPlus size={16} aria-hidden="true" /> : <Play size={16} aria-hidden="true" />}
          {job.light ? "Ask" : extended ? "Extend" : times > 1 ? `Run ${times} times` : "Run"}
        </button>
        {!job.light && !extended && (
          <input
            type="number" min={1} max={MOST_TIMES} value={times} aria-label="How many times" title="How many times"
            onChange={({ target }) => useSubmitting.setState({ times: Math.min(MOST_TIMES, Math.max(1, Math.trunc(Number(target.value)) || 1)) })}
          />
        )}
        <button type="button" title="Back to the defaults" aria-label="Back to the defaults" onClick={() => setDraft(job.full, { params: {} })}>
          <RotateCcw size={16} aria-hidden="true" />
        </button>
      </div>
    </footer>
  );
}

/** "4 images, about 12 s". */
function planned({ count, outputs, jobs, eta_seconds }: Plan, { output }: JobType, times: number): string {
  const number = (outputs?.length ?? count ?? 0) * times;
  const kind = output.kind === "text" || output.kind === "json" ? "result" : output.kind;
  const many = jobs ? parts(jobs.length) : number > 0 && `${number} ${kind}${number === 1 ? "" : "s"}`;
  const long = eta_seconds && `about ${duration(Math.max(1, eta_seconds * times))}`;
  return [many, long].filter(Boolean).join(", ");
}

/** Of a program, what it begins with; what comes after may depend on that. */
const parts = (jobs: number): string => (jobs === 1 ? "1 job" : `${jobs.toLocaleString()} jobs`);

/** The seeds of several results, where they are not drawn anew each time. */
function plannedSeeds({ outputs, params }: Plan): string {
  const seeds = (outputs ?? []).map(({ seed }) => seed).filter((seed) => seed !== undefined);
  const chosen = Object.values(params).includes(seeds[0]);
  return chosen ? seeds.slice(0, 12).join(", ") + (seeds.length > 12 ? " …" : "") : "";
}
