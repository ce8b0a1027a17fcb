// Flows to begin with, made from what is announced: whatever makes something, and what takes that.

import { fits } from "../../app/fitting";
import { examples } from "../../forms/remembering";
import type { JobType } from "../../server/types";
import { type Catalogue, type FlowNode, type Graph, type Wire, freshId, wireOf } from "./graph";
import { arranged } from "./layout";

interface Starter {
  title: string;
  help: string;
  graph: Graph;
}

const needed = ({ inputs }: JobType) => Object.entries(inputs).filter(([, { optional }]) => !optional);
const isPlain = ({ light, program }: JobType): boolean => !light && !program;

/** At most three, best with pictures; none where no job takes what another one makes. Jobs of one plugin belong together. */
export function starters(catalogue: Catalogue): Starter[] {
  const jobs = Object.values(catalogue).filter(isPlain);
  const draws = ({ output }: JobType) => Number(output.kind === "image");
  for (const first of jobs.filter((job) => !needed(job).length).sort((a, b) => draws(b) - draws(a))) {
    const beside = jobs.filter(({ plugin }) => plugin === first.plugin);
    const second = [...beside, ...jobs].find((job) => job !== first && takes(job, first.output.kind));
    if (second) return flows(first, second);
  }
  return [];
}

const takes = (job: JobType, kind: string): boolean => {
  const ports = needed(job);
  return ports.length === 1 && fits(kind, ports[0][1].kind) && fits(job.output.kind, kind);
};

function flows(first: JobType, second: JobType): Starter[] {
  const kind = second.inputs[needed(second)[0][0]].kind;
  const [a, b] = [first.name, second.name];
  return [
    { title: `${a}, then ${b}`, help: `What ${a} makes goes into ${b}.`, graph: chain([job(first), job(second)]) },
    {
      title: `${a}, you pick, then ${b}`, help: `${b} waits until you have picked what is worth it.`,
      graph: chain([job(first), job(second)], { picked: true }),
    },
    { title: `A file of yours, then ${b} twice`, help: `Each time from what came before.`, graph: chain([file(kind), job(second), job(second)]) },
  ];
}

const job = (type: JobType): { node: FlowNode; input?: string } => ({
  node: { id: type.name, type: "job", position: { x: 0, y: 0 }, data: { job: type.full, params: examples(type), more: {} } },
  input: needed(type)[0]?.[0],
});

const file = (kind: string): { node: FlowNode; input?: string } => ({
  node: { id: kind, type: "given", position: { x: 0, y: 0 }, data: { artifact: "", kind } },
});

function chain(parts: { node: FlowNode; input?: string }[], data: Wire["data"] = {}): Graph {
  const nodes: FlowNode[] = [];
  for (const { node } of parts) nodes.push({ ...node, id: freshId(node.id, nodes.map(({ id }) => id)) });
  const wires = parts.slice(1).map(({ input }, at) =>
    wireOf({ source: nodes[at].id, target: nodes[at + 1].id, targetHandle: input! }, data));
  return { nodes: arranged({ nodes, wires }), wires };
}
