// Numbers: typed, by a slider, or the seed of chance.

import { Dices, Recycle } from "lucide-react";
import { useState } from "react";

import { useLatest } from "../../server/latest";
import type { Field } from "../schema";
import type { ControlProps } from "../ValueField";
import css from "./controls.module.css";

type NumberProps = ControlProps<number | null>;

const stepOf = ({ ui, multipleOf, type }: Field): number | "any" =>
  ui.step ?? multipleOf ?? (type === "integer" ? 1 : "any");

export function NumberBox({ id, field, value, onChange, described }: NumberProps) {
  const [typed, setTyped] = useState<string | null>(null); // while it has the focus: also what is no number yet
  const { minimum, maximum } = field;
  const take = (text: string) => {
    setTyped(text);
    if (text === "") onChange(field.nullable ? null : undefined);
    else if (Number.isFinite(Number(text))) onChange(Number(text));
  };
  return (
    <input
      id={id} type="number" min={minimum} max={maximum} step={stepOf(field)}
      inputMode={(minimum ?? -1) >= 0 ? "decimal" : undefined} value={typed ?? value ?? ""} {...described}
      onChange={({ target }) => take(target.value)} onBlur={() => setTyped(null)}
    />
  );
}

export function SliderBox(props: NumberProps) {
  const { field, value, onChange } = props;
  return (
    <div className={css.slider}>
      <input
        type="range" min={field.minimum} max={field.maximum} step={stepOf(field)} value={value ?? field.minimum}
        tabIndex={-1} aria-hidden="true" onChange={({ target }) => onChange(Number(target.value))}
      />
      <NumberBox {...props} />
    </div>
  );
}

export function SeedBox(props: NumberProps) {
  const { field, value, onChange } = props;
  const last = useLatest(({ artifacts }) => artifacts.find(({ facts }) => facts.seed !== undefined)?.facts.seed);
  return (
    <div className={css.row}>
      <NumberBox {...props} />
      <button
        type="button" className={css.icon} aria-pressed={value === field.default} title="A new seed each time"
        aria-label="A new seed each time" onClick={() => onChange(field.default as number)}
      >
        <Dices size={16} aria-hidden="true" />
      </button>
      <button
        type="button" className={css.icon} disabled={last === undefined} title={`The seed of the last result${last === undefined ? "" : `: ${last}`}`}
        aria-label="The seed of the last result" onClick={() => onChange(last)}
      >
        <Recycle size={16} aria-hidden="true" />
      </button>
    </div>
  );
}
