// Which jobs can be painted or framed for, by what they announce: never by name.

import type { JobType, Schema, Values } from "../../server/types";

export type Side = "left" | "right" | "up" | "down";
export const SIDES: Side[] = ["left", "right", "up", "down"];

/** A job with a picture that it is done to, and the names of what the painter gives it. */
export interface PaintJob {
  job: JobType;
  image: string;
  /** The input that takes the mask. */
  mask?: string;
  /** The parameters that say how far the picture grows, by side. */
  sides: Partial<Record<Side, string>>;
  /** The parameters that say how the mask is taken. */
  blur?: string;
  invert?: string;
  crop?: string;
}

/** Those that draw what a text says first, and of them those with a mask; programs after the jobs that they are made of. */
export function paintJobs(catalogue: Record<string, JobType>): PaintJob[] {
  const rank = ({ job, mask }: PaintJob) => (draws(job) ? 0 : 4) + (job.program ? 2 : 0) + (mask ? 0 : 1);
  return Object.values(catalogue).filter(({ light }) => !light).flatMap(asPaintJob).sort((a, b) => rank(a) - rank(b));
}

const draws = ({ params }: JobType): boolean => Object.values(params.properties ?? {}).some(({ ui }) => ui?.widget === "textarea");

function asPaintJob(job: JobType): PaintJob[] {
  const inputs = Object.entries(job.inputs);
  const image = inputs.find(([, port]) => port.kind === "image" && !port.optional)?.[0];
  const mask = inputs.find(([, port]) => port.kind === "mask")?.[0];
  const properties = Object.entries(job.params.properties ?? {});
  const hinted = (what: string) => properties.find(([, { ui }]) => ui?.mask === what)?.[0];
  const sides = Object.fromEntries(properties.flatMap(([name, { ui }]) => (ui?.frame ? [[ui.frame, name]] : [])));
  if (!image || (!mask && !Object.keys(sides).length)) return [];
  return [{ job, image, mask, sides, blur: hinted("blur"), invert: hinted("invert"), crop: hinted("crop") }];
}

/** What a parameter is: what the form has, or its default. */
export const valueOf = (job: JobType, params: Values, name: string | undefined): unknown =>
  name === undefined ? undefined : (params[name] ?? job.params.properties?.[name]?.default);

export type Growth = Record<Side, number>;
export const NO_GROWTH: Growth = { left: 0, right: 0, up: 0, down: 0 };

export function growthOf({ job, sides }: PaintJob, params: Values): Growth {
  const of = (side: Side) => Number(valueOf(job, params, sides[side]) ?? 0);
  return { left: of("left"), right: of("right"), up: of("up"), down: of("down") };
}

/** The same as parameters. */
export const growthParams = ({ sides }: PaintJob, growth: Growth): Values =>
  Object.fromEntries(SIDES.flatMap((side) => (sides[side] ? [[sides[side], growth[side]]] : [])));

/** A growth that the side's parameter allows: in its steps and bounds. */
export function snapped({ job, sides }: PaintJob, side: Side, pixels: number): number {
  const schema: Schema = job.params.properties?.[sides[side] ?? ""] ?? {};
  const step = schema.multipleOf ?? schema.ui?.step ?? 1;
  const largest = Math.floor((schema.maximum ?? Infinity) / step) * step;
  return Math.min(Math.max(Math.round(pixels / step) * step, schema.minimum ?? 0), largest);
}

/** The job without what the painter itself asks for. */
export function restOf({ job, image, mask, sides }: PaintJob): JobType {
  const without = <Value>(record: Record<string, Value>, names: unknown[]): Record<string, Value> =>
    Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)));
  const properties = without(job.params.properties ?? {}, Object.values(sides));
  return { ...job, params: { ...job.params, properties }, inputs: without(job.inputs, [image, mask]) };
}

/** What a new form takes over from the job that made its picture: what it shows, and who draws it. */
export function takenOver(job: JobType, params: Values): Values {
  const known = Object.entries(job.params.properties ?? {}).filter(
    ([name, { ui }]) => name in params && (ui?.widget === "textarea" || ui?.choices_from?.startsWith("models/")),
  );
  return Object.fromEntries(known.map(([name]) => [name, params[name]]));
}
