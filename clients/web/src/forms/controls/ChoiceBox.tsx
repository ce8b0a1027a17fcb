// One entry of a list that the server keeps: models, styles, whatever a plugin names.

import { useChoices } from "../choices";
import type { ControlProps } from "../ValueField";

export function ChoiceBox({ id, field, value, onChange, described }: ControlProps<string | null>) {
  const { names } = useChoices(field.ui.choices_from!);
  const all = value && !names.includes(value) ? [value, ...names] : names;
  const may = field.nullable || field.default === "" || value === "" || value === undefined;
  return (
    <select id={id} value={value ?? ""} {...described} onChange={({ target }) => onChange(target.value || none(field))}>
      {may && <option value="">none</option>}
      {all.map((name) => <option key={name}>{name}</option>)}
    </select>
  );
}

const none = (field: ControlProps["field"]) => (field.nullable ? null : "default" in field ? "" : undefined);
