"""What computes: devices with their memory and workers, here and on other machines, told to people. A handler, bound by
the API, and the event `devices`."""

import json
from collections.abc import Callable
from typing import Any

import socketio

from core.api import EVERYONE, Handler
from core.auth import OWNER
from core.jobs import Row, Store
from core.library.catalogue import Catalogue
from core.library.children import SIDE
from core.library.runs import Worker
from core.ops import devices
from core.ops.config import Config
from core.ops.detached import Detached
from core.ops.memory import Memory
from core.ops.remotes import Remotes
from core.remote import spending
from core.remote.records import Remote, State
from core.workers import Pool

MOST_QUEUED = 1000  # of each plugin are counted


class Machines:
    """`handlers` are bound by the API; `look` is called twice a second. `token` is the admin's."""

    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, pool: Pool, memory: Memory, detached: Detached,
        sio: socketio.Server, token: str, run_blocking: Callable[..., Any],
    ):  # fmt: skip
        self._config, self._store, self._catalogue, self._pool = config, store, catalogue, pool
        self._sio, self._run_blocking = sio, run_blocking
        self._remotes = remotes = Remotes(config, store, pool, memory, detached, sio, token, run_blocking)
        self.stop = remotes.stop
        self._told: tuple[Row, list[str]] = {}, []
        self.handlers: list[Handler] = [self.devices, *remotes.handlers]

    def devices(self, owner: str) -> Row:
        """The devices that jobs run on, with their memory and workers; the other machines that are known, and how they
        are; how many jobs of each plugin are queued, counted up to 1,000."""
        workers = self._workers()
        told = [
            {"name": name, "where": devices.machine_of(name) or "here", "state": self._state(name, workers.get(name))}
            | self._run_blocking(self._memory, name)
            | {"workers": [about_worker(worker, owner) for worker in workers.get(name, [])]}
            for name in self._names(workers)
        ]
        remotes = [_about(*each, owner) for each in self._remotes.known()]
        return {"devices": told, "remotes": remotes, "queued": self._queued()}

    def look(self) -> None:
        """Keep the connections to other machines, and tell everybody when a device or a worker has come, gone, or is in
        another state."""
        self._remotes.look()
        workers = self._workers()
        named = [{"name": name, "state": self._state(name, workers.get(name))} for name in self._names(workers)]
        known = self._remotes.known()
        remotes = [{"name": name, "state": state.state} for name, _, state in known]
        told = {"devices": named, "remotes": remotes, "workers": sum(map(len, workers.values()))}
        now = told, [state.step for *_, state in known]  # which is for the admin, who asks for it
        if now != self._told:
            self._told = now
            self._sio.emit("devices", told, to=EVERYONE)

    def _workers(self) -> dict[str, list[Worker]]:
        """By device."""
        found: dict[str, list[Worker]] = {}
        for worker in list(self._pool.workers.values()):
            found.setdefault(worker.device, []).append(worker)
        return found

    def _names(self, workers: dict[str, list[Worker]]) -> list[str]:
        here = [name for name in workers if not devices.elsewhere(name)]
        known = [*self._pool.devices, *here, *self._remotes.devices(), *workers]
        return [*dict.fromkeys(name for name in known if name != SIDE), *([SIDE] if SIDE in workers else [])]

    def _state(self, name: str, workers: list[Worker] | None) -> str:
        if devices.elsewhere(name) and not self._remotes.is_connected(devices.machine_of(name)):
            return "away"
        ready = any(worker.ready for worker in workers or ())
        return "ready" if ready else "starting" if workers else "idle"

    def _memory(self, name: str) -> Row:
        if devices.elsewhere(name):
            return self._remotes.about(name)
        if name == SIDE:
            return {"title": "programs and light jobs", "free_bytes": None, "total_bytes": None}
        return devices.about(name, self._config.torch_backend)

    def _queued(self) -> Row:
        lane = "SELECT 1 FROM jobs WHERE state = 'queued' AND plugin = ? AND program = 0 LIMIT ?"
        count = f"SELECT count(*) AS jobs FROM ({lane})"
        found = {name: self._store.all(count, name, MOST_QUEUED)[0]["jobs"] for name in [*self._catalogue.plugins]}
        return {name: jobs for name, jobs in found.items() if jobs}


def _about(name: str, record: Remote | None, state: State, owner: str) -> Row:
    """What `owner` may know of a machine: only the admin is told where it is and what it costs. The Ray cluster has no
    record."""
    told = {"name": name, "state": state.state, "since": state.since, "seen": state.seen}
    told |= {"plugins": record.plugins, "on": record.on, "rule": record.rule.model_dump()} if record else {}
    if owner != OWNER:
        return told
    told |= {"step": state.step, "round_trip_seconds": state.round_trip_seconds}
    told |= {"error": state.error} if state.error else {}
    if not record:
        return told
    told |= {"address": f"{record.user}@{record.host}:{record.port}", "idle_minutes": record.idle_minutes}
    if rented := record.rented:
        told["rented"] = rented.model_dump() | {"spent": round(spending.spent(rented), 4)}
    return told


def about_worker(worker: Worker, owner: str) -> Row:
    """What `owner` may know of it: only the admin is told of the work of others."""
    about = {key: getattr(worker, key) for key in ("plugin", "device", "ready", "memory_bytes")}
    about["detached"] = worker.process.detached
    jobs = [run.job for run in list(worker.runs.values())]
    if owner != OWNER:
        return about | {"jobs": [job["id"] for job in jobs if job["owner"] == owner]}
    about |= {"jobs": [job["id"] for job in jobs], "warm": json.loads(worker.warm or "null")}
    return about | ({"pid": worker.process.pid} if worker.process.pid else {})
