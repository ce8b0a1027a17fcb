"""What the server knows of its workers and of the jobs inside them."""

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass, field

from core.errors import CoreError
from core.library.database import Row
from core.ops import devices
from core.ops.processes import DetachedProcess, LocalProcess


@dataclass
class Run:
    """A job inside a worker: its row and lease, what the worker was told, and since when there is no progress."""

    job: Row
    lease: str
    message: Row
    concurrency: int
    progress_at: float
    memory_bytes: int  # of its worker, before
    kill_at: float | None = None  # when to stop waiting for its cancel
    failure: CoreError | None = None  # why its worker was killed


@dataclass
class Worker:
    plugin: str
    device: str
    process: LocalProcess | DetachedProcess
    heard: float
    sid: str | None = None
    ready: bool = False  # connected, and told what it runs
    connected: bool = False  # at least once
    warm: str | None = None
    memory_bytes: int = 0
    used_at: float = 0
    runs: dict[str, Run] = field(default_factory=dict)  # by lease
    calls: dict[str, tuple[Row, Future]] = field(default_factory=dict)  # light ones: message and answer, by lease
    retired: bool = False  # gets no further jobs, and ends when it has none
    ended_by_us: bool = False  # so nobody inside is to blame

    @property
    def full(self) -> bool:
        return self.retired or any(len(self.runs) >= run.concurrency for run in list(self.runs.values()))

    @property
    def ours(self) -> bool:
        """Whether another process takes its place when it has ended: not if somebody has started it by hand."""
        return not self.process.detached or devices.elsewhere(self.device)

    def end(self) -> None:
        """Let it unload and end; nobody inside is to blame. Another one is started when it is gone."""
        self.ended_by_us, self.ready = True, False
        self.process.ask_to_end()


def hash_of(token: str) -> str:
    """What is kept of a detached worker's token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def by_token(workers: dict[str, Worker], token: str) -> Worker | None:
    """The one of the pool that has it: detached ones are kept by its hash."""
    worker = workers.get(token)
    return workers.get(hash_of(token)) if worker is None or worker.process.detached else worker
