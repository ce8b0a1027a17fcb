// The entries of lists that parameters name, asked for once and again when the server says that they are others.

import { useEffect } from "react";
import { create } from "zustand";

import { client, onEvent, sentence } from "../server/client";

interface List {
  names: string[];
  state: "reading" | "here" | "failed";
  why?: string;
}

const NOTHING: List = { names: [], state: "reading" };
const useLists = create<Record<string, List>>(() => ({}));

/** The entries of `models/KIND` or `call/JOB`; of no list, none. */
export function useChoices(list: string | undefined): List {
  const known = useLists((lists) => (list ? lists[list] : undefined));
  useEffect(() => {
    if (list && !useLists.getState()[list]) void readChoices(list);
  }, [list]);
  return known ?? NOTHING;
}

export async function readChoices(list: string): Promise<void> {
  const before = useLists.getState()[list] ?? NOTHING;
  useLists.setState({ [list]: before });
  try {
    useLists.setState({ [list]: { names: await client.choices(list), state: "here" } });
  } catch (error) {
    useLists.setState({ [list]: { names: before.names, state: "failed", why: sentence(error) } });
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
