// Ways from one screen to another: open a form with these values, paint on that picture, show that result.

import { create } from "zustand";
import { navigate } from "wouter/use-hash-location";

import { fieldWith } from "../forms/schema";
import { call } from "../server/client";
import { memorise, remembered } from "../server/memory";
import { useServer } from "../server/store";
import type { ArtifactRecord, ErrorBody, JobRecord, JobType, Port, Reference, Values } from "../server/types";
import { wayInto } from "./fitting";
import { say } from "./notices";

/** What is in a form's input: results and uploads, or a text that is typed. */
export type Given = { artifact: ArtifactRecord } | { text: string };
export interface Draft {
  params: Values;
  inputs: Record<string, Given[]>;
}

/** The forms as they stand, by the full name of the job; kept while screens change. */
export const useForms = create<{
  chosen: string | null;
  drafts: Record<string, Draft>;
  /** The program that a form adds to, by the full name of the job. */
  extended: Record<string, JobRecord | undefined>;
}>(() => ({
  chosen: remembered("job"),
  drafts: {},
  extended: {},
}));

export function chooseJob(job: string): void {
  memorise("job", job);
  useForms.setState({ chosen: job });
}

export function setDraft(job: string, change: Partial<Draft>): void {
  useForms.setState(({ drafts }) => ({
    drafts: { ...drafts, [job]: { ...(drafts[job] ?? { params: {}, inputs: {} }), ...change } },
  }));
}

/** Shows the form of a job with these values; those not named keep their defaults. */
export function openForm(job: string, params: Values = {}, inputs: Record<string, Given[]> = {}): void {
  setDraft(job, { params, inputs });
  extendNow(job);
  chooseJob(job);
  navigate("/");
}

/** Puts results into an input of a job's form, the first fitting one unless it is named, and keeps the rest of it. */
export function sendTo(job: string, artifacts: ArtifactRecord | ArtifactRecord[], input?: string): void {
  const given = [artifacts].flat();
  const name = input ?? fittingInputs(job, given)[0].name;
  const before = useForms.getState().drafts[job];
  setDraft(job, { inputs: { ...before?.inputs, [name]: given.map((artifact) => ({ artifact })) } });
  chooseJob(job);
  navigate("/");
}

/** An input that takes results; those that do not fit as they are go `through` these converters. */
export interface Entrance {
  name: string;
  port: Port;
  through: JobType[];
}

/** The inputs of a job that take all of these results, those first that take them as they are. */
export function fittingInputs(job: string, artifacts: ArtifactRecord[]): Entrance[] {
  const { catalogue } = useServer.getState();
  const entrances = Object.entries(catalogue[job]?.inputs ?? {}).flatMap(([name, port]): Entrance[] => {
    const ways = [...new Set(artifacts.map(({ kind }) => kind))].map((kind) => wayInto(catalogue, kind, port.kind, catalogue[job]));
    return ways.some(({ problem }) => problem) ? [] : [{ name, port, through: ways.flatMap(({ through }) => through ?? []) }];
  });
  return [...entrances.filter(({ through }) => !through.length), ...entrances.filter(({ through }) => through.length)];
}

/** Puts a job's parameters and inputs into its form. With `seed`, also the seed that it really had. */
export async function reuse(record: JobRecord, seed?: number): Promise<void> {
  const type = useServer.getState().catalogue[record.name];
  if (!type) throw new Error(`No plugin announces ${record.name} just now.`);
  const seeded = fieldWith(type.params, "seed");
  const params = { ...record.params, ...(seeded && seed !== undefined && { [seeded]: seed }) };
  const inputs = await inputsOf(record.inputs);
  openForm(record.name, params, inputs);
  const emptied = Object.keys(record.inputs).filter((name) => record.inputs[name].length && !inputs[name].length);
  if (emptied.length) say(`What it was made from is not there any more. Choose it anew: ${emptied.join(", ")}.`);
}

/** Puts a program into its form, to add to what it does: what is there is not made again. */
export async function extend(record: JobRecord): Promise<void> {
  await reuse(record);
  extendNow(record.name, record);
}

export const extendNow = (job: string, record?: JobRecord): void =>
  useForms.setState(({ extended }) => ({ extended: { ...extended, [job]: record } }));

/** The artifacts that a stored job's inputs name, without those that are not there any more. */
export async function inputsOf(inputs: Record<string, Reference[] | Reference>): Promise<Record<string, Given[]>> {
  const read = Object.entries(inputs).map(async ([name, given]) => {
    const items = await Promise.all([given].flat().map((item) => artifactsOf(item).catch(unlessUnknown)));
    return [name, items.flat().map((artifact) => ({ artifact }))] as const;
  });
  return Object.fromEntries(await Promise.all(read));
}

function unlessUnknown(error: ErrorBody): [] {
  if (error.code !== "unknown_artifact") throw error;
  return [];
}

async function artifactsOf(item: Reference): Promise<ArtifactRecord[]> {
  if (typeof item === "string") return [(await call("artifact", { id: item })).artifact];
  const { artifacts } = await call<{ artifacts: ArtifactRecord[] }>("artifacts", { job: item.job, limit: 1000 });
  return artifacts.filter(({ idx }) => idx === (item.index ?? idx)).sort((a, b) => a.idx - b.idx);
}

export const openPainter = (artifact: ArtifactRecord): void => navigate(`/draw/${artifact.id}`);
/** Shows how a result was made as a flow. */
export const openAsFlow = (id: string): void => navigate(`/connect/${id}`);
export const openResult = (id: string): void => navigate(`/results/${id}`);
