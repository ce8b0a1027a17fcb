// Several of a list, in the order in which they were added: chips.

import { X } from "lucide-react";

import { useChoices } from "../choices";
import type { Field } from "../schema";
import type { ControlProps } from "../ValueField";
import css from "./controls.module.css";

export function SeveralBox({ id, field, value, onChange, described }: ControlProps<string[]>) {
  const chosen = value ?? [];
  const { names } = useChoices(field.ui.choices_from);
  const offered = ((field.items as Field | undefined)?.enum as string[] | undefined) ?? names;
  return (
    <div className={css.several}>
      <ul className={css.chips}>
        {chosen.map((name, index) => (
          <li key={`${name} ${index}`}>
            <span>{name}</span>
            <button
              type="button" className="quiet" aria-label={`Remove ${name}`}
              onClick={() => onChange(chosen.filter((_, other) => other !== index))}
            >
              <X size={14} aria-hidden="true" />
            </button>
          </li>
        ))}
      </ul>
      <select id={id} value="" {...described} onChange={({ target }) => onChange([...new Set([...chosen, target.value])])}>
        <option value="">Add …</option>
        {offered.map((name) => <option key={name}>{name}</option>)}
      </select>
    </div>
  );
}
