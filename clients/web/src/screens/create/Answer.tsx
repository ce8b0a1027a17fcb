// What a light job answered; a form that is in it can be opened.

import { X } from "lucide-react";

import { inputsOf, openForm } from "../../app/intents";
import { complain } from "../../app/notices";
import { useServer } from "../../server/store";
import type { Reference, Values } from "../../server/types";
import { CopyButton } from "../../ui/CopyButton";
import { jobTitle } from "../../ui/format";
import css from "./Stage.module.css";
import { useSubmitting } from "./submitting";

interface Form {
  job: string;
  params?: Values;
  inputs?: Record<string, Reference[]>;
}

export function Answer({ answer }: { answer: { job: string; outputs: unknown[] } }) {
  const close = () => useSubmitting.setState({ answer: null });
  return (
    <div className={css.answer}>
      <header>
        <h2>{jobTitle(answer.job)}</h2>
        <button type="button" className="quiet" onClick={close} aria-label="Close the answer"><X size={16} aria-hidden="true" /></button>
      </header>
      {answer.outputs.map((output, index) => <Output key={index} output={output} />)}
    </div>
  );
}

function Output({ output }: { output: unknown }) {
  const catalogue = useServer((server) => server.catalogue);
  const form = (output as { form?: Form } | null)?.form;
  const job = form && Object.values(catalogue).find(({ name, full }) => [name, full].includes(form.job));
  const text = typeof output === "string" ? output : JSON.stringify(output, null, 2);
  const open = async () => {
    const inputs = await inputsOf(form!.inputs ?? {});
    useSubmitting.setState({ answer: null });
    openForm(job!.full, form!.params, inputs);
  };
  return (
    <>
      {job && <button type="button" onClick={() => void open().catch(complain)}>Open in {job.name}</button>}
      <pre tabIndex={0}>{text}</pre>
      <CopyButton text={text} what="the answer" />
    </>
  );
}
