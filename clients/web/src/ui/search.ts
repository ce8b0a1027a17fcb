// Lists that are searched by typing and walked through with the arrow keys.

import type { KeyboardEvent } from "react";

/** Whether a text has all the words, in whatever order. */
export const hasWords = (text: string, words: string): boolean =>
  words.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));

/** Up and down move the focus among the buttons of a list. */
export function walk(event: KeyboardEvent, list: HTMLElement): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const buttons = [...list.querySelectorAll("button")];
  buttons[Math.max(0, buttons.indexOf(document.activeElement as HTMLButtonElement) + by)]?.focus();
}
