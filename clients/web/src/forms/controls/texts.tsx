// Texts: a line, or as many as it takes; prompts with their tokens and the keys for attention.

import { type KeyboardEvent, useLayoutEffect, useRef } from "react";

import { carryOut, changedAttention } from "../attention";
import { useTokens } from "../useTokens";
import type { ControlProps } from "../ValueField";
import css from "./controls.module.css";

type TextProps = ControlProps<string | null>;
const STEP = 0.1; // of attention

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

/** Grows with its text. */
export function TextBox(props: TextProps & { onKeyDown?: (event: KeyboardEvent<HTMLTextAreaElement>) => void }) {
  const { id, value, onChange, described, field, onKeyDown } = props;
  const box = useRef<HTMLTextAreaElement>(null);
  const text = value ?? "";
  useLayoutEffect(() => grow(box.current!), [text]);
  return (
    <textarea
      ref={box} id={id} className={css.text} rows={rowsOf(field)} value={text}
      placeholder={exampleOf(props)} {...described} onKeyDown={onKeyDown}
      onChange={({ target }) => onChange(target.value || empty(props))}
    />
  );
}

/** Prompts begin small, but for the one that an example is given of: there one begins. */
const rowsOf = ({ ui, examples, maxLength }: TextProps["field"]): number =>
  (ui.counts && !examples) || (maxLength ?? Infinity) <= 200 ? 1 : 2;

export function PromptBox(props: TextProps) {
  const counted = useTokens(props.field.ui.counts, props.value ?? "");
  const warnings = counted?.warnings ?? [];
  return (
    <div className={css.prompt}>
      <TextBox {...props} onKeyDown={attention} />
      <output htmlFor={props.id} className={css.tokens} data-warns={warnings.length > 0} title={warnings.join("\n") || "Tokens"}>
        {counted && [counted.tokens, counted.limit].filter((each) => each !== undefined).join(" / ")}
      </output>
    </div>
  );
}

function attention(event: KeyboardEvent<HTMLTextAreaElement>): void {
  const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (!direction || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  event.preventDefault();
  const box = event.currentTarget;
  const edit = changedAttention(box.value, box.selectionStart, box.selectionEnd, direction * STEP);
  if (edit) carryOut(box, edit);
}

export function grow(box: HTMLTextAreaElement): void {
  box.style.height = "auto";
  if (box.scrollHeight) box.style.height = `${box.scrollHeight + 2}px`; // with its border
}

const exampleOf = ({ field }: TextProps): string | undefined => {
  const [first] = (field.examples as string[] | undefined) ?? [];
  return first && `For example: ${first}`;
};
