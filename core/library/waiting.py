"""What a job waits for: other jobs, a person's look at their results (review gates), and, of a program, a time.

The table `waits` holds the ids of both, and the times. A job goes on when every such job is done, every such artifact
reviewed, and every such time over."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.errors import CoreError, DependencyFailed, NotFound
from core.jobs import Row, Transaction, now
from core.library.database import Ask
from core.library.inputs import failed, gate, look_up

BLOCKED = """SELECT needs FROM waits LEFT JOIN artifacts ON artifacts.id = needs
    WHERE waits.job = ? AND coalesce(review, 'new') = 'new' LIMIT 1"""
TIMES = "until "  # as core.library.children writes them
TOLD = 100  # entries of `waits_for`


@dataclass
class After:
    """What is to be done once a change is committed."""

    plugins: set[str] = field(default_factory=set)  # with jobs that may run now
    stopped: list[Row] = field(default_factory=list)  # running jobs that were cancelled
    parents: set[str | None] = field(default_factory=set)  # programs of which a child has ended


def settle(tx: Transaction, after: After, *ended: Row, reviewed: Iterable[str] = ()) -> None:
    """Those that waited for jobs that have `ended` or for `reviewed` artifacts: queued if nothing else is missing,
    failed if it cannot come any more, and so on down.

    A program that waits goes on when its children have ended, whichever way."""
    rows = list(ended)
    after.plugins |= {row["plugin"] for row in ended}
    for job in dict.fromkeys(
        each["job"] for id in reviewed for each in tx.all("SELECT job FROM waits WHERE needs = ?", id)
    ):
        rows += _go_on(tx, job, None, after)
    while rows:
        row = rows.pop()
        after.parents.add(row["parent"])
        for job in [each["job"] for each in tx.all("DELETE FROM waits WHERE needs = ? RETURNING job", row["id"])]:
            if row["state"] == "done" or row["parent"] == job:
                rows += _go_on(tx, job, row["id"], after)
            else:
                rows.append(_fail(tx, job, failed(row["id"], row["state"])))


def wake(tx: Transaction, after: After, due: str) -> None:
    """Let programs go on that waited for times up to `due`."""
    for each in tx.all("DELETE FROM waits WHERE needs BETWEEN ? AND ? RETURNING job", TIMES, due):
        _go_on(tx, each["job"], None, after)


def _go_on(tx: Transaction, id: str, source: str | None, after: After) -> list[Row]:
    """Let a job run if nothing is missing any more, now that `source` is done; returns it if it has failed instead."""
    job = tx.all("SELECT state, inputs FROM jobs WHERE id = ?", id)[0]
    gated = gate(tx, job["inputs"], source)
    for artifact in (source and gated) or ():
        tx.insert("waits", {"job": id, "needs": artifact}, "OR IGNORE")
    if tx.one(BLOCKED, id):
        return []
    if gated is not None:
        try:
            look_up(tx, job["inputs"])
        except (DependencyFailed, NotFound) as error:
            return [_fail(tx, id, error)]
    if job["state"] == "waiting":
        after.plugins.add(_queue(tx, id, "waiting")["plugin"])
    return []


def _queue(tx: Transaction, job: str, state: str) -> Row:
    tx.all("DELETE FROM waits WHERE job = ?", job)
    return tx.update_job(job, (state,), state="queued", queued=now())


def _fail(tx: Transaction, job: str, error: CoreError) -> Row:
    return tx.update_job(job, ("waiting", "held"), state="failed", finished=now(), error=error.wire())


def release(tx: Transaction, job: str) -> Row:
    """A held job goes on waiting, or is queued if nothing is missing."""
    if tx.one(BLOCKED, job):
        return tx.update_job(job, ("held",), state="waiting", queued=now())
    return _queue(tx, job, "held")


def waits_for(ask: Ask, row: Row) -> list[Row]:
    """What keeps a held or waiting job from running, for its record."""
    sql = """SELECT needs, state, review FROM waits LEFT JOIN jobs ON jobs.id = needs
        LEFT JOIN artifacts ON artifacts.id = needs WHERE waits.job = ? AND coalesce(review, 'new') = 'new' LIMIT ?"""
    waits: list[Row] = [{"person": "release"}] if row["state"] == "held" else []
    for each in ask(sql, row["id"], TOLD):
        need = each["needs"]
        if need.startswith(TIMES):
            waits.append({"until": float(need.removeprefix(TIMES))})
        else:
            waits.append(
                {"artifact": need, "review": "new"} if each["review"] else {"job": need, "state": each["state"]}
            )
    return waits
