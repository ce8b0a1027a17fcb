// How many jobs of the session wait, and why nothing runs if the queue is paused.

import { Link } from "wouter";

import { pause } from "../../app/jobs";
import { useServer } from "../../server/store";
import type { JobRecord } from "../../server/types";
import css from "./Stage.module.css";

export function Queue({ waiting }: { waiting: JobRecord[] }) {
  const paused = useServer(({ queue }) => queue.paused);
  const held = waiting.filter(({ state }) => state === "held").length;
  if (!waiting.length) return null;
  const queued = waiting.length - held;
  const parts = [queued && `${queued} in the queue`, held && `${held} held`].filter(Boolean);
  return (
    <p className={css.queue} role="status">
      <Link href="/watch">{parts.join(", ")}</Link>
      {paused && (
        <>
          {" "}· The queue is paused.
          <button type="button" onClick={() => void pause(false)}>Resume</button>
        </>
      )}
    </p>
  );
}
