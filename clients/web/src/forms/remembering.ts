// What was in the forms, after a reload and for each session; where nothing is known, what the session was last submitted.

import { type Draft, setDraft, useForms } from "../app/intents";
import { call, onEvent } from "../server/client";
import { memorise, rememberedJson } from "../server/memory";
import { useServer } from "../server/store";
import type { ArtifactRecord, JobType, Values } from "../server/types";
import { fieldsOf } from "./schema";

const PAUSE_MS = 300;
const place = (session: string): string => `drafts ${session}`;

/** Without those that another version may have written otherwise. */
function saved(session: string): Record<string, Draft> {
  const drafts = Object.entries(rememberedJson<Record<string, Draft>>(place(session), {}));
  return Object.fromEntries(drafts.filter(([, draft]) => isDraft(draft)));
}

function isDraft(draft: Partial<Draft> | null): boolean {
  if (!draft?.params || !draft.inputs) return false;
  const given = Object.values(draft.inputs).flat() as { artifact?: Partial<ArtifactRecord>; text?: unknown }[];
  return given.every(({ artifact, text }) => typeof text === "string" || (artifact?.id && artifact.sha256));
}

let session = useServer.getState().session;
let timer: ReturnType<typeof setTimeout> | undefined;

function save(): void {
  clearTimeout(timer);
  timer = undefined;
  memorise(place(session), JSON.stringify(useForms.getState().drafts));
}

useForms.setState({ drafts: saved(session) });
useForms.subscribe(({ drafts }, before) => {
  if (drafts !== before.drafts) timer ??= setTimeout(save, PAUSE_MS);
});
addEventListener("pagehide", () => timer !== undefined && save());
useServer.subscribe((server) => {
  if (server.session === session) return;
  save();
  session = server.session;
  memorised = undefined;
  useForms.setState({ drafts: saved(session) });
});

let memorised: Promise<Record<string, Values>> | undefined;

const readMemorised = (): Promise<Record<string, Values>> =>
  (memorised ??= call("session", { id: session }).then(({ session: known }) => known.memorised ?? {}));

// Before there is a form: the first Run waits for it.
onEvent(({ type }) => void (type === "connected" && readMemorised().catch(() => undefined)));

/** Fills the form of a job that this browser has no values for: with the session's last ones, else with an example. */
export async function recall(job: JobType): Promise<void> {
  if (useForms.getState().drafts[job.full]) return;
  if (useServer.getState().connection.state !== "online") return; // asked again when it is back
  const of = session;
  const values = await readMemorised().catch(() => ({}) as Record<string, Values>);
  if (of !== session || useForms.getState().drafts[job.full]) return;
  setDraft(job.full, { params: values[job.full] ?? examples(job), inputs: {} });
}

/** So that a newcomer need not know what to write; what has a default, or is folded away, stays as it is. */
export function examples(job: JobType): Values {
  const given = Object.entries(fieldsOf(job.params)).filter(
    ([, { examples: some, default: usual, ui }]) => Array.isArray(some) && some.length && !usual && !ui.advanced);
  return Object.fromEntries(given.map(([name, { examples: some }]) => [name, (some as unknown[])[0]]));
}
