// The page's keyboard shortcuts: every screen registers its own while it is shown, `?` lists them.

import { useEffect, useRef } from "react";
import { create } from "zustand";

/** What it does, for the list of shortcuts, and the doing. */
export type Binding = [does: string, run: (event: KeyboardEvent) => void];
type Bindings = Record<string, Binding>;
interface Registered {
  where: string;
  inDialog: boolean;
  /** The latest ones; a function, for they change with every render. */
  bindings: () => Bindings;
}

/** Those that are there just now; the latest count first. */
export const useShortcuts = create<{ registered: Registered[] }>(() => ({ registered: [] }));

/** Carries out what is bound to a key ("j", "?", "ctrl+enter", "shift+arrowdown") while the component is shown.
 *
 * `ctrl` is also the Mac's command key. Plain keys do nothing while somebody types; `where` is the heading in the list.
 * While a modal dialog is open, only those with `inDialog` are heard. */
export function useKeys(bindings: Bindings, where: string, inDialog = false): void {
  const latest = useRef(bindings);
  latest.current = bindings;
  useEffect(() => {
    const mine: Registered = { where, inDialog, bindings: () => latest.current };
    useShortcuts.setState(({ registered }) => ({ registered: [mine, ...registered] }));
    return () =>
      useShortcuts.setState(({ registered }) => ({ registered: registered.filter((each) => each !== mine) }));
  }, [where, inDialog]);
}

/** "ctrl+shift+arrowup" for a key press; the shift of characters ("?", "A") is in the character. */
function keyOf({ key, ctrlKey, metaKey, altKey, shiftKey }: KeyboardEvent): string {
  const character = key.length === 1;
  const command = ctrlKey || metaKey;
  const held = [command && "ctrl", altKey && "alt", shiftKey && (!character || command) && "shift"].filter(Boolean);
  return [...held, key === " " ? "space" : key.toLowerCase()].join("+");
}

const EDITING = ["ctrl+z", "ctrl+shift+z", "ctrl+y", "ctrl+a", "ctrl+d"]; // a field's own, too

/** Whether what is pressed there is meant for a field. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "submit", "file"].includes(target.type);
  return target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName);
}

/** Whether the browser does something itself with a key: press what has the focus, close the menu that is open. */
function hasOwnMeaning(key: string, target: EventTarget | null): boolean {
  if (key === "escape") return document.querySelector(":popover-open") !== null;
  return ["enter", "space"].includes(key) && target instanceof Element && target.closest("button, a, summary, input") !== null;
}

function press(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const key = keyOf(event);
  if ((!/ctrl|alt/.test(key) || EDITING.includes(key)) && isTyping(event.target)) return;
  if (hasOwnMeaning(key, event.target)) return;
  const modal = document.querySelector("dialog:modal") !== null;
  const heard = useShortcuts.getState().registered.find(
    ({ inDialog, bindings }) => inDialog === modal && Object.hasOwn(bindings(), key),
  );
  if (!heard) return;
  event.preventDefault();
  heard.bindings()[key][1](event);
}

document.addEventListener("keydown", press);
