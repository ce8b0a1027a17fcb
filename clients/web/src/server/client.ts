// The connection to the server, by the SDK: calls, and the events that the store listens to.

import { Client } from "stable-core";

import type { ErrorBody } from "./types";

export const client = new Client({ session: localStorage.getItem("session") ?? "default", patience: 3600 });

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
