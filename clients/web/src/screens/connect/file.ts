// Flows as files: the list of jobs that `flow` takes, and beside it where the nodes are. See docs/flows.md.

import type { Reference, Values } from "../../server/types";
import { type Catalogue, type FlowNode, type Given, type Graph, type Wire, freshId, ordered, portOf, typeOf, wireOf } from "./graph";
import { arranged } from "./layout";

const VERSION = 1;

interface FileJob {
  id?: string;
  job: string;
  params?: Values;
  inputs?: Record<string, Reference | Reference[]>;
  [more: string]: unknown;
}

export interface FlowFile {
  version: number;
  name?: string;
  jobs: FileJob[];
  canvas: {
    positions: Record<string, [x: number, y: number]>;
    given: Record<string, Given & { to: string[] }>;
  };
}

/** What the flow is as a file; `positions` and `given` are for this page, the rest for whoever runs it. */
export function written(graph: Graph, name: string): FlowFile {
  const positions = graph.nodes.map(({ id, position }) => [id, [Math.round(position.x), Math.round(position.y)]]);
  const given = graph.nodes.flatMap((node) => {
    if (node.type !== "given") return [];
    const to = graph.wires.filter(({ source }) => source === node.id).map(({ target, targetHandle }) => `${target}.${targetHandle}`);
    return [[node.id, { ...node.data, to }]];
  });
  return {
    version: VERSION, name, jobs: jobsOf(graph),
    canvas: { positions: Object.fromEntries(positions), given: Object.fromEntries(given) },
  };
}

/** The jobs in an order in which they can be submitted. */
export function jobsOf(graph: Graph): FileJob[] {
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  return ordered(graph).map(({ id, data }) => {
    const inputs: Record<string, Reference[]> = {};
    for (const wire of graph.wires.filter(({ target }) => target === id)) {
      const reference = referenceOf(byId.get(wire.source)!, wire);
      if (reference !== undefined) (inputs[wire.targetHandle] ??= []).push(reference);
    }
    return { id, job: data.job, params: data.params, inputs, ...data.more };
  });
}

/** What an input says of its source: an artifact's id, a text, or another job's results. Nothing of an empty node. */
function referenceOf(source: FlowNode, { data }: Wire): Reference | undefined {
  if (source.type === "given" && source.data.results === undefined) return source.data.text ?? (source.data.artifact || undefined);
  return {
    job: source.type === "given" ? source.data.results! : source.id,
    ...(data?.index !== undefined && { index: data.index }),
    ...(data?.picked && { review: "picked" as const }),
  };
}

/** The flow in a file's text. Throws an Error that says what the file is not. */
export function readFlow(text: string, catalogue: Catalogue): Graph & { name?: string } {
  const found = parsed(text);
  const jobs = Array.isArray(found) ? found : (found.jobs ?? (found.job ? [found] : undefined));
  if (!Array.isArray(jobs) || !jobs.every((each) => typeof each?.job === "string")) {
    throw new Error('This is no flow: a file with "jobs", each with a "job".');
  }
  const wrong = jobs.find((each) => !isJob(each));
  if (wrong) throw new Error(`This is no flow: what it says of ${wrong.job.slice(0, 100)} is not of the right types.`);
  if ((found.version ?? VERSION) > VERSION) throw new Error(`This flow is of version ${found.version}; this page reads up to ${VERSION}.`);
  return { ...graphOf(jobs, canvasOf(found.canvas), catalogue), name: typeof found.name === "string" ? found.name : undefined };
}

function parsed(text: string): any {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    throw new Error("This is no flow: it is not JSON.");
  }
}

type Table = Record<string, any>;
const FARTHEST = 1e6; // pixels
const isTable = (value: unknown): value is Table => typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => value === undefined || typeof value === "string";
const isReference = (item: any): boolean => item == null || typeof item === "string" || typeof item.job === "string";
const isPlace = (at: unknown): boolean =>
  Array.isArray(at) && at.length === 2 && at.every((side) => Number.isFinite(side) && Math.abs(side) < FARTHEST);

function isJob({ id, params = {}, inputs = {} }: Table): boolean {
  return isText(id) && isTable(params) && isTable(inputs) && Object.values(inputs).flat().every(isReference);
}

function isGiven(each: unknown): boolean {
  return isTable(each) && typeof each.kind === "string" && [each.text, each.artifact, each.results, each.name].every(isText)
    && Array.isArray(each.to) && each.to.every((end) => typeof end === "string");
}

/** Without what is not of the right types: the flow is the same. */
function canvasOf(canvas: any): FlowFile["canvas"] {
  const those = (of: unknown, fits: (value: unknown) => boolean) =>
    Object.fromEntries(Object.entries(isTable(of) ? of : {}).filter(([, value]) => fits(value)));
  return { positions: those(canvas?.positions, isPlace), given: those(canvas?.given, isGiven) };
}

function graphOf(jobs: FileJob[], { positions, given }: FlowFile["canvas"], catalogue: Catalogue): Graph {
  const at = (id: string) => ({ x: positions[id]?.[0] ?? 0, y: positions[id]?.[1] ?? 0 });
  const nodes: FlowNode[] = [];
  const ids = () => [...nodes.map(({ id }) => id), ...jobs.flatMap(({ id }) => id ?? []), ...Object.keys(given)];
  const local = new Set(jobs.flatMap(({ id }) => id ?? []));
  const wires: Wire[] = [];
  for (const [id, { to: _to, ...data }] of Object.entries(given)) nodes.push({ id, type: "given", position: at(id), data });
  const pending: [target: string, input: string, item: Reference][] = [];
  for (const { id: named, job, params = {}, inputs = {}, ...more } of jobs) {
    const type = typeOf(catalogue, job);
    const id = named ?? freshId(type?.name ?? job, ids());
    nodes.push({ id, type: "job", position: at(id), data: { job: type?.full ?? job, params, more } });
    for (const [input, items] of Object.entries(inputs)) for (const item of [items].flat()) if (item != null) pending.push([id, input, item]);
  }
  for (const [target, targetHandle, item] of pending) {
    const isLocal = typeof item !== "string" && local.has(item.job);
    const kind = portOf(nodes.find(({ id }) => id === target), targetHandle, catalogue)?.kind ?? "image";
    const source = isLocal ? item.job : givenFor(nodes, given, `${target}.${targetHandle}`, item, kind, ids);
    const data = typeof item === "string" ? {} : { index: item.index, picked: item.review === "picked" || undefined };
    wires.push(wireOf({ source, target, targetHandle }, data));
  }
  for (const [source, { to, artifact }] of Object.entries(given)) {
    if (artifact !== "") continue; // one that is filled stands in the inputs
    for (const end of to) wires.push(wireOf({ source, target: end.slice(0, end.lastIndexOf(".")), targetHandle: end.slice(end.lastIndexOf(".") + 1) }));
  }
  const graph = { nodes, wires: [...new Map(wires.map((wire) => [wire.id, wire])).values()] };
  return nodes.some(({ id }) => !(id in positions)) ? { ...graph, nodes: arranged(graph) } : graph;
}

const ARTIFACT_ID = /^[0-7][0-9a-hjkmnp-tv-z]{25}(\.\d+)?$/;

/** The node that holds what an input names: the one that says so, else a new one. */
function givenFor(
  nodes: FlowNode[], given: FlowFile["canvas"]["given"], end: string, item: Reference, kind: string, ids: () => string[],
): string {
  const isText = typeof item === "string" && !ARTIFACT_ID.test(item);
  const data: Given = typeof item !== "string" ? { results: item.job, kind } : isText ? { text: item, kind: "text" } : { artifact: item, kind };
  const isSame = (other: Given) => other.text === data.text && other.artifact === data.artifact && other.results === data.results;
  const known = nodes.filter((node) => node.type === "given" && isSame(node.data)).map(({ id }) => id);
  const named = known.find((id) => given[id]?.to?.includes(end)) ?? known.find((id) => !(id in given));
  if (named) return named;
  const id = freshId(isText ? "text" : "input", ids());
  nodes.push({ id, type: "given", position: { x: 0, y: 0 }, data });
  return id;
}
