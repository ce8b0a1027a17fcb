// What a flow is: nodes with ports, wires between them, and which wires there may be.

import type { Edge, Node } from "@xyflow/react";

import { type Way, wayInto } from "../../app/fitting";
import type { JobType, Port, Values } from "../../server/types";

/** `more`: what else a submission says (session, priority ...); this page only hands it on. */
export type JobNode = Node<{ job: string; params: Values; more: Values }, "job">;
/** What is put in: a text, an artifact, or the results of a job that is no part of the flow. */
export interface Given extends Record<string, unknown> {
  text?: string;
  /** An artifact's id; "" until a file is chosen. */
  artifact?: string;
  results?: string;
  kind: string;
  name?: string;
}
export type GivenNode = Node<Given, "given">;
export type FlowNode = JobNode | GivenNode;
/** From a node's results to the input `targetHandle` of a job: all results, the one numbered `index`, only those picked. */
export type Wire = Edge<{ index?: number; picked?: boolean }> & { targetHandle: string };
export interface Graph {
  nodes: FlowNode[];
  wires: Wire[];
}
export type Catalogue = Record<string, JobType>;
export interface Ends {
  source: string;
  target: string;
  targetHandle: string;
}

export const OUT = "results";

export const wireOf = ({ source, target, targetHandle }: Ends, data: Wire["data"] = {}): Wire => ({
  id: `${source} > ${target}.${targetHandle}`, type: "wire", source, sourceHandle: OUT, target, targetHandle, data,
});

/** The announcement of `plugin.job`, or of `job` where only one plugin has it. */
export function typeOf(catalogue: Catalogue, name: string): JobType | undefined {
  if (name in catalogue) return catalogue[name];
  const found = Object.values(catalogue).filter((type) => type.name === name);
  return found.length === 1 ? found[0] : undefined;
}

/** `written`: a text that stands in the flow, and is uploaded as what the input takes. */
export interface Output {
  kind: string;
  list: boolean;
  written?: boolean;
}

/** What comes out of a node; undefined where no plugin announces its job. */
export function outputOf(node: FlowNode, catalogue: Catalogue): Output | undefined {
  if (node.type === "given") return { kind: node.data.kind, list: node.data.results !== undefined, written: node.data.text !== undefined };
  return typeOf(catalogue, node.data.job)?.output;
}

export function portOf(node: FlowNode | undefined, input: string, catalogue: Catalogue): Port | undefined {
  return node?.type === "job" ? typeOf(catalogue, node.data.job)?.inputs[input] : undefined;
}

/** How an output gets into an input of a job. */
export function wayOf(catalogue: Catalogue, { kind, written }: Output, job: JobType, { kind: wanted }: Port): Way {
  const way = wayInto(catalogue, kind, wanted, job);
  return way.through && written ? { problem: `takes ${wanted}, this is a text that is written here.` } : way;
}

/** The converter through which a wire goes. */
export function converterOf({ source, target, targetHandle }: Ends, nodes: FlowNode[], catalogue: Catalogue): JobType | undefined {
  const [from, to] = [source, target].map((id) => nodes.find((node) => node.id === id));
  const output = from && outputOf(from, catalogue);
  const port = portOf(to, targetHandle, catalogue);
  const type = to?.type === "job" ? typeOf(catalogue, to.data.job) : undefined;
  return output && port && type && wayOf(catalogue, output, type, port).through;
}

/** All nodes that `node` gets something from, by whatever way, with itself. */
export function upstream(wires: Wire[], node: string): Set<string> {
  const found = new Set([node]);
  for (const each of found) for (const { source, target } of wires) if (target === each) found.add(source);
  return found;
}

/** Why there may be no such wire; undefined if it fits. */
export function refusal({ nodes, wires }: Graph, catalogue: Catalogue, ends: Ends): string | undefined {
  const [from, to] = [ends.source, ends.target].map((id) => nodes.find((node) => node.id === id));
  const output = from && outputOf(from, catalogue);
  const port = portOf(to, ends.targetHandle, catalogue);
  const type = to?.type === "job" ? typeOf(catalogue, to.data.job) : undefined;
  if (!output || !port || !type) return "No plugin announces this job just now.";
  if (ends.source === ends.target) return "A job cannot take its own results.";
  const { problem } = wayOf(catalogue, output, type, port);
  if (problem) return `${ends.targetHandle} of ${ends.target} ${problem}`;
  if (upstream(wires, ends.source).has(ends.target)) return `This would go round in a circle: ${ends.source} needs ${ends.target}.`;
  if (wires.some(({ id }) => id === wireOf(ends).id)) return "These are connected.";
  return undefined;
}

/** With a new wire; an input that takes one thing gives up what it had. */
export function connected(wires: Wire[], ends: Ends, catalogue: Catalogue, nodes: FlowNode[]): Wire[] {
  const port = portOf(nodes.find(({ id }) => id === ends.target), ends.targetHandle, catalogue);
  const isSame = ({ target, targetHandle }: Wire) => target === ends.target && targetHandle === ends.targetHandle;
  return [...(port?.list ? wires : wires.filter((wire) => !isSame(wire))), wireOf(ends)];
}

/** Jobs so that each comes after those it needs; in a circle, as they are. */
export function ordered({ nodes, wires }: Graph): JobNode[] {
  const jobs = nodes.filter((node): node is JobNode => node.type === "job");
  const needs = new Map(jobs.map(({ id }) => [id, wires.filter(({ target }) => target === id).map(({ source }) => source)]));
  const placed: JobNode[] = [];
  const missing = new Set(jobs.map(({ id }) => id));
  for (let left = jobs; left.length; left = left.filter(({ id }) => missing.has(id))) {
    const ready = left.filter(({ id }) => needs.get(id)!.every((source) => !missing.has(source)));
    for (const node of ready.length ? ready : left) {
      placed.push(node);
      missing.delete(node.id);
    }
  }
  return placed;
}

/** A local name that no node has yet: "draw", "draw 2". */
export function freshId(wanted: string, taken: Iterable<string>): string {
  const used = new Set(taken);
  const base = wanted.replace(/ \d+$/, "");
  for (let count = 1; ; count++) {
    const id = count === 1 ? base : `${base} ${count}`;
    if (!used.has(id)) return id;
  }
}

/** What differs from the defaults of a job, as short texts. */
export function changes(type: JobType | undefined, params: Values): [name: string, value: string][] {
  const defaults = type?.params.properties ?? {};
  return Object.entries(params)
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(defaults[name]?.default))
    .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "string" ? value : JSON.stringify(value)]);
}
