// Names with a value each: further parameters of a job, say.

import { Plus, X } from "lucide-react";
import { useState } from "react";

import type { Values } from "../../server/types";
import { same } from "../schema";
import type { ControlProps } from "../ValueField";
import css from "./controls.module.css";
import { parsed } from "./JsonBox";

type Pair = [name: string, text: string];

export function PairsBox({ id, value, onChange, described }: ControlProps<Values>) {
  const known = value && typeof value === "object" ? value : {};
  const [typed, setTyped] = useState<Pair[]>([]); // also what has no name yet
  const pairs = same(valuesOf(typed), known) ? typed : pairsOf(known);
  const change = (to: Pair[]) => {
    setTyped(to);
    onChange(valuesOf(to));
  };
  const put = (at: number, pair: Pair) => change(pairs.with(at, pair));
  return (
    <div className={css.pairs} role="group" aria-describedby={described["aria-describedby"]}>
      {pairs.map(([name, text], at) => (
        <div key={at} className={css.row}>
          <input value={name} placeholder="name" aria-label={`Name ${at + 1}`} autoComplete="off" spellCheck={false} onChange={({ target }) => put(at, [target.value, text])} />
          <input value={text} placeholder="value" aria-label={`Value ${at + 1}`} autoComplete="off" spellCheck={false} onChange={({ target }) => put(at, [name, target.value])} />
          <button type="button" className={css.icon} aria-label={`Remove ${name || at + 1}`} onClick={() => change(pairs.toSpliced(at, 1))}>
            <X size={14} aria-hidden="true" />
          </button>
        </div>
      ))}
      <button id={id} type="button" aria-invalid={described["aria-invalid"]} onClick={() => change([...pairs, ["", ""]])}>
        <Plus size={16} aria-hidden="true" /> Add
      </button>
    </div>
  );
}

/** Numbers, lists, `true` and what is in quotes are JSON; everything else is the text as it stands. */
const valuesOf = (pairs: Pair[]): Values =>
  Object.fromEntries(pairs.filter(([name]) => name.trim()).map(([name, text]) => [name.trim(), parsed(text)]));

const pairsOf = (values: Values): Pair[] =>
  Object.entries(values).map(([name, each]) => [name, typeof each === "string" && same(parsed(each), each) ? each : JSON.stringify(each)]);
