// The form of what the admin decides once for all jobs of a plugin, made from the announced schema.

import { useState } from "react";

import { complain, say } from "../../app/notices";
import { JobForm } from "../../forms/JobForm";
import { same, words } from "../../forms/schema";
import type { ErrorBody, JobType, Plugin, Values } from "../../server/types";
import css from "./Manage.module.css";
import { useWhyNot } from "../../app/rights";
import type { Changes } from "./settings";

interface Props {
  plugin: Plugin;
  stored?: Values;
  configure: (changes: Changes) => Promise<void>;
}

export function PluginSettings({ plugin, stored = {}, configure }: Props) {
  const whyNot = useWhyNot();
  return (
    <details className={css.settings}>
      <summary>Settings</summary>
      {whyNot ? <ReadOnly plugin={plugin} reason={whyNot} /> : <Form plugin={plugin} stored={stored} configure={configure} />}
    </details>
  );
}

function ReadOnly({ plugin, reason }: { plugin: Plugin; reason: string }) {
  return (
    <>
      <p>{reason}</p>
      <dl className={css.readOnly}>
        {Object.entries(plugin.settings.properties ?? {}).map(([name, { description }]) => (
          <div key={name}><dt>{words(name)}</dt><dd>{description}</dd></div>
        ))}
      </dl>
    </>
  );
}

function Form({ plugin, stored, configure }: Required<Props>) {
  const [draft, setDraft] = useState<Values>();
  const [problem, setProblem] = useState<ErrorBody>();
  const values = draft ?? stored;
  const unchanged = !draft || same(draft, stored);
  const save = () => {
    const gone = Object.keys(stored).filter((name) => !(name in values));
    const change = { ...values, ...Object.fromEntries(gone.map((name) => [name, null])) };
    configure({ plugin_settings: { [plugin.name]: change } }).then(
      () => {
        setDraft(undefined);
        setProblem(undefined);
        say(`Saved. The next jobs of ${plugin.title ?? plugin.name} have it.`);
      },
      (error: ErrorBody) => {
        setProblem(atFields(error, `plugin_settings.${plugin.name}.`));
        complain(error);
      },
    );
  };
  return (
    <>
      <JobForm job={asJob(plugin)} params={values} onChange={setDraft} problem={problem} />
      <div className={css.bar}>
        <button type="button" className="primary" disabled={unchanged} onClick={save}>Save</button>
        {!unchanged && <button type="button" onClick={() => setDraft(undefined)}>Discard changes</button>}
      </div>
    </>
  );
}

/** Forms are made for jobs: the settings as the parameters of one. */
const asJob = ({ name, title, settings }: Plugin): JobType => ({
  name: "settings", full: `${name}.settings`, plugin: name, title: title ?? name, help: "", inputs: {},
  output: { kind: "json", list: false, optional: false }, params: settings, light: false, program: false, plans: false,
});

/** The error with the names of the form's fields, where the server names the whole way to them. */
function atFields(error: ErrorBody, prefix: string): ErrorBody {
  const short = (field?: string | null) => (field?.startsWith(prefix) ? field.slice(prefix.length) : field);
  const errors = error.errors?.map((each) => ({ ...each, field: short(each.field)! }));
  const { code, message, hint } = error;
  return { code, message, hint, field: short(error.field), errors };
}
