// Lists that are searched by typing and walked through with the arrow keys.

import type { KeyboardEvent } from "react";

/** Whether a text has all the words, in whatever order. */
export const hasWords = (text: string, words: string): boolean =>
  words.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));

/** What is called just as the words say comes first: Enter takes it. */
export function namedFirst<T>(found: T[], nameOf: (each: T) => string, words: string): T[] {
  const plain = (text: string) => text.toLowerCase().replaceAll("_", " ").trim();
  const isNamed = (each: T) => plain(nameOf(each)) === plain(words);
  return [...found.filter(isNamed), ...found.filter((each) => !isNamed(each))];
}

/** Up and down move the focus among the buttons of a list. */
export function walk(event: KeyboardEvent, list: HTMLElement): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const buttons = [...list.querySelectorAll("button")];
  buttons[Math.max(0, buttons.indexOf(document.activeElement as HTMLButtonElement) + by)]?.focus();
}
