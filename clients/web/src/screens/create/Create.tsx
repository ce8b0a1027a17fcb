// The Create screen: any job of any plugin, its form, the way into the queue, and what comes out of it.

import { useEffect, useRef } from "react";

import { Guarded } from "../../app/Guarded";
import { chooseJob, setDraft, useForms } from "../../app/intents";
import { useKeys } from "../../app/keys";
import { JobForm } from "../../forms/JobForm";
import { JobInputs, takePasted } from "../../forms/JobInputs";
import { recall } from "../../forms/remembering";
import { fieldsOf } from "../../forms/schema";
import { byField } from "../../server/client";
import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import { Empty } from "../../ui/Empty";
import css from "./Create.module.css";
import { Head } from "./Head";
import { HowToRun } from "./HowToRun";
import { RunBar } from "./RunBar";
import { Stage } from "./Stage";
import { run, setProblem, useSubmitting } from "./submitting";

const EMPTY = { params: {}, inputs: {} };
const seen = new Map<string, JobType>(); // jobs that may have vanished since

export function Create() {
  const catalogue = useServer((server) => server.catalogue);
  const installing = useServer(({ plugins }) => plugins.some(({ status }) => status === "installing"));
  const session = useServer((server) => server.session);
  const online = useServer(({ connection }) => connection.state === "online");
  const chosen = useForms((forms) => forms.chosen);
  for (const job of Object.values(catalogue)) seen.set(job.full, job);
  const job = (chosen && (catalogue[chosen] ?? seen.get(chosen))) || first(Object.values(catalogue));
  useEffect(() => {
    if (job && online) void recall(job);
  }, [job?.full, session, online]);
  if (!job) {
    const title = installing || !online ? "One moment …" : "No plugin offers a job yet";
    return <Empty title={title}>Jobs appear here as soon as a plugin is ready.</Empty>;
  }
  return (
    <div className={css.create}>
      <h1 className="hidden-text">Create</h1>
      <Workshop key={`${session} ${job.full}`} job={job} gone={!(job.full in catalogue)} />
      <Stage />
    </div>
  );
}

/** The one to begin with: it asks for nothing that has to be there first, and best draws one picture. */
const first = (jobs: JobType[]): JobType | undefined => {
  const ready = jobs.filter(({ inputs, light }) => !light && Object.values(inputs).every(({ optional }) => optional));
  return ready.find(({ output, program }) => output.kind === "image" && !program) ?? ready[0] ?? jobs[0];
};

function Workshop({ job, gone }: { job: JobType; gone: boolean }) {
  const known = useForms(({ drafts }) => drafts[job.full]);
  const draft = known ?? EMPTY;
  const problem = useSubmitting(({ problems }) => problems[job.full]) ?? null;
  const fields = useRef<HTMLDivElement>(null);
  const names = [...Object.keys(fieldsOf(job.params)), ...Object.keys(job.inputs)];
  const rest = byField(problem, names)[""];
  const inputs = {
    job, inputs: draft.inputs, problem, onChange: (given: typeof draft.inputs) => setDraft(job.full, { inputs: given }),
  };
  const keep = () => chooseJob(job.full); // from now on no other job is the one to begin with
  const submit = () => {
    keep();
    void recall(job).then(() => run(job, useForms.getState().drafts[job.full] ?? EMPTY)); // who is quick gets the example, too
  };
  useKeys({ "ctrl+enter": ["Run the job of the form", submit] }, "Create");
  useEffect(() => {
    if (known && matchMedia("(pointer: fine)").matches) focusFirst(fields.current!, exampleTexts(job));
  }, [Boolean(known)]);
  useEffect(() => () => setProblem(job.full, null), [job.full]);
  useEffect(() => {
    const paste = (event: ClipboardEvent) => {
      keep();
      takePasted(event, job);
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, [job]);
  return (
    <form
      className={css.workshop} aria-label={`Form of ${job.name}`} noValidate
      onInput={keep} onDropCapture={keep}
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Head job={job} />
      {gone && (
        <p className={css.gone} role="status">
          No plugin offers {job.full} just now. What you typed stays, and it goes on when the plugin is back.
        </p>
      )}
      <div ref={fields} className={css.fields}>
        <JobInputs {...inputs} only="needed" />
        <Guarded>
          <JobForm
            job={job} params={draft.params} problem={problem}
            onChange={(params) => {
              keep();
              setDraft(job.full, { params });
            }}
          />
        </Guarded>
        <JobInputs {...inputs} only="optional" />
        <HowToRun job={job} />
      </div>
      <RunBar job={job} draft={draft} problem={rest} />
    </form>
  );
}

/** The first text, so that one can type at once: over an example, or after what one had. */
function focusFirst(fields: HTMLElement, examples: unknown[]): void {
  if (document.querySelector("dialog:modal") || fields.contains(document.activeElement)) return;
  const text = fields.querySelector<HTMLTextAreaElement>("textarea");
  text?.focus({ preventScroll: true });
  if (text && examples.includes(text.value)) text.select();
  else text?.setSelectionRange(text.value.length, text.value.length);
}

const exampleTexts = (job: JobType): unknown[] =>
  Object.values(fieldsOf(job.params)).flatMap(({ examples }) => (Array.isArray(examples) ? examples : []));
