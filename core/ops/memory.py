"""Keeps the jobs on a device within its memory, by what the last jobs of each name took."""

import logging
import math
import time
from collections.abc import Callable

from core.jobs import Row, Store, Transaction
from core.library.catalogue import Catalogue
from core.library.children import SIDE
from core.library.results import Outcome
from core.library.runs import Run, Worker
from core.ops import devices
from core.ops.config import Config

SMALL = 64_000_000  # bytes that are not worth a look
STAGE_SECONDS = 60  # so long a job waits for the queue of a worker in its way; chains run stage by stage
LEFT_OVER = 256_000_000  # bytes that a worker may keep after it ran out of memory
log = logging.getLogger(__name__)


class Memory:
    """`room` is asked before a job is handed out, `after` when it has ended."""

    def __init__(self, config: Config, store: Store, catalogue: Catalogue):
        self._config, self._store, self._catalogue = config, store, catalogue
        self._peaks = {(row["job"], row["device"]): row["size_bytes"] for row in store.all("SELECT * FROM peaks")}
        self.held_back: set[str] = set()  # plugins with a job for which there was no room; they are looked at again
        self.elsewhere: Callable[[str], int | None] = lambda device: None  # free bytes of a device on another machine

    def room(self, row: Row, device: str, worker: Worker | None, workers: dict[str, Worker]) -> bool:
        """Whether `row` may run now, on `worker` or on a new one. If not, idle workers are ended, the oldest first; if
        there is nothing else on the device, it has to try."""
        known = self._catalogue.jobs.get(row["name"])
        need = self._peaks.get((row["name"], device), known.about["memory"] if known else 0)
        more = need - (worker.memory_bytes if worker else 0)
        theirs = worker is not None and not worker.ours  # whoever has started it knows its machine
        if more < SMALL or device == SIDE or theirs or more <= self._free(device):
            self.held_back.discard(row["plugin"])
            return True
        memory, ours = devices.shared(device), [each for each in list(workers.values()) if each.ours]
        others = [each for each in ours if devices.shared(each.device) == memory and each is not worker]
        self.held_back.add(row["plugin"])
        if any(each.ended_by_us for each in others):
            return False  # one is on its way out: what it leaves is seen when it is gone
        idle = [each for each in others if not each.runs and not each.calls and each.ready]
        patient = time.time() - row["queued"] < STAGE_SECONDS
        in_the_way = [each for each in idle if not (patient and self._goes_on(each.plugin))]
        if in_the_way:
            oldest = min(in_the_way, key=lambda each: each.used_at)
            log.warning("%s ends, to make room on %s for %s", oldest.plugin, device, row["name"])
            oldest.end()
        elif not others and not (worker and worker.runs):
            self.held_back.discard(row["plugin"])
            return True
        return False

    def _free(self, device: str) -> float:
        free = self.elsewhere(device) if devices.elsewhere(device) else self._here(device)
        return math.inf if free is None else free - self._config.reserve_bytes

    def _here(self, device: str) -> int | None:
        return devices.memory(device, self._config.torch_backend)[0]

    def _goes_on(self, plugin: str) -> bool:
        """Whether a plugin has jobs to run now."""
        queued = "SELECT id FROM jobs WHERE state = 'queued' AND plugin = ? AND program = 0 LIMIT 1"
        return plugin not in self.held_back and self._store.one(queued, plugin) is not None

    def after(self, worker: Worker, run: Run, said: Outcome) -> bool:
        """Learn from a job's end. Returns whether it ran out of memory for the first time, so that it is to run again,
        alone and in the plugin's low-memory mode."""
        peak = int(said.metrics.get("peak_bytes") or 0)
        key = (run.job["name"], worker.device)
        new = key not in self._peaks or abs(peak - self._peaks[key]) > SMALL
        if peak and new and said.state == "done":
            self._peaks[key] = peak
            self._store.write(lambda tx: self._keep(tx, *key, peak))
        if not said.error or said.error.get("code") != "out_of_memory":
            return False
        grown = worker.memory_bytes - run.memory_bytes
        if grown > LEFT_OVER and len(worker.runs) == 1 and worker.ours:
            worker.end()  # it does not give back what it took
        return not run.job["low_memory"]

    def _keep(self, tx: Transaction, job: str, device: str, size: int) -> None:
        tx.insert("peaks", {"job": job, "device": device, "size_bytes": size}, "OR REPLACE")
