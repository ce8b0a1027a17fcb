// What the tab's title says: how much runs, and what was done while nobody looked; also as a notification.

import { create } from "zustand";

import { memorise, remembered } from "../server/memory";
import { UNFINISHED, useServer } from "../server/store";

const NAME = "stable-core";

/** Whether this browser is to tell when everything is done. */
export const useTelling = create<{ tells: boolean }>(() => ({
  tells: remembered("notify") === "yes" && "Notification" in window && Notification.permission === "granted",
}));

/** Asks the person, if need be; so only by a button. Returns whether it tells now. */
export async function toggleTelling(): Promise<boolean> {
  const tells = !useTelling.getState().tells && (await Notification.requestPermission()) === "granted";
  memorise("notify", tells ? "yes" : "no");
  useTelling.setState({ tells });
  return tells;
}

/** From now on. */
export function keepTitle(): void {
  const ended = { done: 0, failed: 0 }; // since the page was last seen
  let { jobs } = useServer.getState();
  const show = () => {
    const running = Object.values(jobs).filter(({ state }) => state === "running").length;
    const parts = [
      running && `${running} running`, ended.done && `${ended.done} done`, ended.failed && `${ended.failed} failed`, NAME,
    ];
    const title = parts.filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  };
  useServer.subscribe((now) => {
    if (now.jobs === jobs) return;
    const before = jobs;
    jobs = now.jobs;
    if (document.hidden) {
      const over = Object.values(jobs).filter(
        ({ id, state, parent }) => !parent && UNFINISHED.includes(before[id]?.state) && !UNFINISHED.includes(state),
      );
      ended.done += over.filter(({ state }) => state === "done").length;
      ended.failed += over.filter(({ state }) => state === "failed").length;
      if (over.length && !Object.values(jobs).some(({ state }) => UNFINISHED.includes(state))) tell(ended);
    }
    show();
  });
  document.addEventListener("visibilitychange", () => {
    ended.done = ended.failed = 0;
    show();
  });
}

function tell({ done, failed }: { done: number; failed: number }): void {
  if (!useTelling.getState().tells) return;
  const parts = [done && `${done} ${done === 1 ? "job is" : "jobs are"} done`, failed && `${failed} failed`];
  const shown = new Notification(NAME, { body: `${parts.filter(Boolean).join(", ")}.`, tag: NAME });
  shown.onclick = () => window.focus();
}
