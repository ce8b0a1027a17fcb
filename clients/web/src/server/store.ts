// What the page knows of the server: connection, plugins, jobs, the queue. Everything comes from calls and events.
//
// Events count more than answers that were asked for before them: an answer never brings back an older state.

import { create } from "zustand";

import { Batch } from "./batch";
import { call, client, renew } from "./client";
import { memorise } from "./memory";
import type { ArtifactRecord, ErrorBody, JobRecord, JobType, LogLine, Plugin, Progress, Worker } from "./types";

export const UNFINISHED = ["held", "waiting", "queued", "running"];
const MOST_LINES = 2000; // of the log, the newest
const MOST_LINES_READ = 1000; // of those that the server has kept
const MOST_ENDED = 500; // jobs that have ended, the newest
const LISTED = { few: 100, all: 1000 }; // jobs of the queue that are read
const NEWEST = 100; // jobs that are read besides
const PARTS = 50; // of programs
const SETTLE_MS = 250; // many events are one reading
const REST = 4; // times as long as a reading took, nothing is read
const SAID_SECONDS = 6; // that events were caught up on
const SILENT_MS = 4000; // without an event, though jobs are unfinished
const AGAIN_SECONDS = [1, 2, 3, 5, 8, 10]; // until the first connection is tried again

export type Connection =
  | { state: "connecting" }
  | { state: "lost"; since: number; again?: number }
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
  /** Ids of the unfinished jobs as they run, then those that wait; the first ones, and how many there are. */
  order: string[];
  unfinished: number;
  /** When the queue was read: its eta_seconds count from then, in milliseconds. */
  readAt: number;
  progress: Record<string, Progress & { since: number; first: number; at: number }>;
  /** Object URLs of the latest preview of running jobs. */
  previews: Record<string, string>;
  /** Results by job, in order. */
  outputs: Record<string, ArtifactRecord[]>;
  queue: { paused: boolean; queued: number; workers: Worker[]; problem?: ErrorBody };
  lines: LogLine[];
  session: string;
}

export const useServer = create<Known>(() => ({
  connection: { state: "connecting" },
  plugins: [],
  catalogue: {},
  jobs: {},
  order: [],
  unfinished: 0,
  readAt: 0,
  progress: {},
  previews: {},
  outputs: {},
  queue: { paused: false, queued: 0, workers: [] },
  lines: [],
  session: client.session,
}));

const { getState: known, setState: set } = useServer;
const batch = new Batch(useServer);
let clock = 0; // counts events and questions, to know which came first
const told = new Map<string, number>(); // by job and by result, when an event last told of it
const complete = new Set<string>(); // jobs whose results so far are all here
const newPreviews = new Map<string, Uint8Array>();

/** New jobs and uploads of this page go to that session. */
export function chooseSession(name: string): void {
  client.session = name;
  memorise("session", name);
  set({ session: name });
}

/** Connects, reads what there is, and follows it from then on. A server that is not there yet is tried again. */
export function begin(attempt = 0): void {
  client.onEvent(({ type, data }) => {
    heardAt = Date.now();
    if (type !== "refused" || data.code !== "unreachable") return received[type]?.(data);
    const seconds = AGAIN_SECONDS[Math.min(attempt, AGAIN_SECONDS.length - 1)];
    const { connection } = known();
    const since = connection.state === "lost" ? connection.since : Date.now();
    set({ connection: { state: "lost", since, again: Date.now() + seconds * 1000 } });
    setTimeout(() => beginAnew(attempt + 1), seconds * 1000);
  });
}

/** With another connection, after the last one was refused for good. */
export function beginAnew(attempt = 0): void {
  renew();
  begin(attempt);
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

let due: ReturnType<typeof setTimeout> | undefined;
let busy = false; // with a reading
let restUntil = 0;
let listed: keyof typeof LISTED = "few";

/** How much of the queue is wanted: all that the server tells while somebody looks at it. */
export function lookAtQueue(much: keyof typeof LISTED): void {
  listed = much;
  if (much === "all" && known().unfinished > LISTED.few) readJobsSoon();
}

/** Reads the jobs and the queue in a moment: many events are one reading, and there is a rest after a long one. */
export function readJobsSoon(): void {
  due ??= setTimeout(() => {
    due = undefined;
    if (busy) return readJobsSoon();
    void readJobs().catch(() => undefined); // offline: read anew when it is back
  }, Math.max(SETTLE_MS, restUntil - Date.now()));
}

async function readJobs(): Promise<void> {
  const began = Date.now();
  const asked = ++clock;
  const limit = LISTED[listed];
  busy = true;
  try {
    const [upcoming, newest, queue] = await Promise.all([
      call<{ jobs: JobRecord[]; total: number }>("jobs", { order: "queue", parent: "", limit }),
      call<{ jobs: JobRecord[] }>("jobs", { parent: "", limit: NEWEST }), // a program may have thousands of parts
      call("queue"),
    ]);
    const parts = upcoming.jobs.some(({ children }) => children) ? await Promise.all(["running", "waiting"].map(partsOf)) : [];
    for (const record of [...newest.jobs, ...parts.flat(), ...upcoming.jobs]) take(record, asked);
    batch.set({ queue, order: upcoming.jobs.map(({ id }) => id), unfinished: upcoming.total, readAt: Date.now() });
    batch.flush();
    if (upcoming.jobs.length >= upcoming.total) await askAfter(upcoming.jobs, asked);
    else if (limit < LISTED[listed]) readJobsSoon(); // somebody has come to look at the queue meanwhile
  } finally {
    busy = false;
    restUntil = Date.now() + REST * (Date.now() - began);
  }
}

/** Of programs, what runs and what waits, for a person maybe. */
const partsOf = async (state: string): Promise<JobRecord[]> =>
  (await call<{ jobs: JobRecord[] }>("jobs", { order: "queue", state, limit: PARTS })).jobs.filter(({ parent }) => parent);

let heardAt = 0;

// No event can tell that the server cannot store anything, on a full disk say: it is asked when nothing happens.
setInterval(() => {
  const { connection, unfinished, queue } = known();
  const stands = unfinished > 0 && Date.now() - heardAt > SILENT_MS;
  if (connection.state === "online" && (stands || queue.problem)) readJobsSoon();
}, SILENT_MS);

/** Jobs that are unfinished here, but not in the whole queue: nobody has told how they ended. Parts of programs are not
 * in it; of these, events tell. */
async function askAfter(upcoming: JobRecord[], asked: number): Promise<void> {
  const there = new Set(upcoming.map(({ id }) => id));
  const gone = Object.values(known().jobs).filter(
    ({ id, state, parent }) => !parent && UNFINISHED.includes(state) && !there.has(id) && (told.get(id) ?? 0) < asked,
  );
  for (const { id } of gone) {
    const answer = await call("job", { id }).catch((error) => error);
    if (answer.job) merge(answer.job);
    else if (answer.code === "not_found") forgetJob(id);
  }
  batch.flush();
}

/** It runs, or it is a program that has begun: that leaves its worker while its parts run, and comes back. */
export const isUnderWay = ({ state, children }: JobRecord): boolean =>
  state === "running" || (!!children && UNFINISHED.includes(state));

/** Shows a job at another place of the queue until the server tells its order. */
export function placeBeside(id: string, other: string, before: boolean): void {
  const order = batch.get("order").filter((each) => each !== id);
  order.splice(order.indexOf(other) + (before ? 0 : 1), 0, id);
  batch.set({ order });
  batch.flush();
}

/** Takes a record that a call returned; it may be older than the last event. */
export function merge(record: JobRecord): void {
  take(record, clock);
  batch.flush();
}

/** `asked`: when the record was asked for. */
function take(record: JobRecord, asked: number): void {
  const jobs = batch.own("jobs");
  const before = jobs[record.id];
  const over = before && !UNFINISHED.includes(before.state) && UNFINISHED.includes(record.state);
  if (before && (over || (told.get(record.id) ?? 0) > asked)) {
    jobs[record.id] = { ...record, ...before }; // what events have told counts more
    return;
  }
  // A place in the queue, and what it waits for, are left out where they do not apply any more.
  const { position: _p, eta_seconds: _e, waits_for: _w, ...rest } = before ?? ({} as JobRecord);
  jobs[record.id] = { ...rest, ...record };
}

function forgetJob(id: string): void {
  delete batch.own("jobs")[id];
  forgetOutputs(id);
  forgetProgress(id);
  told.delete(id);
}

/** The results of a job, asked for anew. */
export async function readOutputs(job: string): Promise<ArtifactRecord[]> {
  const asked = ++clock;
  const { artifacts } = await call<{ artifacts: ArtifactRecord[] }>("artifacts", { job, limit: 1000 });
  const newer = (batch.get("outputs")[job] ?? []).filter(({ id }) => (told.get(id) ?? 0) > asked);
  const rest = artifacts.filter(({ id }) => !newer.some((each) => each.id === id));
  const sorted = [...rest, ...newer].sort((a, b) => a.idx - b.idx);
  batch.own("outputs")[job] = sorted;
  complete.add(job);
  batch.flush();
  return sorted;
}

/** The lines that the server has kept, of all or of one job; what comes live is added. */
export async function readLines(job?: string): Promise<void> {
  const { lines } = await call<{ lines: LogLine[] }>("logs", { ...(job && { job }), limit: MOST_LINES_READ });
  const others = job ? batch.get("lines").filter((line) => line.job !== job) : []; // what came meanwhile is in the answer
  batch.set({ lines: [...others, ...lines].sort((a, b) => a.time - b.time) });
}

/** Sees to it that all results of a job are in `outputs`, soon; events add what comes from then on. */
export function wantOutputs(job: string): void {
  if (complete.has(job)) return;
  complete.add(job);
  readOutputs(job).catch(() => complete.delete(job));
}

function forgetOutputs(job: string): void {
  complete.delete(job);
  for (const { id } of batch.get("outputs")[job] ?? []) told.delete(id);
  if (batch.get("outputs")[job]) delete batch.own("outputs")[job];
}

function forgetProgress(id: string): void {
  newPreviews.delete(id);
  const url = batch.get("previews")[id];
  if (url) {
    URL.revokeObjectURL(url);
    delete batch.own("previews")[id];
  }
  if (batch.get("progress")[id]) delete batch.own("progress")[id];
}

batch.beforeFlush = () => {
  for (const [id, image] of newPreviews) {
    const previews = batch.own("previews");
    if (previews[id]) URL.revokeObjectURL(previews[id]);
    previews[id] = URL.createObjectURL(new Blob([image as BlobPart], { type: "image/jpeg" }));
  }
  newPreviews.clear();
  if (batch.get("lines").length > MOST_LINES) batch.own("lines").splice(0, batch.get("lines").length - MOST_LINES);
  forgetOld();
};

/** Keeps the memory bounded on a page that stays open for days. */
function forgetOld(): void {
  const all = batch.get("jobs");
  for (const isPart of [true, false]) {
    const ended = Object.keys(all).filter((id) => !UNFINISHED.includes(all[id].state) && isPart === !!all[id].parent);
    if (ended.length > MOST_ENDED) for (const id of ended.sort().slice(0, -MOST_ENDED)) forgetJob(id); // ids sort by age
  }
  const outputs = Object.keys(batch.get("outputs"));
  if (outputs.length <= 2 * MOST_ENDED) return;
  outputs.filter((id) => !batch.get("jobs")[id]).sort().slice(0, -MOST_ENDED).forEach(forgetOutputs);
}

function connected({ missed, resync }: { missed: number; resync: boolean }): void {
  const again = known().connection.state === "lost";
  const connection: Connection = { state: "online", ...(again && { caughtUp: missed, resync }) };
  set({ connection });
  if (resync) {
    Object.keys(batch.get("previews")).forEach(forgetProgress);
    batch.set({ jobs: {}, outputs: {}, progress: {}, order: [] });
    told.clear();
    complete.clear();
  }
  setTimeout(() => known().connection === connection && set({ connection: { state: "online" } }), SAID_SECONDS * 1000);
  void readAnew().catch(() => undefined); // cut off again: the next connection does it
}

const received: Record<string, (body: any) => void> = {
  connected,
  lost: () => set({ connection: { state: "lost", since: Date.now() } }),
  refused: (error) => set({ connection: { state: "refused", error } }),
  job({ seq: _seq, ...changed }) {
    const jobs = batch.own("jobs");
    const { position: _p, eta_seconds: _e, waits_for: _w, ...before } = jobs[changed.id] ?? {};
    if (before.id) {
      const now = Date.now() / 1000;
      const times =
        changed.state === "running" ? { started: now, finished: undefined }
        : UNFINISHED.includes(changed.state) ? { started: undefined } : { finished: now };
      const again = UNFINISHED.includes(changed.state) && { error: undefined }; // it was to fail, and is tried again
      jobs[changed.id] = { ...(before as JobRecord), ...times, ...again, ...changed };
      told.set(changed.id, ++clock);
    }
    if (!before.children || !UNFINISHED.includes(changed.state)) forgetProgress(changed.id); // a program's picture stays
    readJobsSoon();
  },
  artifact({ seq: _seq, ...body }) {
    if (!body.job) return;
    const outputs = batch.own("outputs");
    const rest = (outputs[body.job] ?? []).filter(({ id }) => id !== body.id);
    if (body.deleted) told.delete(body.id);
    else told.set(body.id, ++clock);
    outputs[body.job] = body.deleted ? rest : [...rest, body].sort((a, b) => a.idx - b.idx);
  },
  progress(body) {
    const progress = batch.own("progress");
    const before = progress[body.id];
    const now = Date.now();
    const { first, since } = before?.phase === body.phase ? before : { first: body.step, since: now };
    progress[body.id] = { ...body, first, since, at: now };
  },
  preview({ id, image }) {
    newPreviews.set(id, image);
    batch.later();
  },
  log({ id, text, plugin }) {
    const of = plugin === undefined ? { job: id } : { name: plugin };
    batch.own("lines").push({ time: Date.now() / 1000, ...of, text });
  },
  queue({ paused }) {
    batch.set({ queue: { ...batch.get("queue"), paused } });
    readJobsSoon();
  },
  plugins: () => void readPlugins().catch(() => undefined),
};
