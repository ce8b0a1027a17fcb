// The sockets of a node: colour, shape and letter say what goes through.

import { Handle, Position } from "@xyflow/react";

import type { Port } from "../../server/types";
import css from "./Node.module.css";
import { OUT } from "./graph";

export const told = ({ list, optional }: Port): string => [list && "several", optional && "optional"].filter(Boolean).join(", ");

export const Letter = ({ kind }: { kind: string }) => (
  <i className={css.letter} data-kind={kind} title={kind} aria-hidden="true">{kind[0]?.toUpperCase()}</i>
);

interface InputProps {
  name: string;
  port: Port;
  /** Whether a wire ends here. */
  taken: boolean;
  /** While a wire is dragged: whether it may end here. */
  open?: boolean;
}

export function InputPort({ name, port, taken, open }: InputProps) {
  return (
    <div className={css.input} data-open={open} data-missing={!taken && !port.optional} title={port.help}>
      <Handle type="target" position={Position.Left} id={name} className={css.handle} data-kind={port.kind} data-list={port.list} data-hollow={port.optional}>
        {port.kind[0].toUpperCase()}
      </Handle>
      <span>{name.replaceAll("_", " ")}</span>
      {port.list && <small>several</small>}
      {port.optional && <small>optional</small>}
    </div>
  );
}

export function OutputPort({ kind, list, label = kind }: { kind: string; list: boolean; label?: string }) {
  return (
    <div className={css.output}>
      {list && <small>several</small>}
      <span>{label}</span>
      <Handle type="source" position={Position.Right} id={OUT} className={css.handle} data-kind={kind} data-list={list}>
        {kind[0].toUpperCase()}
      </Handle>
    </div>
  );
}
