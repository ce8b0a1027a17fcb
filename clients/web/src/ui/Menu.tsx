// A button that opens a short list of things to do; the browser closes it.

import { type ReactNode, useId, useRef, useState } from "react";
import { flushSync } from "react-dom";

import css from "./Menu.module.css";

const GAP = 4;

interface Props {
  label: ReactNode;
  /** Of the button, where its label is a picture. */
  name?: string;
  className?: string;
  disabled?: boolean;
  children: ReactNode;
}

export function Menu({ label, name, className, disabled, children }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false); // long lists have many menus, and few are looked into
  const place = () => {
    const [at, { offsetWidth, offsetHeight, style }] = [button.current!.getBoundingClientRect(), list.current!];
    const below = at.bottom + GAP + offsetHeight < innerHeight;
    style.top = `${below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - offsetHeight)}px`;
    style.left = `${Math.max(GAP, Math.min(at.left, innerWidth - offsetWidth - GAP))}px`;
  };
  return (
    <>
      <button ref={button} type="button" className={className} popoverTarget={id} aria-label={name} title={name} disabled={disabled}>
        {label}
      </button>
      <div
        ref={list}
        id={id}
        popover="auto"
        className={css.list}
        onBeforeToggle={({ newState }) => newState === "open" && flushSync(() => setOpen(true))}
        onToggle={({ newState }) => newState === "open" && (place(), list.current!.querySelector("button")?.focus())}
        onClick={({ target }) => (target as Element).closest("button, a") && list.current!.hidePopover()}
      >
        {open && children}
      </div>
    </>
  );
}
