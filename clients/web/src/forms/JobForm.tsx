// The form of a job's parameters, made from its announced JSON schema alone.

import Form from "@rjsf/core/lib/components/Form.js";
import type { RJSFSchema, UiSchema } from "@rjsf/utils";
import { useEffect, useId, useMemo, useRef } from "react";

import { sentence } from "../server/client";
import type { ErrorBody, JobType, Schema, Values } from "../server/types";
import { FormContext } from "./context";
import { changed, completed, type Field, fieldsOf } from "./schema";
import { templates } from "./templates";
import { ValueField } from "./ValueField";
import { validator } from "./validator";

interface Props {
  job: JobType;
  params: Values;
  onChange: (params: Values) => void;
  /** What the server refused; shown at the fields it is about. */
  problem?: ErrorBody | null;
}

const FIELDS = { value: ValueField };

export function JobForm({ job, params, onChange, problem }: Props) {
  const prefix = useId().replaceAll(/\W/g, "");
  const fields = fieldsOf(job.params);
  const [schema, uiSchema] = useMemo(() => forRjsf(job.params), [job.params]);
  const values = useMemo(() => completed(fields, params), [fields, params]);
  const problems = useMemo(() => problemsAt(problem, fields, prefix), [problem, fields, prefix]);
  const take = (given: Values) => onChange(changed(fields, given));
  const around = { job, values, change: (some: Values) => take({ ...values, ...some }), problems, prefix };
  const form = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const bad = form.current?.querySelector<HTMLElement>("[aria-invalid=true]") ?? null;
    bad?.focus();
    (bad ?? form.current?.querySelector(".error:not([hidden])"))?.scrollIntoView({ block: "center" });
  }, [problem]);
  return (
    <FormContext.Provider value={around}>
      <div ref={form}>
        <Form
          schema={schema} uiSchema={uiSchema} formData={values} validator={validator} fields={FIELDS} templates={templates}
          idPrefix={prefix} noValidate noHtml5Validate tagName="div"
          experimental_defaultFormStateBehavior={{ emptyObjectFields: "skipDefaults" }}
          onChange={({ formData }) => take(formData as Values)}
        >
          <></>
        </Form>
      </div>
    </FormContext.Provider>
  );
}

/** The resolved schema, and which of our fields shows what of it. */
function forRjsf(params: Schema): [RJSFSchema, UiSchema] {
  const properties = fieldsOf(params);
  const schema = { type: "object", properties, required: params.required } as RJSFSchema;
  return [schema, uiOf(properties)];
}

function uiOf(fields: Record<string, Field>): UiSchema {
  const each = Object.entries(fields).map(([name, field]) => [name, uiOfField(field)]);
  return { ...Object.fromEntries(each), "ui:order": [...Object.keys(fields), "*"] };
}

/** Objects and lists of objects are rjsf's, everything else is one value in one control. */
function uiOfField(field: Field): UiSchema {
  const items = field.items as Field | undefined;
  if (field.type === "array" && items?.properties) return { items: uiOf(items.properties as Record<string, Field>) };
  if (field.type === "object" && field.properties && !field.nullable) {
    return uiOf(field.properties as Record<string, Field>);
  }
  return { "ui:field": "value" };
}

/** What the server refused, by the id of the field that shows it. */
function problemsAt(problem: ErrorBody | null | undefined, fields: Record<string, Field>, prefix: string): Record<string, string> {
  const each = problem?.errors?.length ? problem.errors : problem?.field ? [problem] : [];
  const found: Record<string, string> = {};
  for (const one of each) {
    const id = [prefix, ...shownPath(String(one.field).split("."), fields)].join("_");
    found[id] = [found[id], sentence(one)].filter(Boolean).join(" ");
  }
  return found;
}

/** The part of a path that has a row of its own: what is inside of one control has none. */
function shownPath([name, ...deeper]: string[], fields: Record<string, Field>): string[] {
  const field = fields[name];
  const items = (field?.items as Field | undefined)?.properties as Record<string, Field> | undefined;
  const inner = field?.type === "object" ? (field.properties as Record<string, Field> | undefined) : undefined;
  if (items && deeper.length > 1) return [name, deeper[0], ...shownPath(deeper.slice(1), items)];
  return inner && deeper.length ? [name, ...shownPath(deeper, inner)] : [name];
}
