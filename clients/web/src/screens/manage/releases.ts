// Plugins as packages: what is installed and what indexes have, and the commands that change it; for the admin only.

import { useCallback, useEffect, useRef, useState } from "react";

import { complain, say } from "../../app/notices";
import { useAdmin } from "../../app/rights";
import { call, onEvent } from "../../server/client";
import { useServer } from "../../server/store";
import type { ErrorBody } from "../../server/types";

const TYPING_MS = 250;

export interface Release {
  id: string;
  version: string;
  hash: string;
  source: string;
  ref?: string;
  commit?: string;
}

export interface Package {
  name: string;
  active: string;
  releases: Release[];
  /** The version that its index has by now. */
  newer?: string;
}

export interface JobSeen {
  inputs: Record<string, string>;
  output: string;
}

/** The newest version of a plugin that an index has. */
export interface Entry {
  name: string;
  version: string;
  api: number;
  licence: string;
  publisher: string;
  title: string;
  description: string;
  jobs: Record<string, JobSeen>;
  withdrawn: string;
}

/** What is in a plugin, before any of it runs. */
export interface Report {
  name: string;
  version: string;
  title: string;
  description: string;
  licence: string;
  author: string;
  hash: string;
  size_bytes: number;
  files: number;
  jobs: Record<string, JobSeen>;
  models: { kind: string; name: string; path?: string; size_bytes?: number; licence?: string }[];
  requirements: string[];
  download: string;
  errors: string[];
  warnings: { kind: string; where: string; text: string }[];
  /** What each kind of warning means. */
  kinds: Record<string, string>;
  source: string;
  ref: string | null;
  commit: string | null;
  changes: string[];
}

export type Action = "inspect" | "install" | "update" | "rollback" | "uninstall" | "enable" | "disable" | "refresh";

export interface Run {
  id: string;
  action: Action;
  what: string;
  state: "running" | "done" | "failed";
  error: ErrorBody | null;
  lines: string[];
  report: Report | null;
}

export interface Told {
  install_over_api: boolean;
  packages: Package[];
  disabled: string[];
  linked: string[];
  available: Entry[];
  total: number;
  indexes: { address: string; title: string; notes: string[] }[];
  run: Run | null;
}

/** `title` is what is said when it is done, if that is not what the command is about. */
export type Begin = (action: Action, fields?: Record<string, string>, title?: string) => void;

export interface Packages {
  told?: Told;
  begin: Begin;
  /** What was looked at for this page, until somebody has decided. */
  looked?: Run;
  decide: () => void;
}

const DONE: Partial<Record<Action, string>> = {
  install: "is installed", update: "is updated", rollback: "is back at the release before", uninstall: "is removed",
  enable: "is enabled", disable: "is disabled",
};

export function usePackages(words: string): Packages {
  const admin = useAdmin();
  const online = useServer(({ connection }) => connection.state === "online");
  const plugins = useServer((server) => server.plugins);
  const [told, setTold] = useState<Told>();
  const [looked, setLooked] = useState<Run>();
  const own = useRef<{ id: string; title?: string }>(undefined); // the run that this page has begun
  const read = useCallback(async () => {
    const answer = await call<Told>("packages", { search: words });
    setTold(answer);
    const { run } = answer;
    if (!run || run.state === "running" || run.id !== own.current?.id) return;
    const { title = run.what } = own.current;
    own.current = undefined;
    if (run.report && run.state === "done") {
      const there = answer.packages.find(({ name }) => name === run.report!.name);
      if (there?.releases.find(({ id }) => id === there.active)?.hash === run.report.hash) say(`${run.report.name} ${run.report.version} is what runs: there is nothing new.`);
      else setLooked(run);
    } else if (run.state === "done" && DONE[run.action]) say(`${title} ${DONE[run.action]}.`);
  }, [words]);
  useEffect(() => {
    if (!online || !admin) return;
    const soon = setTimeout(() => read().catch(complain), words ? TYPING_MS : 0);
    return () => clearTimeout(soon);
  }, [online, admin, plugins, read, words]);
  useEffect(() => {
    if (!admin) return;
    return onEvent(({ type, data }) => {
      if (type === "package") read().catch(complain);
      if (type === "log" && data.plugin !== undefined) setTold((before) => before && withLine(before, data.id, data.text));
    });
  }, [admin, read]);
  const begin: Begin = (action, fields = {}, title) => {
    setLooked(undefined);
    call<{ run: Run }>("package", { action, ...fields }).then(({ run }) => {
      own.current = { id: run.id, title };
      return read();
    }).catch(complain);
  };
  return { told, begin, looked, decide: () => setLooked(undefined) };
}

function withLine(told: Told, id: string, line: string): Told {
  const { run } = told;
  return run?.id === id && run.state === "running" ? { ...told, run: { ...run, lines: [...run.lines, line] } } : told;
}

/** What is typed on the server's machine for it. */
export const command = (action: Action, what: string): string => `python3 server.py plugins ${action} ${what}`;

export const signature = (name: string, { inputs, output }: JobSeen): string =>
  `${name} (${Object.entries(inputs).map(([input, kind]) => `${input}: ${kind}`).join(", ")}) → ${output}`;
