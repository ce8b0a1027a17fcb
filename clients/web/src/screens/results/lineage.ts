// What came from what, as columns of a graph: ancestors on the left, descendants on the right.

import type { ArtifactRecord } from "../../server/types";

export interface Relative extends ArtifactRecord {
  depth?: number;
  job_name?: string;
  parents: string[];
}

export interface Node {
  artifact: Relative;
  x: number;
  y: number;
}

export interface Graph {
  nodes: Node[];
  edges: { from: Node; to: Node }[];
  /** How many of each column are left out, and where that is said. */
  hidden: { depth: number; count: number; x: number; y: number }[];
  width: number;
  height: number;
}

export const NODE = { width: 152, height: 72, across: 76, down: 14 };

/** Places for one artifact, its ancestors and its descendants; at most `most` in a column. */
export function graphOf(self: Relative, ancestors: Relative[], descendants: Relative[], most: number): Graph {
  const columns = new Map<number, Relative[]>();
  const put = (depth: number, each: Relative) => columns.set(depth, [...(columns.get(depth) ?? []), each]);
  for (const each of ancestors) put(-each.depth!, each);
  put(0, self);
  for (const each of descendants) put(each.depth!, each);
  const depths = [...columns.keys()].sort((a, b) => a - b);
  const tallest = Math.min(most, Math.max(...[...columns.values()].map(({ length }) => length)));
  const [across, down] = [NODE.width + NODE.across, NODE.height + NODE.down];
  const height = (tallest + 1) * down;
  const placed = new Map<string, Node>();
  const hidden: Graph["hidden"] = [];
  for (const [column, depth] of depths.entries()) {
    const all = columns.get(depth)!;
    const some = ordered(all, placed).slice(0, most);
    const top = (height - some.length * down) / 2;
    some.forEach((artifact, row) => placed.set(artifact.id, { artifact, x: column * across, y: top + row * down }));
    if (all.length > most) hidden.push({ depth, count: all.length - most, x: column * across, y: top + most * down });
  }
  const nodes = [...placed.values()];
  const edges = nodes.flatMap((to) => to.artifact.parents.flatMap((id) => (placed.has(id) ? [{ from: placed.get(id)!, to }] : [])));
  return { nodes, edges, hidden, width: depths.length * across - NODE.across, height };
}

/** Each near its parents, so that few edges cross. */
function ordered(column: Relative[], placed: Map<string, Node>): Relative[] {
  const at = ({ parents }: Relative) => {
    const known = parents.flatMap((id) => placed.get(id)?.y ?? []);
    return known.length ? known.reduce((sum, y) => sum + y, 0) / known.length : Infinity;
  };
  const places = new Map(column.map((each) => [each, at(each)]));
  return column.toSorted((a, b) => {
    const [one, other] = [places.get(a)!, places.get(b)!];
    return one === other ? 0 : one - other;
  });
}
