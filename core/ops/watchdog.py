"""Notices dead, silent and stubborn workers, and decides what becomes of their jobs."""

import contextlib
import shutil
import signal
import time

from core.errors import Cancelled, Conflict, PluginError, Timeout, WorkerDied
from core.jobs import Row, Store, Transaction
from core.library.catalogue import Catalogue, PluginInfo
from core.library.children import until
from core.library.fair import fairly
from core.library.runs import Run, Worker
from core.library.waiting import TIMES, After, wake
from core.ops import devices
from core.ops.config import Config
from core.ops.memory import Memory
from core.scheduler import Scheduler
from core.workers import Pool

START_SECONDS = 120  # a worker that has not connected by then is taken for dead
FAILED_AT_ONCE = 200
DISPATCH_SECONDS = 2
PAUSE_SECONDS = 2  # the server itself was stopped (a laptop asleep, Ctrl-Z) if it did not watch for longer


class Watchdog:
    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler, pool: Pool, memory: Memory
    ):  # fmt: skip
        self._config, self._store, self._catalogue = config, store, catalogue
        self._scheduler, self._pool, self._memory = scheduler, pool, memory
        self._watched_at = self._dispatched_at = time.monotonic()
        self._failed_starts: dict[str, int] = {}  # by plugin
        self._verdicts: dict[str, tuple[bool, bool]] = {}  # by token: was the job alone inside, are all suspects

    def watch(self) -> None:
        """Called several times a second."""
        pause = max(time.monotonic() - self._watched_at - PAUSE_SECONDS, 0)
        self._watched_at = time.monotonic()
        for token, worker in list(self._pool.workers.items()):
            worker.heard += pause  # while we were stopped ourselves, nobody could be heard
            for run in list(worker.runs.values()):
                run.progress_at += pause
                run.failure = run.failure or self._overdue(run)
            if worker.connected:
                self._failed_starts.pop(worker.plugin, None)
            if worker.retired and not (worker.runs or worker.calls or worker.ended_by_us):
                worker.end()
            if self._is_silent(worker):
                worker.ended_by_us |= worker.process.detached  # it may be cut off only: nobody inside is to blame
                worker.process.kill()
            if any(run.failure for run in list(worker.runs.values())):
                worker.process.kill()
            if worker.process.exit_code() is not None:
                self._died(token, worker)
        self._wake()
        self._pool.dispatch({*self._memory.held_back})
        for plugin in self._catalogue.plugins.values():
            if plugin.broken:
                self._fail_queued(plugin)
        if self._watched_at - self._dispatched_at > DISPATCH_SECONDS:  # what failed on a full disk is tried again
            self._dispatched_at = self._watched_at
            self._pool.dispatch({*self._catalogue.plugins})

    def _wake(self) -> None:
        """Programs that wait for a time go on when it has come."""
        after, due = After(), until(time.time())
        if self._store.one("SELECT 1 FROM waits WHERE needs BETWEEN ? AND ? LIMIT 1", TIMES, due):
            self._store.write(lambda tx: wake(tx, after, due))
            self._scheduler.follow_up(after)

    def _fail_queued(self, plugin: PluginInfo) -> None:
        """A plugin that broke while it ran is not waited for. Its jobs can be retried when it is mended."""
        queued = "SELECT id FROM jobs WHERE state = 'queued' AND plugin = ? LIMIT ?"
        for row in fairly(self._store.all(queued, plugin.name, FAILED_AT_ONCE)):
            text = f"{plugin.name} is refused: {plugin.error}"
            error = PluginError(text, job=row["id"], hint="Mend it, then retry the job.").wire()
            self._scheduler.end(row["id"], "failed", states=("queued",), error=error)

    def _overdue(self, run: Run) -> Cancelled | Timeout | None:
        job, moment, limit = run.job["id"], time.monotonic(), self._config.stall_seconds
        if run.kill_at and moment > run.kill_at:
            return Cancelled("the job was cancelled; it did not stop by itself, so its worker was stopped.", job=job)
        if moment - run.progress_at > limit:
            return Timeout(f"no progress for {limit:g} s (stall_seconds).", job=job, hint="Is it stuck? See its log.")
        return None

    def _is_silent(self, worker: Worker) -> bool:
        limit, away = self._config.heartbeat_seconds, self._config.remote_grace_seconds
        if devices.elsewhere(worker.device):
            limit = max(limit, away) if worker.sid else away  # connected, it need not say more often that it is there
        known = worker.connected or worker.process.detached
        return time.monotonic() - worker.heard > (limit if known else max(START_SECONDS, limit))

    def _died(self, token: str, worker: Worker) -> None:
        """Its jobs run again. One that was alone inside is blamed, and fails after `attempts` deaths; several are all
        suspects, and run alone. After we killed the worker for one of them, the others are innocent."""
        worker.ready, code = False, worker.process.exit_code()
        worker.process.kill()  # what it started may still run
        not_back = not worker.connected  # its jobs are from before our start: it may have died with the last server
        killed = worker.ended_by_us or not_back or any(run.failure for run in worker.runs.values())
        for _, answer in list(worker.calls.values()):
            if not answer.done():
                answer.set_exception(WorkerDied(f"the worker ended under the call (exit code {code})."))
        alone = len(worker.runs) == 1 and not worker.calls and not killed
        alone, suspects = self._verdicts.setdefault(token, (alone, not killed))
        for run in list(worker.runs.values()):
            self._after_death(worker, run, alone, suspects)
            del worker.runs[run.lease]  # after it is stored: if the disk is full, the next round goes on here
        del self._pool.workers[token], self._verdicts[token]
        if (
            not worker.connected and not worker.process.detached and not worker.ended_by_us
            and code not in (-signal.SIGTERM, -9)
        ):  # those were sent by somebody else  # fmt: skip
            self._failed_starts[worker.plugin] = self._failed_starts.get(worker.plugin, 0) + 1
            if self._failed_starts[worker.plugin] >= self._config.attempts:
                text = f"its worker ends at the start (exit code {code}); see {worker.process.log}."
                self._pool.refuse(worker.plugin, text)
        self._pool.dispatch({worker.plugin})

    def _after_death(self, worker: Worker, run: Run, alone: bool, suspects: bool) -> None:
        job = run.job["id"]
        row, failure = self._store.job(job), run.failure
        shutil.rmtree(self._config.data / "scratch" / run.lease, ignore_errors=True)
        deaths = row["deaths"] + alone
        if row["cancel"]:
            failure = failure or Cancelled("the job was cancelled.", job=job)
        elif alone and deaths >= self._config.attempts:
            text = f"the job ended its worker {deaths} times (exit code {worker.process.exit_code()})."
            hint = f"See {worker.process.log}. Its parameters and inputs are kept: retry it when that is mended."
            failure = WorkerDied(text, job=job, hint=hint)
        if not failure:
            killed_by_system = alone and worker.process.exit_code() == -signal.SIGKILL  # as when memory runs out
            try:
                return self._scheduler.requeue(job, run.lease, suspects, int(alone), low_memory=killed_by_system)
            except Conflict:  # the job was cancelled a moment ago, or was never started
                failure = Cancelled("the job was cancelled.", job=job)

        def discard(tx: Transaction) -> Row | None:
            cancel = tx.leased(job, run.lease)["cancel"]
            if cancel == "discard":
                tx.remove_artifacts(tx.all("SELECT * FROM artifacts WHERE job = ?", job))
            return {"state": "cancelled"} if cancel else None

        with contextlib.suppress(Conflict):  # it has another lease by now, or none
            state = "cancelled" if isinstance(failure, Cancelled) else "failed"
            self._scheduler.end(job, state, also=discard, error=failure.wire(), deaths=deaths)
