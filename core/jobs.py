"""What a job is, and the durable store: one SQLite file with every job, artifact, session and event.

A change is a function of a Transaction; `Store.write` returns after its commit, then the events go out in order."""

import collections
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ulid import ULID

from core.errors import Conflict, Internal, NotFound

UNFINISHED = ("held", "waiting", "queued", "running")
TERMINAL = ("done", "failed", "cancelled")
PRIORITIES = ("interactive", "normal", "batch")
JSON_COLUMNS = {"params", "inputs", "error", "metrics", "facts", "memorised", "body"}
HIDDEN = {"plugin", "rank", "lease", "seq"}

MIGRATIONS = [
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, plugin TEXT NOT NULL, state TEXT NOT NULL,
        priority TEXT NOT NULL, rank REAL NOT NULL,       -- rank: smaller runs first, inside one priority
        owner TEXT NOT NULL, session TEXT NOT NULL, client_ref TEXT,
        parent TEXT, key TEXT,                            -- child of a program, found again by its key
        params TEXT NOT NULL, inputs TEXT NOT NULL, embed_metadata TEXT NOT NULL,
        created REAL NOT NULL, queued REAL, started REAL, finished REAL,
        attempt INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
        lease TEXT, worker TEXT, cancel TEXT,             -- cancel: 'discard' or 'keep' once asked for
        error TEXT, metrics TEXT, version TEXT
    ) STRICT;
    CREATE UNIQUE INDEX jobs_client_ref ON jobs (owner, client_ref) WHERE client_ref IS NOT NULL;
    CREATE UNIQUE INDEX jobs_key ON jobs (parent, key) WHERE parent IS NOT NULL;
    CREATE INDEX jobs_state ON jobs (state, id);
    CREATE INDEX jobs_session ON jobs (session, id);
    CREATE TABLE artifacts (
        id TEXT PRIMARY KEY, job TEXT, idx INTEGER NOT NULL, kind TEXT NOT NULL,
        sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, mime TEXT NOT NULL,
        name TEXT, owner TEXT NOT NULL, session TEXT NOT NULL,
        review TEXT NOT NULL DEFAULT 'new', facts TEXT NOT NULL, created REAL NOT NULL, UNIQUE (job, idx)
    ) STRICT;
    CREATE INDEX artifacts_session ON artifacts (session, id);
    CREATE TABLE links (parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID;
    CREATE INDEX links_child ON links (child);
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL,
        memorised TEXT NOT NULL DEFAULT '{}', UNIQUE (owner, name)
    ) STRICT;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, job TEXT, session TEXT, owner TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    """,
]
Row = dict[str, Any]
T = TypeVar("T")


def new_id() -> str:
    """A time-ordered, unique id: a ULID in lower case."""
    return str(ULID()).lower()


def wire(row: Row) -> Row:
    """A row as clients see it: without the core's own columns and without what is empty."""
    return {key: value for key, value in row.items() if key not in HIDDEN and value is not None}


def _row(cursor: sqlite3.Cursor, values: tuple) -> Row:
    names = [column[0] for column in cursor.description]
    return {
        name: json.loads(value) if name in JSON_COLUMNS and value is not None else value
        for name, value in zip(names, values, strict=True)
    }


class Transaction:
    """The tables inside one change; its events are numbered with it and sent once it is committed."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self.events: list[Row] = []

    def all(self, sql: str, *args: Any) -> list[Row]:
        return self._db.execute(sql, args).fetchall()

    def one(self, sql: str, *args: Any) -> Row | None:
        return next(iter(self.all(sql, *args)), None)

    def insert(self, table: str, row: Row, conflict: str = "") -> None:
        values = [
            json.dumps(value) if name in JSON_COLUMNS and value is not None else value for name, value in row.items()
        ]
        marks = ", ".join("?" * len(row))
        self._db.execute(f"INSERT {conflict} INTO {table} ({', '.join(row)}) VALUES ({marks})", values)

    def event(
        self, type: str, body: Row, *, job: str | None = None, session: str | None = None, owner: str | None = None
    ) -> None:
        """Number an event; without an owner it is for everyone."""
        row = {"type": type, "job": job, "session": session, "owner": owner, "body": body}
        cursor = self._db.execute(
            "INSERT INTO events (type, job, session, owner, body) VALUES (?, ?, ?, ?, ?)",
            (type, job, session, owner, json.dumps(body)),
        )
        self.events.append(row | {"seq": cursor.lastrowid})

    def add_job(self, row: Row) -> None:
        self.insert("jobs", row)
        self._job_event(row)

    def update_job(self, job: str, states: Iterable[str], **columns: Any) -> Row:
        """Change a job that is in one of `states`, else raise Conflict or NotFound. This guard is what makes
        terminal events happen once: nothing leaves a terminal state but by `retry`, which makes a new job."""
        sets = ", ".join(f"{name} = ?" for name in columns)
        values = [
            json.dumps(value) if name in JSON_COLUMNS and value is not None else value
            for name, value in columns.items()
        ]
        marks = ", ".join("?" * len(tuple(states)))
        row = self.one(f"UPDATE jobs SET {sets} WHERE id = ? AND state IN ({marks}) RETURNING *", *values, job, *states)
        if row is None:
            found = self.one("SELECT state FROM jobs WHERE id = ?", job)
            if found is None:
                raise NotFound(f"there is no job {job}.", job=job)
            raise Conflict(
                f"job {job} is {found['state']}; this is possible only while {' or '.join(states)}.", job=job
            )
        if "state" in columns:
            self._job_event(row)
        return row

    def add_artifact(self, row: Row, parents: Iterable[str]) -> None:
        """Keyed by (job, idx): a retry replaces what an earlier attempt made."""
        self.insert("artifacts", row, "OR REPLACE")
        for parent in parents:
            self.insert("links", {"parent": parent, "child": row["id"]}, "OR IGNORE")
        self.event("artifact", wire(row), job=row["job"], session=row["session"], owner=row["owner"])

    def outputs(self, job: str) -> list[Row]:
        return self.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", job)

    def _job_event(self, row: Row) -> None:
        body = {
            key: row.get(key) for key in ("id", "name", "state", "session", "parent", "client_ref", "attempt", "error")
        }
        if row["state"] in TERMINAL:
            body["outputs"] = [artifact["id"] for artifact in self.outputs(row["id"])]
        self.event(
            "job",
            {key: value for key, value in body.items() if value is not None},
            job=row["id"], session=row["session"], owner=row["owner"],
        )  # fmt: skip


class Store:
    """The SQLite file. One writer that groups the changes which arrive while a commit runs; readers see commits only.

    `run_blocking(function)` runs what may take over a millisecond without stopping the other sockets,
    `publish(event)` receives every event once, in the order of its `seq`."""

    def __init__(
        self,
        path: Path,
        power_safe: bool,
        run_blocking: Callable[..., Any],
        publish: Callable[[Row], None],
    ):
        self._path, self._power_safe, self._run_blocking, self._publish = path, power_safe, run_blocking, publish
        self._lock = threading.Lock()
        self._arrivals: collections.deque[_Change] = collections.deque()
        self._db = self._connect()
        self._migrate()
        self._reader = self._connect()

    def _connect(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            db.row_factory = _row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {'FULL' if self._power_safe else 'NORMAL'}")
            db.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint syncs the disk: `maintain` does it
        except sqlite3.DatabaseError as error:
            raise Internal(
                f"cannot open the queue {self._path}: {error}.",
                hint="Free some disk space, check the folder's permissions, or move the file away to start empty.",
            ) from error
        return db

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()["user_version"]
        if version > len(MIGRATIONS):
            raise Internal(f"{self._path} was written by a newer stable-core (schema {version}). Update this one.")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            self._db.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Run `change` in a transaction; returns its result, or raises what it raised, after the commit."""
        mine = _Change(change)
        self._arrivals.append(mine)
        with self._lock:
            if not mine.finished:
                self._commit([self._arrivals.popleft() for _ in range(len(self._arrivals))])
        if mine.error:
            raise mine.error
        return mine.result

    def _commit(self, group: list["_Change"]) -> None:
        events: list[Row] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for each in group:
                events += each.run(self._db)
            if self._power_safe:
                self._run_blocking(self._db.execute, "COMMIT")
            else:
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            events = []
            for each in group:
                each.error = each.error or Internal(
                    f"the queue could not be written: {error}.", hint="Is the disk full?"
                )
        finally:
            for each in group:
                each.finished = True
        for event in events:
            self._publish(event)

    def all(self, sql: str, *args: Any) -> list[Row]:
        return self._reader.execute(sql, args).fetchall()

    def one(self, sql: str, *args: Any) -> Row | None:
        return next(iter(self.all(sql, *args)), None)

    def job(self, job: str) -> Row:
        """The job with the ids of its outputs; raises NotFound."""
        row = self.one("SELECT * FROM jobs WHERE id = ?", job)
        if row is None:
            raise NotFound(f"there is no job {job}.", job=job)
        outputs = self.all("SELECT id FROM artifacts WHERE job = ? ORDER BY idx", job)
        return row | {"outputs": [artifact["id"] for artifact in outputs]}

    def events_after(self, seq: int, limit: int) -> list[Row]:
        return self.all("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)

    def oldest_event(self) -> int:
        return self.all("SELECT min(seq) AS seq FROM events")[0]["seq"] or 1

    def last_event(self) -> int:
        return self.all("SELECT max(seq) AS seq FROM events")[0]["seq"] or 0

    def quiet(self) -> threading.Lock:
        """While it is held (`with store.quiet():`), nothing is committed or published."""
        return self._lock

    def meta(self, key: str) -> str | None:
        return (self.one("SELECT value FROM meta WHERE key = ?", key) or {}).get("value")

    def maintain(self, events_kept: int) -> None:
        """Drop events older than the newest `events_kept` and move the write-ahead log into the file."""
        self.write(lambda tx: tx.one("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", events_kept))
        self._run_blocking(self._checkpoint)

    def _checkpoint(self) -> None:
        db = self._connect()  # its own connection: nobody waits for it
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        db.close()


class _Change:
    def __init__(self, function: Callable[[Transaction], Any]):
        self.function = function
        self.result: Any = None
        self.error: Exception | None = None
        self.finished = False

    def run(self, db: sqlite3.Connection) -> list[Row]:
        """Apply the change in a savepoint of its own, so that its error is nobody else's; returns its events."""
        transaction = Transaction(db)
        db.execute("SAVEPOINT change")
        try:
            self.result = self.function(transaction)
            db.execute("RELEASE change")
            return transaction.events
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            self.error = error
            db.execute("ROLLBACK TO change")
            db.execute("RELEASE change")
            return []


def now() -> float:
    """Seconds since 1970, as stored."""
    return round(time.time(), 3)
