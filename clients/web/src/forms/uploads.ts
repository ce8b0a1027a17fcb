// Files on their way to the server, by the form's input that waits for them. They go on while screens change.

import { create } from "zustand";

import { type Draft, type Given, useForms } from "../app/intents";
import { client, sentence } from "../server/client";
import { useServer } from "../server/store";
import type { ArtifactRecord } from "../server/types";

export interface Upload {
  id: number;
  /** The input: any text that names the form and the field. */
  place: string;
  name: string;
  /** What a picture looks like, before the server has it. */
  picture?: string;
  stop: AbortController;
}

export const useUploads = create<{ uploads: Upload[] }>(() => ({ uploads: [] }));
const under = new Map<number, Promise<unknown>>();
let made = 0;

/** Sends a file; `done` gets the artifact, `failed` a sentence why there is none. */
export function send(
  place: string, file: Blob & { name?: string }, kind: string,
  done: (given: Given) => void, failed: (why: string) => void,
): void {
  const { upload_bytes } = useServer.getState().hello?.limits ?? {};
  const name = file.name ?? kind;
  if (upload_bytes && file.size > upload_bytes) return failed(`${name} is over the limit of ${mega(upload_bytes)}.`);
  const picture = file.type.startsWith("image/") ? URL.createObjectURL(file) : undefined;
  const upload: Upload = { id: ++made, place, name, picture, stop: new AbortController() };
  useUploads.setState(({ uploads }) => ({ uploads: [...uploads, upload] }));
  const sent = client
    .upload(file, { kind, name: file.name, signal: upload.stop.signal })
    .then((artifact) => done({ artifact: artifact.record as ArtifactRecord }))
    .catch((error) => upload.stop.signal.aborted || failed(`${name}: ${sentence(error)}`))
    .finally(() => {
      if (picture) URL.revokeObjectURL(picture);
      under.delete(upload.id);
      useUploads.setState(({ uploads }) => ({ uploads: uploads.filter(({ id }) => id !== upload.id) }));
    });
  under.set(upload.id, sent);
}

/** The inputs of a form, once all that is on its way to them has come or failed. */
export async function arrived(job: string, inputs: Draft["inputs"]): Promise<Draft["inputs"]> {
  const waited = useUploads.getState().uploads.filter(({ place }) => place.startsWith(`${job}/`));
  if (!waited.length) return inputs;
  await Promise.all(waited.map(({ id }) => under.get(id)));
  return useForms.getState().drafts[job]?.inputs ?? inputs;
}

const mega = (bytes: number): string => `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
