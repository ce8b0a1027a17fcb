// Which results the gallery shows: asked for page by page, and kept as they are by events.

import { create } from "zustand";

import { call, onEvent } from "../../server/client";
import { memorise, remembered } from "../../server/memory";
import type { ArtifactRecord, ErrorBody } from "../../server/types";

const PAGE = 250;
const AHEAD = 10; // results before the last one, older ones are asked for
const ARRIVAL_MS = 900; // how long a new result slides in
export const SIZES = { min: 90, max: 420 };

export interface Filter {
  session: string;
  review: "" | ArtifactRecord["review"];
  kind: string;
  origin: "" | "first" | "upload";
  search: string;
}

interface Gallery {
  filter: Filter;
  /** Newest first. The first `fresh` of them have come since the first page was read. */
  artifacts: ArtifactRecord[];
  fresh: number;
  /** How many there are, here or not. */
  total: number;
  state: "reading" | "more" | "all";
  error: ErrorBody | null;
  /** What the keyboard is at. */
  active: string | null;
  selected: ReadonlySet<string>;
  /** Height of a row in pixels, about. */
  size: number;
}

const EVERYTHING: Filter = { session: "", review: "", kind: "", origin: "first", search: "" };
const usualSize = () => (window.innerWidth <= 700 ? 130 : 220);

export const useGallery = create<Gallery>(() => ({
  filter: EVERYTHING,
  artifacts: [],
  fresh: 0,
  total: 0,
  state: "reading",
  error: null,
  active: null,
  selected: new Set(),
  size: Number(remembered("results size")) || usualSize(),
}));

const { getState: now, setState: set } = useGallery;
const arrivals = new Set<string>();
let asked = 0; // what an answer belongs to: older ones do not count any more

export const isNarrowed = ({ session, ...filter }: Filter): boolean =>
  Object.entries(filter).some(([name, value]) => value !== EVERYTHING[name as keyof Filter]);

export function show(change: Partial<Filter>): void {
  set({ filter: { ...now().filter, ...change } });
  void readAnew();
}

export const showEverything = (): void => show({ ...EVERYTHING, session: now().filter.session });

export function resize(size: number): void {
  memorise("results size", String(size));
  set({ size });
}

async function readAnew(): Promise<void> {
  set({ artifacts: [], fresh: 0, total: 0, state: "reading", error: null, selected: new Set() });
  await readPage();
}

/** Reads older ones, unless that is going on. */
export async function readMore(): Promise<void> {
  if (now().state !== "more") return;
  set({ state: "reading", error: null });
  await readPage();
}

/** After an error. */
export function readAgain(): void {
  set({ state: "more" });
  void readMore();
}

async function readPage(): Promise<void> {
  const mine = ++asked;
  const { filter, artifacts: before, fresh } = now();
  const wanted = Object.entries(filter).filter(([, value]) => value);
  const last = before.length > fresh ? { before: before[before.length - 1].id } : {};
  try {
    const { artifacts, total } = await call<{ artifacts: ArtifactRecord[]; total?: number }>("artifacts", {
      ...Object.fromEntries(wanted), ...last, limit: PAGE,
    });
    if (mine !== asked) return;
    const known = new Set(now().artifacts.map(({ id }) => id));
    const more = artifacts.filter(({ id }) => !known.has(id));
    const count = now().artifacts.length + more.length;
    const all = Math.max(count, total ?? now().total);
    set({
      artifacts: [...now().artifacts, ...more], total: all,
      state: artifacts.length && count < all ? "more" : "all", // a page is shorter where its records are large
    });
  } catch (error) {
    if (mine === asked) set({ state: "all", error: error as ErrorBody });
  }
}

/** Whether it came only just now, so that it may slide in. */
export const hasJustCome = (id: string): boolean => arrivals.has(id);

function arrives(id: string): void {
  arrivals.add(id);
  setTimeout(() => arrivals.delete(id), ARRIVAL_MS);
}

function matches({ session, review, kind, origin, search }: Filter, artifact: ArtifactRecord): boolean {
  const text = [artifact.name, artifact.facts.prompt, artifact.facts.infotext].join("\n").toLowerCase();
  return (
    (!session || artifact.session === session) &&
    (!review || artifact.review === review) &&
    (!kind || artifact.kind === kind) &&
    (!origin || (origin === "first" ? Boolean(artifact.job) && !artifact.source : !artifact.job)) &&
    search.toLowerCase().split(/\s+/).every((word) => text.includes(word))
  );
}

function take(artifact: ArtifactRecord & { deleted?: boolean }): void {
  const { artifacts, fresh, filter } = now();
  const at = artifacts.findIndex(({ id }) => id === artifact.id);
  const belongs = !artifact.deleted && matches(filter, artifact);
  if (at < 0 && belongs) {
    arrives(artifact.id);
    set({ artifacts: [artifact, ...artifacts], fresh: fresh + 1, total: now().total + 1 });
  } else if (at >= 0 && belongs) {
    set({ artifacts: artifacts.with(at, artifact) });
  } else if (at >= 0) {
    drop(at);
  }
}

/** Takes one out; whoever was at it is at the next one then. */
function drop(at: number): void {
  const { artifacts, fresh, active, selected } = now();
  const { id } = artifacts[at];
  const rest = artifacts.toSpliced(at, 1);
  set({
    artifacts: rest,
    total: now().total - 1,
    fresh: at < fresh ? fresh - 1 : fresh,
    active: active === id ? (rest[at] ?? rest[at - 1])?.id ?? null : active,
    selected: selected.has(id) ? new Set([...selected].filter((each) => each !== id)) : selected,
  });
}

// Selecting, moving

/** The result so many places away from that one, if there is one. */
export function neighbour(id: string, by: number): ArtifactRecord | undefined {
  const { artifacts } = now();
  const at = artifacts.findIndex((artifact) => artifact.id === id);
  return at < 0 ? undefined : artifacts[at + by];
}

/** Reads older ones where a result is one of the last that are here. */
export function readAhead(id: string): void {
  if (now().artifacts.slice(-AHEAD).some((artifact) => artifact.id === id)) void readMore();
}

export const activate = (active: string | null): void => set({ active });

export function toggle(id: string): void {
  const selected = new Set(now().selected);
  if (!selected.delete(id)) selected.add(id);
  set({ selected, active: id });
}

/** Selects all from where one was to that one. */
export function selectTo(id: string): void {
  const { artifacts, active, selected } = now();
  const ends = [active ?? id, id].map((end) => artifacts.findIndex((artifact) => artifact.id === end));
  const between = artifacts.slice(Math.max(0, Math.min(...ends)), Math.max(...ends) + 1);
  set({ selected: new Set([...selected, ...between.map((artifact) => artifact.id)]), active: id });
}

export const selectAll = (): void => set(({ artifacts }) => ({ selected: new Set(artifacts.map(({ id }) => id)) }));
export const selectNone = (): void => set({ selected: new Set() });

/** What a key or a button acts on: the selected ones, else the one that the keyboard is at. */
export function chosen(): ArtifactRecord[] {
  const { artifacts, selected, active } = now();
  const wanted = selected.size ? selected : new Set([active]);
  return artifacts.filter(({ id }) => wanted.has(id));
}

let begun = false;

/** Reads the first page and follows what happens from then on, also while another screen is shown. */
export function follow(): void {
  if (begun) return;
  begun = true;
  let unknown = false; // what happened meanwhile
  onEvent(({ type, data }) => {
    if (type === "artifact") take(data as ArtifactRecord);
    if (type === "refused") unknown = true;
    if (type === "connected" && (data.resync || unknown)) {
      unknown = false;
      void readAnew();
    }
  });
  void readAnew();
}
