// The Watch screen: what runs, what comes next, what has ended, and the ways to steer it.

import { Bell, BellRing, Pause, Play, X } from "lucide-react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link } from "wouter";

import { useKeys } from "../../app/keys";
import { complain } from "../../app/notices";
import { useAdmin } from "../../app/rights";
import { toggleTelling, useTelling } from "../../app/title";
import { call } from "../../server/client";
import { lookAtQueue, merge, useServer } from "../../server/store";
import type { JobRecord } from "../../server/types";
import { Dialog } from "../../ui/Dialog";
import { Empty } from "../../ui/Empty";
import { cancelAll, each, pause } from "../../app/jobs";
import { Ended } from "./Ended";
import { useLists } from "./lists";
import { Queue } from "./Queue";
import { RunningCard } from "./RunningCard";
import css from "./Watch.module.css";
import { about } from "./words";

const OF_SESSION = 100; // jobs that are read when a session is chosen

export default function Watch() {
  const [session, setSession] = useState("");
  const lists = useLists(session);
  const { running, upcoming, ended, parts } = lists;
  const more = useServer(({ unfinished, order }) => (session ? 0 : Math.max(0, unfinished - order.length)));
  useEffect(() => {
    lookAtQueue("all");
    return () => lookAtQueue("few");
  }, []);
  const choose = (name: string) => {
    setSession(name);
    if (name) readSession(name);
  };
  const nothing = !running.length && !upcoming.length && !ended.length;
  return (
    <div className={css.watch}>
      <header className={css.head}>
        <h1>Watch</h1>
        <Counts running={running.length} upcoming={upcoming} more={more} />
        <div className={css.tools}>
          <SessionChoice session={session} onChoose={choose} />
          <Bells />
          <PauseButton />
          <CancelAll session={session} count={running.length + upcoming.length + more} />
        </div>
      </header>
      <Paused />
      {nothing && (
        <Empty title="Nothing runs, and nothing waits">
          <p>What you start appears here: how far it is, what it looks like so far, and what comes next.</p>
          <Link href="/">Create something</Link>
        </Empty>
      )}
      {running.length > 0 && (
        <section aria-labelledby="running">
          <h2 id="running">Running</h2>
          <div className={css.cards}>
            {running.map((job) => <RunningCard key={job.id} job={job} parts={parts.get(job.id)} />)}
          </div>
        </section>
      )}
      {upcoming.length > 0 && <Upcoming jobs={upcoming} more={more} />}
      {ended.length > 0 && (
        <section aria-labelledby="ended">
          <h2 id="ended">Ended lately</h2>
          <Ended jobs={ended} />
        </section>
      )}
    </div>
  );
}

/** The newest of a session, also those that are too old to be among the newest of all. */
function readSession(session: string): void {
  call<{ jobs: JobRecord[] }>("jobs", { session, limit: OF_SESSION }).then(({ jobs }) => jobs.forEach(merge), complain);
}

function Counts({ running, upcoming, more }: { running: number; upcoming: JobRecord[]; more: number }) {
  const paused = useServer((server) => server.queue.paused);
  const waiting = upcoming.length + more;
  const last = Math.max(0, ...upcoming.map(({ eta_seconds }) => eta_seconds ?? 0));
  const parts = [
    `${running} running`, `${waiting.toLocaleString()} waiting`, !paused && !more && last > 0 && `all done in ${about(last)}`,
  ];
  return <p className={css.counts} role="status">{parts.filter(Boolean).join(" · ")}</p>;
}

function SessionChoice({ session, onChoose }: { session: string; onChoose: (name: string) => void }) {
  const jobs = useServer((server) => server.jobs);
  const names = useMemo(() => [...new Set(Object.values(jobs).map((job) => job.session))].filter(Boolean).sort(), [jobs]);
  if (names.length < 2 && !session) return null;
  return (
    <select value={session} onChange={({ target }) => onChoose(target.value)} aria-label="Of which session">
      <option value="">All sessions</option>
      {names.map((name) => <option key={name} value={name}>{name}</option>)}
    </select>
  );
}

/** Tells by a notification when everything is done. Browsers ask for a permission, so only when somebody wants it. */
function Bells() {
  const tells = useTelling((telling) => telling.tells);
  if (!("Notification" in window) || Notification.permission === "denied") return null;
  const Icon = tells ? BellRing : Bell;
  const said = tells ? "Do not tell when everything is done" : "Tell me when everything is done";
  return (
    <button type="button" onClick={() => toggleTelling().catch(complain)} aria-pressed={tells} aria-label={said} title={said}>
      <Icon size={16} aria-hidden="true" />
    </button>
  );
}

function PauseButton() {
  const paused = useServer((server) => server.queue.paused);
  const may = useAdmin();
  const act = () => void pause(!paused);
  useKeys(may ? { p: [paused ? "Resume the queue" : "Pause the queue", act] } : {}, "Watch");
  const Icon = paused ? Play : Pause;
  return (
    <button
      type="button" onClick={act} disabled={!may} className={paused ? "primary" : undefined}
      title={may ? "What runs goes on" : "Only the server's admin may pause the queue, for it is everybody's"}
    >
      <Icon size={16} aria-hidden="true" /> {paused ? "Resume" : "Pause"}
    </button>
  );
}

function Paused() {
  const paused = useServer((server) => server.queue.paused);
  const may = useAdmin();
  if (!paused) return null;
  return (
    <p className={css.paused} role="status">
      The queue is paused: what runs goes on, the rest waits{may ? "." : " until the server's admin resumes it."}
    </p>
  );
}

function CancelAll({ session, count }: { session: string; count: number }) {
  const [asks, setAsks] = useState(false);
  const yes = useRef<HTMLButtonElement>(null);
  useEffect(() => yes.current?.focus(), [asks]);
  const act = () => {
    setAsks(false);
    cancelAll(session).catch(complain);
  };
  const what = session ? `all jobs of the session ${session}` : "all of your jobs";
  const actions = (
    <>
      <button type="button" onClick={() => setAsks(false)}>Leave them</button>
      <button type="button" className="primary" ref={yes} onClick={act}>Cancel them all</button>
    </>
  );
  return (
    <>
      <button type="button" className="danger" disabled={!count} onClick={() => setAsks(true)}>Cancel all</button>
      {asks && (
        <Dialog title={`Cancel ${what}?`} onClose={() => setAsks(false)} actions={actions}>
          <p className={css.plain}>
            {count === 1 ? "One job" : `${count.toLocaleString()} jobs`} that run or wait would end, and nothing of what runs is kept.
            Results that are there stay. This cannot be undone.
          </p>
        </Dialog>
      )}
    </>
  );
}

function Upcoming({ jobs, more }: { jobs: JobRecord[]; more: number }) {
  const { selected, select, clear, all } = useSelection(jobs);
  const act = (event: "cancel" | "hold" | "release") => {
    clear();
    void each([...selected], event);
  };
  useKeys(
    {
      "ctrl+a": ["Select the whole queue", all],
      ...(selected.size > 0 && {
        escape: ["Select nothing", clear],
        delete: ["Cancel the selected jobs", () => act("cancel")],
      }),
    },
    "Watch",
  );
  return (
    <section aria-labelledby="queue">
      <div className={css.queueHead}>
        <h2 id="queue">Queue</h2>
        {selected.size > 0 && (
          <div className={css.tools} role="group" aria-label="Of the selected jobs">
            <span role="status">{selected.size} selected</span>
            <button type="button" onClick={() => act("hold")}>Hold</button>
            <button type="button" onClick={() => act("release")}>Release</button>
            <button type="button" className="danger" onClick={() => act("cancel")}>Cancel</button>
            <button type="button" className="quiet" onClick={clear} aria-label="Select nothing"><X size={16} aria-hidden="true" /></button>
          </div>
        )}
      </div>
      <Queue jobs={jobs} more={more} selected={selected} onSelect={select} />
    </section>
  );
}

/** Which jobs are marked; with shift, all from the last one on. Those that leave the queue are not marked any more. */
function useSelection(jobs: JobRecord[]) {
  const [marked, setMarked] = useState<Set<string>>(new Set());
  const last = useRef("");
  const ids = useRef<string[]>([]);
  ids.current = useMemo(() => jobs.map(({ id }) => id), [jobs]);
  const selected = useMemo(() => new Set(jobs.map(({ id }) => id).filter((id) => marked.has(id))), [jobs, marked]);
  const select = useCallback((id: string, range: boolean) => {
    const [from, to] = [ids.current.indexOf(last.current), ids.current.indexOf(id)].sort((a, b) => a - b);
    const several = range && from >= 0 ? ids.current.slice(from, to + 1) : [id];
    last.current = id;
    setMarked((before) => {
      const after = new Set(before);
      const marks = !before.has(id);
      for (const each of several) if (marks) after.add(each); else after.delete(each);
      return after;
    });
  }, []);
  const clear = useCallback(() => setMarked(new Set()), []);
  const all = useCallback(() => setMarked(new Set(ids.current)), []);
  return { selected, select, clear, all };
}
