// How Ctrl+Up and Ctrl+Down change what a part of a prompt weighs: (word:1.1), as in A1111.

/** What to put in the place of a part of a text, and what to select then. */
export interface Edit {
  from: number;
  to: number;
  insert: string;
  select: [number, number];
}

const WORD_ENDS = /[\s.,\\/!?%^*;:{}=`~()<>[\]|"]/;
const WEIGHTED = /^:\s*(-?\d*\.?\d+)\s*([)>])/;
const USUAL = 1.1; // what brackets without a number stand for

/** The edit that adds `change` to the weight of what is selected, or of the word or brackets under the caret. */
export function changedAttention(text: string, start: number, end: number, change: number): Edit | null {
  [start, end] = start === end ? underCaret(text, start) : trimmed(text, start, end);
  if (start === end) return null;
  const inside = text.slice(start, end);
  const before = text[start - 1];
  const after = text.slice(end);
  const weighted = "(<".includes(before ?? " ") ? WEIGHTED.exec(after) : null;
  if (weighted) return weigh(inside, start, end + weighted[0].length, before, Number(weighted[1]) + change);
  if (before === "(" && after.startsWith(")")) return weigh(inside, start, end + 1, "(", USUAL + change);
  return weigh(inside, start + 1, end, "(", 1 + change, start);
}

/** `from` is where the brackets begin now: before `start`, or there if there are none yet. */
function weigh(inside: string, start: number, to: number, bracket: string, weight: number, from = start - 1): Edit {
  const rounded = Math.round(weight * 100) / 100;
  const network = bracket === "<";
  if (rounded === 1 && !network) return { from, to, insert: inside, select: [from, from + inside.length] };
  const number = Number.isInteger(rounded) ? rounded.toFixed(1) : String(rounded);
  const insert = `${bracket}${inside}:${number}${network ? ">" : ")"}`;
  return { from, to, insert, select: [from + 1, from + 1 + inside.length] };
}

/** The inside of the innermost weighted brackets around the caret, else the word there. */
function underCaret(text: string, caret: number): [number, number] {
  const block = around(text, caret);
  if (block) return block;
  let [start, end] = [caret, caret];
  while (start > 0 && !WORD_ENDS.test(text[start - 1])) start--;
  while (end < text.length && !WORD_ENDS.test(text[end])) end++;
  return [start, end];
}

function around(text: string, caret: number): [number, number] | null {
  let depth = 0;
  for (let start = caret; start > 0; start--) {
    const sign = text[start - 1];
    if (sign === ")" || sign === ">") depth++;
    else if (sign === "(" || sign === "<") {
      if (depth > 0) depth--;
      else return closed(text, start, caret);
    }
  }
  return null;
}

/** From `start`, after an opening bracket, to its weight, if it has one and the caret is in between. */
function closed(text: string, start: number, caret: number): [number, number] | null {
  let depth = 0;
  for (let end = start; end < text.length; end++) {
    const rest = text.slice(end);
    const weighted = depth === 0 ? WEIGHTED.exec(rest) : null;
    if (weighted) return caret <= end + weighted[0].length - 1 ? [start, end] : null;
    if ("(<".includes(text[end])) depth++;
    else if (")>".includes(text[end]) && depth-- === 0) return null;
  }
  return null;
}

function trimmed(text: string, start: number, end: number): [number, number] {
  while (start < end && /\s/.test(text[start])) start++;
  while (end > start && /\s/.test(text[end - 1])) end--;
  return [start, end];
}

/** Carries out an edit so that Ctrl+Z takes it back. */
export function carryOut(box: HTMLTextAreaElement, { from, to, insert, select }: Edit): void {
  box.setSelectionRange(from, to);
  if (!document.execCommand("insertText", false, insert)) {
    box.setRangeText(insert, from, to); // Firefox before 89: without a way back
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  box.setSelectionRange(...select);
}
