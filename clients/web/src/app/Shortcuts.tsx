// The list of keyboard shortcuts, opened by "?".

import { useState } from "react";

import { Dialog } from "../ui/Dialog";
import { type Binding, useKeys, useShortcuts } from "./keys";
import css from "./Shortcuts.module.css";

const SYMBOLS: Record<string, string> = {
  arrowup: "↑", arrowdown: "↓", arrowleft: "←", arrowright: "→", escape: "Esc", ctrl: "Ctrl", shift: "Shift",
  alt: "Alt", enter: "Enter", delete: "Delete", backspace: "Backspace", space: "Space", home: "Home", end: "End",
};

export function Shortcuts() {
  const [open, setOpen] = useState(false);
  useKeys({ "?": ["Show this list", () => setOpen(true)] }, "Everywhere");
  return open ? <List onClose={() => setOpen(false)} /> : null;
}

function List({ onClose }: { onClose: () => void }) {
  const registered = useShortcuts((state) => state.registered);
  useKeys({ "?": ["Close this list", onClose] }, "This list", true);
  const groups = new Map<string, Record<string, Binding>>();
  for (const { where, bindings } of registered.filter(({ inDialog }) => !inDialog)) {
    groups.set(where, { ...bindings(), ...groups.get(where) });
  }
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      {[...groups].map(([where, bindings]) => (
        <section key={where} className={css.group}>
          <h3>{where}</h3>
          <dl>
            {Object.entries(bindings).map(([key, [does]]) => (
              <div key={key}>
                <dt>{key === "+" ? <kbd>+</kbd> : key.split("+").map((part) => <kbd key={part}>{SYMBOLS[part] ?? part.toUpperCase()}</kbd>)}</dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </Dialog>
  );
}
