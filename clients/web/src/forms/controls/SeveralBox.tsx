// Several of a list, or words of one's own, in the order in which they were added: chips.

import { X } from "lucide-react";

import { readChoices, useChoices } from "../choices";
import { Offers } from "../Fetchable";
import type { Field } from "../schema";
import type { ControlProps } from "../ValueField";
import { Combobox } from "./Combobox";
import css from "./controls.module.css";
import { Kept, useKept } from "./Kept";

export function SeveralBox({ id, field, value, onChange, described }: ControlProps<string[]>) {
  const chosen = Array.isArray(value) ? value : []; // a plugin may have changed what it takes since
  const list = field.ui.choices_from;
  const { names, fetchable, state } = useChoices(list);
  const kept = useKept(field);
  const allowed = (field.items as Field | undefined)?.enum as string[] | undefined;
  const offered = allowed ?? names;
  const left = offered.filter((name) => !chosen.includes(name));
  const gone = (name: string) => field.ui.choices_from !== undefined && state === "here" && !names.includes(name);
  return (
    <div className={css.several} onFocus={() => state === "reading" && list && void readChoices(list)}>
      {chosen.length > 0 && (
        <ul className={css.chips}>
          {chosen.map((name, index) => (
            <li key={`${name} ${index}`} data-gone={gone(name)} title={gone(name) ? "The server does not have this one now." : name}>
              {kept.edit ? (
                <button type="button" className={css.name} onClick={() => kept.edit!(name)} title={`Edit ${name}`}>{name}</button>
              ) : (
                <span>{name}</span>
              )}
              <button
                type="button" className="quiet" aria-label={`Remove ${name}`}
                onClick={() => onChange(chosen.filter((_, other) => other !== index))}
              >
                <X size={14} aria-hidden="true" />
              </button>
            </li>
          ))}
        </ul>
      )}
      <div className={css.row}>
        <Combobox
          id={id} names={left} value="" placeholder={offered.length && !left.length ? "All are chosen" : "Add …"}
          free={!allowed && !field.ui.choices_from} onChoose={(name) => onChange([...chosen, name])} {...described}
        />
        <Kept kept={kept} onSaved={(name) => chosen.includes(name) || onChange([...chosen, name])} />
      </div>
      <Offers offers={fetchable} open={!names.length} />
    </div>
  );
}
