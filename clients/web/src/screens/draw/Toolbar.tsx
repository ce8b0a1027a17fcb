// The tools of the painter: brush, shapes, size and softness, steps back, and what is done to the whole mask.

import {
  Blend, Brush, ChevronDown, Contrast, Eraser, Lasso, PaintBucket, Redo2, Save, SquareDashed, Trash2, Undo2, Upload, type LucideIcon,
} from "lucide-react";
import { useEffect, useRef, useSyncExternalStore, type KeyboardEvent } from "react";

import { useKeys } from "../../app/keys";
import { complain, say } from "../../app/notices";
import css from "./Draw.module.css";
import { loadMask, uploadMask, type Easel } from "./easel";
import { COLOURS, setShare, setSoftness, setTools, useTools, type Tool } from "./tools";

const TOOLS: { tool: Tool; name: string; key: string; icon: LucideIcon }[] = [
  { tool: "brush", name: "Brush", key: "b", icon: Brush },
  { tool: "eraser", name: "Eraser", key: "e", icon: Eraser },
  { tool: "rectangle", name: "Rectangle (with Alt: erase)", key: "r", icon: SquareDashed },
  { tool: "lasso", name: "Lasso (with Alt: erase)", key: "l", icon: Lasso },
];

interface Props {
  easel: Easel;
  /** What the form says: by how many pixels the mask will be blurred; undefined where the job does not say. */
  blur: number | undefined;
}

export function Toolbar({ easel, blur }: Props) {
  const { mask, bitmap } = easel;
  const { tool, share, softness, color, softened } = useTools();
  useStep(easel);
  const shorter = Math.min(bitmap.width, bitmap.height);
  const size = Math.max(1, Math.round(share * shorter));
  const file = useRef<HTMLInputElement>(null);
  const undo = () => mask.undo();
  const redo = () => mask.redo();
  useKeys(
    {
      ...Object.fromEntries(TOOLS.map((each) => [each.key, [each.name, () => setTools({ tool: each.tool })] as [string, () => void]])),
      "[": ["Smaller brush", () => setShare(Math.min(share / 1.2, (size - 1) / shorter))],
      "]": ["Larger brush", () => setShare(Math.max(share * 1.2, (size + 1) / shorter))],
      "{": ["Harder brush", () => setSoftness(softness - 0.1)],
      "}": ["Softer brush", () => setSoftness(softness + 0.1)],
      "ctrl+z": ["Undo", undo],
      "ctrl+shift+z": ["Redo", redo],
      "ctrl+y": ["Redo", redo],
    },
    "Draw",
  );
  const save = () => uploadMask(easel).then(() => say("The mask is saved; it is among the results."), complain);
  const load = (files: FileList | null) => files?.[0] && loadMask(mask, files[0]).catch(complain);
  return (
    <div className={css.tools}>
      <Roving label="Tools">
        <span role="radiogroup" aria-label="Tool" className={css.group}>
          {TOOLS.map(({ tool: each, name, key, icon: Icon }) => (
            <button
              key={each} type="button" role="radio" aria-checked={tool === each} className="quiet"
              onClick={() => setTools({ tool: each })} aria-label={name} title={`${name} · ${key.toUpperCase()}`}
            >
              <Icon size={18} aria-hidden="true" />
            </button>
          ))}
        </span>
        <span className={css.group}>
          <IconButton icon={Undo2} name="Undo" keys="Ctrl Z" onClick={undo} disabled={!mask.canUndo} />
          <IconButton icon={Redo2} name="Redo" keys="Ctrl Shift Z" onClick={redo} disabled={!mask.canRedo} />
        </span>
        <span className={css.group}>
          <IconButton icon={PaintBucket} name="Paint all" onClick={() => mask.fill(255)} />
          <IconButton icon={Contrast} name="Invert the mask" onClick={() => mask.invert()} />
          <IconButton icon={Trash2} name="Clear the mask" onClick={() => mask.fill(0)} />
        </span>
        <span className={css.group}>
          {blur !== undefined && (
            <button
              type="button" className="quiet" aria-pressed={softened} onClick={() => setTools({ softened: !softened })}
              aria-label="Show how the mask is blurred" title={`Show how the mask is blurred (by ${blur} pixels)`}
            >
              <Blend size={18} aria-hidden="true" />
            </button>
          )}
          <ColourButton color={color ?? easel.color} />
          <IconButton icon={Upload} name="Load a mask" onClick={() => file.current!.click()} />
          <IconButton icon={Save} name="Save the mask" onClick={save} />
        </span>
      </Roving>
      <span className={css.sliders}>
        <label title="Size of the brush · [ and ]">
          Size
          <input
            type="range" min={0} max={100} step={1} value={Math.sqrt(share) * 100} aria-valuetext={`${size} pixels`}
            onChange={({ target }) => setShare((Number(target.value) / 100) ** 2)} onPointerUp={({ currentTarget }) => currentTarget.blur()}
          />
          <output>{size}</output>
        </label>
        <label title="Softness of the brush · { and }">
          Soft
          <input
            type="range" min={0} max={1} step={0.05} value={softness} aria-label="Softness" aria-valuetext={`${Math.round(softness * 100)} %`}
            onChange={({ target }) => setSoftness(Number(target.value))} onPointerUp={({ currentTarget }) => currentTarget.blur()}
          />
        </label>
      </span>
      <input ref={file} type="file" accept="image/*" hidden aria-label="Mask to load" onChange={({ target }) => {
        load(target.files);
        target.value = "";
      }} />
    </div>
  );
}

function IconButton({ icon: Icon, name, keys, onClick, disabled }: { icon: LucideIcon; name: string; keys?: string; onClick: () => void; disabled?: boolean }) {
  return (
    <button type="button" className="quiet" onClick={onClick} disabled={disabled} aria-label={name} title={keys ? `${name} · ${keys}` : name}>
      <Icon size={18} aria-hidden="true" />
    </button>
  );
}

/** The colour in which the mask is shown. It has a meaning for the eye only. */
function ColourButton({ color }: { color: string }) {
  return (
    <>
      <button type="button" className="quiet" popoverTarget="mask-colours" aria-label={`Colour of the mask: ${color}`} title="Colour in which the mask is shown">
        <Swatch name={color} />
        <ChevronDown size={12} aria-hidden="true" />
      </button>
      <div id="mask-colours" popover="auto" className={css.colours} role="group" aria-label="Colour of the mask">
        {Object.keys(COLOURS).map((name) => (
          <button
            key={name} type="button" className="quiet" aria-pressed={name === color} aria-label={name} title={name}
            onClick={() => setTools({ color: name })} popoverTarget="mask-colours" popoverTargetAction="hide"
          >
            <Swatch name={name} />
          </button>
        ))}
      </div>
    </>
  );
}

const Swatch = ({ name }: { name: string }) => <span className={css.swatch} style={{ background: `rgb(${COLOURS[name].join(" ")})` }} />;

/** Renders anew when a step is done, undone or redone. */
export function useStep({ mask }: Easel): number {
  return useSyncExternalStore(
    (changed) => {
      mask.onStep.add(changed);
      return () => void mask.onStep.delete(changed);
    },
    () => mask.step,
  );
}

/** One stop for the Tab key; arrows go on from there. */
function Roving({ label, children }: { label: string; children: React.ReactNode }) {
  const bar = useRef<HTMLDivElement>(null);
  const buttons = () => [...bar.current!.querySelectorAll<HTMLButtonElement>("span > button:not(:disabled)")];
  const move = (event: KeyboardEvent) => {
    const all = buttons();
    const at = all.indexOf(event.target as HTMLButtonElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    enter(all[(next + all.length) % all.length]);
  };
  const enter = (chosen: HTMLButtonElement) => {
    for (const each of buttons()) delete each.dataset.stop;
    chosen.dataset.stop = "yes";
    for (const each of buttons()) each.tabIndex = each === chosen ? 0 : -1;
    chosen.focus();
  };
  useEffect(() => {
    const all = buttons(); // a button that has just been disabled may have been the stop
    const stop = all.find((each) => each.dataset.stop) ?? all[0];
    for (const each of bar.current!.querySelectorAll("button")) Object.assign(each, { tabIndex: each === stop ? 0 : -1 });
  });
  return (
    <div ref={bar} role="toolbar" aria-label={label} className={css.toolbar} onKeyDown={move}>
      {children}
    </div>
  );
}
