// A value of any shape, typed as JSON.

import { useState } from "react";

import { same } from "../schema";
import type { ControlProps } from "../ValueField";

export function JsonBox({ id, value, onChange, described }: ControlProps<unknown>) {
  const [text, setText] = useState<string | null>(null); // as it is typed; null: as the value is
  const shown = value === undefined ? "" : JSON.stringify(value);
  const read = (typed: string) => {
    setText(typed);
    onChange(typed.trim() ? parsed(typed) : undefined);
  };
  return (
    <textarea
      id={id} rows={2} className="code" spellCheck={false} value={text ?? shown} {...described}
      onChange={({ target }) => read(target.value)}
      onBlur={() => text !== null && same(parsed(text), value) && typeof value !== "string" && setText(null)}
    />
  );
}

/** What is not JSON is sent as it stands: the server says what it should be. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
