// Files that come to the page by paste, and texts that leave it as files.

import { isTyping } from "../app/keys";

/** The files of a paste; none where it also has a text that is meant for the field in which somebody types. */
export function pastedFiles({ clipboardData, target, defaultPrevented }: ClipboardEvent): File[] {
  if (defaultPrevented || !clipboardData || (isTyping(target) && clipboardData.types.includes("text/plain"))) return [];
  return [...clipboardData.files];
}

/** Lets the browser save a text. */
export function saveText(text: string, name: string, type: string): void {
  const href = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000); // when the browser has it
}
