// One value of a form: which control shows it, by its schema and its hints.

import type { FieldProps } from "@rjsf/utils";

import { Checkbox } from "./controls/Checkbox";
import { ChoiceBox } from "./controls/ChoiceBox";
import { JsonBox } from "./controls/JsonBox";
import { NumberBox, SeedBox, SliderBox } from "./controls/numbers";
import { PairsBox } from "./controls/PairsBox";
import { SelectBox } from "./controls/SelectBox";
import { SeveralBox } from "./controls/SeveralBox";
import { SuggestBox } from "./controls/SuggestBox";
import { LineBox, PromptBox, TextBox } from "./controls/texts";
import { useForm } from "./context";
import type { Field } from "./schema";

export interface ControlProps<Value = any> {
  id: string;
  name: string;
  field: Field;
  value: Value;
  onChange: (value: Value | undefined) => void;
  /** For aria: which elements describe it, whether something is wrong with it. */
  described: { "aria-describedby": string; "aria-invalid": boolean };
}

export function ValueField({ schema, formData, onChange, fieldPathId, name }: FieldProps) {
  const field = schema as Field;
  const id = fieldPathId.$id;
  const wrong = id in useForm().problems;
  const Control = controlOf(field);
  const described = { "aria-describedby": `${id}-help ${id}-error`, "aria-invalid": wrong };
  return (
    <Control
      id={id} name={name} field={field} value={formData} described={described}
      onChange={(value) => onChange(value, fieldPathId.path)}
    />
  );
}

function controlOf(field: Field): React.ComponentType<ControlProps> {
  const { type, ui, nullable } = field;
  const items = field.items as Field | undefined;
  const offered = Array.isArray(items?.enum) && items.enum.every((each) => typeof each === "string");
  if (type === "array" && (offered || items?.type === "string" || ui.choices_from)) return SeveralBox;
  if (ui.choices_from) return ChoiceBox;
  if (field.enum) return SelectBox;
  if (type === "string" && ui.choices) return SuggestBox;
  if (type === "boolean" && !nullable) return Checkbox;
  if (type === "boolean") return SelectBox;
  if (type === "integer" || type === "number") return numberOf(field);
  if (type === "string" && ui.counts) return PromptBox;
  if (type === "string" && (ui.widget === "textarea" || String(field.default ?? "").includes("\n"))) return TextBox;
  if (type === "object" && field.additionalProperties && !nullable && ui.widget !== "textarea") return PairsBox; // any names, each with a value
  return type === "string" ? LineBox : JsonBox;
}

function numberOf({ ui, minimum, maximum }: Field): React.ComponentType<ControlProps> {
  if (ui.widget === "seed") return SeedBox;
  return ui.widget === "slider" && minimum !== undefined && maximum !== undefined ? SliderBox : NumberBox;
}
