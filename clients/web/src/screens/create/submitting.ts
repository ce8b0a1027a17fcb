// The way of a form into the queue: as often as somebody presses Run, without waiting for the time before.

import { create } from "zustand";

import { type Draft, extendNow, useForms } from "../../app/intents";
import { inputsToSend } from "../../forms/JobInputs";
import { fieldsOf, toSend } from "../../forms/schema";
import { arrived } from "../../forms/uploads";
import { call, client, sentence } from "../../server/client";
import { merge } from "../../server/store";
import type { ErrorBody, JobRecord, JobType, Values } from "../../server/types";

export interface HowToRun {
  priority: JobRecord["priority"];
  hold: boolean;
  fresh: boolean;
  embed_metadata: "full" | "minimal" | "none";
}

export const USUAL: HowToRun = { priority: "normal", hold: false, fresh: false, embed_metadata: "full" };

interface Submitting {
  how: HowToRun;
  times: number;
  /** Submits that the server has not answered yet. */
  waiting: number;
  /** What the server refused, by the full name of the job. */
  problems: Record<string, ErrorBody | null>;
  /** What a light job answered last. */
  answer: { job: string; outputs: unknown[] } | null;
}

export const useSubmitting = create<Submitting>(() => ({
  how: USUAL, times: 1, waiting: 0, problems: {}, answer: null,
}));

const { getState: now, setState: set } = useSubmitting;

export function setProblem(job: string, problem: ErrorBody | null): void {
  if (now().problems[job] !== problem) set({ problems: { ...now().problems, [job]: problem } });
}

/** Submits the form as it stands now, so many times as is chosen. */
export function run(job: JobType, { params, inputs }: Draft): void {
  const values = toSend(job.params, params);
  const extended = useForms.getState().extended[job.full];
  for (let time = 0; time < (job.light || extended ? 1 : now().times); time++) {
    set({ waiting: now().waiting + 1 });
    void send(job, values, inputs, extended).finally(() => set({ waiting: now().waiting - 1 }));
  }
}

async function send(job: JobType, values: Values, inputs: Draft["inputs"], extended?: JobRecord): Promise<void> {
  try {
    const given = inputsToSend(job, await arrived(job.full, inputs));
    if (job.light) set({ answer: { job: job.full, outputs: await client.light(job.full, values, given) } });
    else if (extended) merge(await added(job, extended, values, given));
    else merge((await client.submit(job.full, values, given, now().how)).record as JobRecord);
    setProblem(job.full, null);
  } catch (error) {
    const { code, field, errors, hint, message } = error as ErrorBody;
    setProblem(job.full, { code, field, errors, hint, message: message ?? sentence(error) });
  }
}

/** The program goes on with these values in place of its own; those that are back at their default are named, too. */
async function added(job: JobType, { id, params }: JobRecord, values: Values, inputs: object): Promise<JobRecord> {
  const fields = fieldsOf(job.params);
  const back = Object.keys(params).filter((name) => !(name in values) && fields[name] && "default" in fields[name]);
  const all = { ...Object.fromEntries(back.map((name) => [name, fields[name].default])), ...values };
  const reference = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const { job: record } = await call<{ job: JobRecord }>("retry", { id, params: all, inputs, extend: true, client_ref: reference });
  extendNow(job.full);
  return record;
}
