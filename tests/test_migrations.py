"""A queue of an older version is taken over whole; tests/data/queue-1.sql is what schema 1 left after a kill -9."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import Internal
from core.jobs import Store
from core.library import database
from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire

OLD = Path(__file__).parent / "data" / "queue-1.sql"
PLUGIN = """
class P(Params):
    text: str = param("hello", help="What to say.")
    seconds: float = param(0, ge=0, help="How long to work.")
    model: str = param("a", help="Model.")

class Old(Plugin):
    @job(affinity="model")
    def say(self, params: P) -> Text:
        return params.text

    @job()
    def twice(self, text: Text) -> Text:
        return text * 2
"""
MIGRATE = """
import sys
from pathlib import Path
from core.library import database

database.MIGRATIONS.append(Path(sys.argv[2]))
db = database.connect(Path(sys.argv[1]), False)
print("migrating", flush=True)
database.migrate(db)
"""


def old_queue(path):
    """A queue of schema 1 at `path`; returns {table: its rows}."""
    db = sqlite3.connect(path)
    db.executescript(OLD.read_text("utf-8"))
    rows = tables(db)
    db.close()
    return rows


def tables(db, columns=None):
    """{table: rows as dicts}, with only the `columns` {table: names} where given."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for name in columns or names:
        cursor = db.execute(f"SELECT {', '.join(columns[name]) if columns else '*'} FROM {name}")
        found[name] = [dict(zip([column[0] for column in cursor.description], row, strict=True)) for row in cursor]
    return found


def test_a_queue_of_schema_1_keeps_every_row(tmp_path):
    before = old_queue(tmp_path / "jobs.db")
    Store(tmp_path / "jobs.db", False, lambda function, *args: function(*args), print).close()
    db = sqlite3.connect(tmp_path / "jobs.db")
    after = tables(db, {table: list(rows[0]) for table, rows in before.items() if rows})
    assert db.execute("PRAGMA user_version").fetchone() == (len(database.MIGRATIONS),)
    db.close()
    for table, rows in after.items():
        assert sorted(rows, key=str) == sorted(before[table], key=str), table


def test_the_jobs_of_a_queue_of_schema_1_are_finished_by_this_version(tmp_path):
    def with_old_queue(folder):
        (folder / "data").mkdir()
        old_queue(folder / "data" / "jobs.db")

    with serve({"old": PLUGIN}, before_start=with_old_queue) as server, Wire(server, since=0) as wire:
        old = {job["id"]: job for job in wire.call("jobs")["jobs"]}
        (held,) = [job["id"] for job in old.values() if job["state"] == "held"]
        assert wire.call("release", {"id": held})["ok"]
        ends = dict(zip(old, wire.ended(*old), strict=True))
        assert sorted(end["state"] for end in ends.values()) == ["cancelled"] * 2 + ["done"] * 10 + ["failed"]
        twice = max(id for id, job in old.items() if job["name"] == "old.twice")  # it waited for one that ran
        assert wire.text(ends[twice]["outputs"][0]) == "runningrunning"


@pytest.mark.parametrize("ending", ["SELECT * FROM nowhere", "INSERT INTO jobs (id) VALUES (NULL)"])
def test_a_migration_that_fails_leaves_the_old_queue_whole(tmp_path, monkeypatch, ending):
    path, script = tmp_path / "jobs.db", tmp_path / "99.sql"
    before = old_queue(path)
    script.write_text(f"DROP TABLE links; CREATE TABLE half (a); {ending};")
    monkeypatch.setattr(database, "MIGRATIONS", [*database.MIGRATIONS[:1], script])
    with pytest.raises(Internal, match="cannot use the queue"):
        Store(path, False, lambda function, *args: function(*args), print)
    assert state_of(path) == (1, before)


def test_a_migration_that_is_killed_leaves_the_old_queue_whole(tmp_path):
    path, script = tmp_path / "jobs.db", tmp_path / "99.sql"
    before = old_queue(path)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    script.write_text(f"DROP TABLE links; CREATE TABLE half (a); INSERT INTO half {endless};")
    command = [sys.executable, "-c", MIGRATE, str(path), str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout.readline() == b"migrating\n"
        log = path.with_name("jobs.db-wal")
        wait_until(lambda: log.exists() and log.stat().st_size > 1_000_000)  # it is in the middle
        child.kill()
    version, after = state_of(path)
    assert version == len(database.MIGRATIONS) and "half" not in after
    assert {table: len(after[table]) for table in before} == {table: len(rows) for table, rows in before.items()}


def state_of(path):
    db = sqlite3.connect(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    found = tables(db)
    db.close()
    return version, found
