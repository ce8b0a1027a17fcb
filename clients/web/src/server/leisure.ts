// When the page may ask what only makes it more comfortable: never at the cost of the picture that somebody waits for.

import { useServer } from "./store";

const SETTLED_MS = 2500; // who opens the page and presses Run at once is not kept waiting

let settled = false;
const settling = new Promise<void>((resolve) =>
  setTimeout(() => {
    settled = true;
    resolve();
  }, SETTLED_MS),
);

/** Resolves once a light job of the plugin costs little: its process is there, or the processor has nothing to draw. */
export function atLeisure(plugin: string): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!isThere(plugin) && !(settled && isIdle(plugin))) return;
      stop();
      resolve();
    };
    const stop = useServer.subscribe(look);
    if (!settled) void settling.then(look);
    look();
  });
}

const isThere = (plugin: string): boolean =>
  useServer.getState().queue.workers.some((worker) => worker.plugin === plugin && worker.device === "side" && worker.ready);

function isIdle(plugin: string): boolean {
  const { jobs, queue } = useServer.getState();
  const busy = ["running", ...(queue.paused ? [] : ["queued"])];
  return !Object.values(jobs).some(({ name, state }) => name.startsWith(`${plugin}.`) && busy.includes(state));
}
