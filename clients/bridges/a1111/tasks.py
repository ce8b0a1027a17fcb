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
