// Yes or no.

import type { ControlProps } from "../ValueField";

export function Checkbox({ id, value, onChange, described }: ControlProps<boolean>) {
  return (
    <input
      id={id} type="checkbox" checked={value === true} {...described}
      onChange={({ target }) => onChange(target.checked)}
    />
  );
}
