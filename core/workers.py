"""Worker processes: started when there is work, one for each plugin and device. core/ops/watchdog.py watches them.

A worker connects back as a Socket.IO client on the namespace /worker; core/ops/detached.py lets it in. Handing it a job
makes a lease; every message about the job carries it, and what carries another is refused."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import socketio

from core.artifacts import Blobs
from core.errors import Cancelled, Conflict, CoreError, UnknownJob
from core.jobs import Row, Store, Transaction, new_id, now
from core.library import plain, results
from core.library.catalogue import Catalogue
from core.library.children import SIDE
from core.library.exports import EXPORTED
from core.library.fair import Pause
from core.library.inputs import look_up
from core.library.placing import Placing
from core.library.plain import NAMESPACE
from core.library.results import add_outputs, outcome
from core.library.runs import Run, Worker
from core.ops import processes
from core.ops.config import Config
from core.ops.memory import Memory
from core.scheduler import Scheduler

log = logging.getLogger(__name__)


class Pool:
    """`tell(event, data, row)` emits to the clients that follow the job `row`; `exported(row, outputs)` gets the
    results of each job that has some for the outputs folder."""

    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler, memory: Memory, blobs: Blobs,
        sio: socketio.Server, devices: list[str], tell: Callable[[str, Row, Row], None],
        exported: Callable[[Row, list[Row]], None],
    ):  # fmt: skip
        self._config, self._store, self._catalogue, self._scheduler = config, store, catalogue, scheduler
        self._memory, self.blobs, self._sio, self.devices = memory, blobs, sio, devices
        self._tell, self._exported = tell, exported
        self.workers: dict[str, Worker] = {}  # by token
        self.placing = Placing(devices, config.pool == "ray", self.workers, scheduler.next)
        self.leave: Callable[[str, str, list[str]], None]  # what becomes of a program that gathers; set by Programs
        self.look: Callable[[set[str]], None] = lambda plugins: None  # for jobs that need not run; set by Reuse
        self.url = ""  # where workers find the server; nothing starts before it is set
        self._wanted: set[str] = set()
        self._dispatching, self._starting = threading.Lock(), threading.Lock()
        scheduler.dispatch, scheduler.stop_running = self.dispatch, self._stop_running
        sio.on("disconnect", self._disconnect, namespace=NAMESPACE)
        handlers = {"ready": self._ready, "beat": self.run_of, "output": self._produced, "finished": self._finished}
        for event in ("progress", "preview", "log"):
            handlers[event] = lambda sid, message, event=event: self._relay(event, sid, message)
        for event, handler in handlers.items():
            act = lambda sid, message=None, *rest, run=handler: run(sid, plain.mapping(message))  # noqa: E731
            sio.on(event, act, namespace=NAMESPACE)

    def dispatch(self, plugins: set[str]) -> None:
        """Hand out what can run now. Whoever comes while somebody is at it only says what to look at, too."""
        self._wanted.update(plugins)
        self.look(plugins)
        while self._wanted and self.url and self._dispatching.acquire(blocking=False):
            try:
                while self._wanted and not self._scheduler.paused:
                    self._dispatch_plugin(self._wanted.pop())
            except Exception:  # not the fault of whoever came here, often with a submit that is stored
                log.exception("dispatching failed")
            finally:
                self._dispatching.release()
            if self._scheduler.paused:
                return

    def _dispatch_plugin(self, plugin: str) -> None:
        info = self._catalogue.plugins.get(plugin)
        if not info or info.status != "ready":
            return
        mine = {worker.device: worker for worker in list(self.workers.values()) if worker.plugin == plugin}
        pause = Pause()
        ours = [worker for worker in mine.values() if worker.device != SIDE and not worker.process.detached]
        starting = sum(not worker.ready for worker in ours)
        for device, some in self.placing.offers(info, mine):
            side = device == SIDE
            if device not in mine and self._scheduler.queued(plugin, side, some) > starting * (not side):
                row = self._scheduler.next(plugin, side, None, some)
                if row and self._memory.room(row, device, None, self.workers):
                    self.start(plugin, device)
                    starting += 1
            if (worker := mine.get(device)) and worker.ready and not worker.full:
                pause()
                row = self._scheduler.next(plugin, side, worker.warm, some)
                if row and self._accepts(worker, row) and self._memory.room(row, device, worker, self.workers):
                    self._run(worker, row)

    def _accepts(self, worker: Worker, row: Row) -> bool:
        """As many jobs at once as the least sociable of them allows; a suspect runs alone."""
        allowed = [run.concurrency for run in worker.runs.values()] + [self.concurrency(row)]
        return len(allowed) == 1 or len(allowed) <= min(allowed)

    def concurrency(self, row: Row) -> int:
        known = self._catalogue.jobs.get(row["name"])
        return 1 if row["alone"] or not known else known.about["concurrency"]

    def start(self, plugin: str, device: str) -> None:
        """Start a process, unless one is there."""
        with self._starting:
            mine = [each for each in self.workers.values() if (each.plugin, each.device) == (plugin, device)]
            if any(not each.ended_by_us for each in mine):
                return
            info = self._catalogue.plugins[plugin]
            try:
                token, process = processes.start(self._config, self._catalogue, info, device, self.url)
            except OSError as error:
                return self.refuse(plugin, f"its worker cannot be started: {error}.")
            self.workers[token] = Worker(plugin, device, process, time.monotonic())

    def _disconnect(self, sid: str, reason: str) -> None:
        if worker := self.worker(sid):
            worker.sid, worker.ready = None, False

    def worker(self, sid: str) -> Worker | None:
        return next((worker for worker in list(self.workers.values()) if worker.sid == sid), None)

    def _ready(self, sid: str, message: Row) -> None:
        """A worker is there (again): what it does not know of is sent again, what we do not know of is stopped."""
        if worker := self.worker(sid):
            worker.ready = not worker.ended_by_us
            known = results.leases(message)
            for lease in {*known} - worker.runs.keys() - worker.calls.keys():
                self.send(worker, "cancel", {"lease": lease, "keep_partial": False})
            for run in list(worker.runs.values()):
                if run.message and run.lease not in known:
                    self.send(worker, "run", run.message)
                if run.kill_at:
                    self._stop_running(self._store.job(run.job["id"]))
            for lease, (call, _) in list(worker.calls.items()):
                if lease not in known:
                    self.send(worker, "run", call)
            self.dispatch({worker.plugin})

    def send(self, worker: Worker, event: str, data: Row) -> None:
        if worker.ready:
            self._sio.emit(event, data, to=worker.sid, namespace=NAMESPACE)

    def _run(self, worker: Worker, row: Row) -> None:
        """Make a lease and hand the job to the worker, if it is still queued and can run at all."""
        job, lease, attempt, name = row["id"], new_id(), row["attempt"] + 1, f"{worker.plugin}@{worker.device}"
        columns = {"state": "running", "attempt": attempt, "lease": lease, "worker": name, "started": now()}
        run = Run(row, lease, {}, self.concurrency(row), time.monotonic(), worker.memory_bytes)
        worker.runs[lease] = run  # before it is written: if the worker dies meanwhile, the watchdog knows of it
        try:
            run.job = row = self._store.write(lambda tx: tx.update_job(job, ("queued",), **columns))
        except BaseException as error:
            worker.runs.pop(lease, None)
            if isinstance(error, Conflict):
                return
            raise
        if lease not in worker.runs:  # its worker died meanwhile
            return self._scheduler.requeue(job, lease)
        try:
            if row["name"] not in self._catalogue.jobs:
                raise UnknownJob(f"{row['name']} is not announced any more.", job=job, hint="Was its plugin updated?")
            run.message = self.message(row)
        except CoreError as error:  # an input, say, is not there any more
            worker.runs.pop(lease, None)
            self._scheduler.end(job, "failed", error=error.wire())
            return
        worker.warm, worker.used_at = row["warmth"], time.monotonic()
        self.send(worker, "run", run.message)
        asked = "SELECT lease, cancel FROM jobs WHERE id = ? AND cancel IS NOT NULL"
        for row in self._store.all(asked, job):  # for while the lease was being made
            self._stop_running(row)

    def message(self, row: Row) -> Row:
        """What a worker is told of a job that it is to run. Raises UnknownArtifact."""
        keys = ("id", "name", "params", "embed_metadata", "session", "version", "low_memory", "lease")
        return {key: row[key] for key in keys} | {"inputs": look_up(self._store, row["inputs"]), "light": None}

    def run_of(self, sid: str, message: Row) -> Run | None:
        """The run that a worker's message is about, None if its lease is not valid (any more)."""
        if worker := self.worker(sid):
            worker.heard = time.monotonic()
            worker.memory_bytes = results.memory_bytes(message) or worker.memory_bytes
            if run := worker.runs.get(str(message.get("lease"))):
                run.progress_at = worker.heard
                return run
        return None

    def _relay(self, event: str, sid: str, message: Row) -> None:
        if run := self.run_of(sid, message):
            body = {key: value for key, value in message.items() if key != "lease"}
            plain.check([value for value in body.values() if not isinstance(value, bytes)])
            self._tell(event, body | {"id": run.job["id"]}, run.job)

    def _produced(self, sid: str, message: Row) -> None:
        """One output of a job that goes on."""
        said = outcome({"state": "done", "outputs": [message.get("output")], "error": None, "metrics": {}}, self.blobs)
        if run := self.run_of(sid, message):

            def store(tx: Transaction) -> str | None:
                row = tx.leased(run.job["id"], run.lease)
                add_outputs(tx, run, said.outputs)
                return row["cancel"]

            with contextlib.suppress(Conflict):
                if self._store.write(store) == "keep":  # and it does keep: the next one may take as long
                    run.kill_at = time.monotonic() + self._config.cancel_grace_seconds

    def _finished(self, sid: str, message: Row) -> bool:
        """A job's end as its worker tells it, resent until acknowledged. Returns whether the lease was valid."""
        worker, run = self.worker(sid), self.run_of(sid, message)
        said = outcome(message, self.blobs)
        if not run:
            return False
        job = run.job["id"]
        again = self._memory.after(worker, run, said) and said.state == "failed"
        metrics = said.metrics | {"queue_seconds": round(run.job["started"] - run.job["queued"], 3)}

        def store(tx: Transaction) -> Row:
            cancel = tx.leased(job, run.lease)["cancel"]
            outputs = [] if cancel == "discard" else said.outputs
            tx.remove_artifacts(tx.all("SELECT * FROM artifacts WHERE job = ? AND idx >= ?", job, len(outputs)))
            add_outputs(tx, run, outputs)
            if cancel or said.state == "cancelled":
                return {"state": "cancelled", "error": Cancelled("the job was cancelled.", job=job).wire()}
            return {}

        worker.runs.pop(run.lease)
        try:
            if said.state == "waiting" or again:
                with contextlib.suppress(Conflict):  # it was cancelled, or runs elsewhere, as `store` will see
                    if again:
                        self._scheduler.requeue(job, run.lease, alone=True, low_memory=True)
                        self.dispatch({worker.plugin})
                    else:
                        self.leave(job, run.lease, said.waits_for)
                    return True
            row = self._scheduler.end(job, said.state, also=store, error=said.error, metrics=metrics)
        except Conflict:
            return False
        except Exception:  # not stored, so not acknowledged: the worker sends it again
            worker.runs[run.lease] = run
            raise
        if any(output.kind in EXPORTED for output in said.outputs):
            self._exported(row, self._store.outputs(job))
        return True

    def _stop_running(self, row: Row) -> None:
        for worker in list(self.workers.values()):
            if run := worker.runs.get(row["lease"]):
                run.kill_at = run.kill_at or time.monotonic() + self._config.cancel_grace_seconds
                self.send(worker, "cancel", {"lease": run.lease, "keep_partial": row["cancel"] == "keep"})

    def refuse(self, plugin: str, error: str) -> None:
        """It cannot run here, so its jobs must not wait for ever. They can be retried when it is mended."""
        info = self._catalogue.plugins[plugin]
        info.status, info.error, info.broken = "refused", error, True
        self._store.write(lambda tx: tx.event("plugins", info.brief(), {}))

    def stop(self) -> None:
        self.url = ""
        processes.end([worker.process for worker in self.workers.values()])
