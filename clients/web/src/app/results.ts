// What can be done with results, on every screen that shows some.

import { fieldWith } from "../forms/schema";
import { call } from "../server/client";
import { useServer } from "../server/store";
import type { ArtifactRecord, JobRecord, JobType } from "../server/types";
import { isPicture, pictureUrl } from "../ui/pictures";
import { reuse } from "./intents";
import { retry } from "./jobs";
import { complain, say } from "./notices";

const AT_ONCE = 500; // ids that the server takes in one call
const BETWEEN_MS = 350; // downloads that follow faster are dropped by browsers

function* portions(ids: string[]): Generator<string[]> {
  for (let at = 0; at < ids.length; at += AT_ONCE) yield ids.slice(at, at + AT_ONCE);
}

/** Says what one thinks of results; the event tells all that show them. */
export async function review(ids: string[], state: ArtifactRecord["review"]): Promise<void> {
  try {
    for (const some of portions(ids)) await call("review", { ids: some, state });
  } catch (error) {
    complain(error);
  }
}

/** Returns whether they are gone. */
export async function remove(ids: string[]): Promise<boolean> {
  try {
    for (const some of portions(ids)) await call("delete", { ids: some });
    say(ids.length === 1 ? "Deleted." : `Deleted ${ids.length} results.`);
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

const SUFFIXES: Record<string, string> = { image: "png", mask: "png", text: "txt", json: "json", audio: "wav", video: "mp4" };
type Format = "original" | "jpeg" | "webp";

export async function download(artifacts: ArtifactRecord[], format: Format = "original"): Promise<void> {
  for (const [at, artifact] of artifacts.entries()) {
    if (at) await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    const converted = format !== "original" && isPicture(artifact);
    const suffix = converted ? format.replace("jpeg", "jpg") : SUFFIXES[artifact.kind] ?? "bin";
    const link = document.createElement("a");
    link.href = converted ? `${pictureUrl(artifact)}&format=${format}` : pictureUrl(artifact);
    const whole = !converted && !artifact.job && artifact.name; // an upload's has its suffix, one that a program gave has none
    link.download = whole || `${stem(artifact)}.${suffix}`;
    link.click();
  }
  if (artifacts.length > 1) say(`Downloaded ${artifacts.length} results.`);
}

function stem({ id, job, name, facts }: ArtifactRecord): string {
  if (name) return job ? name : name.replace(/\.\w+$/, "");
  return [facts.seed, id].filter((part) => part !== undefined).join("-");
}

/** Puts the picture into the clipboard, which takes PNG alone. */
export async function copyPicture(artifact: ArtifactRecord): Promise<void> {
  try {
    if (!navigator.clipboard?.write) throw new Error("Browsers let a page copy pictures over HTTPS or on the server's own machine only.");
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png(artifact) })]);
    say("The picture is in the clipboard.");
  } catch (error) {
    complain(error);
  }
}

async function png(artifact: ArtifactRecord): Promise<Blob> {
  const answer = await fetch(pictureUrl(artifact));
  if (!answer.ok) throw new Error("The picture cannot be read just now.");
  const blob = await answer.blob();
  if (blob.type === "image/png") return blob;
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/png" });
}

/** The job that made a result; null for uploads and where it is not known any more. */
async function makerOf({ job }: ArtifactRecord): Promise<JobRecord | null> {
  if (!job) return null;
  return (await call<{ job: JobRecord }>("job", { id: job })).job;
}

export async function reuseForm(artifact: ArtifactRecord): Promise<void> {
  try {
    const record = await makerOf(artifact);
    if (record) await reuse(record, artifact.facts.seed);
  } catch (error) {
    complain(error);
  }
}

/** The same job once more, with another seed where it has one. */
export async function again(artifact: ArtifactRecord): Promise<void> {
  try {
    const record = await makerOf(artifact);
    if (!record) return;
    const schema = useServer.getState().catalogue[record.name]?.params;
    const seed = schema && fieldWith(schema, "seed");
    await retry(record.id, seed ? { [seed]: schema.properties![seed].default } : undefined);
  } catch (error) {
    complain(error);
  }
}

/** Whether any job takes a picture together with a mask. */
export function canPaint(artifact: ArtifactRecord, catalogue: Record<string, JobType>): boolean {
  if (!isPicture(artifact)) return false;
  return Object.values(catalogue).some(({ inputs }) => {
    const kinds = Object.values(inputs).map(({ kind }) => kind);
    return kinds.includes("image") && kinds.includes("mask");
  });
}
