// How a result was made, as a flow: its job, the jobs that its inputs are from, and so on.

import { fieldWith } from "../../forms/schema";
import { call } from "../../server/client";
import { useServer } from "../../server/store";
import type { ArtifactRecord, JobRecord, Reference } from "../../server/types";
import { type Catalogue, type FlowNode, type Graph, type Wire, freshId, typeOf, wireOf } from "./graph";
import { arranged } from "./layout";

const MOST = 100; // jobs

/** The flow that made an artifact. */
export async function flowOf(id: string): Promise<Graph> {
  const made = new Making(useServer.getState().catalogue);
  await made.source(id);
  const graph = { nodes: made.nodes, wires: made.wires };
  return { ...graph, nodes: arranged(graph) };
}

class Making {
  nodes: FlowNode[] = [];
  wires: Wire[] = [];
  #byJob = new Map<string, string>();

  constructor(readonly catalogue: Catalogue) {}

  /** The node that an artifact comes from, with all before it, and which of its results it is. */
  async source(artifactId: string): Promise<{ source: string; index?: number }> {
    const { artifact } = await call<{ artifact: ArtifactRecord }>("artifact", { id: artifactId });
    const known = artifact.job && (await this.job(artifact.job, artifact.facts.seed));
    if (known) return { source: known, index: artifact.idx || undefined };
    const { id, kind, name } = artifact;
    return { source: this.#add(kind, { type: "given", data: { artifact: id, kind, name: name ?? undefined } }) };
  }

  async job(id: string, seed?: number): Promise<string | undefined> {
    const known = this.#byJob.get(id);
    if (known || this.#byJob.size === MOST) return known;
    const { job } = await call<{ job: JobRecord }>("job", { id });
    const type = typeOf(this.catalogue, job.name);
    const seeded = type && fieldWith(type.params, "seed");
    const params = { ...job.params, ...(seeded && seed !== undefined && { [seeded]: seed }) };
    const node = this.#add(type?.name ?? job.name, { type: "job", data: { job: type?.full ?? job.name, params, more: {} } });
    this.#byJob.set(id, node);
    for (const [input, items] of Object.entries(job.inputs)) for (const item of [items].flat()) await this.#connect(node, input, item);
    return node;
  }

  async #connect(target: string, targetHandle: string, item: Reference): Promise<void> {
    if (typeof item === "string") {
      const { source, index } = await this.source(item);
      this.wires.push(wireOf({ source, target, targetHandle }, { index }));
      return;
    }
    const source = await this.job(item.job);
    const data = { index: item.index, picked: item.review === "picked" || undefined };
    if (source) this.wires.push(wireOf({ source, target, targetHandle }, data));
  }

  #add(name: string, node: Pick<FlowNode, "type" | "data">): string {
    const id = freshId(name, this.nodes.map((each) => each.id));
    this.nodes.push({ id, position: { x: 0, y: 0 }, ...node } as FlowNode);
    return id;
  }
}
