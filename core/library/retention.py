"""What is deleted: what a person deletes, what is over the retention settings, and bytes that nothing refers to.

Rows go first, then bytes; whatever a crash leaves in between is swept later. What takes long is looked up in a thread
on a connection of its own; the short change that follows looks again at what may have happened since."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from ulid import ULID

from core.api import Handler, Name
from core.artifacts import Blobs
from core.errors import Conflict
from core.jobs import Row, Store, Transaction
from core.library.database import Ask, view
from core.library.review import Review, owned
from core.ops.config import Config

GRACE_SECONDS = 3600  # younger artifacts are kept, as are bytes: somebody may be about to refer to them
PLAN_SECONDS = 60  # between two looks when nothing is over
PLANNED, BATCH = 500, 25  # rows chosen by one look, and deleted in one transaction
AWAKE_SECONDS = 600  # before the first sweep: until then workers may still tell what they wrote before
PAUSE_SECONDS = 60  # a server that did not maintain for longer was stopped (a laptop asleep)
FOLDERS = [f"{number:02x}" for number in range(256)]

TAKEN = """SELECT coalesce(sum(size), 0) AS size FROM (
    SELECT max(size_bytes) AS size FROM artifacts GROUP BY sha256
)"""
UNFINISHED = "('held', 'waiting', 'queued', 'running')"
# Every text inside the inputs of unfinished jobs, and in what programs have recorded: ids of artifacts, and of jobs
# whose outputs they take.
NEEDED = f"""SELECT tree.atom AS id, jobs.id AS job FROM jobs, json_tree(jobs.inputs) AS tree
    WHERE jobs.state IN {UNFINISHED} AND tree.type = 'text'"""
NEEDED_SINCE = NEEDED.replace("WHERE", "WHERE jobs.rowid > ? AND")
NEEDED += f""" UNION ALL SELECT tree.atom, jobs.id FROM jobs JOIN recorded ON recorded.job = jobs.id,
    json_tree(recorded.value) AS tree WHERE jobs.state IN {UNFINISHED} AND jobs.program AND tree.type = 'text'"""
# A job that has not ended, or whose program has not: that will come back for its results.
AT_WORK = """SELECT 1 FROM jobs LEFT JOIN jobs AS program ON program.id = jobs.parent WHERE jobs.id = {job}
    AND (jobs.finished IS NULL OR (program.id IS NOT NULL AND program.finished IS NULL))"""
OVER = f"""WITH RECURSIVE
    needed(id) AS (SELECT id FROM ({NEEDED})),
    picked(id) AS (
        SELECT id FROM artifacts WHERE review = 'picked' UNION
        SELECT parent FROM picked JOIN links ON links.child = picked.id
    )
SELECT * FROM artifacts WHERE created < ? AND id NOT IN picked AND id NOT IN needed
AND (job IS NULL OR (job NOT IN needed AND NOT EXISTS ({AT_WORK.format(job="artifacts.job")}))) ORDER BY id LIMIT ?"""
OLD_JOBS = f"""WITH needed(id) AS (SELECT id FROM ({NEEDED}))
SELECT id FROM jobs AS old WHERE state IN ('done', 'failed', 'cancelled') AND id < ? AND finished < ?
AND rowid < (SELECT max(rowid) FROM jobs) AND id NOT IN needed AND NOT EXISTS ({AT_WORK.format(job="old.id")})
AND NOT EXISTS (SELECT 1 FROM artifacts WHERE job = old.id)
AND (parent IS NOT NULL OR EXISTS (
    SELECT 1 FROM jobs WHERE owner = old.owner AND session = old.session AND name = old.name AND id > old.id
    AND parent IS NULL
)) ORDER BY id LIMIT ?"""


class Retention:
    def __init__(
        self, config: Config, store: Store, blobs: Blobs, review: Review, run_blocking: Callable[..., Any]
    ):  # fmt: skip
        self._config, self._store, self._blobs, self._review = config, store, blobs, review
        self._run_blocking, self._queue = run_blocking, config.data / "jobs.db"
        self._maintained = self._awake_since = self._plan_at = 0.0
        self._swept = 0
        self.handlers: list[Handler] = [self.delete]

    def delete(self, owner: str, ids: Annotated[list[Name], Field(min_length=1, max_length=500)]) -> Row:
        """Delete results and uploads for ever, all of `ids` or none. Copies in the outputs folder stay."""
        newest, needed = self._run_blocking(self._needed)

        def change(tx: Transaction) -> list[Row]:
            users = needed | _users(tx.all(NEEDED_SINCE, newest))
            rows = [owned(tx, id, owner) for id in dict.fromkeys(ids)]
            for row in rows:
                if problem := _needs(tx, row, users):
                    raise Conflict(f"artifact {row['id']} is needed by {problem}.", hint="Cancel that job, or wait.")
            tx.remove_artifacts(rows)
            return rows

        rows = self._store.write(change)
        self._run_blocking(self._drop, {row["sha256"] for row in rows})
        return {"deleted": [row["id"] for row in rows]}

    def maintain(self) -> None:
        """Called every few seconds: a bounded step of what there is to do."""
        moment = time.time()
        if not 0 <= moment - self._maintained <= PAUSE_SECONDS:
            self._awake_since = moment
        self._maintained = moment
        config = self._config
        if (config.retention_days or config.retention_bytes or config.retention_count) and moment >= self._plan_at:
            self.retain()
        if moment > self._awake_since + AWAKE_SECONDS:
            self._run_blocking(self.sweep, FOLDERS[self._swept])
            self._swept = (self._swept + 1) % len(FOLDERS)

    def retain(self) -> None:
        """Delete some of what is over the settings, the oldest first."""
        picks = self._review.picks
        newest, artifacts, jobs = self._run_blocking(self._plan)
        if not artifacts and not jobs:
            self._plan_at = time.time() + PLAN_SECONDS

        def change(tx: Transaction, batch: list[Row], old: list[str]) -> list[Row]:
            if self._review.picks != picks:  # what was picked since may descend from any of these
                return []
            users = _users(tx.all(NEEDED_SINCE, newest))
            removed = [row for row in batch if not _needs(tx, row, users)]
            tx.remove_artifacts(removed)
            for job in [job for job in old if job not in users]:
                tx.all("DELETE FROM jobs WHERE id = ?", job)
                tx.all("DELETE FROM recorded WHERE job = ?", job)
                tx.all("DELETE FROM logs WHERE job = ?", job)
            return removed

        for start in range(0, max(len(artifacts), len(jobs)), BATCH):
            some = slice(start, start + BATCH)
            removed = self._store.write(lambda tx, some=some: change(tx, artifacts[some], jobs[some]))
            self._run_blocking(self._drop, {row["sha256"] for row in removed})

    # What follows runs in a thread of its own.

    def _needed(self) -> tuple[int, dict[str, str]]:
        """The newest job, and what unfinished jobs up to it need."""
        with view(self._queue) as ask:
            return _newest(ask), _users(ask(NEEDED))

    def _plan(self) -> tuple[int, list[Row], list[str]]:
        """The newest job; the artifacts and the old jobs to delete."""
        config, moment = self._config, time.time()
        cutoff = max(moment - config.retention_days * 86400, 0) if config.retention_days else 0
        with view(self._queue) as ask:
            kept = ask("SELECT count(*) AS artifacts FROM artifacts")[0]["artifacts"]
            size = ask(TAKEN)[0]["size"] if config.retention_bytes else 0
            count_over = kept - config.retention_count if config.retention_count else 0
            bytes_over = size - config.retention_bytes if config.retention_bytes else 0
            until = moment if count_over > 0 or bytes_over > 0 else cutoff
            chosen = []
            for row in ask(OVER, min(until, moment - GRACE_SECONDS), PLANNED) if until else []:
                if row["created"] < cutoff or count_over > 0 or bytes_over > 0:
                    chosen.append(row)
                    count_over, bytes_over = count_over - 1, bytes_over - row["size_bytes"]
            before = str(ULID.from_timestamp(cutoff)).lower()  # jobs of that moment have greater ids
            jobs = ask(OLD_JOBS, before, cutoff, PLANNED) if cutoff else []
            return _newest(ask), chosen, [row["id"] for row in jobs]

    def sweep(self, folder: str) -> None:
        """Delete the bytes in one of the blobs' folders that nothing refers to."""
        names = []
        for path in self._blobs.path(folder).parent.glob("*"):
            if path.suffix == ".old":  # we were killed with it in hand
                path = _put_back(path)
            if re.fullmatch(r"[0-9a-f]{64}", path.name):
                names.append(path.name)
        self._drop(names)

    def _drop(self, names: Iterable[str]) -> None:
        """Delete these blobs, but for those that something refers to and those that were written lately."""
        before = time.time() - GRACE_SECONDS
        old = [name for name in names if _written(self._blobs.path(name)) < before]
        if old:
            with view(self._queue) as ask:
                unused = "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT sha256 FROM artifacts)"
                old = [row["value"] for row in ask(unused, json.dumps(old))]
        for name in old:
            path = self._blobs.path(name)
            with contextlib.suppress(OSError):  # gone already, or on Windows: somebody reads it
                taken = path.rename(path.with_suffix(".old"))  # whoever writes the same now writes it anew
                if _written(taken) < before:
                    taken.unlink()
                else:  # somebody wrote the same just before
                    _put_back(taken)


def _newest(ask: Ask) -> int:
    return ask("SELECT coalesce(max(rowid), 0) AS newest FROM jobs")[0]["newest"]


def _users(rows: Iterable[Row]) -> dict[str, str]:
    """A job that needs it, by the id of what is needed."""
    return {row["id"]: row["job"] for row in rows}


def _needs(tx: Transaction, row: Row, users: dict[str, str]) -> str:
    """Who needs an artifact, in words."""
    if user := users.get(row["id"]) or users.get(row["job"]):
        return f"job {user}"
    if waits := tx.one("SELECT job FROM waits WHERE needs = ? LIMIT 1", row["id"]):  # for a person to review it
        return f"job {waits['job']}"
    return f"job {row['job']} or its program" if row["job"] and tx.one(AT_WORK.format(job="?"), row["job"]) else ""


def _written(path: Path) -> float:
    """When; for a file that is not there, never mind."""
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def _put_back(path: Path) -> Path:
    target = path.with_suffix("")
    with contextlib.suppress(OSError):
        path.unlink() if target.exists() else path.rename(target)
    return target
