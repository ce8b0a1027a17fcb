// The screens, each loaded when it is wanted; where that fails because the server has a newer page, the page is read anew.

import { type ComponentType, lazy } from "react";

import { useServer } from "../server/store";

export const Watch = screen(() => import("../screens/watch/Watch"));
export const Review = screen(() => import("../screens/results/Review"));
export const Results = screen(() => import("../screens/results/Results"));
export const Draw = screen(() => import("../screens/draw/Draw"));
export const Connect = screen(() => import("../screens/connect/Connect"));
export const Manage = screen(() => import("../screens/manage/Manage"));

function screen<Props extends object>(load: () => Promise<{ default: ComponentType<Props> }>) {
  return lazy(() => load().catch(reload));
}

const RELOADED = "reloaded";

/** Once for each version of the page: forms and flows are kept. Throws `error` if that did not help. */
async function reload(error: unknown): Promise<never> {
  const version = import.meta.url; // the name of the chunk changes with what is in it
  if (sessionStorage.getItem(RELOADED) === version) throw error;
  sessionStorage.setItem(RELOADED, version);
  await online(); // without a server, nothing would be shown at all
  location.reload();
  return new Promise(() => undefined);
}

async function online(): Promise<void> {
  while (useServer.getState().connection.state !== "online") {
    await new Promise<void>((resolve) => {
      const stop = useServer.subscribe(() => (stop(), resolve()));
    });
  }
}
