// The newest results of this page's session, as they come and go.

import { create } from "zustand";

import { call, client, onEvent } from "./client";
import { useServer } from "./store";
import type { ArtifactRecord } from "./types";

const MOST = 60;
const SETTLE_MS = 50; // many events are one change

export const useLatest = create<{ session: string; artifacts: ArtifactRecord[]; read: boolean }>(() => ({
  session: client.session, artifacts: [], read: false,
}));

async function read(session: string): Promise<void> {
  const { artifacts } = await call<{ artifacts: ArtifactRecord[] }>("artifacts", { session, limit: MOST });
  if (session !== useServer.getState().session) return;
  const results = artifacts.filter(({ job }) => job);
  useLatest.setState({ session, artifacts: sorted(results), read: true });
}

const sorted = (artifacts: ArtifactRecord[]): ArtifactRecord[] =>
  [...artifacts].sort((a, b) => b.created - a.created || b.idx - a.idx).slice(0, MOST);

const readAgain = (): void => void read(useServer.getState().session).catch(() => undefined); // offline: when it is back

useServer.subscribe(({ session }, before) => {
  if (session === before.session) return;
  useLatest.setState({ session, artifacts: [], read: false });
  readAgain();
});

const news: ArtifactRecord[] = [];
let due: ReturnType<typeof setTimeout> | undefined;

function take(): void {
  due = undefined;
  const { session, artifacts } = useLatest.getState();
  const known = new Map(artifacts.map((artifact) => [artifact.id, artifact]));
  for (const artifact of news.splice(0)) {
    if ("deleted" in artifact) known.delete(artifact.id);
    else if (artifact.session === session) known.set(artifact.id, artifact);
  }
  useLatest.setState({ artifacts: sorted([...known.values()]) });
}

onEvent(({ type, data }) => {
  if (type === "connected") readAgain();
  if (type !== "artifact" || !data.job) return;
  news.push(data as ArtifactRecord);
  due ??= setTimeout(take, SETTLE_MS);
});
