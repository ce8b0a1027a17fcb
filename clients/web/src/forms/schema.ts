// What a form has to know of a job's announced JSON schema: its fields, their defaults, which of them count now.

import type { Hints, Schema, Values } from "../server/types";

export interface Field extends Schema {
  nullable?: boolean;
  ui: Hints;
}

export const words = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
export const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);

/** A schema without references, and with `nullable` instead of "or null". */
export function resolve(schema: Schema, definitions: Record<string, Schema> = {}, inside: Schema[] = []): Field {
  const { $ref, anyOf, allOf, ...own } = schema;
  const ui = own.ui ?? {};
  if ($ref) {
    const named = definitions[$ref.split("/").pop()!];
    if (!named || inside.includes(named)) return { ...own, ui }; // what contains itself is written as JSON
    return { ...resolve(named, definitions, [...inside, named]), ...own, ui };
  }
  const inner = (each: Schema) => resolve(each, definitions, inside);
  if (Array.isArray(allOf) && allOf.length === 1) return { ...inner(allOf[0]), ...own, ui };
  const some = (anyOf ?? []).map(inner);
  const real = some.filter(({ type }) => type !== "null");
  if (real.length === 1) return { ...real[0], ...own, ui, nullable: some.length > 1 };
  if ("const" in own) return { ...own, ui, enum: [own.const] };
  if (anyOf) return { ...own, ui, type: undefined };
  return {
    ...own,
    ui,
    ...(own.items && { items: inner(own.items) }),
    ...(own.properties && { properties: fieldsOf(own, definitions, inside) }),
  };
}

const fieldsCache = new WeakMap<Schema, Record<string, Field>>();

/** The fields of an object's schema, in the order in which they are shown. */
export function fieldsOf(schema: Schema, definitions = schema.$defs, inside: Schema[] = []): Record<string, Field> {
  let fields = fieldsCache.get(schema);
  if (!fields) {
    const found = Object.entries(schema.properties ?? {}).map(([name, each]) => [name, resolve(each, definitions, inside)] as const);
    found.sort(([, a], [, b]) => (a.ui.order ?? 1e9) - (b.ui.order ?? 1e9));
    fieldsCache.set(schema, (fields = Object.fromEntries(found)));
  }
  return fields;
}

/** Those values with the defaults of all that are not among them. */
export function completed(fields: Record<string, Field>, values: Values): Values {
  const defaults = Object.entries(fields).filter(([name, field]) => "default" in field && values[name] === undefined);
  return { ...values, ...Object.fromEntries(defaults.map(([name, field]) => [name, field.default])) };
}

/** Without what is not given or equals its default. */
export function changed(fields: Record<string, Field>, values: Values): Values {
  const given = Object.entries(values).filter(([name, value]) => {
    const field = Object.hasOwn(fields, name) && fields[name];
    return value !== undefined && !(field && "default" in field && same(field.default, value));
  });
  return Object.fromEntries(given);
}

/** Whether the condition of a field holds: `true` stands for all but 0, empty and false. */
export function counts({ ui }: Field, values: Values): boolean {
  const meets = (wanted: unknown, value: unknown) => (wanted === true ? truthy(value) : same(wanted, value));
  return Object.entries(ui.visible_if ?? {}).every(([name, wanted]) =>
    [wanted].flat().some((each) => meets(each, values[name])),
  );
}

const truthy = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value));

/** What a submit sends: fields that are there, shown, and not at their default. */
export function toSend(schema: Schema, values: Values): Values {
  const fields = fieldsOf(schema);
  const all = completed(fields, values);
  const shown = Object.entries(changed(fields, values)).filter(([name]) => Object.hasOwn(fields, name) && counts(fields[name], all));
  return Object.fromEntries(shown.map(([name, value]) => [name, withoutHidden(fields[name], value)]));
}

function withoutHidden(field: Field, value: unknown): unknown {
  const inner = (field.items as Field | undefined)?.properties as Record<string, Field> | undefined;
  if (!inner || !Array.isArray(value)) return value;
  return value.map((each: Values) => {
    const all = completed(inner, each);
    return Object.fromEntries(Object.entries(each).filter(([name]) => Object.hasOwn(inner, name) && counts(inner[name], all)));
  });
}

/** The name of the parameter with that widget: the seed, the first long text ... */
export const fieldWith = (schema: Schema, widget: string): string | undefined =>
  Object.entries(fieldsOf(schema)).find(([, { ui }]) => ui.widget === widget)?.[0];
