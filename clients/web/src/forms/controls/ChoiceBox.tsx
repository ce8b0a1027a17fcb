// One entry of a list that the server keeps: models, styles, whatever a plugin names.

import { useChoices } from "../choices";
import { nameOf, Offers } from "../Fetchable";
import type { ControlProps } from "../ValueField";
import { Combobox } from "./Combobox";
import css from "./controls.module.css";

export function ChoiceBox({ id, field, value, onChange, described }: ControlProps<string | null>) {
  const { names, fetchable, state, why } = useChoices(field.ui.choices_from);
  const none = field.nullable || field.default === "" || (field.default === undefined && !value) ? "none" : undefined;
  const wanted = fetchable.find((model) => nameOf(model) === value);
  const gone = value && state === "here" && !names.includes(value) && value !== field.default && !wanted;
  return (
    <>
      <Combobox
        id={id} names={value && !names.includes(value) ? [value, ...names] : names} value={value ?? ""} none={none}
        onChoose={(name) => onChange(name || empty(field))} {...described}
      />
      {gone && <p className={css.note}>The server does not have this one now.</p>}
      {wanted && <p className={css.note}>This one is not here yet: it can be fetched.</p>}
      <Offers offers={fetchable} chosen={wanted} open={!names.length && !wanted} />
      {state === "failed" && <p className={css.note}>{why}</p>}
    </>
  );
}

const empty = (field: ControlProps["field"]) => (field.nullable ? null : "default" in field ? "" : undefined);
