// What people do with jobs. Each is sent again after a broken connection, and none is done twice.

import { complain, say } from "./notices";
import { call, client } from "../server/client";
import { merge, placeBeside, readJobsSoon, useServer } from "../server/store";
import type { JobRecord, Values } from "../server/types";

const AT_ONCE = 8; // requests
const PAGE = 1000;

/** It may have ended, or somebody else was quicker: then what is shown is read anew. */
function failed(error: any): void {
  readJobsSoon();
  if (error.code !== "conflict") complain(error);
}

const send = (event: string, data: object): Promise<void> =>
  call<{ job: JobRecord }>(event, data).then(({ job }) => (merge(job), readJobsSoon()), failed);

export const cancel = (id: string): Promise<void> => send("cancel", { id });
/** Interrupts it; what is there stays. */
export const keep = (id: string): Promise<void> => send("cancel", { id, keep_partial: true });
export const hold = (id: string): Promise<void> => send("hold", { id });
export const release = (id: string): Promise<void> => send("release", { id });
export const toEnd = (id: string, to: "front" | "back"): Promise<void> => send("move", { id, to });

/** Not sent twice: the second time it would be the next picture's turn. */
export const skip = (id: string): Promise<void> => client.call("skip", { id }, { repeat: false }).then(() => undefined, failed);

/** Once more, with other parameters where some are given. Sent again, it is the same one: the reference tells. */
export const retry = (id: string, params?: Values): Promise<void> =>
  call<{ job: JobRecord }>("retry", { id, params, client_ref: crypto.getRandomValues(new Uint32Array(4)).join("-") }).then(
    ({ job }) => (merge(job), readJobsSoon(), say(params ? "Queued again, with a new seed." : "Queued again.")), complain,
  );

export function pause(paused: boolean): Promise<void> {
  return call("queue", { action: paused ? "pause" : "resume" }).then(readJobsSoon, complain);
}

/** Shown at once; the server's order comes after. */
export function moveBeside(id: string, other: string, before: boolean): Promise<void> {
  placeBeside(id, other, before);
  return call("move", { id, [before ? "before" : "after"]: other }).then(readJobsSoon, (error) => {
    readJobsSoon();
    complain(error);
  });
}

/** Several at once; returns how many it could be done with. */
export async function each(ids: string[], event: "cancel" | "hold" | "release"): Promise<number> {
  let [next, done] = [0, 0];
  const work = async () => {
    while (next < ids.length) {
      const id = ids[next++];
      await call(event, { id }).then(() => done++, (error) => error.code !== "conflict" && Promise.reject(error));
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } catch (error) {
    complain(error);
  }
  readJobsSoon();
  return done;
}

/** All of mine that are unfinished, or those of a session; also those that the page does not list. */
export async function cancelAll(session: string): Promise<void> {
  let cancelled = 0;
  for (;;) {
    const { jobs } = await call<{ jobs: JobRecord[] }>("jobs", { order: "queue", limit: PAGE, ...(session && { session }) });
    const open = jobs.filter(({ cancel: asked, parent }) => !asked && !(parent && useServer.getState().jobs[parent]));
    const done = open.length ? await each(open.map(({ id }) => id), "cancel") : 0;
    cancelled += done;
    if (!done) break;
  }
  say(cancelled === 1 ? "1 job is cancelled." : `${cancelled} jobs are cancelled.`);
}
