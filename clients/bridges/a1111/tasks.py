"""Which jobs a request became, by A1111's id of it: what /internal/progress asks for."""

from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from clients.python import AsyncClient, AsyncJob

KEPT = 1000  # of each client, the newest

_tasks: WeakKeyDictionary[AsyncClient, OrderedDict[str, list[AsyncJob]]] = WeakKeyDictionary()


def remember(client: AsyncClient, task: str, jobs: Sequence[AsyncJob]) -> None:
    tasks = _tasks.setdefault(client, OrderedDict())
    tasks[task] = [*jobs]
    tasks.move_to_end(task)
    while len(tasks) > KEPT:
        tasks.popitem(last=False)


def jobs(client: AsyncClient, task: str) -> list[AsyncJob]:
    """Empty if there is no such task, or it was too long ago."""
    return _tasks.get(client, {}).get(task, [])


def beside(client: AsyncClient, job: str) -> list[AsyncJob]:
    """All jobs of the call that this one belongs to; empty if it is not known which call that was."""
    return jobs(client, named(client, job))


def named(client: AsyncClient, job: str) -> str:
    """A1111's id of the call that a job belongs to, else the job's own."""
    calls = _tasks.get(client, {})
    return next((task for task in reversed(calls) if any(each.id == job for each in calls[task])), job)
