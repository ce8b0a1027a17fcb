// Manage, Devices: what jobs run on, here and on other machines, how full it is, and the processes at work there.

import { Pause, Play, TriangleAlert } from "lucide-react";
import { Link } from "wouter";

import { pause } from "../../app/jobs";
import { complain } from "../../app/notices";
import { useAdmin } from "../../app/rights";
import { call, sentence } from "../../server/client";
import { useServer } from "../../server/store";
import type { Device, Machine, Worker } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { duration, moment, size } from "../../ui/format";
import { useNow } from "../../ui/useNow";
import css from "./Devices.module.css";
import { Facts } from "./Facts";
import { costOf, ruleOf, useDevices } from "./machines";
import shared from "./Manage.module.css";
import { Command } from "./Packages";

export function Devices() {
  const told = useDevices();
  const admin = useAdmin();
  if (!told) return <Empty title="One moment …" />;
  const { devices, remotes } = told;
  return (
    <>
      <PauseSwitch />
      {remotes.length > 0 && (
        <section className={css.section} aria-label="Other machines">
          <h2>Other machines</h2>
          <ul className={shared.cards}>{remotes.map((machine) => <MachineCard key={machine.name} machine={machine} />)}</ul>
        </section>
      )}
      <section className={css.section} aria-label="All devices">
        {remotes.length > 0 && <h2>All devices</h2>}
        <ul className={shared.cards}>{devices.map((device) => <DeviceCard key={device.name} device={device} />)}</ul>
      </section>
      {admin && (
        <div className={shared.soft}>
          To add the GPU of another machine, rented or your own, type on the server's: <Command text="python3 server.py deploy ssh://user@host:port" />
        </div>
      )}
    </>
  );
}

function PauseSwitch() {
  const { queued, paused } = useServer((server) => server.queue);
  const admin = useAdmin();
  const Icon = paused ? Play : Pause;
  return (
    <div className={shared.bar}>
      <p>{paused ? "The queue is paused." : "The queue runs."} {queued} {queued === 1 ? "job is" : "jobs are"} queued.</p>
      {admin && (
        <button type="button" onClick={() => void pause(!paused)} title={paused ? undefined : "Running jobs finish; no other begins"}>
          <Icon size={16} aria-hidden="true" /> {paused ? "Resume" : "Pause"}
        </button>
      )}
    </div>
  );
}

function MachineCard({ machine }: { machine: Machine }) {
  const { name, state, step, error, since, plugins, idle_minutes: idle } = machine;
  const admin = useAdmin();
  const now = useNow();
  const facts = [
    ["Since", since && moment(since)],
    ["Last heard of", state !== "connected" && machine.seen && `${duration(now / 1000 - machine.seen)} ago`],
    ["Address", machine.address],
    ["Answers in", machine.round_trip_seconds && `${Math.ceil(machine.round_trip_seconds * 1000)} ms`],
    ["Plugins", plugins?.join(", ")],
    ["Rule", ruleOf(machine)],
    ["Without jobs", idle !== undefined && (idle ? `it stops itself after ${idle} min` : "it goes on")],
    ["Costs", costOf(machine)],
  ].filter((fact): fact is string[] => !!fact[1]);
  return (
    <li className={shared.card} data-status={error ? "refused" : undefined}>
      <header className={shared.head}>
        <h2>{name === "ray" ? "Ray cluster" : name}</h2>
        <span className={shared.status} data-status={STATUS[state] ?? "installing"}>{state}</span>
      </header>
      {step && <p className={shared.soft} role="status">{step}</p>}
      {error && <p className={css.error}><TriangleAlert size={16} aria-hidden="true" /> <span>{sentence(error)}</span></p>}
      <Facts facts={facts} />
      {admin && machine.on !== undefined && <Actions machine={machine} />}
    </li>
  );
}

const STATUS: Record<string, string> = { connected: "ready", ready: "ready", failed: "refused", lost: "refused", away: "refused" };

function Actions({ machine: { name, on, rented } }: { machine: Machine }) {
  const act = () => void call("remote", { name, action: on ? "stop" : "start" }).catch(complain);
  return (
    <>
      <div className={shared.bar}>
        {!rented?.ended && <button type="button" onClick={act} aria-label={`${on ? "Stop" : "Start"} ${name}`}>{on ? "Stop" : "Start"}</button>}
        {on && <p className={shared.soft}>When it is stopped, its jobs run elsewhere{rented && ", and it costs money until it is removed"}.</p>}
      </div>
      <details className={shared.soft}>
        <summary>Its log, or remove it</summary>
        <Command text={`python3 server.py deploy logs ${name}`} />
        <Command text={`python3 server.py deploy destroy ${name}`} />
      </details>
    </>
  );
}

const FIRST = "No worker runs. One starts with the first job of a plugin, and stays warm for the next.";

function DeviceCard({ device }: { device: Device }) {
  const { name, where, title, state, workers } = device;
  return (
    <li className={shared.card}>
      <header className={shared.head}>
        <h2 className={css.device}>{name === "side" ? "Programs and light jobs" : name}</h2>
        {name !== "side" && <span className={css.title} title={title}>{title}</span>}
        <span className={shared.status} data-status={STATUS[state] ?? "installing"}>{state}</span>
      </header>
      {state !== "away" && <Memory device={device} />}
      {workers.length ? (
        <ul className={css.workers}>{workers.map((worker) => <WorkerRow key={`${worker.plugin} ${worker.pid}`} worker={worker} />)}</ul>
      ) : (
        <p className={shared.soft}>{state === "away" ? "Its machine is not connected." : where === "here" ? FIRST : "No worker runs."}</p>
      )}
    </li>
  );
}

/** How full a device is, where somebody says. */
function Memory({ device: { name, free_bytes, total_bytes, workers } }: { device: Device }) {
  if (total_bytes === null || free_bytes === null) return null;
  const used = total_bytes - free_bytes;
  const ours = workers.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0);
  return (
    <div className={css.memory}>
      <progress max={total_bytes} value={used} aria-label={`Memory of ${name}`} />
      <p>{size(free_bytes)} of {size(total_bytes)} free{ours > 0 && `; ${size(ours)} are in its workers`}</p>
    </div>
  );
}

function WorkerRow({ worker }: { worker: Worker }) {
  const title = useServer(({ plugins }) => plugins.find(({ name }) => name === worker.plugin)?.title ?? worker.plugin);
  const warm = typeof worker.warm === "string" ? worker.warm : worker.warm ? JSON.stringify(worker.warm) : "";
  const said = [worker.memory_bytes && size(worker.memory_bytes), worker.pid && `process ${worker.pid}`].filter(Boolean).join(" · ");
  return (
    <li>
      <h3>{title}</h3>
      <span className={shared.soft}>{worker.ready ? (worker.jobs.length ? "at work" : "ready") : "starting"}</span>
      <p className={shared.soft}>{said}</p>
      {warm && <p className={css.warm} title={warm}>{warm} is loaded</p>}
      {worker.jobs.length > 0 && <Running jobs={worker.jobs} />}
    </li>
  );
}

function Running({ jobs }: { jobs: string[] }) {
  const known = useServer((server) => server.jobs);
  return (
    <p className={shared.soft}>
      Runs {jobs.map((id) => known[id]?.name ?? id).join(", ")}. <Link href="/watch">Watch</Link>
    </p>
  );
}
