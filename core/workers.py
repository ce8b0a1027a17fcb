"""Worker processes: started when there is work, one for each plugin and device, watched, and killed when they must be.

A worker connects back as a Socket.IO client on the namespace /worker. Handing it a job makes a lease; every message
about the job carries it, and what carries another is refused."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import socketio

from core.catalogue import Catalogue
from core.config import Config
from core.errors import Cancelled, Conflict, CoreError, NotFound, PluginError, Timeout, WorkerDied
from core.jobs import Row, Store, Transaction, new_id, now
from core.ops.processes import LocalProcess
from core.scheduler import Scheduler

NAMESPACE = "/worker"
START_SECONDS = 120  # a worker that has not connected by then is taken for dead


@dataclass
class Run:
    """A job inside a worker: its row and lease, what the worker was told, and since when there is no progress."""

    job: Row
    lease: str
    message: Row
    concurrency: int
    progress_at: float
    kill_at: float | None = None  # when to stop waiting for its cancel
    failure: CoreError | None = None  # why its worker was killed


@dataclass
class Worker:
    plugin: str
    device: str
    token: str
    process: LocalProcess
    heard: float
    sid: str | None = None
    ready: bool = False  # connected, and told what it runs
    connected: bool = False  # at least once
    warm: str | None = None
    memory_bytes: int = 0
    runs: dict[str, Run] = field(default_factory=dict)  # by lease


class Pool:
    """`tell(event, data, row)` emits to the clients that follow the job `row`; `exported(row, outputs)` gets the
    results of each job that has some."""

    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler, sio: socketio.Server,
        devices: list[str], tell: Callable[[str, Row, Row], None], exported: Callable[[Row, list[Row]], None],
    ):  # fmt: skip
        self._config, self._store, self._catalogue, self._scheduler = config, store, catalogue, scheduler
        self._sio, self._tell, self._exported, self.devices = sio, tell, exported, devices
        self.workers: dict[str, Worker] = {}  # by token
        self.url = ""  # where workers find the server; nothing starts before it is set
        self._failed_starts: dict[str, int] = {}  # by plugin
        self._wanted: set[str] = set()
        self._dispatching = threading.Lock()
        scheduler.dispatch, scheduler.stop_running = self.dispatch, self._stop_running
        handlers: dict[str, Callable] = {
            "connect": self._connect, "disconnect": self._disconnect, "ready": self._ready, "beat": self._run_of,
            "output": self._produced, "finished": self._finished,
        }  # fmt: skip
        for event in ("progress", "preview", "log"):
            handlers[event] = lambda sid, message, event=event: self._relay(event, sid, message)
        for event, handler in handlers.items():
            sio.on(event, handler, namespace=NAMESPACE)

    def dispatch(self, plugins: set[str]) -> None:
        """Hand out what can run now. Whoever comes while somebody is at it only says what to look at, too."""
        self._wanted.update(plugins)
        while self._wanted and self.url and self._dispatching.acquire(blocking=False):
            try:
                while self._wanted and not self._scheduler.paused:
                    self._dispatch_plugin(self._wanted.pop())
            finally:
                self._dispatching.release()
            if self._scheduler.paused:
                return

    def _dispatch_plugin(self, plugin: str) -> None:
        info = self._catalogue.plugins.get(plugin)
        if not info or info.status != "ready":
            return
        mine = {worker.device: worker for worker in self.workers.values() if worker.plugin == plugin}
        starting = sum(not worker.ready for worker in mine.values())
        for device in self.devices:
            if device not in mine and self._scheduler.queued(plugin) > starting:
                self._start(plugin, device)
                starting += 1
            while (worker := mine.get(device)) and worker.ready:
                row = self._scheduler.next(plugin, worker.warm)
                if not row or not self._accepts(worker, row) or not self._run(worker, row):
                    break

    def _accepts(self, worker: Worker, row: Row) -> bool:
        """As many jobs at once as the least sociable of them allows; a suspect runs alone."""
        allowed = [run.concurrency for run in worker.runs.values()] + [self._concurrency(row)]
        return len(allowed) == 1 or len(allowed) <= min(allowed)

    def _concurrency(self, row: Row) -> int:
        return 1 if row["alone"] else self._catalogue.find(row["name"]).about["concurrency"]

    def _start(self, plugin: str, device: str) -> None:
        info, data = self._catalogue.plugins[plugin], self._config.data
        token, log = secrets.token_urlsafe(24), data / "logs" / f"{plugin}-{device.replace(':', '')}.log"
        settings = {
            "url": self.url, "token": token, "plugin": plugin, "folder": str(info.folder), "device": device,
            "blobs": str(data / "blobs"), "fsync": self._config.durability == "power",
            "scratch": str(data / "scratch"), "models": str(self._config.models),
            "shipped_models": [model for each in self._catalogue.plugins.values() for model in each.models()],
        }  # fmt: skip
        process = LocalProcess(info.python, settings, log)
        self.workers[token] = Worker(plugin, device, token, process, time.monotonic())

    def _connect(self, sid: str, environ: Row, auth: Any) -> None:
        worker = self.workers.get(auth.get("token")) if isinstance(auth, dict) else None
        if not worker:
            raise socketio.exceptions.ConnectionRefusedError("no worker has this token")
        worker.sid, worker.connected, worker.heard = sid, True, time.monotonic()
        self._failed_starts.pop(worker.plugin, None)

    def _disconnect(self, sid: str, reason: str) -> None:
        if worker := self._worker(sid):
            worker.sid, worker.ready = None, False

    def _worker(self, sid: str) -> Worker | None:
        return next((worker for worker in self.workers.values() if worker.sid == sid), None)

    def _ready(self, sid: str, message: Row) -> None:
        """A worker is there (again): what it does not know of is sent again."""
        if worker := self._worker(sid):
            worker.ready = True
            for run in [run for lease, run in worker.runs.items() if lease not in message["leases"]]:
                self._send(worker, "run", run.message)
            self.dispatch({worker.plugin})

    def _send(self, worker: Worker, event: str, data: Row) -> None:
        if worker.ready:
            self._sio.emit(event, data, to=worker.sid, namespace=NAMESPACE)

    def _run(self, worker: Worker, row: Row) -> bool:
        """Make a lease and hand the job to the worker. False if the job has left the queue meanwhile."""
        lease, attempt = new_id(), row["attempt"] + 1
        name, job = f"{worker.plugin}@{worker.device}", row["id"]
        try:
            row = self._store.write(
                lambda tx: tx.update_job(
                    job, ("queued",), state="running", attempt=attempt, lease=lease, worker=name, started=now()
                )
            )
            inputs = {name: self._artifacts(items) for name, items in row["inputs"].items()}
        except Conflict:
            return False
        except NotFound as error:
            self._scheduler.end(job, "failed", error=error.wire())
            return False
        keys = ("id", "name", "params", "embed_metadata", "session", "version")
        message = {key: row[key] for key in keys} | {"lease": lease, "inputs": inputs}
        worker.runs[lease] = Run(row, lease, message, self._concurrency(row), time.monotonic())
        worker.warm = row["warmth"]
        self._send(worker, "run", message)
        return True

    def _artifacts(self, items: list[Any]) -> list[Row]:
        """The artifacts behind an input: one by its id, or all or one of the outputs of another job."""
        found = []
        for item in items:
            if isinstance(item, str):
                rows = self._store.all("SELECT * FROM artifacts WHERE id = ?", item)
            else:
                rows = self._store.outputs(item["job"])
                rows = [row for row in rows if row["idx"] == item.get("index", row["idx"])]
            if not rows:
                raise NotFound(f"the input {item} is not there (any more).")
            found += [{key: row[key] for key in ("id", "kind", "sha256")} for row in rows]
        return found

    def _run_of(self, sid: str, message: Row) -> Run | None:
        """The run that a worker's message is about, None if its lease is not valid (any more)."""
        if worker := self._worker(sid):
            worker.heard = time.monotonic()
            worker.memory_bytes = message.get("memory_bytes", worker.memory_bytes)
            if run := worker.runs.get(message.get("lease")):
                run.progress_at = worker.heard
                return run
        return None

    def _relay(self, event: str, sid: str, message: Row) -> None:
        if run := self._run_of(sid, message):
            body = {key: value for key, value in message.items() if key != "lease"}
            self._tell(event, body | {"id": run.job["id"]}, run.job)

    def _produced(self, sid: str, message: Row) -> None:
        """One output of a job that goes on."""
        if run := self._run_of(sid, message):
            self._store.write(lambda tx: self._add_outputs(tx, run, [message["output"]]))

    def _finished(self, sid: str, message: Row) -> bool:
        """A job's end as its worker tells it, resent until acknowledged. Returns whether the lease was valid."""
        worker, run = self._worker(sid), self._run_of(sid, message)
        if not run:
            return False
        job = run.job["id"]
        row = self._store.job(job)
        state = "cancelled" if row["cancel"] else message["state"]
        outputs = [] if row["cancel"] == "discard" else message["outputs"]
        error = Cancelled("the job was cancelled.", job=job).wire() if state == "cancelled" else message["error"]

        def store(tx: Transaction) -> None:
            if not tx.one("SELECT id FROM jobs WHERE id = ? AND lease = ?", job, run.lease):
                raise Conflict(f"the lease {run.lease} is not valid any more.")
            tx.all("DELETE FROM artifacts WHERE job = ? AND idx >= ?", job, len(outputs))
            self._add_outputs(tx, run, outputs)

        metrics = message["metrics"] | {"queue_seconds": round(row["started"] - row["queued"], 3)}
        worker.runs.pop(run.lease)
        try:
            row = self._scheduler.end(job, state, also=store, error=error, metrics=metrics)
        except Conflict:
            return False
        except CoreError:  # not stored, so not acknowledged: the worker sends it again
            worker.runs[run.lease] = run
            raise
        if outputs:
            self._exported(row, self._store.outputs(job))
        return True

    def _add_outputs(self, tx: Transaction, run: Run, outputs: list[Row]) -> None:
        parents = [artifact["id"] for items in run.message["inputs"].values() for artifact in items]
        keys = ("kind", "sha256", "size_bytes", "mime", "facts")
        for output in outputs:
            row = {key: output[key] for key in keys} | {key: run.job[key] for key in ("owner", "session")}
            row |= {"id": f"{run.job['id']}.{output['index']}", "job": run.job["id"], "idx": output["index"]}
            tx.add_artifact(row | {"review": "new", "created": now()}, parents)

    def _stop_running(self, row: Row) -> None:
        for worker in self.workers.values():
            if run := worker.runs.get(row["lease"]):
                run.kill_at = time.monotonic() + self._config.cancel_grace_seconds
                self._send(worker, "cancel", {"lease": run.lease, "keep_partial": row["cancel"] == "keep"})

    def watch(self) -> None:
        """Called several times a second: notices dead, silent and stubborn workers."""
        for worker in list(self.workers.values()):
            moment, silence = time.monotonic(), self._config.heartbeat_seconds
            for run in worker.runs.values():
                if run.kill_at and moment > run.kill_at:
                    text = "the job was cancelled; it did not stop by itself, so its worker was stopped."
                    run.failure = Cancelled(text, job=run.job["id"])
                elif moment - run.progress_at > self._config.stall_seconds:
                    text = f"no progress for {self._config.stall_seconds:g} s (stall_seconds)."
                    run.failure = Timeout(text, job=run.job["id"])
            silent = moment - worker.heard > (silence if worker.connected else max(START_SECONDS, silence))
            if silent or any(run.failure for run in worker.runs.values()):
                worker.process.kill()
            if worker.process.exit_code() is not None:
                self._died(worker)

    def _died(self, worker: Worker) -> None:
        """Its jobs run again. One that was alone inside is blamed, and fails after `attempts` deaths."""
        del self.workers[worker.token]
        worker.process.kill()  # what it started may still run
        code, killed = worker.process.exit_code(), any(run.failure for run in worker.runs.values())
        blamed = len(worker.runs) == 1 and not killed
        for run in worker.runs.values():
            job = run.job["id"]
            shutil.rmtree(self._config.data / "scratch" / run.lease, ignore_errors=True)
            row = self._store.job(job)
            failure = run.failure
            if row["cancel"]:
                failure = failure or Cancelled("the job was cancelled.", job=job)
            elif blamed and row["deaths"] + 1 >= self._config.attempts:
                hint = (
                    f"See {worker.process.log}. Its parameters and inputs are kept: retry it when the cause is mended."
                )
                failure = WorkerDied(
                    f"the job ended its worker {row['deaths'] + 1} times (exit code {code}).", hint=hint
                )
            if failure:
                state = "cancelled" if isinstance(failure, Cancelled) else "failed"
                self._scheduler.end(job, state, error=failure.wire(), deaths=row["deaths"] + blamed)
            else:
                self._scheduler.requeue(job, alone=not killed, deaths=int(blamed))
        if not worker.connected:
            self._failed_starts[worker.plugin] = self._failed_starts.get(worker.plugin, 0) + 1
            if self._failed_starts[worker.plugin] >= self._config.attempts:
                self._refuse(worker, code)
        self.dispatch({worker.plugin})

    def _refuse(self, worker: Worker, code: int) -> None:
        """Its processes end before they connect, so its jobs must not wait for ever. They can be retried."""
        info = self._catalogue.plugins[worker.plugin]
        info.status, info.error = (
            "refused",
            f"its worker ends at the start (exit code {code}); see {worker.process.log}.",
        )
        for row in self._store.all("SELECT id FROM jobs WHERE plugin = ? AND state = 'queued'", info.name):
            error = PluginError(f"{info.name}: {info.error}", job=row["id"]).wire()
            self._scheduler.end(row["id"], "failed", states=("queued",), error=error)

    def describe(self) -> list[Row]:
        keys = ("plugin", "device", "ready", "memory_bytes", "warm")
        return [
            {key: getattr(worker, key) for key in keys}
            | {"pid": worker.process.pid, "jobs": [run.job["id"] for run in worker.runs.values()]}
            for worker in self.workers.values()
        ]

    def stop(self) -> None:
        """End all workers: a closed stdin tells them to, and after 2 s they are killed."""
        self.url, deadline = "", time.monotonic() + 2
        for worker in self.workers.values():
            worker.process.ask_to_end()
        for worker in self.workers.values():
            while worker.process.exit_code() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            worker.process.kill()
