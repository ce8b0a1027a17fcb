// The way of a form into the queue: as often as somebody presses Run, without waiting for the time before.

import { create } from "zustand";

import type { Draft } from "../../app/intents";
import { inputsToSend } from "../../forms/JobInputs";
import { toSend } from "../../forms/schema";
import { arrived } from "../../forms/uploads";
import { client, sentence } from "../../server/client";
import { merge } from "../../server/store";
import type { ErrorBody, JobRecord, JobType } from "../../server/types";

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
  for (let time = 0; time < (job.light ? 1 : now().times); time++) {
    set({ waiting: now().waiting + 1 });
    void send(job, values, inputs).finally(() => set({ waiting: now().waiting - 1 }));
  }
}

async function send(job: JobType, values: Draft["params"], inputs: Draft["inputs"]): Promise<void> {
  try {
    const given = inputsToSend(job, await arrived(job.full, inputs));
    if (job.light) set({ answer: { job: job.full, outputs: await client.light(job.full, values, given) } });
    else merge((await client.submit(job.full, values, given, now().how)).record as JobRecord);
    setProblem(job.full, null);
  } catch (error) {
    const { code, field, errors, hint, message } = error as ErrorBody;
    setProblem(job.full, { code, field, errors, hint, message: message ?? sentence(error) });
  }
}
