// What a field is for: told where the pointer rests or the keyboard arrives, never a wall of text.

import { CircleHelp } from "lucide-react";
import { type FocusEvent, type RefObject, useEffect, useLayoutEffect, useRef, useState } from "react";

import css from "./Help.module.css";

const REST_MS = 350; // how long the pointer rests, or the keyboard stays
const GAP = 10;

let byKeyboard = false; // how the focus moved last
addEventListener("keydown", ({ key }) => (byKeyboard = key === "Tab"), true);
addEventListener("pointerdown", () => (byKeyboard = false), true);

/** `open`, and the handlers that the row of a field needs. */
export function useHelp(text: string | undefined) {
  const [open, setOpen] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const later = (to: boolean, wait = REST_MS) => {
    clearTimeout(timer.current);
    if (text) timer.current = setTimeout(() => setOpen(to), wait);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (!open) return;
    const close = (event: Event) => (!(event instanceof KeyboardEvent) || event.key === "Escape") && setOpen(false);
    addEventListener("keydown", close);
    addEventListener("scroll", close, true);
    return () => {
      removeEventListener("keydown", close);
      removeEventListener("scroll", close, true);
    };
  }, [open]);
  return {
    open,
    toggle: () => later(!open, 0),
    onHover: { onPointerEnter: () => later(true), onPointerLeave: () => later(false, 100) },
    onFocus: {
      onFocus: () => byKeyboard && later(true, 2 * REST_MS),
      onBlur: ({ currentTarget, relatedTarget }: FocusEvent) => currentTarget.contains(relatedTarget) || later(false, 0),
    },
  };
}

/** The sign that there is help, for mouse and touch: keyboard and screen readers get it at the field itself. */
export function HelpSign({ onClick }: { onClick: () => void }) {
  return (
    <button type="button" tabIndex={-1} aria-hidden="true" className={`quiet ${css.sign}`} onClick={onClick}>
      <CircleHelp size={13} aria-hidden="true" />
    </button>
  );
}

/** Beside the row where there is room, else below it. */
export function HelpText({ anchor, children }: { anchor: RefObject<HTMLElement | null>; children: string }) {
  const tip = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const { left, right, top, bottom } = anchor.current!.getBoundingClientRect();
    const shown = tip.current!;
    shown.showPopover();
    const { width, height } = shown.getBoundingClientRect();
    const beside = right + GAP + width < innerWidth;
    const under = bottom + 4 + height < innerHeight ? bottom + 4 : top - height - 4;
    shown.style.left = `${beside ? right + GAP : Math.min(left, innerWidth - width - GAP)}px`;
    shown.style.top = `${beside ? Math.min(top, innerHeight - height - GAP) : under}px`;
  }, []);
  return <div ref={tip} popover="manual" role="tooltip" className={css.tip}>{children}</div>;
}
