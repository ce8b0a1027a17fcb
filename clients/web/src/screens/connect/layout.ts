// Where nodes go by themselves: columns by what they need, rows so that wires cross little.

import type { FlowNode, Graph, Wire } from "./graph";

const WIDTH = 240;
const GAP = { x: 100, y: 40 };
const ROOM = { job: 500, given: 200 }; // what a node grows to with a result

/** The nodes with new places, the flow from left to right. */
export function arranged({ nodes, wires }: Graph): FlowNode[] {
  const depth = depths(nodes, wires);
  const columns: FlowNode[][] = [];
  for (const node of nodes) (columns[depth.get(node.id)!] ??= []).push(node);
  const row = new Map<string, number>();
  const placed = new Map<string, FlowNode>();
  for (const [x, column = []] of columns.entries()) { // in a circle, which a file may hold, nothing comes first
    const sources = new Map(column.map(({ id }) => [id, mean(sourcesOf(wires, id).map((each) => row.get(each) ?? 0))]));
    column.sort((a, b) => sources.get(a.id)! - sources.get(b.id)!);
    const height = column.reduce((sum, node) => sum + heightOf(node) + GAP.y, -GAP.y);
    let y = -height / 2;
    for (const node of column) {
      row.set(node.id, y + heightOf(node) / 2);
      placed.set(node.id, { ...node, position: { x: x * (WIDTH + GAP.x), y: Math.round(y) } });
      y += heightOf(node) + GAP.y;
    }
  }
  return nodes.map(({ id }) => placed.get(id)!);
}

/** In which column each is: one after the last of those it needs; what is given stands right before its first use. */
function depths(nodes: FlowNode[], wires: Wire[]): Map<string, number> {
  const depth = new Map(nodes.map(({ id }) => [id, 0]));
  for (let round = 0, moved = true; moved && round < nodes.length; round++) {
    moved = false;
    for (const { source, target } of wires) {
      const least = (depth.get(source) ?? 0) + 1;
      if (least <= (depth.get(target) ?? 0)) continue;
      depth.set(target, least);
      moved = true;
    }
  }
  for (const { id, type } of nodes) {
    const uses = wires.filter(({ source }) => source === id).map(({ target }) => depth.get(target)!);
    if (type === "given" && uses.length) depth.set(id, Math.min(...uses) - 1);
  }
  return depth;
}

const sourcesOf = (wires: Wire[], node: string): string[] =>
  wires.filter(({ target }) => target === node).map(({ source }) => source);
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / (values.length || 1);
const heightOf = ({ type, measured }: FlowNode): number => Math.max(measured?.height ?? 0, ROOM[type]);
