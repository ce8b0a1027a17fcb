"""What a job is, and the durable store: one SQLite file with every job, artifact, session and event.

A change is a function of a Transaction; `Store.write` returns after its commit, then the events go out in order.
How that is done with SQLite is in core/library/database.py, the tables are in core/migrations."""

import time
from collections.abc import Iterable
from typing import Any, Literal, get_args

from ulid import ULID

from core.errors import Conflict, NotFound
from core.library.database import Database, Row, Tables, encode

State = Literal["held", "waiting", "queued", "running", "done", "failed", "cancelled"]
TERMINAL: tuple[State, ...] = ("done", "failed", "cancelled")
Priority = Literal["interactive", "normal", "batch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
OWN_COLUMNS = "plugin class rank aged warmth lease deaths alone program low_memory reuse digest".split()


def new_id() -> str:
    """A time-ordered, unique id: a ULID in lower case."""
    return str(ULID()).lower()


def now() -> float:
    """Seconds since 1970, as stored."""
    return round(time.time(), 3)


def wire(row: Row) -> Row:
    """A row as clients see it: without the core's own columns and without what is empty."""
    return {key: value for key, value in row.items() if key not in OWN_COLUMNS and value is not None}


class Transaction(Tables):
    """Jobs and artifacts inside one change."""

    def add_job(self, row: Row) -> None:
        self.insert("jobs", row)
        self._job_event(row)

    def update_job(self, job: str, states: Iterable[str], **columns: Any) -> Row:
        """Change a job that is in one of `states`, else raise Conflict or NotFound. This guard is why terminal
        events happen once: nothing leaves a terminal state."""
        marks = ", ".join("?" * len(tuple(states)))
        sql = f"UPDATE jobs SET {' = ?, '.join(columns)} = ? WHERE id = ? AND state IN ({marks}) RETURNING *"
        row = self.one(sql, *encode(columns), job, *states)
        if row is None:
            found = self.one("SELECT state FROM jobs WHERE id = ?", job)
            if found is None:
                raise NotFound(f"there is no job {job}.", job=job)
            raise Conflict(f"job {job} is {found['state']}; this is possible while {' or '.join(states)}.", job=job)
        if "state" in columns:
            self._job_event(row)
        return row

    def _job_event(self, row: Row) -> None:
        keys = ("id", "name", "state", "session", "parent", "client_ref", "attempt", "error")
        body = {key: row[key] for key in keys if row.get(key) is not None}
        if row["state"] in TERMINAL:
            found = self.all("SELECT id FROM artifacts WHERE job = ? ORDER BY idx", row["id"])
            body["outputs"] = [artifact["id"] for artifact in found]
        self.event("job", body, row | {"job": row["id"]})

    def add_session(self, session: str, owner: str) -> None:
        """Whatever is submitted or uploaded into a session opens it."""
        row = {"id": session, "owner": owner, "name": session, "created": now()}
        self.insert("sessions", row, "OR IGNORE")

    def leased(self, job: str, lease: str) -> Row:
        """The running job while the lease is valid; raises Conflict after that."""
        row = self.one("SELECT * FROM jobs WHERE id = ? AND lease = ?", job, lease)
        if row is None:
            raise Conflict(f"the lease {lease} is not valid any more.", job=job)
        return row

    def remove_artifacts(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.all("DELETE FROM artifacts WHERE id = ?", row["id"])
            self.all("DELETE FROM links WHERE parent = ?1 OR child = ?1", row["id"])
            self.event("artifact", wire(row) | {"deleted": True}, row)

    def add_artifact(self, row: Row, parents: Iterable[str]) -> None:
        """Keyed by (job, idx): a retry replaces what an earlier attempt made, and the same again changes nothing."""
        if self.one("SELECT id FROM artifacts WHERE id = ? AND sha256 = ?", row["id"], row["sha256"]):
            return
        self.insert("artifacts", row, "OR REPLACE")
        for parent in parents:
            self.insert("links", {"parent": parent, "child": row["id"]}, "OR IGNORE")
        self.event("artifact", wire(row), row)


class Store(Database):
    """All that is known, durable. See Database for how it is written and read."""

    transaction = Transaction

    def job(self, job: str, owner: str | None = None) -> Row:
        """Raises NotFound, also if it belongs to somebody else than `owner`."""
        row = self.one("SELECT * FROM jobs WHERE id = ?", job)
        if row is None or owner not in (None, row["owner"]):
            raise NotFound(f"there is no job {job[:100]}.", job=job[:100])
        return row

    def outputs(self, job: str) -> list[Row]:
        return self.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", job)
