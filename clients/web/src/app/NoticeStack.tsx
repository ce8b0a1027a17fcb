// The stack of notices in the corner.

import { X } from "lucide-react";

import css from "./NoticeStack.module.css";
import { dismiss, useNotices } from "./notices";

export function NoticeStack() {
  const notices = useNotices((state) => state.notices);
  return (
    <div className={css.stack} aria-live="polite">
      {notices.map(({ id, text, kind }) => (
        <div key={id} className={css.notice} data-kind={kind} role={kind === "error" ? "alert" : undefined}>
          <p>{text}</p>
          <button type="button" className="quiet" onClick={() => dismiss(id)} aria-label="Dismiss">
            <X size={16} aria-hidden="true" />
          </button>
        </div>
      ))}
    </div>
  );
}
