// Above the canvas: which flow it is, the way back, and running it.

import { FolderOpen, PanelLeft, Play, Plus, Redo2, RotateCcw, Save, Square, Undo2 } from "lucide-react";
import { useEffect, useState } from "react";

import css from "./Toolbar.module.css";
import { isChanged, redo, save, undo, useEditor } from "./editor";
import { freshId } from "./graph";
import { cancelRun, run, useRuns, useWhole } from "./runs";
import { say } from "../../app/notices";

const MOST_TIMES = 100;

interface Props {
  onList: () => void;
  onAdd: () => void;
  onFlows: () => void;
}

export function Toolbar({ onList, onAdd, onFlows }: Props) {
  return (
    <div className={css.bar} role="toolbar" aria-label="Flow">
      <button type="button" className={css.wide} onClick={onList} aria-label="List of jobs" title="List of jobs"><PanelLeft size={16} aria-hidden="true" /></button>
      <button type="button" onClick={onAdd} title="Add a node (A)"><Plus size={16} aria-hidden="true" /> <span className={css.words}>Add</span></button>
      <Name />
      <button type="button" onClick={onFlows} title="Flows: open, import, download"><FolderOpen size={16} aria-hidden="true" /> <span className={css.words}>Flows</span></button>
      <Back />
      <Running />
    </div>
  );
}

/** Saves the flow under its name, or under one of its own. */
export function saveNow(): void {
  const { name, saved, key } = useEditor.getState();
  const wanted = name.trim() || "Flow";
  const isOther = wanted in saved && saved[wanted].key !== key;
  const chosen = isOther || !name.trim() ? freshId(wanted, Object.keys(saved)) : wanted;
  if (save(chosen)) say(`Saved as “${chosen}” in this browser.`);
}

function Name() {
  const name = useEditor((editor) => editor.name);
  const changed = useChanged();
  return (
    <span className={css.name}>
      <input value={name} placeholder="Unnamed flow" aria-label="Name of the flow" maxLength={100} onChange={({ target }) => useEditor.setState({ name: target.value })} />
      {changed && <b title="Not saved" aria-label="not saved">•</b>}
      <button type="button" onClick={saveNow} disabled={!changed} aria-label="Save" title="Save (Ctrl+S)"><Save size={16} aria-hidden="true" /></button>
    </span>
  );
}

/** Whether there is something to save; found out when nothing has moved for a moment. */
function useChanged(): boolean {
  const { nodes, wires, name, saved } = useEditor();
  const [changed, setChanged] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setChanged(isChanged(useEditor.getState())), 250);
    return () => clearTimeout(timer);
  }, [nodes, wires, name, saved]);
  return changed;
}

function Back() {
  const past = useEditor(({ past }) => past.length);
  const future = useEditor(({ future }) => future.length);
  return (
    <span className={css.group}>
      <button type="button" onClick={undo} disabled={!past} aria-label="Undo" title="Undo (Ctrl+Z)"><Undo2 size={16} aria-hidden="true" /></button>
      <button type="button" onClick={redo} disabled={!future} aria-label="Redo" title="Redo (Ctrl+Shift+Z)"><Redo2 size={16} aria-hidden="true" /></button>
    </span>
  );
}

function Running() {
  const [times, setTimes] = useState(1);
  const isEmpty = useEditor(({ nodes }) => !nodes.some(({ type }) => type === "job"));
  const sending = useRuns((runs) => runs.sending);
  const problems = useRuns((runs) => Object.keys(runs.problems).length);
  const whole = useWhole();
  const goesOn = whole && whole.ended < whole.total;
  return (
    <span className={css.running}>
      <span className={css.said} role="status">{problems ? mistakes(problems) : whole && said(whole)}</span>
      <label className={css.times} title="How many times; fixed seeds count up">
        <span aria-hidden="true">×</span>
        <input
          type="number" min={1} max={MOST_TIMES} value={times} aria-label="How many times"
          onChange={({ target }) => setTimes(Math.min(MOST_TIMES, Math.max(1, Math.trunc(Number(target.value)) || 1)))}
        />
      </label>
      {goesOn && <button type="button" className="danger" onClick={() => void cancelRun()}><Square size={14} aria-hidden="true" /> Cancel</button>}
      {whole && (
        <button type="button" disabled={isEmpty || sending} onClick={() => void run({ times, keepSeeds: true })} title="With the seeds of the last run: only what changed is drawn again">
          <RotateCcw size={14} aria-hidden="true" /> <span className={css.words}>Run changed</span>
        </button>
      )}
      <button type="button" className="primary" disabled={isEmpty || sending} onClick={() => void run({ times })} title="With new random seeds (Ctrl+Enter)">
        <Play size={14} aria-hidden="true" /> Run
      </button>
    </span>
  );
}

const mistakes = (problems: number): string => `${problems} ${problems === 1 ? "node has" : "nodes have"} to be mended. Nothing was submitted.`;

function said({ total, ended, failed, reused }: NonNullable<ReturnType<typeof useWhole>>): string {
  if (ended < total) return `${ended} of ${total} jobs done`;
  return [failed ? `${failed} of ${total} jobs failed` : "Done", reused && `${reused} reused`].filter(Boolean).join(", ");
}
