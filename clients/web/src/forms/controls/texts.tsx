// Texts: a line, or as many as it takes.

import type { ControlProps } from "../ValueField";

type TextProps = ControlProps<string | null>;

/** What an emptied text stands for. */
const empty = ({ field }: TextProps): string | null | undefined =>
  field.nullable ? null : "default" in field ? "" : undefined;

export function LineBox(props: TextProps) {
  const { id, value, onChange, described, field } = props;
  return (
    <input
      id={id} type="text" autoComplete="off" value={value ?? ""} placeholder={exampleOf(props)} {...described}
      maxLength={field.maxLength} onChange={({ target }) => onChange(target.value || empty(props))}
    />
  );
}

export function TextBox(props: TextProps) {
  const { id, value, onChange, described } = props;
  return (
    <textarea
      id={id} rows={3} value={value ?? ""} placeholder={exampleOf(props)} {...described}
      onChange={({ target }) => onChange(target.value || empty(props))}
    />
  );
}

const exampleOf = ({ field }: TextProps): string | undefined => {
  const [first] = (field.examples as string[] | undefined) ?? [];
  return first && `For example: ${first}`;
};
