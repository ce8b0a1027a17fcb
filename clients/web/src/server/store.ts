// What the page knows of the server: connection, plugins, jobs, the queue. Everything comes from calls and events.

import { create } from "zustand";

import { call, client } from "./client";
import type { ArtifactRecord, ErrorBody, JobRecord, JobType, LogLine, Plugin, Progress, Worker } from "./types";

export const UNFINISHED = ["held", "waiting", "queued", "running"];
const MOST_LINES = 2000; // of the log, the newest
const MOST_ENDED = 500; // jobs that have ended, the newest

export type Connection =
  | { state: "connecting" | "lost" }
  | { state: "online"; caughtUp?: number; resync?: boolean }
  | { state: "refused"; error: ErrorBody };

interface Known {
  connection: Connection;
  /** The server's version, who we are, what we may and what it takes. */
  hello?: { version: string; owner: string; rights: string[]; limits: Record<string, number> };
  plugins: Plugin[];
  catalogue: Record<string, JobType>;
  /** Unfinished jobs and those that have ended lately, by id. */
  jobs: Record<string, JobRecord>;
  progress: Record<string, Progress & { since: number; first: number }>;
  /** Object URLs of the latest preview of running jobs. */
  previews: Record<string, string>;
  /** Results by job, in order. */
  outputs: Record<string, ArtifactRecord[]>;
  queue: { paused: boolean; queued: number; workers: Worker[] };
  lines: LogLine[];
  session: string;
}

export const useServer = create<Known>(() => ({
  connection: { state: "connecting" },
  plugins: [],
  catalogue: {},
  jobs: {},
  progress: {},
  previews: {},
  outputs: {},
  queue: { paused: false, queued: 0, workers: [] },
  lines: [],
  session: client.session,
}));

const { getState: known, setState: set } = useServer;

/** New jobs and uploads of this page go to that session. */
export function chooseSession(name: string): void {
  client.session = name;
  localStorage.setItem("session", name);
  set({ session: name });
}

/** Connects, reads what there is, and follows it from then on. */
export async function begin(): Promise<void> {
  client.onEvent(({ type, data }) => received[type]?.(data));
  try {
    await client.connect();
  } catch (error) {
    set({ connection: { state: "refused", error: error as ErrorBody } });
  }
}

async function readAnew(): Promise<void> {
  const hello = await call("hello");
  set({ hello });
  await Promise.all([readPlugins(), readJobs()]);
}

async function readPlugins(): Promise<void> {
  const { plugins } = await call<{ plugins: Plugin[] }>("plugins");
  const types = plugins.flatMap((plugin) =>
    plugin.jobs.map((job) => ({
      ...job, full: `${plugin.name}.${job.name}`, plugin: plugin.name, title: plugin.title ?? plugin.name,
    })),
  );
  set({ plugins, catalogue: Object.fromEntries(types.map((type) => [type.full, type])) });
}

let reading: ReturnType<typeof setTimeout> | undefined;

/** Reads the jobs and the queue in a moment: many events are one reading. */
export function readJobsSoon(): void {
  reading ??= setTimeout(() => void readJobs().catch(() => undefined), 250); // offline: read anew when it is back
}

async function readJobs(): Promise<void> {
  clearTimeout(reading);
  reading = undefined;
  const [newest, running, queue] = await Promise.all([
    call<{ jobs: JobRecord[] }>("jobs", { limit: 100 }),
    call<{ jobs: JobRecord[] }>("jobs", { state: "running", limit: 100 }),
    call("queue"),
  ]);
  set({ queue });
  for (const record of [...newest.jobs, ...running.jobs]) merge(record);
}

/** Takes a record that a call returned; it may be older than the last event. */
export function merge(record: JobRecord): void {
  const before = known().jobs[record.id];
  if (before && UNFINISHED.includes(record.state) && !UNFINISHED.includes(before.state)) return;
  const jobs = { ...known().jobs, [record.id]: { ...before, ...record } };
  const ended = Object.keys(jobs).filter((id) => !UNFINISHED.includes(jobs[id].state)).sort();
  for (const id of ended.slice(0, -MOST_ENDED)) delete jobs[id];
  set({ jobs });
}

/** The results of a job, asked for if they are not here. */
export async function readOutputs(job: string): Promise<ArtifactRecord[]> {
  const { artifacts } = await call<{ artifacts: ArtifactRecord[] }>("artifacts", { job, limit: 1000 });
  const sorted = artifacts.sort((a, b) => a.idx - b.idx);
  set({ outputs: { ...known().outputs, [job]: sorted } });
  return sorted;
}

function without<Value>(record: Record<string, Value>, key: string): Record<string, Value> {
  const { [key]: _gone, ...rest } = record;
  return rest;
}

function forgetProgress(id: string): void {
  const { progress, previews } = known();
  if (id in previews) URL.revokeObjectURL(previews[id]);
  if (id in previews || id in progress) set({ progress: without(progress, id), previews: without(previews, id) });
}

const received: Record<string, (body: any) => void> = {
  connected({ missed, resync }) {
    const first = known().connection.state === "connecting";
    set({ connection: { state: "online", ...(!first && { caughtUp: missed, resync }) } });
    if (resync) set({ jobs: {}, outputs: {} });
    void readAnew().catch(() => undefined); // cut off again: the next connection does it
  },
  lost: () => set({ connection: { state: "lost" } }),
  refused: (error) => set({ connection: { state: "refused", error } }),
  job(body) {
    const { seq: _seq, ...changed } = body;
    const before = known().jobs[body.id];
    if (before) merge({ ...before, ...changed });
    forgetProgress(body.id);
    readJobsSoon();
  },
  artifact(body) {
    if (!body.job) return;
    const rest = (known().outputs[body.job] ?? []).filter(({ id }) => id !== body.id);
    const outputs = body.deleted ? rest : [...rest, body].sort((a, b) => a.idx - b.idx);
    set({ outputs: { ...known().outputs, [body.job]: outputs } });
  },
  progress(body) {
    const before = known().progress[body.id];
    const began = before?.phase === body.phase ? before : { first: body.step, since: Date.now() };
    set({ progress: { ...known().progress, [body.id]: { ...body, first: began.first, since: began.since } } });
  },
  preview({ id, image }) {
    const { previews } = known();
    if (id in previews) URL.revokeObjectURL(previews[id]);
    set({ previews: { ...previews, [id]: URL.createObjectURL(new Blob([image], { type: "image/jpeg" })) } });
  },
  log: ({ id, text }) =>
    set({ lines: [...known().lines, { time: Date.now() / 1000, job: id, text }].slice(-MOST_LINES) }),
  queue: readJobsSoon,
  plugins: () => void readPlugins().catch(() => undefined),
};
