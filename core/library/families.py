"""Programs and their children: what befalls a program befalls them, too."""

from core.errors import Cancelled, Conflict
from core.jobs import Row, Transaction, now
from core.library.waiting import After, settle

CHILDREN = "SELECT id, state, program, finished FROM jobs WHERE parent = ? AND id > ? ORDER BY id LIMIT 500"


def family(tx: Transaction, job: str, states: tuple[str, ...]) -> list[str]:
    """The children of a job that are in one of `states`, and theirs, the newest first."""
    found, parents = [], [(job, "")]
    while parents:
        parent, after = parents.pop()
        children = tx.all(CHILDREN, parent, after)
        unfinished = [child for child in children if child["finished"] is None]
        found += [child["id"] for child in unfinished if child["state"] in states]
        parents += [(child["id"], "") for child in unfinished if child["program"]]
        if children:
            parents.append((parent, children[-1]["id"]))
    return sorted(found, reverse=True)


def cancel_family(tx: Transaction, after: After, job: str, keep_partial: bool) -> Row:
    row = _cancel(tx, after, job, keep_partial)
    cancel_children(tx, after, job, keep_partial)
    return row


def cancel_children(tx: Transaction, after: After, job: str, keep_partial: bool = False) -> None:
    """The newest first: what waits for another one goes before that does."""
    for child in family(tx, job, ("held", "waiting", "queued", "running")):
        _cancel(tx, after, child, keep_partial)


def _cancel(tx: Transaction, after: After, job: str, keep_partial: bool) -> Row:
    try:
        error = Cancelled("the job was cancelled before it ran.", job=job).wire()
        columns = {"state": "cancelled", "finished": now(), "error": error}
        row = tx.update_job(job, ("held", "waiting", "queued"), **columns)
        settle(tx, after, row)
    except Conflict:
        row = tx.update_job(job, ("running",), cancel="keep" if keep_partial else "discard")
        after.stopped.append(row)
    return row
