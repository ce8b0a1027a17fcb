// How a form is laid out: rows with label, help and error; groups as quiet sections; what is advanced behind a line.

import type {
  ArrayFieldItemTemplateProps, ArrayFieldTemplateProps, FieldTemplateProps, ObjectFieldTemplateProps,
} from "@rjsf/utils";
import { Plus, X } from "lucide-react";
import { type ReactElement, type ReactNode, useRef } from "react";

import { memorise, remembered } from "../server/memory";
import { useForm } from "./context";
import { HelpSign, HelpText, useHelp } from "./Help";
import { completed, counts, type Field, words } from "./schema";
import { SizePair } from "./SizePair";
import css from "./templates.module.css";

type Properties = ObjectFieldTemplateProps["properties"];

function FieldRow({ id, schema, children, required, fieldPathId }: FieldTemplateProps) {
  const name = fieldPathId.path.at(-1);
  if (typeof name !== "string") return children; // the whole form, or an entry of a list
  return <Row id={id} name={name} field={schema as Field} required={required}>{children}</Row>;
}

interface RowProps {
  id: string;
  name: string;
  field: Field;
  required?: boolean;
  children: ReactNode;
}

function Row({ id, name, field, required, children }: RowProps) {
  const row = useRef<HTMLDivElement>(null);
  const label = useRef<HTMLDivElement>(null);
  const error = useForm().problems[id];
  const help = useHelp(field.description);
  const caption = (
    <>
      {words(name)}
      {field.ui.unit && <small> {field.ui.unit}</small>}
      {required && field.default === undefined && <small> required</small>}
    </>
  );
  const several = field.type === "object" || (field.type === "array" && Boolean((field.items as Field)?.properties));
  return (
    <div
      ref={row} className={css.row} data-field={name} data-kind={kindOf(field)} {...help.onFocus}
      {...(several && { role: "group", "aria-labelledby": `${id}-label` })}
    >
      <div ref={label} className={css.label} {...help.onHover}>
        {several ? <span id={`${id}-label`}>{caption}</span> : <label htmlFor={id}>{caption}</label>}
        {field.description && <HelpSign onClick={help.toggle} />}
      </div>
      {children}
      <p id={`${id}-help`} className="hidden-text">{field.description}</p>
      <p id={`${id}-error`} className="error" hidden={!error}>{error}</p>
      {help.open && <HelpText anchor={row}>{field.description!}</HelpText>}
    </div>
  );
}

/** How much room the control of a field needs: a line with its label, half the width, or all of it. */
function kindOf({ type, ui, enum: values, nullable, minimum, maximum }: Field): "check" | "line" | "half" | "whole" {
  const number = type === "integer" || type === "number";
  if (type === "boolean" && !nullable) return "check";
  if (number && ui.widget === "slider" && minimum !== undefined && maximum !== undefined) return "line";
  return (number && ui.widget !== "seed") || (values && !ui.choices_from) ? "half" : "whole";
}

function Fields({ schema, properties, formData, fieldPathId }: ObjectFieldTemplateProps) {
  const fields = schema.properties as Record<string, Field>;
  const all = completed(fields, formData ?? {});
  const { problems } = useForm();
  const top = fieldPathId.path.length === 0;
  const shown = properties.filter(({ name }) => fields[name] && counts(fields[name], all));
  const plain = shown.filter(({ name }) => !fields[name].ui.advanced);
  const advanced = shown.filter(({ name }) => fields[name].ui.advanced);
  const wrong = advanced.some(({ name }) => Object.keys(problems).some((id) => id.startsWith(`${fieldPathId.$id}_${name}`)));
  return (
    <div className={css.fields}>
      <Groups rows={plain} fields={fields} top={top} />
      {advanced.length > 0 && (
        <Advanced key={String(wrong)} wrong={wrong}>
          <Groups rows={advanced} fields={fields} top={top} />
        </Advanced>
      )}
    </div>
  );
}

/** Open as it was left the last time, and where something in it is wrong. */
function Advanced({ wrong, children }: { wrong: boolean; children: ReactNode }) {
  const { job } = useForm();
  const place = `advanced ${job.full}`;
  return (
    <details
      className={css.advanced} open={wrong || remembered(place) === "open"}
      onToggle={({ currentTarget }) => memorise(place, currentTarget.open ? "open" : "")}
    >
      <summary>Advanced</summary>
      <div className={css.fields}>{children}</div>
    </details>
  );
}

/** Fields without a group first, then each group under its name. */
function Groups({ rows, fields, top }: { rows: Properties; fields: Record<string, Field>; top: boolean }) {
  const groups = new Map<string, Properties>([["", []]]);
  for (const row of rows) {
    const group = fields[row.name].ui.group ?? "";
    groups.set(group, [...(groups.get(group) ?? []), row]);
  }
  return [...groups].map(([group, members]) => {
    const contents = <div className={css.grid}>{top ? paired(members, fields) : members.map(({ content }) => content)}</div>;
    if (!members.length) return null;
    if (!group) return <div key="">{contents}</div>;
    return (
      <fieldset key={group} className={css.group}>
        <legend>{words(group)}</legend>
        {contents}
      </fieldset>
    );
  });
}

/** The rows, where a width has its height beside it. */
function paired(members: Properties, fields: Record<string, Field>): ReactNode[] {
  const partner = (name: string) => members.find((other) => other.name === fields[name].ui.pairs_with);
  const taken = new Set(members.map(({ name }) => partner(name)?.name));
  return members.filter(({ name }) => !taken.has(name)).map(({ name, content }) => {
    const other = partner(name);
    if (!other) return content;
    return <SizePair key={name} names={[name, other.name]} fields={fields}>{[content, other.content]}</SizePair>;
  });
}

function Repeated({ items, canAdd, onAddClick, schema }: ArrayFieldTemplateProps): ReactElement {
  const full = items.length >= (schema.maxItems ?? Infinity);
  return (
    <div className={css.repeated}>
      {items}
      <button type="button" onClick={onAddClick} disabled={!canAdd || full}>
        <Plus size={16} aria-hidden="true" />
        Add
      </button>
    </div>
  );
}

function Item({ children, buttonsProps, index }: ArrayFieldItemTemplateProps) {
  return (
    <div className={css.item}>
      <header>
        <span>{index + 1}</span>
        <button type="button" className="quiet" aria-label={`Remove number ${index + 1}`} onClick={buttonsProps.onRemoveItem}>
          <X size={16} aria-hidden="true" />
        </button>
      </header>
      {children}
    </div>
  );
}

export const templates = {
  FieldTemplate: FieldRow,
  ObjectFieldTemplate: Fields,
  ArrayFieldTemplate: Repeated,
  ArrayFieldItemTemplate: Item,
};
