// What is painted on a picture: the mask's bytes, the strokes that change them, and their undoing tile by tile.

export interface Point {
  x: number;
  y: number;
}

/** A part of a picture: from `left`, `top` up to, not including, `right`, `bottom`. */
export interface Area {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** What a tile held: its bytes, or the one value that all of them have. */
type Held = Uint8Array | number;
type Change = Map<number, Held>;

const TILE = 128;
const UNDO_BYTES = 64_000_000; // of what can be undone; the oldest goes first
const ROOM_OF_UNIFORM = 64; // bytes, about: an entry of a Map

/** A mask of a picture's size, one byte a pixel, 255 = painted. `onChange` hears which part has changed. */
export class PaintedMask {
  readonly bytes: Uint8Array;
  onChange: (area: Area) => void = () => undefined;
  /** Called when a stroke or another step is done, undone or redone. */
  readonly onStep = new Set<() => void>();
  /** Changes with each step, so that others can tell whether they have seen this mask. */
  step = 0;
  #done: Change[] = [];
  #undone: Change[] = [];
  #stroke: { erase: boolean; before: Change; cover: Map<number, Uint8Array> } | null = null;
  readonly #columns: number;

  constructor(readonly width: number, readonly height: number) {
    this.bytes = new Uint8Array(width * height);
    this.#columns = Math.ceil(width / TILE);
  }

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  get isEmpty(): boolean {
    for (let at = 0; at < this.bytes.length; at++) if (this.bytes[at]) return false;
    return true;
  }

  begin(erase: boolean): void {
    if (this.#stroke) this.end();
    this.#stroke = { erase, before: new Map(), cover: new Map() };
  }

  /** A line of the stroke that has begun, from radius `r0` to `r1`. Where a stroke crosses itself it is no denser. */
  line(from: Point, to: Point, r0: number, r1: number, softness: number): void {
    const length = Math.hypot(to.x - from.x, to.y - from.y);
    const pieces = Math.max(1, Math.ceil(length / Math.max(2 * Math.max(r0, r1), 32))); // small boxes around a long line
    const at = (share: number): Point => ({ x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share });
    for (let k = 0; k < pieces; k++) {
      const [begin, end] = [k / pieces, (k + 1) / pieces];
      this.#capsule(at(begin), at(end), r0 + (r1 - r0) * begin, r0 + (r1 - r0) * end, softness);
    }
  }

  end(): void {
    if (!this.#stroke) return;
    const { before } = this.#stroke;
    this.#stroke = null;
    this.#keep(before);
  }

  /** As if the stroke had not begun. */
  abort(): void {
    if (!this.#stroke) return;
    const { before } = this.#stroke;
    this.#stroke = null;
    this.#put(before);
  }

  fill(value: number): void {
    this.#repaint(this.#whole, () => value);
  }

  invert(): void {
    this.#repaint(this.#whole, (before) => 255 - before);
  }

  rectangle(from: Point, to: Point, erase: boolean): void {
    const area = this.#clip({
      left: Math.round(Math.min(from.x, to.x)), top: Math.round(Math.min(from.y, to.y)),
      right: Math.round(Math.max(from.x, to.x)), bottom: Math.round(Math.max(from.y, to.y)),
    });
    this.#repaint(area, () => (erase ? 0 : 255));
  }

  /** What lies inside of a line that is drawn around it. */
  lasso(points: Point[], erase: boolean): void {
    const xs = points.map(({ x }) => x);
    const ys = points.map(({ y }) => y);
    const reduce = (values: number[], best: (a: number, b: number) => number) => values.reduce((a, b) => best(a, b));
    const area = this.#clip({
      left: Math.floor(reduce(xs, Math.min)), top: Math.floor(reduce(ys, Math.min)),
      right: Math.ceil(reduce(xs, Math.max)), bottom: Math.ceil(reduce(ys, Math.max)),
    });
    const rows = new Map<number, number[]>();
    for (let y = area.top; y < area.bottom; y++) rows.set(y, crossings(points, y + 0.5));
    const value = erase ? 0 : 255;
    this.#repaint(area, (before, x, y) => {
      let passed = 0;
      for (const crossing of rows.get(y)!) if (crossing <= x + 0.5) passed++;
      return passed % 2 ? value : before;
    });
  }

  replace(bytes: Uint8Array): void {
    this.#repaint(this.#whole, (_before, x, y) => bytes[y * this.width + x]);
  }

  undo(): void {
    const change = this.#done.pop();
    if (!change) return;
    this.#undone.push(this.#put(change));
    this.#stepped();
  }

  redo(): void {
    const change = this.#undone.pop();
    if (!change) return;
    this.#done.push(this.#put(change));
    this.#stepped();
  }

  #stepped(): void {
    this.step++;
    for (const tell of this.onStep) tell();
  }

  get #whole(): Area {
    return { left: 0, top: 0, right: this.width, bottom: this.height };
  }

  #clip({ left, top, right, bottom }: Area): Area {
    return { left: Math.max(left, 0), top: Math.max(top, 0), right: Math.min(right, this.width), bottom: Math.min(bottom, this.height) };
  }

  #capsule(from: Point, to: Point, r0: number, r1: number, softness: number): void {
    const stroke = this.#stroke!;
    const reach = Math.max(r0, r1) + 1;
    const area = this.#clip({
      left: Math.floor(Math.min(from.x, to.x) - reach), top: Math.floor(Math.min(from.y, to.y) - reach),
      right: Math.ceil(Math.max(from.x, to.x) + reach), bottom: Math.ceil(Math.max(from.y, to.y) + reach),
    });
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const scale = dx || dy ? 1 / (dx * dx + dy * dy) : 0;
    this.#tiles(area, (tile, part, left, top) => {
      if (!stroke.before.has(tile)) {
        stroke.before.set(tile, this.#held(tile));
        stroke.cover.set(tile, new Uint8Array(TILE * TILE));
      }
      const before = stroke.before.get(tile)!;
      const cover = stroke.cover.get(tile)!;
      for (let y = part.top; y < part.bottom; y++) {
        for (let x = part.left; x < part.right; x++) {
          const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
          const share = Math.min(Math.max((px * dx + py * dy) * scale, 0), 1);
          const radius = r0 + (r1 - r0) * share;
          const distance = Math.hypot(px - dx * share, py - dy * share);
          const falloff = (radius + 0.5 - distance) / Math.max(1, softness * radius);
          if (falloff <= 0) continue;
          const full = Math.min(falloff, 1);
          const covered = Math.round(255 * (softness ? full * full * (3 - 2 * full) : full));
          const inTile = (y - top) * TILE + x - left;
          if (covered <= cover[inTile]) continue;
          cover[inTile] = covered;
          const old = typeof before === "number" ? before : before[inTile];
          const rest = (stroke.erase ? old : 255 - old) * (255 - covered);
          this.bytes[y * this.width + x] = Math.round(stroke.erase ? rest / 255 : 255 - rest / 255);
        }
      }
    });
    this.onChange(area);
  }

  /** Changes all pixels of `area`, as one step that can be undone. */
  #repaint(area: Area, value: (before: number, x: number, y: number) => number): void {
    if (area.right <= area.left || area.bottom <= area.top) return;
    this.end();
    const before: Change = new Map();
    this.#tiles(area, (tile, part) => {
      before.set(tile, this.#held(tile));
      for (let y = part.top; y < part.bottom; y++) {
        for (let x = part.left, at = y * this.width + x; x < part.right; x++, at++) {
          this.bytes[at] = value(this.bytes[at], x, y);
        }
      }
    });
    this.onChange(area);
    this.#keep(before);
  }

  #keep(change: Change): void {
    if (!change.size) return;
    for (const [tile, held] of change) change.set(tile, packed(held));
    this.#done.push(change);
    this.#undone = [];
    let room = this.#done.reduce((sum, each) => sum + size(each), 0);
    while (room > UNDO_BYTES && this.#done.length > 1) room -= size(this.#done.shift()!);
    this.#stepped();
  }

  /** Puts tiles back; returns what was there. */
  #put(change: Change): Change {
    const before: Change = new Map();
    let area: Area | null = null;
    for (const [tile, held] of change) {
      before.set(tile, packed(this.#held(tile)));
      const part = this.#tileArea(tile);
      for (let y = part.top; y < part.bottom; y++) {
        const at = y * this.width;
        const from = (y - part.top) * TILE;
        if (typeof held === "number") this.bytes.fill(held, at + part.left, at + part.right);
        else this.bytes.set(held.subarray(from, from + part.right - part.left), at + part.left);
      }
      area = area ? joined(area, part) : part;
    }
    if (area) this.onChange(area);
    return before;
  }

  #tiles(area: Area, visit: (tile: number, part: Area, left: number, top: number) => void): void {
    for (let row = Math.floor(area.top / TILE); row * TILE < area.bottom; row++) {
      for (let column = Math.floor(area.left / TILE); column * TILE < area.right; column++) {
        const [left, top] = [column * TILE, row * TILE];
        const part = {
          left: Math.max(left, area.left), top: Math.max(top, area.top),
          right: Math.min(left + TILE, area.right), bottom: Math.min(top + TILE, area.bottom),
        };
        visit(row * this.#columns + column, part, left, top);
      }
    }
  }

  #tileArea(tile: number): Area {
    const [left, top] = [(tile % this.#columns) * TILE, Math.floor(tile / this.#columns) * TILE];
    return this.#clip({ left, top, right: left + TILE, bottom: top + TILE });
  }

  #held(tile: number): Uint8Array {
    const part = this.#tileArea(tile);
    const held = new Uint8Array(TILE * TILE);
    for (let y = part.top; y < part.bottom; y++) {
      held.set(this.bytes.subarray(y * this.width + part.left, y * this.width + part.right), (y - part.top) * TILE);
    }
    const [wide, high] = [part.right - part.left, part.bottom - part.top];
    if (wide < TILE || high < TILE) pad(held, wide, high);
    return held;
  }
}

export const joined = (a: Area, b: Area): Area => ({
  left: Math.min(a.left, b.left), top: Math.min(a.top, b.top),
  right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom),
});

/** Where a closed line crosses the row at `y`, as x. */
function crossings(points: Point[], y: number): number[] {
  const found = [];
  for (let k = 0; k < points.length; k++) {
    const [a, b] = [points[k], points[(k + 1) % points.length]];
    if (a.y <= y !== b.y <= y) found.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
  }
  return found;
}

/** What lies outside of the picture repeats its first byte, so that a uniform tile is seen to be one. */
function pad(held: Uint8Array, wide: number, high: number): void {
  for (let y = 0; y < TILE; y++) held.fill(held[0], y * TILE + (y < high ? wide : 0), (y + 1) * TILE);
}

function packed(held: Held): Held {
  return typeof held === "number" || held.some((value) => value !== held[0]) ? held : held[0];
}

const size = (change: Change): number =>
  [...change.values()].reduce<number>((sum, held) => sum + (typeof held === "number" ? ROOM_OF_UNIFORM : held.length), 0);
