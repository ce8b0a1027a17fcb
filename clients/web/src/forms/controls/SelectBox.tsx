// One of a few allowed values.

import { same } from "../schema";
import type { ControlProps } from "../ValueField";

export function SelectBox({ id, field, value, onChange, described }: ControlProps<unknown>) {
  const values = valuesOf(field.ui.choices ?? field.enum ?? [true, false], field.nullable);
  const known = values.findIndex((each) => same(each, value ?? null));
  // Another spelling may be allowed, too, beside those that are offered.
  const all = known < 0 && value !== undefined ? [...values, value] : values;
  const at = all.findIndex((each) => same(each, value));
  return (
    <select id={id} value={Math.max(0, at)} {...described} onChange={({ target }) => onChange(all[Number(target.value)])}>
      {all.map((each, index) => (
        <option key={index} value={index}>{each === null ? "none" : String(each)}</option>
      ))}
    </select>
  );
}

const valuesOf = (offered: unknown[], nullable?: boolean): unknown[] =>
  nullable && !offered.includes(null) ? [null, ...offered] : offered;
