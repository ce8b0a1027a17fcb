// How a form is laid out: rows with label, help and error; groups as quiet sections; what is advanced behind a line.

import type {
  ArrayFieldItemTemplateProps, ArrayFieldTemplateProps, FieldTemplateProps, ObjectFieldTemplateProps,
} from "@rjsf/utils";
import { Plus, X } from "lucide-react";
import type { ReactElement } from "react";

import { useForm } from "./context";
import { completed, counts, type Field, words } from "./schema";
import css from "./templates.module.css";

function FieldRow({ id, schema, label, children, required, displayLabel }: FieldTemplateProps) {
  const field = schema as Field;
  const error = useForm().problems[id];
  if (schema.type === "object" || (!displayLabel && schema.type !== "array" && !field.type)) return children;
  return (
    <div className={css.row} data-field={label} data-check={field.type === "boolean" && !field.nullable}>
      <label htmlFor={id}>
        {words(label)}
        {field.ui.unit && <small> {field.ui.unit}</small>}
        {required && <small> required</small>}
      </label>
      {children}
      <p id={`${id}-help`} className="hidden-text">{schema.description}</p>
      <p id={`${id}-error`} className="error" hidden={!error}>{error}</p>
    </div>
  );
}

function Fields({ schema, properties, formData }: ObjectFieldTemplateProps) {
  const fields = schema.properties as Record<string, Field>;
  const all = completed(fields, formData ?? {});
  const shown = properties.filter(({ name }) => fields[name] && counts(fields[name], all));
  const advanced = shown.filter(({ name }) => fields[name].ui.advanced);
  return (
    <div className={css.fields}>
      {grouped(shown.filter((each) => !advanced.includes(each)), fields)}
      {advanced.length > 0 && (
        <details className={css.advanced}>
          <summary>Advanced</summary>
          <div className={css.fields}>{grouped(advanced, fields)}</div>
        </details>
      )}
    </div>
  );
}

/** Fields without a group first, then each group under its name. */
function grouped(rows: ObjectFieldTemplateProps["properties"], fields: Record<string, Field>): ReactElement[] {
  const groups = new Map<string, ReactElement[]>();
  for (const { name, content } of rows) {
    const group = fields[name].ui.group ?? "";
    groups.set(group, [...(groups.get(group) ?? []), content]);
  }
  const alone = groups.get("") ?? [];
  groups.delete("");
  return [
    ...alone,
    ...[...groups].map(([group, contents]) => (
      <fieldset key={`group ${group}`} className={css.group}>
        <legend>{words(group)}</legend>
        {contents}
      </fieldset>
    )),
  ];
}

function Repeated({ items, canAdd, onAddClick, schema }: ArrayFieldTemplateProps) {
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
      <button type="button" className="quiet" aria-label={`Remove number ${index + 1}`} onClick={buttonsProps.onRemoveItem}>
        <X size={16} aria-hidden="true" />
      </button>
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
