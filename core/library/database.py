"""How rows are kept in SQLite: changes and their events in groups, JSON columns, the migrations in core/migrations."""

import collections
import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Internal
from core.library.fair import Pause

log = logging.getLogger(__name__)
JSON_COLUMNS = {"params", "inputs", "error", "metrics", "facts", "memorised", "memorised_at", "body"}
MIGRATIONS = sorted((Path(__file__).parents[1] / "migrations").glob("*.sql"), key=lambda path: int(path.stem))
HINT = "Free some disk space, check the folder's permissions, or move the file away to start empty."
CHECKED_BYTES = 100_000_000  # a file up to this size (some 200,000 jobs) is checked at the start, in 0.15 s
DROPPED_AT_ONCE = 100  # events, each with maybe 60 kB of facts

Row = dict[str, Any]
Change = Callable[[Any], Any]
Ask = Callable[..., list[Row]]


class Tables:
    """The tables inside one change; its events are numbered with it and sent once it is committed.

    `pause` is called often: a large change does not stop the other sockets."""

    def __init__(self, db: sqlite3.Connection, pause: Pause):
        self._db, self._pause = db, pause
        self.events: list[Row] = []

    def all(self, sql: str, *args: Any) -> list[Row]:
        self._pause()
        return decode(self._db.execute(sql, args))

    def one(self, sql: str, *args: Any) -> Row | None:
        return next(iter(self.all(sql, *args)), None)

    def insert(self, table: str, row: Row, conflict: str = "") -> int:
        self._pause()
        sql = f"INSERT {conflict} INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        return self._db.execute(sql, encode(row)).lastrowid

    def event(self, type: str, body: Row, about: Row) -> None:
        """Number an event for those who follow the job, session or owner of `about`; without an owner, for everyone."""
        row = {key: about.get(key) for key in ("job", "session", "owner")} | {"type": type, "body": body}
        self.events.append(row | {"seq": self.insert("events", row)})


@dataclass(eq=False)
class Arrival:
    """A change that is to be written, then what became of it."""

    change: Change
    done: bool = False
    result: Any = None
    error: Exception | None = None


class Database:
    """The SQLite file. One writer that groups the changes which arrive while a commit runs; readers see commits only.

    `run_blocking(function)` runs what may take over a millisecond without stopping the other sockets,
    `publish(event)` receives every event once, in the order of its `seq`."""

    transaction = Tables

    def __init__(self, path: Path, power_safe: bool, run_blocking: Callable[..., Any], publish: Callable[[Row], None]):
        self._path, self._power_safe, self._run_blocking, self._publish = path, power_safe, run_blocking, publish
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._arrivals: collections.deque[Arrival] = collections.deque()
        self.problem: Internal | None = None  # why nothing could be written when it was last tried
        try:
            self._db, self._reader = open_pair(path, power_safe)
        except (sqlite3.Error, OSError) as error:
            raise Internal(f"cannot use the queue {path}: {error}.", hint=HINT) from error

    def write(self, change: Change) -> Any:
        """Run `change` in a transaction; returns its result, or raises what it raised, after the commit."""
        mine = Arrival(change)
        self._arrivals.append(mine)
        with self._lock:
            if not mine.done:
                self._commit([self._arrivals.popleft() for _ in range(len(self._arrivals))])
        if mine.error:
            raise mine.error
        return mine.result

    def _commit(self, group: list[Arrival]) -> None:
        """Each change in a savepoint of its own, so that its error is nobody else's; one commit for all."""
        results, events, pause, before = [], [], Pause(), self._db.total_changes
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for each in group:
                transaction = self.transaction(self._db, pause)
                self._db.execute("SAVEPOINT change")
                try:
                    results.append((each.change(transaction), None))
                    events += transaction.events
                except Exception as error:
                    if type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError):  # not the fault of the change
                        raise
                    results.append((None, error))
                    self._db.execute("ROLLBACK TO change")
                self._db.execute("RELEASE change")
            self._run_blocking(self._db.execute, "COMMIT") if self._power_safe else self._db.execute("COMMIT")
            if self._db.total_changes > before:  # who looks whether there is something to write proves nothing
                self.problem = None
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.problem = Internal(f"the queue could not be written: {error}.", hint=HINT)
            results, events = [(None, self.problem)] * len(group), []
        for each, (each.result, each.error) in zip(group, results, strict=True):
            each.done = True
        for event in events:
            try:
                self._publish(event)
            except Exception:  # what is committed is not undone by a socket
                log.exception("event %s could not be sent", event["seq"])
            pause()

    def all(self, sql: str, *args: Any) -> list[Row]:
        """What is committed; raises Internal if the file cannot be read."""
        try:
            return self._all(sql, args)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            raise Internal(f"the queue {self._path} could not be read: {error}.", hint=HINT) from error

    def _all(self, sql: str, args: tuple) -> list[Row]:
        """The writer reads faster, as it knows what has changed, so it does while nobody writes."""
        if self._lock.acquire(blocking=False):
            try:
                return decode(self._db.execute(sql, args))
            finally:
                self._lock.release()
        with self._reading:  # a query of another thread would keep its older view for this one, too
            return decode(self._reader.execute(sql, args))

    def one(self, sql: str, *args: Any) -> Row | None:
        return next(iter(self.all(sql, *args)), None)

    def quiet(self) -> threading.Lock:
        """While it is held (`with store.quiet():`), nothing is committed or published."""
        return self._lock

    def maintain(self, events_kept: int) -> None:
        """Drop events older than the newest `events_kept` and move the write-ahead log into the file."""
        pause = Pause()
        old = "SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? ORDER BY seq LIMIT ?"
        while self.write(
            lambda tx: tx.all(f"DELETE FROM events WHERE seq IN ({old}) RETURNING seq", events_kept, DROPPED_AT_ONCE)
        ):
            pause()
        self._run_blocking(checkpoint, self._path, self._power_safe)

    def close(self) -> None:
        self._db.close()
        self._reader.close()


def open_pair(path: Path, power_safe: bool) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A writer, which brings the tables to the newest version, and a reader."""
    with contextlib.ExitStack() as opened:
        writer = opened.enter_context(contextlib.closing(connect(path, power_safe)))
        if path.stat().st_size < CHECKED_BYTES:
            (found,) = writer.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"it is damaged: {found}")
        migrate(writer)
        reader = connect(path, power_safe)
        opened.pop_all()
    return writer, reader


def connect(path: Path, power_safe: bool) -> sqlite3.Connection:
    """Durable against the death of any process; with `power_safe` against a power cut."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if power_safe else 'NORMAL'}")
        db.create_function("has_words", 2, has_words, deterministic=True)
        db.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint syncs the disk: it is done on a schedule
    except sqlite3.Error:
        db.close()
        raise
    return db


def has_words(text: str, words: str) -> bool:
    """For SQL, which knows no case beyond ASCII: whether all `words`, casefolded, are somewhere in `text`."""
    folded = text.casefold()
    return all(word in folded for word in words.split())


@contextlib.contextmanager
def view(path: Path) -> Iterator[Ask]:
    """The queue at one moment, for what takes long in a thread: `ask(sql, *values)` gives rows."""
    with contextlib.closing(connect(path, False)) as db:
        db.execute("BEGIN")
        yield lambda sql, *values: decode(db.execute(sql, values))


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables to the newest version; raises Internal if they are newer than we are."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise Internal(f"the queue was written by a newer stable-core (schema {version}).", hint="Update this one.")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        db.executescript(f"BEGIN; {script.read_text('utf-8')}; PRAGMA user_version = {number}; COMMIT;")


def checkpoint(path: Path, power_safe: bool) -> None:
    """Move the write-ahead log into the file, on a connection of its own: nobody waits for it."""
    db = connect(path, power_safe)
    db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    db.close()


def encode(row: dict[str, Any]) -> list[Any]:
    return [json.dumps(value) if key in JSON_COLUMNS and value is not None else value for key, value in row.items()]


def decode(cursor: sqlite3.Cursor) -> list[Row]:
    """All rows, as dicts."""
    names = [column[0] for column in cursor.description or ()]
    rows = [dict(zip(names, values, strict=True)) for values in cursor]
    for name in JSON_COLUMNS.intersection(names):
        for row in rows:
            if row[name] is not None:
                row[name] = json.loads(row[name])
    return rows
