// Manage, Defaults: the plugins' defaults, bounds and steps of every parameter, and the admin's own over them.

import { RotateCcw } from "lucide-react";
import { useState } from "react";

import { complain } from "../../app/notices";
import { type Field, fieldsOf, words } from "../../forms/schema";
import { byField } from "../../server/client";
import { useServer } from "../../server/store";
import type { ErrorBody, JobType, Override } from "../../server/types";
import { Empty } from "../../ui/Empty";
import css from "./Defaults.module.css";
import { useWhyNot } from "../../app/rights";
import { type Changes, type Settings, useSettings } from "./settings";

const BOUNDS = ["minimum", "maximum", "step"] as const;
type Key = keyof Override;
type Configure = (changes: Changes) => Promise<void>;

export function Defaults() {
  const { settings, configure } = useSettings();
  const catalogue = useServer((server) => server.catalogue);
  const whyNot = useWhyNot();
  const [words_, setWords] = useState("");
  const [onlyOwn, setOnlyOwn] = useState(false);
  if (!settings) return <Empty title="One moment …" />;
  const jobs = Object.values(catalogue)
    .map((job) => ({ job, names: namesOf(job, settings, words_, onlyOwn) }))
    .filter(({ names }) => names.length);
  return (
    <>
      <p className={css.lead}>
        {whyNot ?? "What forms begin with and allow. A change holds at once, for everybody; bounds can only become narrower."}
      </p>
      <div className={css.bar}>
        <input type="search" placeholder="Search parameters and jobs" aria-label="Search parameters and jobs" value={words_} onChange={(event) => setWords(event.target.value)} />
        <label className={css.only}><input type="checkbox" checked={onlyOwn} onChange={(event) => setOnlyOwn(event.target.checked)} /> Only changed</label>
      </div>
      {jobs.map(({ job, names }) => (
        <Job key={job.full} job={job} names={names} settings={settings} configure={configure} open={words_ !== "" || onlyOwn} disabled={whyNot !== null} />
      ))}
      {!jobs.length && <Empty title={onlyOwn ? "Nothing was changed" : "No parameter has that name"} />}
    </>
  );
}

function namesOf(job: JobType, { overrides, declared }: Settings, wanted: string, onlyOwn: boolean): string[] {
  const has = (text: string) => text.toLowerCase().includes(wanted.toLowerCase());
  const whole = has(`${job.full} ${job.title}`);
  return Object.keys(declared[job.full] ?? {})
    .filter((name) => whole || has(`${name} ${words(name)}`))
    .filter((name) => !onlyOwn || overrides[job.full]?.[name]);
}

interface JobProps {
  job: JobType;
  names: string[];
  settings: Settings;
  configure: Configure;
  open: boolean;
  disabled: boolean;
}

function Job({ job, names, settings, configure, open, disabled }: JobProps) {
  const [unfolded, unfold] = useState(false);
  const own = settings.overrides[job.full] ?? {};
  const changed = Object.keys(own).length;
  const fields = fieldsOf(job.params);
  const shown = open || unfolded;
  return (
    <details className={css.job} open={shown} onToggle={(event) => unfold(event.currentTarget.open)}>
      <summary>
        <b>{job.name}</b> <span className={css.soft}>{job.title}</span>
        {changed > 0 && <span className={css.changed}>{changed} changed</span>}
      </summary>
      {shown && names.filter((name) => fields[name]).map((name) => (
        <Parameter
          key={`${name} ${JSON.stringify(own[name])}`} job={job.full} name={name} field={fields[name]} own={own[name]}
          declared={settings.declared[job.full][name]} configure={configure} disabled={disabled}
        />
      ))}
    </details>
  );
}

interface ParameterProps {
  job: string;
  name: string;
  field: Field;
  own?: Override;
  declared: Override;
  configure: Configure;
  disabled: boolean;
}

function Parameter({ job, name, field, own = {}, declared, configure, disabled }: ParameterProps) {
  const [problem, setProblem] = useState<string>();
  const isNumber = field.type === "number" || field.type === "integer";
  const write = (values: Override | null) =>
    configure({ overrides: { [job]: { [name]: values } } }).then(
      () => setProblem(undefined),
      (error: ErrorBody) => {
        const { "": rest, ...found } = byField(error, ["overrides"]);
        setProblem(found.overrides ?? rest);
        if (!error.code) complain(error);
      },
    );
  const set = (key: Key, value: unknown) => {
    const { [key]: _before, ...others } = own;
    const values = value === undefined ? others : { ...others, [key]: value };
    void write(Object.keys(values).length ? values : null);
  };
  const keys: Key[] = isNumber ? ["default", ...BOUNDS] : ["default"];
  return (
    <div className={css.row} role="group" aria-label={words(name)}>
      <div className={css.name} title={field.description}>
        {words(name)}
        {field.description && <small>{field.description}</small>}
      </div>
      {keys.map((key) => (
        <label key={key} className={css.value} data-own={key in own}>
          <span>{key}</span>
          <Value label={`${key} of ${words(name)}`} field={key === "default" ? field : NUMBER} own={own[key]} declared={declared[key]} disabled={disabled} onSet={(value) => set(key, value)} />
        </label>
      ))}
      {Object.keys(own).length > 0 && !disabled && (
        <button type="button" className="quiet" onClick={() => write(null)} aria-label={`As the plugin has it: ${words(name)}`} title="As the plugin has it">
          <RotateCcw size={16} aria-hidden="true" />
        </button>
      )}
      {problem && <p className="error" role="alert">{problem}</p>}
    </div>
  );
}

const NUMBER: Field = { type: "number" } as Field;

interface ValueProps {
  label: string;
  field: Field;
  own: unknown;
  declared: unknown;
  disabled: boolean;
  /** Nothing: as the plugin has it. */
  onSet: (value: unknown) => void;
}

/** One value, empty where it is the plugin's, which stands there in grey. */
function Value({ label, field, own, declared, disabled, onSet }: ValueProps) {
  const choices = field.type === "boolean" ? [true, false] : field.enum;
  if (choices) {
    const chosen = choices.findIndex((choice) => choice === own);
    return (
      <select aria-label={label} disabled={disabled} value={chosen} onChange={(event) => onSet(choices[Number(event.target.value)])}>
        <option value={-1}>{shown(declared)} (plugin)</option>
        {choices.map((choice, at) => <option key={at} value={at}>{shown(choice)}</option>)}
      </select>
    );
  }
  const isNumber = field.type === "number" || field.type === "integer";
  if (!isNumber && field.type !== "string") return <code title={shown(own ?? declared)}>{shown(own ?? declared)}</code>;
  const take = (text: string) => {
    const value = text === "" ? undefined : isNumber ? Number(text) : text;
    if (value !== own) onSet(value);
  };
  return (
    <input
      type={isNumber ? "number" : "text"} step="any" aria-label={label} disabled={disabled} placeholder={shown(declared)}
      title={declared === undefined ? undefined : `The plugin has ${shown(declared)}`} defaultValue={own === undefined ? "" : String(own)}
      onBlur={(event) => take(event.target.value)}
      onKeyDown={(event) => event.key === "Enter" && take(event.currentTarget.value)}
    />
  );
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "string" ? value || "empty" : JSON.stringify(value);
}
