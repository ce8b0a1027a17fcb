// Entries of a list that people keep themselves, such as styles: saved from the form, edited, deleted, by light jobs.

import { BookmarkPlus } from "lucide-react";
import { useState } from "react";

import { complain, say } from "../../app/notices";
import { call } from "../../server/client";
import { useServer } from "../../server/store";
import type { ErrorBody, JobType, Values } from "../../server/types";
import { Dialog } from "../../ui/Dialog";
import { readChoices } from "../choices";
import { useForm } from "../context";
import { JobForm } from "../JobForm";
import { type Field, fieldsOf, toSend } from "../schema";
import css from "./controls.module.css";

const NAME = "name"; // of the parameter that all three jobs have

interface KeptList {
  list: string;
  saves?: JobType;
  deletes?: JobType;
  /** What the dialog shows, if it is open. */
  opened: { params: Values; old?: string } | null;
  open: (opened: { params: Values; old?: string } | null) => void;
  edit?: (name: string) => void;
  /** What the form has for the other parameters of an entry. */
  present: Values;
}

export function useKept({ ui }: Field): KeptList {
  const { job, values } = useForm();
  const [opened, open] = useState<KeptList["opened"]>(null);
  const catalogue = useServer((server) => server.catalogue);
  const find = (name: string | undefined) => (name ? catalogue[`${job.plugin}.${name}`] : undefined);
  const [reads, saves, deletes] = [find(ui.reads), find(ui.saves), find(ui.deletes)];
  const names = saves ? Object.keys(fieldsOf(saves.params)).filter((name) => name !== NAME && values[name]) : [];
  const edit = async (name: string) => {
    const { outputs } = await call("call", { job: reads!.full, params: { [NAME]: name } });
    open({ params: outputs[0] as Values, old: name });
  };
  return {
    list: ui.choices_from ?? "", saves, deletes, opened, open,
    edit: reads && saves ? (name) => void edit(name).catch(complain) : undefined,
    present: Object.fromEntries(names.map((name) => [name, values[name]])),
  };
}

/** The button that saves, and the dialog for one entry. */
export function Kept({ kept, onSaved }: { kept: KeptList; onSaved: (name: string) => void }) {
  if (!kept.saves) return null;
  const label = `${kept.saves.help.split(/[.,]/)[0]} …`;
  return (
    <>
      <button
        type="button" className={css.icon} title={label} aria-label={label} onClick={() => kept.open({ params: kept.present })}
      >
        <BookmarkPlus size={16} aria-hidden="true" />
      </button>
      {kept.opened && <Entry key={kept.opened.old} kept={kept} job={kept.saves} onSaved={onSaved} />}
    </>
  );
}

function Entry({ kept, job, onSaved }: { kept: KeptList; job: JobType; onSaved: (name: string) => void }) {
  const { old, params: first } = kept.opened!;
  const [params, setParams] = useState<Values>(first);
  const [problem, setProblem] = useState<ErrorBody | null>(null);
  const close = () => kept.open(null);
  const done = (what: string) => {
    say(what);
    close();
    void readChoices(kept.list);
  };
  const save = async () => {
    await call("call", { job: job.full, params: toSend(job.params, params) });
    done(`${params[NAME]} is saved.`);
    if (!old) onSaved(String(params[NAME]).trim());
  };
  const remove = async () => {
    await call("call", { job: kept.deletes!.full, params: { [NAME]: old } });
    done(`${old} is deleted.`);
  };
  const actions = (
    <>
      {old && kept.deletes && <button type="button" className="danger" onClick={() => void remove().catch(complain)}>Delete</button>}
      <button type="button" onClick={close}>Cancel</button>
      <button type="button" className="primary" onClick={() => void save().catch(setProblem)}>Save</button>
    </>
  );
  return (
    <Dialog title={old ?? job.help.split(/[.,]/)[0]} onClose={close} actions={actions}>
      <div className={css.entry}>
        <JobForm job={job} params={params} onChange={setParams} problem={problem} />
        {problem && !problem.field && !problem.errors?.length && <p className="error">{problem.message}</p>}
      </div>
    </Dialog>
  );
}
