// What runs of a flow: submitting it as one, which jobs belong to which node, and what the server has against it.

import { create } from "zustand";
import { useShallow } from "zustand/react/shallow";
import { useEffect } from "react";

import { complain, say } from "../../app/notices";
import { fieldWith } from "../../forms/schema";
import { call, client } from "../../server/client";
import { memorise, rememberedJson } from "../../server/memory";
import { UNFINISHED, merge, readOutputs, useServer } from "../../server/store";
import type { ArtifactRecord, ErrorBody, JobRecord, Progress, Values } from "../../server/types";
import { randomKey, useEditor } from "./editor";
import { jobsOf } from "./file";
import { type Graph, typeOf, upstream } from "./graph";

interface Run {
  began: number;
  /** The ids of its jobs, by node: one for each time that the flow was submitted. */
  jobs: Record<string, string[]>;
  /** The seeds that were drawn where -1 stands, by node. */
  seeds: Record<string, number[]>;
}

interface Runs {
  /** The latest of each flow, by its key. */
  runs: Record<string, Run>;
  sending: boolean;
  /** What the server has refused, by node. */
  problems: Record<string, ErrorBody>;
  /** Records of jobs that the store has not; null: they are gone. */
  read: Record<string, JobRecord | null>;
}

const RUNS = "flow-runs";
const MOST_RUNS = 20;
const LARGEST_SEED = 2 ** 32 - 1;
const NONE: string[] = [];

export const useRuns = create<Runs>(() => ({
  runs: rememberedJson(RUNS, {}), sending: false, problems: {}, read: {},
}));

const { getState: known, setState: set } = useRuns;

interface Wanted {
  times?: number;
  /** Runs only this node and what it needs. */
  upTo?: string;
  /** Random seeds as in the last run, so that equal jobs need not run again. */
  keepSeeds?: boolean;
}

/** Submits the flow as one; errors are shown at the nodes. */
export async function run({ times = 1, upTo, keepSeeds = false }: Wanted): Promise<void> {
  const { key, nodes, wires } = useEditor.getState();
  const before = known().runs[key];
  const graph = upTo ? part({ nodes, wires }, upTo) : { nodes, wires };
  const jobs = jobsOf(graph);
  if (!jobs.length || known().sending) return;
  const seeds: Run["seeds"] = {};
  const ref = randomKey();
  const submissions = Array.from({ length: times }, (_, round) => jobs.map((job, at) => ({
    ...job,
    id: local(job.id!, round),
    params: seeded(job, round, (keepSeeds && before?.seeds[job.id!]) || [], (seeds[job.id!] ??= [])),
    inputs: Object.fromEntries(Object.entries(job.inputs!).map(([name, items]) => [name, [items].flat().map((item) =>
      typeof item !== "string" && jobs.some(({ id }) => id === item.job) ? { ...item, job: local(item.job, round) } : item)])),
    client_ref: `${ref}.${round}.${at}`,
  }))).flat();
  set({ sending: true, problems: {} });
  try {
    const made = await client.flow(submissions);
    const ids: Run["jobs"] = {};
    for (const [at, { record }] of made.entries()) {
      merge(record as JobRecord);
      (ids[jobs[at % jobs.length].id!] ??= []).push(record.id);
    }
    keep(key, { began: Date.now(), jobs: { ...(upTo && before?.jobs), ...ids }, seeds: { ...before?.seeds, ...seeds } });
  } catch (error) {
    const problems = byNode(error as ErrorBody, jobs.map(({ id }) => id!));
    set({ problems });
    if (!Object.keys(problems).length) complain(error);
  } finally {
    set({ sending: false });
  }
}

const local = (id: string, round: number): string => (round ? `${id} (${round + 1})` : id);

function part({ nodes, wires }: Graph, upTo: string): Graph {
  const needed = upstream(wires, upTo);
  return { nodes: nodes.filter(({ id }) => needed.has(id)), wires: wires.filter(({ target }) => needed.has(target)) };
}

/** The parameters with a seed drawn where chance begins; of each further round, the next seed. */
function seeded(job: { job: string; params?: Values }, round: number, before: number[], drawn: number[]): Values {
  const params = { ...job.params };
  const schema = typeOf(useServer.getState().catalogue, job.job)?.params;
  const name = schema && fieldWith(schema, "seed");
  if (!name) return params;
  const { default: usual, maximum = LARGEST_SEED } = schema.properties![name];
  const given = params[name] ?? usual;
  if (typeof given === "number" && given !== -1) return { ...params, [name]: given + round };
  drawn[round] = before[round] ?? Math.floor(Math.random() * Math.min(maximum, LARGEST_SEED));
  return { ...params, [name]: drawn[round] };
}

/** What is wrong, by the node it is about: fields are "jobs.3.steps". */
function byNode(error: ErrorBody, nodes: string[]): Runs["problems"] {
  const found: Runs["problems"] = {};
  for (const { field, message } of error.errors?.length ? error.errors : [error]) {
    const [, at, rest] = /^jobs\.(\d+)\.(.*)$/.exec(field ?? "") ?? [];
    if (at === undefined) continue;
    const node = nodes[Number(at) % nodes.length];
    const before = found[node]?.errors ?? [];
    if (before.some((each) => each.field === rest && each.message === message)) continue; // of another round
    const errors = [...before, { field: rest.replace(/^params\./, ""), message }];
    found[node] = { code: error.code, message: errors.map((each) => each.message).join(" "), field: errors[0].field, errors };
  }
  return found;
}

export function clearProblem(node: string): void {
  const { [node]: _mended, ...problems } = known().problems;
  set({ problems });
}

function keep(key: string, run: Run): void {
  const runs = { ...known().runs, [key]: run };
  const newest = Object.entries(runs).sort(([, a], [, b]) => b.began - a.began).slice(0, MOST_RUNS);
  set({ runs: Object.fromEntries(newest) });
  memorise(RUNS, JSON.stringify(known().runs));
}

/** Cancels what has not ended, the last jobs first, for those would fail when what they need is cancelled. */
export async function cancelRun(): Promise<void> {
  const ids = Object.values(currentRun()?.jobs ?? {}).flat().sort().reverse();
  const unfinished = ids.filter((id) => UNFINISHED.includes(recordOf(id)?.state ?? ""));
  const ended = await Promise.allSettled(unfinished.map((id) => call("cancel", { id })));
  const refused = ended.find((each) => each.status === "rejected" && each.reason.code !== "conflict");
  if (refused) complain((refused as PromiseRejectedResult).reason);
  else say("Cancelled.");
}

const currentRun = (): Run | undefined => known().runs[useEditor.getState().key];
const recordOf = (id: string) => useServer.getState().jobs[id] ?? known().read[id] ?? undefined;

/** The ids of the jobs of a node, or of all nodes, in the latest run. */
function useIds(node?: string): string[] {
  const key = useEditor((editor) => editor.key);
  return useRuns(useShallow(({ runs }) => {
    const jobs = runs[key]?.jobs ?? {};
    return node === undefined ? Object.values(jobs).flat() : (jobs[node] ?? NONE);
  }));
}

const isEnded = (record: JobRecord): boolean => !UNFINISHED.includes(record.state);

function useRecords(ids: string[]): JobRecord[] {
  const read = useRuns((runs) => runs.read);
  const records = useServer(useShallow(({ jobs }) => ids.map((id) => jobs[id] ?? read[id])));
  return records.filter(Boolean);
}

export interface Standing {
  records: JobRecord[];
  outputs: ArtifactRecord[];
  running?: JobRecord;
  progress?: Progress;
  preview?: string;
}

/** How the latest run of a node is. */
export function useStanding(node: string): Standing {
  const ids = useIds(node);
  const records = useRecords(ids);
  const running = records.find(({ state }) => state === "running");
  const progress = useServer((server) => (running ? server.progress[running.id] : undefined));
  const preview = useServer((server) => (running ? server.previews[running.id] : undefined));
  const outputs = useServer(useShallow((server) => ids.flatMap((id) => server.outputs[id] ?? [])));
  return { records, running, progress, preview, outputs };
}

export interface Whole {
  total: number;
  ended: number;
  failed: number;
  reused: number;
}

/** How the latest run of the whole flow is; undefined if there was none. */
export function useWhole(): Whole | undefined {
  const ids = useIds();
  const records = useRecords(ids);
  if (!ids.length) return undefined;
  return {
    total: ids.length,
    ended: records.filter(isEnded).length,
    failed: records.filter(({ state }) => state === "failed").length,
    reused: records.filter(({ metrics }) => metrics?.reused_from).length,
  };
}

/** Reads what no event has told: after a reload, after a lost connection, and how a job came to its end. */
export function useReading(): void {
  const ids = useIds();
  const read = useRuns((runs) => runs.read);
  const isOnline = useServer(({ connection }) => connection.state === "online");
  const missing = useServer(({ jobs }) => ids.filter((id) => {
    const record = jobs[id] ?? read[id];
    return record === undefined || (record && isEnded(record) && record.finished === undefined);
  }).join(" "));
  const untold = useServer(({ jobs, outputs }) => ids.filter((id) => {
    const record = jobs[id] ?? read[id];
    const least = record?.outputs?.length ?? (record?.state === "done" ? 1 : 0);
    return record && isEnded(record) && (outputs[id]?.length ?? 0) < least;
  }).join(" "));
  useEffect(() => {
    if (!isOnline || !missing) return;
    const timer = setTimeout(() => missing.split(" ").forEach((id) => void readJob(id)), 600); // the store may read it, too
    return () => clearTimeout(timer);
  }, [isOnline, missing]);
  useEffect(() => {
    if (isOnline && untold) for (const id of untold.split(" ")) void readOutputs(id).catch(() => undefined);
  }, [isOnline, untold]);
}

async function readJob(id: string): Promise<void> {
  const note = (record: JobRecord | null) => set(({ read }) => ({ read: { ...read, [id]: record } }));
  try {
    const { job } = await call<{ job: JobRecord }>("job", { id });
    merge(job);
    note(isEnded(job) ? { ...job, finished: job.finished ?? 0 } : job);
  } catch (error) {
    if ((error as ErrorBody).code === "not_found") note(null);
  }
}
