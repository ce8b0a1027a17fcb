// A button that copies a text, and says that it did.

import { Check, Copy } from "lucide-react";
import { useState } from "react";

import { complain } from "../app/notices";

const SAID_MS = 2000;

interface Props {
  text: string | (() => string);
  /** What is copied, for the name of the button. */
  what: string;
}

export function CopyButton({ text, what }: Props) {
  const [copied, setCopied] = useState(false);
  const act = () =>
    copy(typeof text === "string" ? text : text()).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), SAID_MS);
    }, complain);
  const Icon = copied ? Check : Copy;
  return (
    <button type="button" className="quiet" onClick={act} aria-label={`Copy ${what}`} title={`Copy ${what}`}>
      <Icon size={16} aria-hidden="true" />
      <span role="status" className="hidden-text">{copied ? "Copied." : ""}</span>
    </button>
  );
}

/** Over plain HTTP from another machine, browsers offer no clipboard but this old way. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("This browser does not let a page copy. Select the text and copy it yourself.");
}
