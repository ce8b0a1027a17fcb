// A line of text for which some are offered.

import type { ControlProps } from "../ValueField";
import { Combobox } from "./Combobox";

export function SuggestBox({ id, field, value, onChange, described }: ControlProps<string | null>) {
  const none = field.nullable || field.default === "" ? "none" : undefined;
  return (
    <Combobox
      id={id} names={field.ui.choices!.map(String)} value={value ?? ""} none={none} free
      onChoose={(text) => onChange(text || (field.nullable ? null : ""))} {...described}
    />
  );
}
