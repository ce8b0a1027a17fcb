// What the page has to say for a while: something could not be done, or was.

import { create } from "zustand";

import { sentence } from "../server/client";

interface Notice {
  id: number;
  text: string;
  kind: "error" | "done";
}

const SECONDS = { error: 12, done: 4 };
let made = 0;

export const useNotices = create<{ notices: Notice[] }>(() => ({ notices: [] }));

export function dismiss(id: number): void {
  useNotices.setState(({ notices }) => ({ notices: notices.filter((notice) => notice.id !== id) }));
}

export function say(text: string, kind: Notice["kind"] = "done"): void {
  const id = ++made;
  useNotices.setState(({ notices }) => ({ notices: [...notices.slice(-3), { id, text, kind }] }));
  setTimeout(() => dismiss(id), SECONDS[kind] * 1000);
}

/** For `.catch`: tells what went wrong. */
export const complain = (error: unknown): void => say(sentence(error), "error");
