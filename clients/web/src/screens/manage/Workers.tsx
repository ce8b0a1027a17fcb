// Manage, Workers: the processes that run jobs, on which device, with what in memory; and the queue's pause.

import { Pause, Play } from "lucide-react";
import { useEffect } from "react";
import { Link } from "wouter";

import { pause } from "../../app/jobs";
import { readJobsSoon, useServer } from "../../server/store";
import type { Worker } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { size } from "../../ui/format";
import css from "./Manage.module.css";
import { useAdmin } from "../../app/rights";

const LOOK_MS = 3000; // workers come and go without an event

export function Workers() {
  const { workers, queued, paused } = useServer((server) => server.queue);
  useEffect(() => {
    const looking = setInterval(readJobsSoon, LOOK_MS);
    return () => clearInterval(looking);
  }, []);
  return (
    <>
      <PauseSwitch paused={paused} queued={queued} />
      {workers.length ? (
        <ul className={css.cards}>
          {workers.map((worker) => <Card key={`${worker.plugin} ${worker.device} ${worker.pid}`} worker={worker} />)}
        </ul>
      ) : (
        <Empty title="No worker runs">One starts with the first job of a plugin, and stays warm for the next.</Empty>
      )}
    </>
  );
}

function PauseSwitch({ paused, queued }: { paused: boolean; queued: number }) {
  const admin = useAdmin();
  const Icon = paused ? Play : Pause;
  return (
    <div className={css.bar}>
      <p>{paused ? "The queue is paused." : "The queue runs."} {queued} {queued === 1 ? "job is" : "jobs are"} queued.</p>
      {admin && (
        <button type="button" onClick={() => void pause(!paused)} title={paused ? undefined : "Running jobs finish; no other begins"}>
          <Icon size={16} aria-hidden="true" /> {paused ? "Resume" : "Pause"}
        </button>
      )}
    </div>
  );
}

function Card({ worker }: { worker: Worker }) {
  const title = useServer(({ plugins }) => plugins.find(({ name }) => name === worker.plugin)?.title ?? worker.plugin);
  const warm = typeof worker.warm === "string" ? worker.warm : worker.warm && JSON.stringify(worker.warm);
  const facts: [string, string][] = [
    ["Memory", size(worker.memory_bytes)],
    ...(warm ? [["Loaded", warm] as [string, string]] : []),
    ...(worker.pid ? [["Process", String(worker.pid)] as [string, string]] : []),
    ...(worker.detached ? [["Started", "by a person; outlives the server"] as [string, string]] : []),
  ];
  return (
    <li className={css.card}>
      <header className={css.head}>
        <h2>{title}</h2>
        <span className={css.version}>{worker.device === "side" ? "light jobs and programs" : worker.device}</span>
        <span className={css.status} data-status={worker.ready ? "ready" : "installing"}>
          {worker.ready ? (worker.jobs.length ? "at work" : "ready") : "starting"}
        </span>
      </header>
      <dl className={css.facts}>
        {facts.map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd title={value}>{value}</dd></div>
        ))}
      </dl>
      {worker.jobs.length > 0 && <Running jobs={worker.jobs} />}
    </li>
  );
}

function Running({ jobs }: { jobs: string[] }) {
  const known = useServer((server) => server.jobs);
  return (
    <p className={css.soft}>
      Runs {jobs.map((id) => known[id]?.name ?? id).join(", ")}. <Link href="/watch">Watch</Link>
    </p>
  );
}
