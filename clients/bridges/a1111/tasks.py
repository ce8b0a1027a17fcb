"""Which jobs a request became, by A1111's id of it: what /internal/progress asks for."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from clients.python import AsyncClient, AsyncJob

KEPT = 1000  # of each client, the newest


@dataclass
class Calls:
    """Of one client: the ids of the jobs by A1111's id, and the other way round."""

    jobs: OrderedDict[str, list[str]] = field(default_factory=OrderedDict)
    tasks: dict[str, str] = field(default_factory=dict)

    def forget(self, task: str) -> None:
        for job in self.jobs.pop(task, ()):
            del self.tasks[job]


_calls: WeakKeyDictionary[AsyncClient, Calls] = WeakKeyDictionary()


def remember(client: AsyncClient, task: str, jobs: Sequence[AsyncJob]) -> None:
    calls = _calls.setdefault(client, Calls())
    calls.forget(task)  # apps may use one id again and again
    calls.jobs[task] = [job.id for job in jobs]
    calls.tasks |= dict.fromkeys(calls.jobs[task], task)
    if len(calls.jobs) > KEPT:
        calls.forget(next(iter(calls.jobs)))


def jobs(client: AsyncClient, task: str) -> list[str]:
    """Their ids; empty if there is no such task, or it was too long ago."""
    return _calls[client].jobs.get(task, []) if client in _calls else []


def beside(client: AsyncClient, job: str) -> list[str]:
    """All jobs of the call that this one belongs to; the job alone if it is not known which call that was."""
    return jobs(client, named(client, job)) or [job]


def named(client: AsyncClient, job: str) -> str:
    """A1111's id of the call that a job belongs to, else the job's own."""
    return _calls[client].tasks.get(job, job) if client in _calls else job
