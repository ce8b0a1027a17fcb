// The flow that is being edited, what can be done to it, and the way back. It is kept while the page is closed.

import { applyEdgeChanges, applyNodeChanges, type EdgeChange, type NodeChange, type XYPosition } from "@xyflow/react";
import { create } from "zustand";

import { complain } from "../../app/notices";
import { memorise, rememberedJson } from "../../server/memory";
import { useServer } from "../../server/store";
import type { Values } from "../../server/types";
import { type FlowFile, readFlow, written } from "./file";
import {
  type Ends, type FlowNode, type Given, type Graph, type Wire, connected, freshId, refusal, typeOf, wireOf,
} from "./graph";
import { arranged } from "./layout";

interface Kept {
  /** Which flow this is; what runs of it is remembered under this name. */
  key: string;
  name: string;
  nodes: FlowNode[];
  wires: Wire[];
}

interface Editor extends Kept {
  past: Kept[];
  future: Kept[];
  /** The flows in this browser, by name. */
  saved: Record<string, Saved>;
  /** Counted up when the whole flow should be brought into view. */
  shown: number;
}

interface Saved {
  key: string;
  file: FlowFile;
}

const STEPS_BACK = 100;
const TYPING_SECONDS = 1.5; // changes of one field within that are one step back
const DRAFT = "flow";
const SAVED = "flows";
const catalogue = () => useServer.getState().catalogue;

export const randomKey = (): string => Math.random().toString(36).slice(2, 10);
const blank = (): Kept => ({ key: randomKey(), name: "", nodes: [], wires: [] });

export const useEditor = create<Editor>(() => ({
  ...blank(), ...draft(), past: [], future: [], saved: rememberedJson(SAVED, {}), shown: 0,
}));

const { getState: editor, setState: set } = useEditor;

function draft(): Partial<Kept> {
  const { key, file } = rememberedJson<Partial<Saved>>(DRAFT, {});
  try {
    return key && file ? opened(file, key) : {};
  } catch {
    return {}; // of a page of another version
  }
}

/** Plugins may not be known yet: names of jobs stay as they are. */
function opened(file: FlowFile, key: string): Kept {
  const { nodes, wires, name } = readFlow(JSON.stringify(file), catalogue());
  return { key, name: name ?? "", nodes, wires };
}

let writing: ReturnType<typeof setTimeout> | undefined;
useEditor.subscribe((now, before) => {
  if (now.nodes === before.nodes && now.wires === before.wires && now.name === before.name) return;
  clearTimeout(writing);
  writing = setTimeout(keepDraft, 300);
});
addEventListener("pagehide", () => keepDraft());

function keepDraft(): void {
  clearTimeout(writing);
  const { key, name, nodes, wires } = editor();
  memorise(DRAFT, JSON.stringify({ key, file: written({ nodes, wires }, name) }));
}

// The way back

const kept = ({ key, name, nodes, wires }: Kept): Kept => ({ key, name, nodes, wires });
let last = { what: "", time: 0 };

/** Notes how it is before a change. Changes to the same thing (`what`) that follow each other quickly are one. */
export function remember(what = ""): void {
  const now = Date.now() / 1000;
  const again = what !== "" && what === last.what && now - last.time < TYPING_SECONDS;
  last = { what, time: now };
  if (!again) set(({ past, ...state }) => ({ past: [...past, kept(state)].slice(-STEPS_BACK), future: [] }));
}

export function undo(): void {
  const { past, future } = editor();
  const before = past.at(-1);
  last = { what: "", time: 0 };
  if (before) set({ ...before, past: past.slice(0, -1), future: [kept(editor()), ...future] });
}

export function redo(): void {
  const { past, future } = editor();
  last = { what: "", time: 0 };
  if (future.length) set({ ...future[0], past: [...past, kept(editor())], future: future.slice(1) });
}

function change(to: (graph: Kept) => Partial<Kept>, what?: string): void {
  remember(what);
  set(to(editor()));
}

// Nodes and wires

export const changeNodes = (changes: NodeChange<FlowNode>[]): void =>
  set(({ nodes }) => ({ nodes: applyNodeChanges(changes, nodes) }));
export const changeWires = (changes: EdgeChange<Wire>[]): void =>
  set(({ wires }) => ({ wires: applyEdgeChanges(changes, wires) }));

export const select = (...ids: string[]): void =>
  set(({ nodes, wires }) => ({
    nodes: nodes.map((node) => (Boolean(node.selected) === ids.includes(node.id) ? node : { ...node, selected: ids.includes(node.id) })),
    wires: wires.map((wire) => (wire.selected ? { ...wire, selected: false } : wire)),
  }));

export const selectAll = (): void => select(...editor().nodes.map(({ id }) => id));

const deselected = (nodes: FlowNode[]): FlowNode[] => nodes.map((node) => (node.selected ? { ...node, selected: false } : node));
const taken = () => editor().nodes.map(({ id }) => id);

/** A place that is not right on another node's corner. */
function free(position: XYPosition): XYPosition {
  const isTaken = ({ x, y }: XYPosition) => editor().nodes.some(({ position: at }) => Math.abs(at.x - x) < 12 && Math.abs(at.y - y) < 12);
  const place = { x: Math.round(position.x), y: Math.round(position.y) };
  while (isTaken(place)) [place.x, place.y] = [place.x + 32, place.y + 32];
  return place;
}

function add(node: FlowNode, wire?: (id: string) => Ends): string {
  change(({ nodes, wires }) => {
    const all = [...deselected(nodes), { ...node, selected: true }];
    return { nodes: all, wires: wire ? connected(wires, wire(node.id), catalogue(), all) : wires };
  });
  return node.id;
}

/** Adds a job; `wire` says how it is connected at once. */
export function addJob(job: string, position: XYPosition, wire?: (id: string) => Ends): string {
  const id = freshId(typeOf(catalogue(), job)?.name ?? job, taken());
  return add({ id, type: "job", position: free(position), data: { job, params: {}, more: {} } }, wire);
}

export function addGiven(given: Given, position: XYPosition, wire?: (id: string) => Ends): string {
  const id = freshId(given.text !== undefined ? "text" : given.kind, taken());
  return add({ id, type: "given", position: free(position), data: given }, wire);
}

/** Connects, where that is possible; says why not. */
export function connect(ends: Ends): void {
  const problem = refusal(editor(), catalogue(), ends);
  if (problem) return complain(new Error(problem));
  change(({ nodes, wires }) => ({ wires: connected(wires, ends, catalogue(), nodes) }));
}

export function setParams(id: string, params: Values): void {
  setData(id, { params }, `params of ${id}`);
}

export const setGiven = (id: string, data: Partial<Given>): void => setData(id, data, `given of ${id}`);

function setData(id: string, data: object, what: string): void {
  change(({ nodes }) => ({
    nodes: nodes.map((node) => (node.id === id ? ({ ...node, data: { ...node.data, ...data } } as FlowNode) : node)),
  }), what);
}

export function setWire(id: string, data: Wire["data"]): void {
  change(({ wires }) => ({ wires: wires.map((wire) => (wire.id === id ? { ...wire, data: { ...wire.data, ...data } } : wire)) }));
}

/** Of several that go into one input, lets one come earlier (-1) or later (1). */
export function moveWire(id: string, by: 1 | -1): void {
  change(({ wires }) => {
    const { target, targetHandle } = wires.find((wire) => wire.id === id)!;
    const places = wires.flatMap((wire, at) => (wire.target === target && wire.targetHandle === targetHandle ? [at] : []));
    const at = wires.findIndex((wire) => wire.id === id);
    const other = places[places.indexOf(at) + by];
    if (other === undefined) return {};
    const swapped = [...wires];
    [swapped[at], swapped[other]] = [wires[other], wires[at]];
    return { wires: swapped };
  });
}

export function remove(nodeIds: string[], wireIds: string[] = []): void {
  const gone = new Set(nodeIds);
  change(({ nodes, wires }) => ({
    nodes: nodes.filter(({ id }) => !gone.has(id)),
    wires: wires.filter(({ id, source, target }) => !gone.has(source) && !gone.has(target) && !wireIds.includes(id)),
  }));
}

export function removeSelected(): void {
  const { nodes, wires } = editor();
  const chosen = <Item extends { id: string; selected?: boolean }>(items: Item[]) => items.filter(({ selected }) => selected).map(({ id }) => id);
  if (chosen(nodes).length + chosen(wires).length) remove(chosen(nodes), chosen(wires));
}

export function arrange(): void {
  change(({ nodes, wires }) => ({ nodes: arranged({ nodes, wires }) }));
  set(({ shown }) => ({ shown: shown + 1 }));
}

// Copies

/** The selected nodes and the wires between them, as a file's text; null if nothing is selected. */
export function copied(): string | null {
  const { nodes, wires } = editor();
  const chosen = nodes.filter(({ selected }) => selected);
  const has = (id: string) => chosen.some((node) => node.id === id);
  const between = wires.filter(({ source, target }) => has(source) && has(target));
  return chosen.length ? JSON.stringify(written({ nodes: chosen, wires: between }, ""), null, 2) : null;
}

/** Adds the nodes of a flow's text beside what is there, under names of their own. Throws what the text is not. */
export function paste(text: string, by: XYPosition = { x: 40, y: 40 }): void {
  insert(readFlow(text, catalogue()), by);
}

function insert(graph: Graph, by: XYPosition): void {
  const used = taken();
  const names = new Map<string, string>();
  for (const { id } of graph.nodes) {
    names.set(id, freshId(id, used));
    used.push(names.get(id)!);
  }
  const added = graph.nodes.map((node) => ({
    ...node, id: names.get(node.id)!, selected: true, position: { x: node.position.x + by.x, y: node.position.y + by.y },
  }));
  const wires = graph.wires.map(({ source, target, targetHandle, data }) =>
    wireOf({ source: names.get(source)!, target: names.get(target)!, targetHandle }, data));
  change((now) => ({ nodes: [...deselected(now.nodes), ...added], wires: [...now.wires, ...wires] }));
}

export function duplicate(): void {
  const text = copied();
  if (text) paste(text);
}

// Whole flows

/** Shows another flow in the place of this one, which `undo` brings back. */
export function open({ nodes, wires, name = "", key = randomKey() }: Graph & { name?: string; key?: string }): void {
  change(() => ({ key, name, nodes, wires }));
  set(({ shown }) => ({ shown: shown + 1 }));
}

export const begin = (): void => open({ nodes: [], wires: [] });

export function openSaved(name: string): void {
  const { key, file } = editor().saved[name];
  open({ ...opened(file, key), name });
}

export const fileOf = ({ nodes, wires, name }: Kept): FlowFile => written({ nodes, wires }, name);

/** Whether what is saved under the name of this flow is something else. */
export function isChanged(state: Kept & Pick<Editor, "saved">): boolean {
  const { file } = state.saved[state.name] ?? {};
  return file ? JSON.stringify(file) !== JSON.stringify(fileOf(state)) : state.nodes.length > 0;
}

/** Returns whether the browser keeps them; else they are there until the page is closed. */
function keepSaved(saved: Editor["saved"]): boolean {
  set({ saved });
  const isKept = memorise(SAVED, JSON.stringify(saved));
  if (!isKept) complain(new Error("This browser keeps nothing more. Download the flow as a file to have it later."));
  return isKept;
}

export function save(name: string): boolean {
  set({ name });
  const { saved, key } = editor();
  return keepSaved({ ...saved, [name]: { key, file: fileOf(editor()) } });
}

export function rename(from: string, to: string): void {
  const { [from]: renamed, ...rest } = editor().saved;
  keepSaved({ ...rest, [to]: { ...renamed, file: { ...renamed.file, name: to } } });
  if (editor().name === from) set({ name: to });
}

export function forget(name: string): void {
  const { [name]: _gone, ...rest } = editor().saved;
  keepSaved(rest);
}
