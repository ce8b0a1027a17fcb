// A modal dialog with a title: the browser's own, which keeps the focus inside and gives it back.

import { X } from "lucide-react";
import { type ReactNode, useId, useLayoutEffect, useRef } from "react";

import css from "./Dialog.module.css";

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
  /** Buttons below, the main one last. */
  actions?: ReactNode;
}

/** The `ref` of what has the focus when its dialog opens: that looks for the attribute, which React's autoFocus does not set. */
export const firstToFocus = (element: HTMLElement | null): void => element?.setAttribute("autofocus", "");

/** Shown for as long as it is rendered. */
export function Dialog({ title, onClose, children, actions }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useLayoutEffect(() => { // closed while it is still in the page, or the focus goes nowhere
    const shown = dialog.current!;
    if (!shown.open) shown.showModal();
    return () => shown.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={css.dialog}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault(); // closed by not being rendered any more
        onClose();
      }}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div className={css.inside}>
        <header>
          <h2 id={heading}>{title}</h2>
          <button type="button" className="quiet" onClick={onClose} aria-label="Close">
            <X size={18} aria-hidden="true" />
          </button>
        </header>
        {children}
        {actions && <footer>{actions}</footer>}
      </div>
    </dialog>
  );
}
