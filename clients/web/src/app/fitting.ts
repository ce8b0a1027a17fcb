// What fits into what: as it is, or through a converter that the server puts in between. As core/library/converting.py.

import type { JobType } from "../server/types";

/** Whether an output of kind `given` may be an input of kind `wanted`. */
export const fits = (given: string, wanted: string): boolean =>
  given === wanted || (["image", "mask"].includes(given) && ["image", "mask"].includes(wanted));

/** How something gets into an input: as it is, `through` a converter, or not at all, with the `problem`. */
export interface Way {
  through?: JobType;
  problem?: string;
}

const takes = ({ inputs }: JobType): string => Object.values(inputs)[0].kind;

/** What a converter does: "json → text". */
export const turns = (converter: JobType): string => `${takes(converter)} → ${converter.output.kind}`;

export function wayInto(catalogue: Record<string, JobType>, given: string, wanted: string, target: JobType): Way {
  if (fits(given, wanted)) return {};
  const able = Object.values(catalogue).filter((job) => job.converts && fits(takes(job), given) && fits(job.output.kind, wanted));
  const exact = able.filter((job) => takes(job) === given && job.output.kind === wanted);
  const [through, ...others] = exact.length ? exact : able;
  if (through && !others.length && !target.light && !target.converts) return { through };
  const names = [through, ...others].map((job) => job?.full).join(" and ");
  const problem = !through ? "" : others.length ? ` ${names} could convert it: put the one you mean in between.` : ` Put ${names} in between.`;
  return { problem: `takes ${wanted}, this is ${given}.${problem}` };
}
