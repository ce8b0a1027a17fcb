"""Where a new job stands in its queue: owners take turns, and the jobs of each one run oldest first."""

from core.jobs import PRIORITIES, Priority, Transaction
from core.library.catalogue import JobType


def rank_of_new(tx: Transaction, owner: str, job: JobType, priority: Priority) -> float:
    """After the owner's last job and after the one in front; with an empty queue, after whoever came furthest."""
    plugin = job.plugin.name
    mine = tx.one("SELECT rank FROM lanes WHERE owner = ? AND plugin = ? AND priority = ?", owner, plugin, priority)
    first = edge(tx, plugin, job.about["program"], PRIORITIES.index(priority))
    furthest = "SELECT coalesce(max(rank), 0) AS rank FROM lanes WHERE plugin = ? AND priority = ?"
    clock = first if first is not None else tx.all(furthest, plugin, priority)[0]["rank"]
    return max(clock, mine["rank"] if mine else 0) + 1


def edge(tx: Transaction, plugin: str, program: int, class_: int, last: bool = False) -> float | None:
    """The rank of the first, or the last, job that is queued in a class; None if there is none."""
    queued = "SELECT rank FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ? AND class = ?"
    row = tx.one(f"{queued} ORDER BY rank {'DESC' if last else ''} LIMIT 1", plugin, program, class_)
    return row and row["rank"]
