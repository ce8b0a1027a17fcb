// What a place says while nothing is in it, and what to do about that.

import type { ReactNode } from "react";

import css from "./Empty.module.css";

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={css.empty}>
      <h2>{title}</h2>
      {children && <div className={css.more}>{children}</div>}
    </div>
  );
}
