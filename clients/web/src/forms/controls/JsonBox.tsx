// A value of any shape, typed as JSON.

import { useLayoutEffect, useRef, useState } from "react";

import { same } from "../schema";
import type { ControlProps } from "../ValueField";
import { grow } from "./texts";

const SHORT = 60; // characters in a line

export function JsonBox({ id, field, value, onChange, described }: ControlProps<unknown>) {
  const [text, setText] = useState<string | null>(null); // as it is typed; null: as the value is
  const box = useRef<HTMLTextAreaElement>(null);
  const shown = text ?? written(value);
  const [example] = (field.examples as unknown[] | undefined) ?? [];
  const read = (typed: string) => {
    setText(typed);
    onChange(typed.trim() ? parsed(typed) : undefined);
  };
  useLayoutEffect(() => grow(box.current!), [shown]);
  return (
    <>
      <textarea
        ref={box} id={id} rows={2} className="code" spellCheck={false} value={shown} placeholder={example === undefined ? undefined : `For example: ${written(example)}`}
        {...described} onChange={({ target }) => read(target.value)}
        onBlur={() => text !== null && same(parsed(text), value) && typeof value !== "string" && setText(null)}
      />
      {text?.trim() && typeof value === "string" && <small role="status">Not JSON yet: {problemOf(text)}</small>}
    </>
  );
}

/** On one line where that is short. */
function written(value: unknown): string {
  if (value === undefined) return "";
  const line = JSON.stringify(value);
  return line.length > SHORT ? JSON.stringify(value, null, 1) : line;
}

/** What is not JSON is sent as it stands: the server says what it should be. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function problemOf(text: string): string {
  try {
    JSON.parse(text);
    return "a text alone.";
  } catch (error) {
    return `${(error as Error).message}.`;
  }
}
