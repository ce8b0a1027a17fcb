// What results and their parameters are called in words.

import { same, words } from "../../forms/schema";
import type { ArtifactRecord, JobType, Schema, Values } from "../../server/types";

const KINDS: Record<string, string> = { image: "Picture", json: "JSON" };

/** What somebody who cannot see it is told of a result. */
export function aboutOf({ kind, name, facts, review, job, idx }: ArtifactRecord): string {
  const prompt = typeof facts.infotext === "string" ? facts.infotext.split("\n")[0].slice(0, 200) : "";
  const parts = [
    KINDS[kind] ?? words(kind), name || (job ? `result ${idx + 1}` : "upload"), prompt,
    facts.width && `${facts.width} × ${facts.height}`, facts.partial && "partial", review !== "new" && review,
  ];
  return parts.filter(Boolean).join(", ");
}

export const shown = (value: unknown): string => {
  if (value === true) return "yes";
  if (value === false) return "no";
  if (value === null || value === undefined || value === "" || same(value, [])) return "none";
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
};

const isLong = (schema: Schema | undefined): boolean => /textarea|prompt/.test(schema?.ui?.widget ?? "");

export interface Told {
  /** Texts that people know the job by, with something in them. */
  prompts: [name: string, text: string][];
  /** What differs from the defaults, and everything by group, in the order of the form. */
  changed: [name: string, value: unknown][];
  groups: [name: string, values: [name: string, value: unknown][]][];
}

/** A job's parameters as they are told: `type` is what it was announced as, if that is known still. */
export function told(params: Values, type: JobType | undefined): Told {
  const known = type?.params.properties ?? {};
  const order = (name: string) => known[name]?.ui?.order ?? 1e9;
  const all = Object.entries(params).sort(([a], [b]) => order(a) - order(b));
  const prompts = all.filter(([name, value]) => isLong(known[name]) && value) as Told["prompts"];
  const rest = all.filter(([name]) => !isLong(known[name]));
  const groups = new Map<string, [string, unknown][]>();
  for (const [name, value] of rest) {
    const group = known[name]?.ui?.group ?? "";
    groups.set(group, [...(groups.get(group) ?? []), [name, value]]);
  }
  return {
    prompts,
    changed: rest.filter(([name, value]) => !known[name] || !same(value, known[name].default)),
    groups: [...groups].sort(([a], [b]) => Number(Boolean(a)) - Number(Boolean(b))),
  };
}
