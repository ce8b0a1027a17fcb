// The entries of lists that parameters name, asked for once and again when the server says that they are others.

import { useEffect } from "react";
import { create } from "zustand";

import { call, client, onEvent, sentence } from "../server/client";
import { atLeisure } from "../server/leisure";
import { useServer } from "../server/store";
import type { ModelFetchable } from "../server/types";

interface List {
  names: string[];
  fetchable: ModelFetchable[];
  state: "reading" | "here" | "failed";
  why?: string;
}

interface Offered {
  fetchable?: ModelFetchable[];
}

const NOTHING: List = { names: [], fetchable: [], state: "reading" };
const useLists = create<Record<string, List>>(() => ({}));

/** The entries of `models/KIND` or `call/JOB`; of no list, none. */
export function useChoices(list: string | undefined): List {
  const known = useLists((lists) => (list ? lists[list] : undefined));
  useEffect(() => {
    if (list && !useLists.getState()[list]) void readInTime(list);
  }, [list]);
  return known ?? NOTHING;
}

/** What a plugin has to list is asked for in time, or by whoever goes there. */
async function readInTime(list: string): Promise<void> {
  useLists.setState({ [list]: NOTHING });
  const job = list.startsWith("call/") && list.slice("call/".length);
  const plugin = Object.values(useServer.getState().catalogue).find(({ name, full }) => [name, full].includes(job || ""))?.plugin;
  if (plugin) await atLeisure(plugin);
  if (useLists.getState()[list] === NOTHING) await readChoices(list);
}

export async function readChoices(list: string): Promise<void> {
  const before = useLists.getState()[list] ?? NOTHING;
  useLists.setState({ [list]: before });
  try {
    const names = await client.choices(list);
    const { fetchable = [] }: Offered = list.startsWith("models/") ? await call("choices", { list, limit: 1 }) : {};
    useLists.setState({ [list]: { names, fetchable, state: "here" } });
  } catch (error) {
    useLists.setState({ [list]: { ...before, state: "failed", why: sentence(error) } });
  }
}

onEvent(({ type, data }) => {
  const lists = Object.keys(useLists.getState());
  const changed = (list: string) => {
    if (type === "models") return data.kinds.includes(list.replace("models/", "")) || list.startsWith("call/");
    return type === "resync" || (type === "plugins" && data.status === "ready" && list.startsWith("call/"));
  };
  for (const list of lists.filter(changed)) void readChoices(list);
});
