// The connection to the server, by the SDK: calls, and the events that the store listens to.

import { Client } from "stable-core";
import { create } from "zustand";

import { remembered } from "./memory";
import type { ErrorBody } from "./types";

const LOOKS = ["hello", "plugins", "choices", "plan", "call", "job", "jobs", "artifact", "artifacts", "lineage", "compare",
  "sessions", "logs", "models", "settings", "packages", "devices"]; // what changes nothing
const SERVERS_TROUBLE = ["internal", "queue_full"]; // not what was asked for, but the state that the server is in

/** What becomes of what people do: how much waits for the connection, and what keeps the server from doing anything. */
export const useCalls = create<{ waiting: number; trouble: ErrorBody | null }>(() => ({ waiting: 0, trouble: null }));

class PageClient extends Client {
  async call(...[event, data, options]: Parameters<Client["call"]>): Promise<Record<string, any>> {
    const looks = LOOKS.includes(event) || (event === "queue" && (data?.action ?? "status") === "status");
    if (looks) return super.call(event, data, options);
    useCalls.setState(({ waiting }) => ({ waiting: waiting + 1 }));
    try {
      const answer = await super.call(event, data, options);
      if (useCalls.getState().trouble) useCalls.setState({ trouble: null });
      return answer;
    } catch (error) {
      if (SERVERS_TROUBLE.includes((error as ErrorBody).code)) useCalls.setState({ trouble: error as ErrorBody });
      throw error;
    } finally {
      useCalls.setState(({ waiting }) => ({ waiting: waiting - 1 }));
    }
  }
}

type Listener = Parameters<Client["onEvent"]>[0];
const listeners = new Set<Listener>();

function connection(session: string): Client {
  const made = new PageClient({ session, patience: 3600 });
  made.onEvent((event) => listeners.forEach((listener) => listener(event)));
  return made;
}

export let client = connection(remembered("session") ?? "default");

/** Hears the events of this connection and of those that take its place. Call what is returned to hear no more. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** In the place of a connection that was refused for good. */
export function renew(): void {
  client.close();
  client = connection(client.session);
}

/** Whether a token is right; from then on this browser has it. */
export async function unlock(token: string): Promise<boolean> {
  await fetch(`/?${new URLSearchParams({ token })}`); // answers with the cookie
  const answer = await fetch("/web"); // which nobody sees without
  return answer.ok;
}

/** Asks the server; waits for a lost connection to come back. Throws a ServerError. */
export const call = <Answer = any>(event: string, data: object = {}): Promise<Answer> =>
  client.call(event, data) as Promise<Answer>;

/** What went wrong, as one sentence or two for a person. */
export function sentence(error: unknown): string {
  const { message, hint } = error as ErrorBody;
  return [message, hint].filter(Boolean).join(" ") || String(error);
}

/** The part of an error that is about a field, by the field's name; under "" what belongs to none of `fields`. */
export function byField(error: ErrorBody | null | undefined, fields: string[]): Record<string, string> {
  const found: Record<string, string> = {};
  const each = error?.errors?.length ? error.errors : error ? [error] : [];
  for (const one of each) {
    const top = String(("field" in one && one.field) || "").split(".")[0];
    const at = fields.includes(top) ? top : "";
    found[at] = [found[at], sentence(one)].filter(Boolean).join(" ");
  }
  return found;
}
