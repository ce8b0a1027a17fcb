"""What a job is, and the durable store: one SQLite file with every job, artifact, session and event.

A change is a function of a Transaction; `Store.write` returns after its commit, then the events go out in order.
The tables are in core/migrations/1.sql."""

import collections
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, get_args

from ulid import ULID

from core.errors import Conflict, Internal, NotFound
from core.library import database

State = Literal["held", "waiting", "queued", "running", "done", "failed", "cancelled"]
TERMINAL: tuple[State, ...] = ("done", "failed", "cancelled")
Priority = Literal["interactive", "normal", "batch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
HIDDEN = {"plugin", "class", "rank", "aged", "warmth", "lease", "deaths", "alone"}  # the core's own columns
Row = dict[str, Any]


def new_id() -> str:
    """A time-ordered, unique id: a ULID in lower case."""
    return str(ULID()).lower()


def now() -> float:
    """Seconds since 1970, as stored."""
    return round(time.time(), 3)


def wire(row: Row) -> Row:
    """A row as clients see it: without the core's own columns and without what is empty."""
    return {key: value for key, value in row.items() if key not in HIDDEN and value is not None}


class Transaction:
    """The tables inside one change; its events are numbered with it and sent once it is committed."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self.events: list[Row] = []

    def all(self, sql: str, *args: Any) -> list[Row]:
        return self._db.execute(sql, args).fetchall()

    def one(self, sql: str, *args: Any) -> Row | None:
        return next(iter(self.all(sql, *args)), None)

    def insert(self, table: str, row: Row, conflict: str = "") -> int:
        sql = f"INSERT {conflict} INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        return self._db.execute(sql, database.encode(row)).lastrowid

    def event(self, type: str, body: Row, about: Row) -> None:
        """Number an event for those who follow the job, session or owner of `about`; without an owner, for everyone."""
        row = {key: about.get(key) for key in ("job", "session", "owner")} | {"type": type, "body": body}
        self.events.append(row | {"seq": self.insert("events", row)})

    def add_job(self, row: Row) -> None:
        self.insert("jobs", row)
        self._job_event(row)

    def update_job(self, job: str, states: Iterable[str], **columns: Any) -> Row:
        """Change a job that is in one of `states`, else raise Conflict or NotFound. This guard is why terminal
        events happen once: nothing leaves a terminal state."""
        marks = ", ".join("?" * len(tuple(states)))
        sql = f"UPDATE jobs SET {' = ?, '.join(columns)} = ? WHERE id = ? AND state IN ({marks}) RETURNING *"
        row = self.one(sql, *database.encode(columns), job, *states)
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

    def add_artifact(self, row: Row, parents: Iterable[str]) -> None:
        """Keyed by (job, idx): a retry replaces what an earlier attempt made, and the same again changes nothing."""
        if self.one("SELECT id FROM artifacts WHERE id = ? AND sha256 = ?", row["id"], row["sha256"]):
            return
        self.insert("artifacts", row, "OR REPLACE")
        for parent in parents:
            self.insert("links", {"parent": parent, "child": row["id"]}, "OR IGNORE")
        self.event("artifact", wire(row), row)


class Store:
    """The SQLite file. One writer that groups the changes which arrive while a commit runs; readers see commits only.

    `run_blocking(function)` runs what may take over a millisecond without stopping the other sockets,
    `publish(event)` receives every event once, in the order of its `seq`."""

    def __init__(self, path: Path, power_safe: bool, run_blocking: Callable[..., Any], publish: Callable[[Row], None]):
        self._path, self._power_safe, self._run_blocking, self._publish = path, power_safe, run_blocking, publish
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._arrivals: collections.deque[tuple[Callable[[Transaction], Any], Future]] = collections.deque()
        try:
            self._db, self._reader = database.open_pair(path, power_safe)
        except (sqlite3.Error, OSError) as error:
            hint = "Free some disk space, check the folder's permissions, or move the file away to start empty."
            raise Internal(f"cannot use the queue {path}: {error}.", hint=hint) from error

    def write(self, change: Callable[[Transaction], Any]) -> Any:
        """Run `change` in a transaction; returns its result, or raises what it raised, after the commit."""
        outcome: Future = Future()
        self._arrivals.append((change, outcome))
        with self._lock:
            if not outcome.done():
                self._commit([self._arrivals.popleft() for _ in range(len(self._arrivals))])
        return outcome.result()

    def _commit(self, group: list[tuple[Callable[[Transaction], Any], Future]]) -> None:
        """Each change in a savepoint of its own, so that its error is nobody else's; one commit for all."""
        results, events = [], []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for change, _ in group:
                transaction = Transaction(self._db)
                self._db.execute("SAVEPOINT change")
                try:
                    results.append((change(transaction), None))
                    events += transaction.events
                except sqlite3.OperationalError:
                    raise
                except Exception as error:
                    results.append((None, error))
                    self._db.execute("ROLLBACK TO change")
                self._db.execute("RELEASE change")
            self._run_blocking(self._db.execute, "COMMIT") if self._power_safe else self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            failure = Internal(f"the queue could not be written: {error}.", hint="Is the disk full?")
            results, events = [(None, failure)] * len(group), []
        for event in events:
            self._publish(event)
        for (_, outcome), (result, error) in zip(group, results, strict=True):
            outcome.set_exception(error) if error else outcome.set_result(result)

    def all(self, sql: str, *args: Any) -> list[Row]:
        with self._reading:  # a query of another thread would keep its older view for this one, too
            return self._reader.execute(sql, args).fetchall()

    def one(self, sql: str, *args: Any) -> Row | None:
        return next(iter(self.all(sql, *args)), None)

    def job(self, job: str, owner: str | None = None) -> Row:
        """Raises NotFound, also if it belongs to somebody else than `owner`."""
        row = self.one("SELECT * FROM jobs WHERE id = ?", job)
        if row is None or owner not in (None, row["owner"]):
            raise NotFound(f"there is no job {job[:100]}.", job=job[:100])
        return row

    def outputs(self, job: str) -> list[Row]:
        return self.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", job)

    def quiet(self) -> threading.Lock:
        """While it is held (`with store.quiet():`), nothing is committed or published."""
        return self._lock

    def maintain(self, events_kept: int) -> None:
        """Drop events older than the newest `events_kept` and move the write-ahead log into the file."""
        self.write(lambda tx: tx.all("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", events_kept))
        self._run_blocking(database.checkpoint, self._path, self._power_safe)

    def close(self) -> None:
        self._db.close()
        self._reader.close()
