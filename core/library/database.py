"""How rows are kept in SQLite: connections, JSON columns, the migrations in core/migrations."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from core.errors import Internal

JSON_COLUMNS = {"params", "inputs", "error", "metrics", "facts", "memorised", "body"}
MIGRATIONS = sorted((Path(__file__).parents[1] / "migrations").glob("*.sql"), key=lambda path: int(path.stem))


def open_pair(path: Path, power_safe: bool) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A writer, which brings the tables to the newest version, and a reader."""
    with contextlib.ExitStack() as opened:
        writer = opened.enter_context(contextlib.closing(connect(path, power_safe)))
        migrate(writer)
        reader = connect(path, power_safe)
        opened.pop_all()
    return writer, reader


def connect(path: Path, power_safe: bool) -> sqlite3.Connection:
    """Rows come as dicts. Durable against the death of any process; with `power_safe` against a power cut."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = _decode
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if power_safe else 'NORMAL'}")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint syncs the disk: it is done on a schedule
    except sqlite3.Error:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables to the newest version; raises Internal if they are newer than we are."""
    version = db.execute("PRAGMA user_version").fetchone()["user_version"]
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


def _decode(cursor: sqlite3.Cursor, values: tuple) -> dict[str, Any]:
    row = {column[0]: value for column, value in zip(cursor.description, values, strict=True)}
    return row | {key: json.loads(row[key]) for key in JSON_COLUMNS & row.keys() if row[key] is not None}
