"""Workers that outlive the server: somebody else starts them, and after a restart they come back with their jobs.

`attach` makes a token and the settings for one. Only the token's hash is kept; whoever connects with the token is that
worker. It is in the pool while it is connected, and for heartbeat_seconds more (remote_grace_seconds, from another
machine); after that its jobs run elsewhere, and it may come back without them. Whoever connects as a worker, detached
or not, is let in here."""

import secrets
import time
from typing import Annotated, Any, Literal

import socketio
from pydantic import Field

from core.api import Handler, Name
from core.artifacts import Blobs
from core.auth import admin_only
from core.errors import Conflict, CoreError, NotFound
from core.jobs import Row, Store, Transaction, now
from core.library import plain
from core.library.catalogue import Catalogue
from core.library.runs import Run, Worker, by_token, hash_of
from core.ops import devices, processes, sandbox
from core.ops.config import Config
from core.ops.processes import GONE, DetachedProcess
from core.workers import NAMESPACE, Pool

Device = Annotated[str, Field(pattern=devices.PATTERN, examples=["cpu", "cuda:0", "gpu1/cuda:0"])]


class Detached:
    """`handlers` are bound by the API. `restore` is called once, before jobs that ran are queued again."""

    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, pool: Pool, blobs: Blobs, sio: socketio.Server
    ):  # fmt: skip
        self._config, self._store, self._catalogue = config, store, catalogue
        self._pool, self._blobs, self._sio = pool, blobs, sio
        self.handlers: list[Handler] = [self.attach, self.detach]
        sio.on("connect", self._connect, namespace=NAMESPACE)

    def attach(self, owner: str, plugin: Name, device: Device) -> Row:
        """Let a worker that you start yourself run the jobs of a plugin on a device, also across restarts of the
        server. `settings` is the line of JSON that `python -m core.worker` reads; it holds the worker's token. One on
        another machine (gpu1/cuda:0) reaches the server through `door`, the path of a Unix socket."""
        admin_only(owner, "attach workers")
        info, token = self._catalogue.plugins.get(plugin), secrets.token_urlsafe(24)
        if info is None:
            raise NotFound(f"there is no plugin {plugin!r}.", field="plugin")
        if info.status != "ready":
            raise Conflict(f"{plugin} is {info.status}.", hint="Attach a worker once the plugin is ready.")
        if info.sandbox:
            raise Conflict(f"{plugin} runs in a sandbox, which a worker that you start yourself has not.")

        def change(tx: Transaction) -> None:
            if tx.one("SELECT plugin FROM workers WHERE plugin = ? AND device = ?", plugin, device):
                text = f"a worker of {plugin} on {device} is attached already."
                raise Conflict(text, hint="Start it again with its settings, or detach it first.")
            row = {"token_sha256": hash_of(token), "plugin": plugin, "device": device, "created": now()}
            tx.insert("workers", row)

        self._store.write(change)
        settings = processes.settings(self._config, self._catalogue, info)
        settings |= {"url": self._pool.url, "token": token, "device": devices.told(device), "detached": True}
        if devices.elsewhere(device):
            settings["door"] = str(sandbox.socket_of(self._config.data))
        return {"settings": settings, "python": str(info.python)}

    def detach(
        self, owner: str, plugin: Name, device: Device, jobs: Literal["elsewhere", "finish", "blame"] = "elsewhere",
        exit_code: int = GONE,
    ) -> Row:  # fmt: skip
        """End an attached worker. Its jobs run elsewhere; or it is to `finish` them first; or its process has died, for
        which one that was alone in it gets the `blame`, as with the server's own workers; `exit_code` says how."""
        admin_only(owner, "detach workers")
        removed = "DELETE FROM workers WHERE plugin = ? AND device = ? RETURNING *"
        row = self._store.write(lambda tx: tx.one(removed, plugin, device))
        if row is None:
            raise NotFound(f"no worker of {plugin} on {device} is attached.")
        if worker := self._pool.workers.get(row["token_sha256"]):
            worker.retired = True  # and the watchdog ends it when it has no job
            if jobs == "elsewhere":
                worker.end()
            elif jobs == "blame":
                worker.process.kill(exit_code)
        return {"plugin": plugin, "device": device}

    def restore(self) -> set[str]:
        """Put those who were at work back into the pool, with their jobs, which are returned: so long as their workers
        may come back they are not queued again."""
        rows, adopted = self._store.all("SELECT * FROM workers"), set()
        if not rows:  # nobody else can be writing
            self._blobs.sweep(self._config.data / "scratch")
        running = "SELECT * FROM jobs WHERE state = 'running' AND cancel IS NULL AND worker = ?"
        for row in rows:
            for job in self._store.all(running, f"{row['plugin']}@{row['device']}"):
                worker = self._pool.workers.get(row["token_sha256"]) or self._add(row)
                try:
                    message = self._pool.message(job)
                except CoreError:  # an input, say, is not there any more
                    continue
                run = Run(job, job["lease"], message, self._pool.concurrency(job), time.monotonic(), 0)
                worker.runs[run.lease], worker.warm = run, job["warmth"]
                adopted.add(job["id"])
        return adopted

    def _add(self, row: Row) -> Worker:
        process = DetachedProcess(lambda: self._disconnect(worker))
        worker = Worker(row["plugin"], row["device"], process, time.monotonic())
        self._pool.workers[row["token_sha256"]] = worker
        return worker

    def _connect(self, sid: str, environ: Row, auth: Any) -> None:
        said = plain.mapping(auth)
        token = str(said.get("token"))
        worker = by_token(self._pool.workers, token)
        if worker is None or worker.process.detached:
            worker = self._admit(hash_of(token), str(said.get("process")))
        worker.sid, worker.connected, worker.heard = sid, True, time.monotonic()

    def _admit(self, key: str, instance: str) -> Worker:
        """The worker whose token has this hash. Raises ConnectionRefusedError."""
        row = self._store.one("SELECT * FROM workers WHERE token_sha256 = ?", key)
        worker = self._pool.workers.get(key)  # also one that was detached, and finishes its jobs
        if worker is None and row is None:
            raise socketio.exceptions.ConnectionRefusedError("no worker has this token")
        if worker is None:
            for other in list(self._pool.workers.values()):
                if (other.plugin, other.device) == (row["plugin"], row["device"]):
                    other.retired = True  # an attached one takes its place
            worker = self._add(row)
        if worker.process.instance not in (None, instance) and not worker.sid and (worker.runs or worker.calls):
            worker.process.kill()  # the one that had them is gone: the watchdog decides what becomes of them
        if worker.process.exit_code() is not None:
            raise socketio.exceptions.ConnectionRefusedError("it was given up, and may come back in a moment")
        if worker.sid and worker.process.instance != instance:
            raise socketio.exceptions.ConnectionRefusedError("another process is connected with this token")
        worker.process.instance = instance
        return worker

    def _disconnect(self, worker: Worker) -> None:
        """Tell a worker to end. One that was silent may have lost its connection only: it may come back."""
        if worker.sid:
            if time.monotonic() - worker.heard < self._config.heartbeat_seconds:
                self._sio.emit("end", to=worker.sid, namespace=NAMESPACE)
            self._sio.disconnect(worker.sid, namespace=NAMESPACE)
