// Jobs in words: what a person would know one by, how long it takes, what it waits for.

import type { JobRecord, JobType, Wait } from "../../server/types";
import { clock, jobTitle } from "../../ui/format";

/** 130 is "about 2 min": nobody wants to see it jump. */
export function about(seconds: number): string {
  if (seconds < 8) return "a few seconds";
  if (seconds < 55) return `about ${Math.round(seconds / 5) * 5} s`;
  const minutes = Math.max(1, Math.round(seconds / 60));
  if (minutes < 60) return `about ${minutes} min`;
  const rest = Math.round((minutes % 60) / 5) * 5;
  return `about ${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ""}`;
}

/** The prompt, or what was set otherwise than usual. */
export function summary({ params }: JobRecord, type: JobType | undefined): string {
  const fields = type?.params.properties ?? {};
  const given = Object.entries(params ?? {});
  const prompt = given.find(([name, value]) => fields[name]?.ui?.widget === "textarea" && value);
  if (prompt) return String(prompt[1]);
  const changed = given.filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(fields[name]?.default));
  return changed.map(([name, value]) => `${name.replaceAll("_", " ")} ${shown(value)}`).join(" · ");
}

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** Why a job does not run yet, as one sentence. */
export function waitsFor({ state, waits_for: waits = [] }: JobRecord, jobs: Record<string, JobRecord>): string {
  if (state === "held" || waits.some(({ person }) => person)) return "On hold until somebody releases it.";
  const results = waits.filter(({ artifact }) => artifact).length;
  if (results) return `Waits until ${results === 1 ? "a result is" : `${results} results are`} picked or rejected.`;
  const rests = waits.find(({ until }) => until);
  if (rests) return `Rests until ${clock(rests.until!)}.`;
  const others = waits.filter(({ job }) => job);
  if (others.length > 3) return `Waits for ${others.length} other jobs.`;
  if (others.length) return `Waits for ${others.map((wait) => named(wait, jobs)).join(", ")}.`;
  return "Waits for other jobs.";
}

function named({ job, state }: Wait, jobs: Record<string, JobRecord>): string {
  const known = jobs[job!];
  return known ? `${jobTitle(known.name)}, which is ${known.state}` : `a job that is ${state}`;
}

/** How often it was begun, if that is worth a word. */
export function attempt({ attempt: number, state }: JobRecord): string {
  if (state === "queued" && number > 0) return "Its worker ended under it; it is tried again.";
  if (number < 2 || state !== "running") return "";
  return `Attempt ${number}: its worker or the server ended under the one before.`;
}
