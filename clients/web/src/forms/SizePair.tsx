// A width and its height side by side, with a button that swaps them and common ratios.

import { ArrowLeftRight } from "lucide-react";
import type { ReactNode } from "react";

import { useLatest } from "../server/latest";
import { useForm } from "./context";
import type { Field } from "./schema";
import css from "./templates.module.css";

const RATIOS = [[1, 1], [5, 4], [4, 3], [3, 2], [16, 9], [4, 5], [3, 4], [2, 3], [9, 16]];
const USUAL = 512; // each side, where nothing is known

interface Props {
  /** Names of the two parameters. */
  names: [width: string, height: string];
  fields: Record<string, Field>;
  children: [width: ReactNode, height: ReactNode];
}

export function SizePair({ names, fields, children }: Props) {
  const { values, change } = useForm();
  const newest = useLatest(({ artifacts }) => artifacts.find(({ facts }) => facts.width && facts.height)?.facts);
  const [width, height] = names.map((name) => Number(values[name]) || 0);
  const take = (sides: number[]) => change({ [names[0]]: sides[0], [names[1]]: sides[1] });
  const area = width && height ? width * height : newest ? newest.width * newest.height : USUAL ** 2;
  const usual = names.map((name) => fields[name].default as number | undefined);
  const isUsual = usual[0] === width && usual[1] === height;
  const shown = RATIOS.findIndex(([a, b]) => width && height && Math.abs(Math.log((width / height) / (a / b))) < 0.02);
  const pick = (chosen: string) => {
    if (chosen === "usual") return take(usual as number[]);
    const [a, b] = RATIOS[Number(chosen)];
    take([side(area, a / b, fields[names[0]]), side(area, b / a, fields[names[1]])]);
  };
  return (
    <div className={css.pair}>
      {children[0]}
      <button
        type="button" className="quiet" title="Swap width and height" aria-label={`Swap ${names.join(" and ")}`}
        disabled={width === height} onClick={() => take([height, width])}
      >
        <ArrowLeftRight size={16} aria-hidden="true" />
      </button>
      {children[1]}
      <div className={css.row}>
        <label htmlFor={`${names.join("-")}-ratio`}>Ratio</label>
        <select
          id={`${names.join("-")}-ratio`} value={isUsual ? "usual" : String(shown)} onChange={({ target }) => pick(target.value)}
        >
          {usual[0] !== undefined && <option value="usual">usual</option>}
          {!isUsual && shown < 0 && <option value="-1">own</option>}
          {RATIOS.map(([a, b], index) => <option key={index} value={index}>{a}:{b}</option>)}
        </select>
      </div>
    </div>
  );
}

/** One side of a picture of that area, such as the schema allows. */
function side(area: number, ratio: number, { multipleOf = 1, ui, minimum = 1, maximum = Infinity }: Field): number {
  const step = ui.step ?? multipleOf;
  const wanted = Math.max(step, Math.round(Math.sqrt(area * ratio) / step) * step);
  return Math.min(maximum, Math.max(minimum, wanted));
}
