// The pictures that are painted on, each with its mask and its results: kept while other screens are shown.

import { create } from "zustand";

import { call, client } from "../../server/client";
import type { ArtifactRecord } from "../../server/types";
import { NO_GROWTH, type Growth } from "./jobs";
import { PaintedMask } from "./mask";
import { greyPng } from "./png";
import { contrasting } from "./tools";

const MASK_BYTES = 256_000_000; // of all masks that are kept; those not used for longest go first
const TURNED = ["image/png", "image/jpeg"]; // browsers turn these as their EXIF says; the server turns all others, too

export interface Easel {
  artifact: ArtifactRecord;
  /** Upright, as the server sees it, too. */
  bitmap: ImageBitmap;
  mask: PaintedMask;
  /** In which its mask is seen best. */
  color: string;
}

/** What was made of a picture: the ids of its jobs, which result is looked at, and where its frame was dragged to. */
export interface Made {
  jobs: string[];
  shown: string | null;
  growth: Growth;
}

export const useMade = create<Record<string, Made>>(() => ({}));
export const NOTHING: Made = { jobs: [], shown: null, growth: NO_GROWTH };

export function setMade(picture: string, change: (made: Made) => Partial<Made>): void {
  useMade.setState((all) => ({ [picture]: { ...(all[picture] ?? NOTHING), ...change(all[picture] ?? NOTHING) } }));
}

const masks = new Map<string, PaintedMask>();
const uploads = new WeakMap<PaintedMask, { step: number; id: string }>();

export async function openEasel(id: string): Promise<Easel> {
  const { artifact } = await call<{ artifact: ArtifactRecord }>("artifact", { id });
  const format = TURNED.includes(artifact.mime) ? undefined : "webp";
  const bitmap = await createImageBitmap(await client.artifact(artifact).blob({ format, quality: 95 }));
  const mask = maskOf(artifact.id, bitmap.width, bitmap.height);
  return { artifact, bitmap, mask, color: contrasting(bitmap) };
}

function maskOf(id: string, width: number, height: number): PaintedMask {
  const mask = masks.get(id) ?? new PaintedMask(width, height);
  masks.delete(id);
  masks.set(id, mask); // the one used last is the last
  let room = [...masks.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  for (const [oldest, { bytes }] of masks) {
    if (room <= MASK_BYTES || oldest === id) break;
    masks.delete(oldest);
    room -= bytes.length;
  }
  return mask;
}

/** Lays the mask of one picture on another one of the same size. */
export function carryMask(from: Easel, to: string): void {
  const mask = new PaintedMask(from.mask.width, from.mask.height);
  mask.replace(from.mask.bytes);
  masks.set(to, mask);
}

/** The id of the mask as an artifact; uploaded once for as long as it is not painted on. */
export async function uploadMask({ mask, artifact }: Easel): Promise<string> {
  const { step } = mask;
  const known = uploads.get(mask);
  if (known?.step === step) return known.id;
  const png = await greyPng(mask.bytes, mask.width, mask.height);
  const { id } = await client.upload(png, { kind: "mask", name: `mask of ${artifact.name ?? artifact.id}.png` });
  uploads.set(mask, { step, id });
  return id;
}

/** Paints what another picture shows, as the server would read it as a mask: stretched, and by its brightness. */
export async function loadMask(mask: PaintedMask, blob: Blob): Promise<void> {
  const bitmap = await createImageBitmap(blob);
  const context = new OffscreenCanvas(mask.width, mask.height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0, mask.width, mask.height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, mask.width, mask.height);
  const bytes = new Uint8Array(mask.bytes.length);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = (data[at * 4] * 299 + data[at * 4 + 1] * 587 + data[at * 4 + 2] * 114) / 1000 + 0.5;
  }
  mask.replace(bytes);
}
