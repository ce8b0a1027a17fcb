// Programs: jobs made of jobs. How far one is as a whole, which results it wants a person to look at.

import { useServer } from "../server/store";
import type { JobRecord } from "../server/types";

/** The results that somebody has to pick or reject before a job goes on, the first hundred of them. */
export const toReview = ({ state, waits_for: waits = [] }: JobRecord): string[] =>
  state === "waiting" ? waits.flatMap(({ artifact }) => artifact ?? []) : [];

export const reviewAddress = ({ id }: JobRecord): string => `/results/review/${id}`;

interface Whole {
  ended: number;
  total: number;
  left?: number;
  at: number;
}

/** How many parts of a program have ended: as it was told last, else by its record. */
export function useWhole({ id, children = 0, children_ended = 0 }: JobRecord): Whole {
  const told = useServer((server) => server.progress[id]);
  const ended = Math.max(children_ended, told?.phase === "jobs" ? told.step : 0);
  const total = Math.max(children, told?.phase === "jobs" ? told.total : 0);
  return { ended, total, left: told?.eta_seconds ?? undefined, at: told?.at ?? 0 };
}
