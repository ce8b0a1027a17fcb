// What becomes of files that are dropped or pasted: uploads, and the form that a picture was made with.

import { call, client, sentence } from "../server/client";
import { useServer } from "../server/store";
import type { ArtifactRecord, JobRecord, JobType, Values } from "../server/types";
import { jobTitle } from "../ui/format";
import { type Given, inputsOf, openForm, reuse } from "./intents";

const NOTES = 3; // told at once

/** Uploads each; what the server refuses is told by `onProblem`. */
export async function upload(
  files: File[], onProgress: (done: number) => void, onProblem: (text: string) => void,
): Promise<ArtifactRecord[]> {
  const artifacts: ArtifactRecord[] = [];
  for (const [at, file] of files.entries()) {
    onProgress(at);
    try {
      artifacts.push((await client.upload(file)).record as ArtifactRecord);
    } catch (error) {
      onProblem(`${file.name}: ${sentence(error)}`);
    }
  }
  return artifacts;
}

/** Opens the form that an upload was made with. Returns what it did in words; null where nothing tells how. */
export async function restore(artifact: ArtifactRecord): Promise<string | null> {
  return (await fromSource(artifact)) ?? (await fromContent(artifact));
}

/** A result of ours that came back: its job is known. */
async function fromSource({ source }: ArtifactRecord): Promise<string | null> {
  if (!source) return null;
  try {
    const { artifact } = await call<{ artifact: ArtifactRecord }>("artifact", { id: source });
    if (!artifact.job) return null;
    const { job } = await call<{ job: JobRecord }>("job", { id: artifact.job });
    await reuse(job, artifact.facts.seed);
    return `This is a result of ${jobTitle(job.name)}; its form is here again.`;
  } catch {
    return null; // its job or an input is not there any more: maybe the file itself tells
  }
}

interface Form {
  job: string;
  params: Values;
  inputs: Record<string, string[]>;
}

/** Asks the light jobs that look at one picture whether they read a form in it. */
async function fromContent(artifact: ArtifactRecord): Promise<string | null> {
  for (const type of Object.values(useServer.getState().catalogue).filter(readsPictures)) {
    const [input] = Object.keys(type.inputs);
    try {
      const outputs = (await client.light(type.full, {}, { [input]: artifact.id })) as { form?: Form; notes?: string[] }[];
      const told = outputs.find((value) => value?.form);
      const job = told?.form && fullName(told.form.job, type.plugin);
      if (job) return await open(job, told.form!, told.notes ?? []);
    } catch {
      continue; // another one may understand it
    }
  }
  return null;
}

const readsPictures = ({ light, inputs, params }: JobType): boolean =>
  light && Object.keys(inputs).length === 1 && Object.values(inputs)[0].kind === "image" && !params.required?.length;

function fullName(job: string, plugin: string): string | undefined {
  const { catalogue } = useServer.getState();
  return [job, `${plugin}.${job}`, ...Object.keys(catalogue).filter((each) => each.split(".")[1] === job)].find((each) => each in catalogue);
}

async function open(job: string, { params, inputs }: Form, notes: string[]): Promise<string> {
  const found: Record<string, Given[]> = {};
  for (const [name, given] of Object.entries(inputs)) {
    Object.assign(found, await inputsOf({ [name]: given }).catch(() => ({}))); // another server's: to be chosen anew
  }
  openForm(job, params, found);
  const more = notes.length > NOTES ? [`And ${notes.length - NOTES} more.`] : [];
  return [`The picture tells that ${jobTitle(job)} made it; its form is here.`, ...notes.slice(0, NOTES), ...more].join(" ");
}

