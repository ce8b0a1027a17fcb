// A round of review: the results that a job waits for, one after the other, and what somebody thinks of each.

import { useEffect, useReducer, useRef } from "react";

import { toReview } from "../../app/programs";
import { review } from "../../app/results";
import { call, onEvent } from "../../server/client";
import type { ArtifactRecord, ErrorBody, JobRecord } from "../../server/types";

type Verdict = "picked" | "rejected";

interface Round {
  job?: JobRecord;
  /** Why it cannot be told what the job waits for. */
  problem?: ErrorBody;
  artifacts: ArtifactRecord[];
  verdicts: Record<string, Verdict>;
  /** In the order in which they were told, for undo. */
  told: string[];
  /** What the server has been told, though it may not have answered yet. */
  sent: ReadonlySet<string>;
  at: number;
}

export interface Reviewing extends Round {
  shown?: ArtifactRecord;
  /** All are told, but the last one is not sent yet: with it the job goes on, and there is no way back. */
  complete: boolean;
  judge: (verdict: Verdict) => void;
  undo: () => void;
  go: (at: number) => void;
  send: () => void;
}

const NOTHING: Round = { artifacts: [], verdicts: {}, told: [], sent: new Set(), at: 0 };
const AT_ONCE = 20; // records asked for

export function useReviewing(id: string): Reviewing {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const round = useRef<Round>(NOTHING);
  const change = (some: Partial<Round>) => {
    round.current = { ...round.current, ...some };
    redraw();
  };
  useEffect(() => {
    change(NOTHING);
    const look = () => void read(id, () => round.current, change).catch((problem) => change({ problem }));
    look();
    const stop = onEvent(({ type, data }) => {
      if ((type === "job" && data.id === id) || type === "connected") look();
      const { artifacts } = round.current;
      const at = type === "artifact" ? artifacts.findIndex((each) => each.id === data.id) : -1;
      if (at >= 0) change({ artifacts: artifacts.with(at, data as ArtifactRecord) }); // by somebody else, or elsewhere
    });
    return () => {
      stop();
      send();
    };
  }, [id]);

  const { artifacts, verdicts, told, sent, at } = round.current;
  const verdictOf = (each: ArtifactRecord) => verdicts[each.id] ?? (each.review === "new" ? undefined : each.review);
  const complete = artifacts.length > 0 && artifacts.every(verdictOf);

  function judge(verdict: Verdict) {
    const shown = artifacts[at];
    if (!shown) return;
    const all = { ...verdicts, [shown.id]: verdict };
    const left = artifacts.filter((each) => each !== shown && !verdictOf(each));
    const sends = left.length > 0 || sent.has(shown.id); // the last one is sent when somebody says so
    if (sends) void review([shown.id], verdict);
    const next = artifacts.findIndex((each, place) => place > at && left.includes(each));
    change({ verdicts: all, told: [...told, shown.id], sent: sends ? new Set([...sent, shown.id]) : sent, at: next >= 0 ? next : left.length ? artifacts.indexOf(left[0]) : at });
  }

  function undo() {
    const last = told.at(-1);
    if (!last) return;
    const { [last]: _taken, ...rest } = verdicts;
    const place = artifacts.findIndex((each) => each.id === last);
    if (sent.has(last)) void review([last], "new");
    change({ artifacts: artifacts.with(place, { ...artifacts[place], review: "new" }), verdicts: rest, told: told.slice(0, -1), sent: new Set([...sent].filter((each) => each !== last)), at: place });
  }

  /** What is not sent yet. */
  function send() {
    const now = round.current;
    for (const [each, verdict] of Object.entries(now.verdicts)) if (!now.sent.has(each)) void review([each], verdict);
    round.current = { ...now, sent: new Set(Object.keys(now.verdicts)) };
  }

  return {
    ...round.current, shown: artifacts[at], complete, judge, undo, send,
    go: (to) => to >= 0 && to < artifacts.length && change({ at: to }),
  };
}

/** What the job waits for now: another round, or more of this one. */
async function read(id: string, known: () => Round, change: (some: Partial<Round>) => void): Promise<void> {
  const { job } = await call<{ job: JobRecord }>("job", { id });
  const wanted = toReview(job);
  const { artifacts, verdicts } = known();
  if (!wanted.length || wanted.every((each) => artifacts.some(({ id: here }) => here === each))) return change({ job, problem: undefined });
  const found: ArtifactRecord[] = [];
  for (let from = 0; from < wanted.length; from += AT_ONCE) {
    const some = wanted.slice(from, from + AT_ONCE).map((each) => call<{ artifact: ArtifactRecord }>("artifact", { id: each }));
    found.push(...(await Promise.all(some)).map(({ artifact }) => artifact));
  }
  const over = artifacts.every(({ id: each, review: state }) => state !== "new" || verdicts[each]);
  change(over ? { ...NOTHING, job, artifacts: found } : { job, artifacts: [...artifacts, ...found.filter(({ id: each }) => !artifacts.some((old) => old.id === each))] });
}
