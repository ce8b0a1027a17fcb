// Where each result lies: rows of equal height that fill the width, as wide as the pictures are.

import type { ArtifactRecord } from "../../server/types";

export const GAP = 6;
const NARROWEST = 0.5; // width by height; what is beyond is cut
const WIDEST = 2.5;

interface Cell {
  artifact: ArtifactRecord;
  /** Its place among all. */
  index: number;
  left: number;
  width: number;
}

export interface Row {
  key: string;
  top: number;
  height: number;
  cells: Cell[];
}

type Numbered = { artifact: ArtifactRecord; index: number };

export function aspect({ facts, kind }: ArtifactRecord): number {
  const own = facts.width > 0 && facts.height > 0 ? facts.width / facts.height : kind === "audio" ? 1.5 : 1;
  return Math.min(WIDEST, Math.max(NARROWEST, own));
}

/** The rows of all results, about `wanted` pixels high.
 *
 * The `fresh` ones are filled in from below, so that another one on top moves nothing but its own row. */
export function rowsOf(artifacts: ArtifactRecord[], fresh: number, width: number, wanted: number): Row[] {
  if (width <= 0) return [];
  const numbered = artifacts.map((artifact, index) => ({ artifact, index }));
  const above = cut(numbered.slice(0, fresh).reverse(), width, wanted).reverse();
  const groups = [...above.map((group) => group.reverse()), ...cut(numbered.slice(fresh), width, wanted)];
  let top = 0;
  return groups.map((group) => {
    const row = place(group, top, width, wanted);
    top += row.height + GAP;
    return row;
  });
}

/** Groups that fill a row each, but for the last one. */
function cut(items: Numbered[], width: number, wanted: number): Numbered[][] {
  const groups: Numbered[][] = [];
  let group: Numbered[] = [];
  let sum = 0;
  for (const item of items) {
    group.push(item);
    sum += aspect(item.artifact);
    if (sum * wanted + (group.length - 1) * GAP >= width) {
      groups.push(group);
      [group, sum] = [[], 0];
    }
  }
  return group.length ? [...groups, group] : groups;
}

function place(group: Numbered[], top: number, width: number, wanted: number): Row {
  const sum = group.reduce((total, { artifact }) => total + aspect(artifact), 0);
  const height = Math.min(wanted, (width - (group.length - 1) * GAP) / sum);
  let left = 0;
  const cells = group.map((item) => {
    const cell = { ...item, left, width: height * aspect(item.artifact) };
    left += cell.width + GAP;
    return cell;
  });
  return { key: group[group.length - 1].artifact.id, top, height, cells };
}

/** The row that holds a result, by its place among all. */
export function rowAt(rows: Row[], index: number): number {
  return rows.findIndex(({ cells }) => cells[cells.length - 1].index >= index);
}

/** The place of the result above or below that one, nearest to its middle. */
export function vertical(rows: Row[], index: number, by: 1 | -1): number {
  const at = rowAt(rows, index);
  const here = rows[at]?.cells.find((cell) => cell.index === index);
  const there = rows[at + by];
  if (!here || !there) return index;
  const middle = here.left + here.width / 2;
  const distance = ({ left, width }: Cell) => Math.abs(left + width / 2 - middle);
  return there.cells.reduce((best, cell) => (distance(cell) < distance(best) ? cell : best)).index;
}
