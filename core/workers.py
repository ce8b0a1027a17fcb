"""Worker processes: started when there is work, one for each plugin and device, watched, and killed when they must be.

A worker connects back as a Socket.IO client on the namespace /worker. Handing it a job makes a lease; every message
about the job carries it, and what carries another is refused."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import socketio

from core.catalogue import Catalogue
from core.config import ROOT, Config
from core.errors import Cancelled, Conflict, CoreError, NotFound, PluginError, Timeout, WorkerDied
from core.jobs import Row, Store, Transaction, new_id, now
from core.scheduler import Entry, Scheduler

NAMESPACE = "/worker"
LOG_BYTES = 10_000_000  # a plugin that prints without end loses its old lines, not our disk
START_SECONDS = 120  # a worker that has not connected by then is taken for dead


@dataclass
class Run:
    """A job inside a worker. `kill_at`: when to stop waiting for its cancel."""

    job: str
    lease: str
    owner: str
    session: str
    entry: Entry
    message: Row
    progress_at: float
    kill_at: float | None = None
    failure: CoreError | None = None


@dataclass
class Worker:
    name: str
    plugin: str
    device: str
    token: str
    process: subprocess.Popen
    log: Path
    heard: float
    sid: str | None = None
    connected: bool = False  # at least once
    ready: bool = False  # connected now, and told what it runs
    warm: Any = None
    memory_bytes: int = 0
    runs: dict[str, Run] = field(default_factory=dict)

    def accepts(self, entry: Entry) -> bool:
        """As many jobs at once as the least sociable of them allows; a suspect runs alone."""
        together = [*(run.entry for run in self.runs.values()), entry]
        return len(together) == 1 or len(together) <= min(1 if each.alone else each.concurrency for each in together)


class Pool:
    """`send(event, data, sid)` emits to one worker, `tell(event, data, row)` to those who follow the job `row`."""

    def __init__(
        self,
        config: Config,
        store: Store,
        catalogue: Catalogue,
        scheduler: Scheduler,
        devices: list[str],
        send: Callable[[str, Row, str], None],
        tell: Callable[[str, Row, Row], None],
        exported: Callable[[Row, list[Row]], None],
    ):
        self._config, self._store, self._catalogue, self._scheduler = config, store, catalogue, scheduler
        self._send, self._tell, self._exported = send, tell, exported
        self.workers: dict[str, Worker] = {}  # by token
        self.devices = devices
        self._failed_starts: dict[str, int] = {}  # by plugin
        self.url = ""  # where workers find the server; set once it listens
        self._again = False
        self._dispatching = threading.Lock()
        self._stopping = False
        scheduler.dispatch, scheduler.stop_running = self.dispatch, self._stop_running

    def dispatch(self) -> None:
        """Hand out whatever can run now. Whoever comes while somebody is at it only asks for another round."""
        self._again = True
        while self._again and self._dispatching.acquire(blocking=False):
            try:
                self._again = False
                if self.url and not self._scheduler.paused and not self._stopping:
                    for plugin, queued in self._scheduler.ready.plugins().items():
                        self._dispatch_plugin(plugin, queued)
            finally:
                self._dispatching.release()

    def _dispatch_plugin(self, plugin: str, queued: int) -> None:
        info = self._catalogue.plugins.get(plugin)
        if not info or info.status != "ready":
            return
        mine = {worker.device: worker for worker in self.workers.values() if worker.plugin == plugin}
        starting = sum(not worker.ready for worker in mine.values())
        for device in self.devices:
            if device not in mine:
                if starting < queued:
                    self._start(plugin, device)
                    starting += 1
                continue
            worker = mine[device]
            while worker.ready:
                with self._scheduler.lock:
                    entry = self._scheduler.ready.take(plugin, worker.warm, worker.accepts)
                if not entry:
                    break
                self._run(worker, entry)

    def _start(self, plugin: str, device: str) -> Worker:
        info = self._catalogue.plugins[plugin]
        token, folder = secrets.token_urlsafe(24), self._config.data / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{plugin}-{device.replace(':', '')}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [str(info.python), "-m", "core.worker"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
                env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        settings = {
            "url": self.url, "token": token, "plugin": plugin, "folder": str(info.folder), "device": device,
            "blobs": str(self._config.data / "blobs"), "fsync": self._config.durability == "power",
            "scratch": str(self._config.data / "scratch"), "models": str(self._config.models),
            "shipped_models": self._catalogue.shipped_models(), "version": info.manifest.get("version"),
        }  # fmt: skip
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        worker = Worker(f"{plugin}@{device}", plugin, device, token, process, path, time.monotonic())
        self.workers[token] = worker
        return worker

    def listen(self, sio: socketio.Server) -> None:
        """Bind what workers say on their namespace."""
        sio.on("connect", self._connect, namespace=NAMESPACE)
        sio.on("disconnect", self._disconnect, namespace=NAMESPACE)
        sio.on("ready", self._ready, namespace=NAMESPACE)
        sio.on("beat", self.heard, namespace=NAMESPACE)
        sio.on("output", self._produced, namespace=NAMESPACE)
        sio.on("finished", self._finished, namespace=NAMESPACE)
        for event in ("progress", "preview", "log"):
            handler = lambda sid, message, event=event: self._progressed(event, sid, message)  # noqa: E731
            sio.on(event, handler, namespace=NAMESPACE)

    def _connect(self, sid: str, environ: Row, auth: Any) -> None:
        worker = self.workers.get(auth.get("token")) if isinstance(auth, dict) else None
        if not worker:
            raise socketio.exceptions.ConnectionRefusedError("no worker has this token")
        worker.sid, worker.connected, worker.heard = sid, True, time.monotonic()
        self._failed_starts.pop(worker.plugin, None)

    def _disconnect(self, sid: str, reason: str) -> None:
        for worker in self.workers.values():
            if worker.sid == sid:
                worker.sid, worker.ready = None, False

    def _ready(self, sid: str, message: Row) -> None:
        """A worker is there (again): what it does not know of is sent again."""
        worker = next(worker for worker in self.workers.values() if worker.sid == sid)
        worker.ready = True
        for run in [run for lease, run in worker.runs.items() if lease not in message["leases"]]:
            self._send("run", run.message, sid)
        self.dispatch()

    def _run(self, worker: Worker, entry: Entry) -> None:
        """Make a lease and hand the job to the worker."""
        lease = new_id()
        columns = {
            "state": "running",
            "attempt": entry.attempt + 1,
            "lease": lease,
            "worker": worker.name,
            "started": now(),
        }
        try:
            row = self._store.write(lambda tx: tx.update_job(entry.id, ("queued",), **columns))
        except Conflict:
            return  # cancelled or held meanwhile
        try:
            inputs = {name: self._artifacts(items) for name, items in row["inputs"].items()}
        except CoreError as error:
            self._scheduler.end(entry.id, "failed", error=error.wire())
            return
        message = {key: row[key] for key in ("id", "name", "params", "embed_metadata", "session", "version")}
        message |= {"lease": lease, "inputs": inputs}
        worker.runs[lease] = Run(row["id"], lease, row["owner"], row["session"], entry, message, time.monotonic())
        worker.warm = entry.warmth
        if row["cancel"]:  # asked for between the commit and now
            self._stop_running(row)
        if worker.ready:
            self._send("run", message, worker.sid)

    def _artifacts(self, items: list[Any]) -> list[Row]:
        """The stored artifacts behind an input: ids, or all or one of the outputs of another job."""
        found = []
        for item in items:
            if isinstance(item, str):
                rows = self._store.all("SELECT * FROM artifacts WHERE id = ?", item)
            else:
                rows = self._store.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", item["job"])
                rows = rows[item["index"] :][:1] if "index" in item else rows
            if not rows:
                raise NotFound(f"the input {item} is not there (any more).")
            found += [{key: row[key] for key in ("id", "kind", "sha256")} for row in rows]
        return found

    def heard(self, sid: str, message: Row) -> Run | None:
        """The run that a worker's message is about, None if its lease is not valid (any more)."""
        worker = next((worker for worker in self.workers.values() if worker.sid == sid), None)
        if not worker:
            return None
        worker.heard = time.monotonic()
        worker.memory_bytes = message.get("memory_bytes", worker.memory_bytes)
        return worker.runs.get(message.get("lease", ""))

    def _progressed(self, event: str, sid: str, message: Row) -> None:
        """Pass `progress`, `preview` and `log` on to those who follow the job."""
        if run := self.heard(sid, message):
            run.progress_at = time.monotonic()
            body = {key: value for key, value in message.items() if key != "lease"} | {"id": run.job}
            self._tell(event, body, {"id": run.job, "owner": run.owner, "session": run.session})

    def _produced(self, sid: str, message: Row) -> bool:
        """One output of a running job, before its end. Returns whether the lease was valid."""
        if not (run := self.heard(sid, message)):
            return False
        run.progress_at = time.monotonic()
        self._store.write(lambda tx: self._add_outputs(tx, run, [message["output"]]))
        return True

    def _finished(self, sid: str, message: Row) -> bool:
        """A job's end as its worker tells it, resent until acknowledged. Returns whether the lease was valid."""
        if not (run := self.heard(sid, message)):
            return False
        row = self._store.job(run.job)
        state = "cancelled" if row["cancel"] else message["state"]
        outputs = [] if row["cancel"] == "discard" else message["outputs"]
        error = Cancelled("the job was cancelled.", job=run.job).wire() if state == "cancelled" else message["error"]

        def store(tx: Transaction) -> None:
            if not tx.one("SELECT id FROM jobs WHERE id = ? AND lease = ?", run.job, run.lease):
                raise Conflict(f"the lease {run.lease} is not valid any more.")
            tx.all("DELETE FROM artifacts WHERE job = ? AND idx >= ?", run.job, len(outputs))
            self._add_outputs(tx, run, outputs)

        metrics = message["metrics"] | {"queue_seconds": round(row["started"] - row["queued"], 3)}
        try:
            row = self._scheduler.end(run.job, state, also=store, error=error, metrics=metrics)
        except Conflict:
            return False
        self._forget(run)
        self.dispatch()
        if outputs:
            self._exported(row, self._store.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", run.job))
        return True

    def _add_outputs(self, tx: Transaction, run: Run, outputs: list[Row]) -> None:
        parents = [artifact["id"] for items in run.message["inputs"].values() for artifact in items]
        for output in outputs:
            columns = {key: output[key] for key in ("kind", "sha256", "size_bytes", "mime", "facts")}
            row = {"id": f"{run.job}.{output['index']}", "job": run.job, "idx": output["index"], **columns}
            if tx.one("SELECT id FROM artifacts WHERE id = ? AND sha256 = ?", row["id"], row["sha256"]):
                continue  # told already, by `_produced`
            row |= {"owner": run.owner, "session": run.session, "created": now()}
            tx.add_artifact(row | {"review": "new", "name": None}, parents)

    def _forget(self, run: Run) -> None:
        for worker in self.workers.values():
            worker.runs.pop(run.lease, None)

    def _stop_running(self, row: Row) -> None:
        for worker in self.workers.values():
            if run := worker.runs.get(row["lease"]):
                run.kill_at = time.monotonic() + self._config.cancel_grace_seconds
                if worker.sid:
                    self._send("cancel", {"lease": run.lease, "keep_partial": row["cancel"] == "keep"}, worker.sid)

    def watch(self) -> None:
        """Called several times a second: notices dead, silent and stubborn workers."""
        moment = time.monotonic()
        for worker in list(self.workers.values()):
            if worker.log.stat().st_size > LOG_BYTES:
                os.truncate(worker.log, 0)  # opened for appending, so the process goes on at the new end
            silence = (
                self._config.heartbeat_seconds if worker.sid else max(START_SECONDS, self._config.heartbeat_seconds)
            )
            for run in worker.runs.values():
                if run.kill_at and moment > run.kill_at:
                    run.failure = Cancelled("the job did not stop by itself, so its worker was stopped.", job=run.job)
                elif moment - run.progress_at > self._config.stall_seconds:
                    run.failure = Timeout(
                        f"no progress for {self._config.stall_seconds:g} s (stall_seconds).", job=run.job
                    )
            if any(run.failure for run in worker.runs.values()) or moment - worker.heard > silence:
                self.kill(worker)
            if worker.process.poll() is not None:
                self._died(worker)

    def kill(self, worker: Worker) -> None:
        """End the process and all that it started."""
        try:
            os.killpg(worker.process.pid, signal.SIGKILL) if os.name == "posix" else worker.process.kill()
        except ProcessLookupError:
            pass
        worker.process.wait(5)

    def _died(self, worker: Worker) -> None:
        """Jobs of a dead worker run again; one that was alone inside is blamed, and fails after `attempts` deaths."""
        del self.workers[worker.token]
        worker.process.stdin.close()
        code, blamed = worker.process.returncode, any(run.failure for run in worker.runs.values())
        for run in worker.runs.values():
            shutil.rmtree(self._config.data / "scratch" / run.lease, ignore_errors=True)
            alone = len(worker.runs) == 1 and not blamed
            deaths = self._store.job(run.job)["deaths"] + alone
            if isinstance(run.failure, Cancelled) or self._store.job(run.job)["cancel"]:
                failure = run.failure or Cancelled("the job was cancelled.", job=run.job)
                self._scheduler.end(run.job, "cancelled", error=failure.wire())
            elif run.failure:
                self._scheduler.end(run.job, "failed", error=run.failure.wire())
            elif alone and deaths >= self._config.attempts:
                error = WorkerDied(
                    f"the job ended its worker {deaths} times (exit code {code}).", job=run.job,
                    hint=f"See {self._config.data / 'logs'}. Its parameters and inputs are kept: retry when mended.",
                )  # fmt: skip
                self._scheduler.end(run.job, "failed", error=error.wire(), deaths=deaths)
            else:
                self._scheduler.requeue(run.job, alone=not blamed, deaths=int(alone))
        if not worker.connected:
            self._failed_starts[worker.plugin] = self._failed_starts.get(worker.plugin, 0) + 1
            if self._failed_starts[worker.plugin] >= self._config.attempts:
                self._refuse(worker.plugin, code)
        self.dispatch()

    def _refuse(self, plugin: str, code: int) -> None:
        """Its processes end before they connect, so its jobs must not wait for ever. Retry them when it is mended."""
        info = self._catalogue.plugins[plugin]
        info.status = "refused"
        info.error = f"its worker ends at the start (exit code {code}); see {self._config.data / 'logs'}."
        for row in self._store.all("SELECT id FROM jobs WHERE plugin = ? AND state = 'queued'", plugin):
            error = PluginError(f"{plugin}: {info.error}", job=row["id"])
            self._scheduler.end(row["id"], "failed", states=("queued",), error=error.wire())

    def describe(self) -> list[Row]:
        return [
            {
                "name": worker.name, "plugin": worker.plugin, "device": worker.device, "pid": worker.process.pid,
                "connected": worker.ready, "memory_bytes": worker.memory_bytes, "warm": worker.warm,
                "jobs": [run.job for run in worker.runs.values()],
            }
            for worker in self.workers.values()
        ]  # fmt: skip

    def stop(self) -> None:
        """End all workers: a closed stdin tells them to, and after 2 s they are killed."""
        self._stopping = True
        for worker in self.workers.values():
            worker.process.stdin.close()
        deadline = time.monotonic() + 2
        for worker in self.workers.values():
            while worker.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            self.kill(worker)
