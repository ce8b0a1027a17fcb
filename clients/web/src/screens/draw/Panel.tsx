// The form beside the picture: which job, how far the picture grows, the job's parameters, and Run.

import { Play } from "lucide-react";
import { useMemo, useState } from "react";

import { setDraft, useForms } from "../../app/intents";
import { useKeys } from "../../app/keys";
import { JobForm } from "../../forms/JobForm";
import { inputsToSend, JobInputs } from "../../forms/JobInputs";
import { toSend, words } from "../../forms/schema";
import { client, sentence } from "../../server/client";
import { merge } from "../../server/store";
import type { ErrorBody } from "../../server/types";
import css from "./Draw.module.css";
import { setMade, uploadMask, type Easel } from "./easel";
import { growthParams, restOf, SIDES, snapped, type Growth, type PaintJob } from "./jobs";

interface Props {
  easel: Easel;
  jobs: PaintJob[];
  chosen: PaintJob;
  choose: (full: string) => void;
  growth: Growth;
  grow: (change: Partial<Growth>) => void;
}

const NO_DRAFT = { params: {}, inputs: {} };

export function Panel({ easel, jobs, chosen, choose, growth, grow }: Props) {
  const { job, mask, image } = chosen;
  const draft = useForms(({ drafts }) => drafts[job.full]) ?? NO_DRAFT;
  const rest = useMemo(() => restOf(chosen), [chosen]);
  const [problem, setProblem] = useState<ErrorBody | null>(null);
  const [sending, setSending] = useState(0);
  const fields = [...Object.keys(rest.params.properties ?? {}), ...Object.keys(rest.inputs)];

  const missing = (): string | null => {
    if (mask && easel.mask.isEmpty) return "Paint over what should change first.";
    if (!mask && !SIDES.some((side) => growth[side])) return "Drag an edge of the frame outwards first.";
    return null;
  };

  const run = async () => {
    const what = missing();
    if (what) return setProblem({ code: "invalid_params", message: what });
    setProblem(null);
    setSending((count) => count + 1);
    try {
      const painted = mask ? { [mask]: await uploadMask(easel) } : {};
      const params = toSend(job.params, { ...draft.params, ...growthParams(chosen, growth) });
      const inputs = { ...inputsToSend(rest, draft.inputs), [image]: easel.artifact.id, ...painted };
      const submitted = await client.submit(job.full, params, inputs);
      merge(submitted.record as never);
      setMade(easel.artifact.id, ({ jobs }) => ({ jobs: [...jobs, submitted.id], shown: null }));
    } catch (error) {
      setProblem(error as ErrorBody);
    } finally {
      setSending((count) => count - 1);
    }
  };
  useKeys({ "ctrl+enter": ["Run", run] }, "Draw");

  const atField = problem?.field && fields.includes(problem.field.split(".")[0]);
  return (
    <aside className={css.panel} aria-label="What to do with the picture">
      <div className={css.form}>
        {jobs.length > 1 && <Chooser jobs={jobs} chosen={chosen} choose={choose} />}
        {Object.keys(chosen.sides).length > 0 && <Sides of={chosen} easel={easel} growth={growth} grow={grow} />}
        <JobForm job={rest} params={draft.params} onChange={(params) => setDraft(job.full, { params })} problem={problem} />
        {Object.keys(rest.inputs).length > 0 && (
          <details className={css.more}>
            <summary>More inputs</summary>
            <JobInputs job={rest} inputs={draft.inputs} onChange={(inputs) => setDraft(job.full, { inputs })} problem={problem} />
          </details>
        )}
      </div>
      <div className={css.run}>
        {problem && <p className="error" role="alert">{atField ? "Something in the form is not right." : sentence(problem)}</p>}
        <button type="button" className="primary" onClick={run} disabled={sending > 0} title="Run · Ctrl Enter">
          <Play size={16} aria-hidden="true" /> Run
        </button>
      </div>
    </aside>
  );
}

function Chooser({ jobs, chosen, choose }: Pick<Props, "jobs" | "chosen" | "choose">) {
  const name = ({ job }: PaintJob) =>
    jobs.some((other) => other.job !== job && other.job.name === job.name) ? `${words(job.name)} (${job.title})` : words(job.name);
  if (jobs.length > 3) {
    return (
      <label className={css.chooser}>
        <span className="hidden-text">What to do</span>
        <select value={chosen.job.full} onChange={({ target }) => choose(target.value)}>
          {jobs.map((each) => <option key={each.job.full} value={each.job.full}>{name(each)}</option>)}
        </select>
      </label>
    );
  }
  return (
    <fieldset className={css.segments}>
      <legend className="hidden-text">What to do</legend>
      {jobs.map((each) => (
        <label key={each.job.full} title={each.job.help}>
          <input type="radio" name="paint-job" checked={each === chosen} onChange={() => choose(each.job.full)} />
          <span>{name(each)}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Sides({ of, easel, growth, grow }: { of: PaintJob; easel: Easel; growth: Growth; grow: Props["grow"] }) {
  const { width, height } = easel.bitmap;
  return (
    <fieldset className={css.sides}>
      <legend>New size: {width + growth.left + growth.right} × {height + growth.up + growth.down}</legend>
      {SIDES.filter((side) => of.sides[side]).map((side) => {
        const schema = of.job.params.properties?.[of.sides[side]!] ?? {};
        return (
          <label key={side}>
            {words(side)}
            <input
              type="number" min={schema.minimum} max={schema.maximum} step={schema.multipleOf ?? 1} value={growth[side] || ""} placeholder="0"
              onChange={({ target }) => grow({ [side]: Number(target.value) })}
              onBlur={() => grow({ [side]: snapped(of, side, growth[side]) })}
            />
          </label>
        );
      })}
    </fieldset>
  );
}
