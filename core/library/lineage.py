"""Where a result comes from, what was made of it, and in what two results differ."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from core.api import Handler
from core.jobs import Row, Store, wire
from core.library.database import Ask, view
from core.library.review import owned
from core.ops.config import Config

STEPS = 2_000  # links that one question follows at most, however the graph looks
LINKS = 10_000  # told at most
# CROSS JOIN keeps SQLite from going through all artifacts instead of those found.
WALK = """WITH RECURSIVE found(id, depth) AS (
    SELECT ?, 0 UNION SELECT links.{to}, depth + 1 FROM found CROSS JOIN links ON links.{come} = found.id
    WHERE depth < ? LIMIT ?
), nearest AS MATERIALIZED (SELECT id, min(depth) AS depth FROM found WHERE depth > 0 GROUP BY id)
SELECT artifacts.*, jobs.name AS job_name, nearest.depth FROM nearest
CROSS JOIN artifacts ON artifacts.id = nearest.id LEFT JOIN jobs ON jobs.id = artifacts.job
WHERE artifacts.owner = ? ORDER BY nearest.depth, artifacts.id LIMIT ?"""
SIBLINGS = """WITH near AS MATERIALIZED (
    SELECT id FROM artifacts WHERE job = ? UNION
    SELECT others.child FROM links CROSS JOIN links AS others ON others.parent = links.parent WHERE links.child = ?
    LIMIT ?
) SELECT artifacts.*, jobs.name AS job_name FROM near
CROSS JOIN artifacts ON artifacts.id = near.id LEFT JOIN jobs ON jobs.id = artifacts.job
WHERE artifacts.owner = ? AND artifacts.id != ? ORDER BY artifacts.id LIMIT ?"""
DIRECTIONS = {"ancestors": ("parent", "child"), "descendants": ("child", "parent")}


class Lineage:
    def __init__(self, config: Config, store: Store, run_blocking: Callable[..., Any]):
        self._queue, self._store, self._run_blocking = config.data / "jobs.db", store, run_blocking
        self.handlers: list[Handler] = [self.lineage, self.compare]

    def lineage(
        self, owner: str, id: str, direction: Literal["ancestors", "descendants", "siblings"] = "ancestors",
        depth: Annotated[int, Field(ge=1, le=100)] = 20, limit: Annotated[int, Field(ge=1, le=1000)] = 200,
    ) -> Row:  # fmt: skip
        """What an artifact was made from, what was made of it, or what came of the same job or the same parents; the
        nearest first, each with the name of its job, its parents and its depth."""
        row = owned(self._store, id, owner)
        return self._run_blocking(self._walk, row, direction, depth, limit)

    def _walk(self, row: Row, direction: str, depth: int, limit: int) -> Row:
        """In a thread: something may have been made of one upload a hundred thousand times."""
        with view(self._queue) as ask:
            if direction == "siblings":
                rows = ask(SIBLINGS, row["job"], row["id"], STEPS, row["owner"], row["id"], limit + 1)
            else:
                to, come = DIRECTIONS[direction]
                rows = ask(WALK.format(to=to, come=come), row["id"], depth, STEPS, row["owner"], limit + 1)
            more, rows = len(rows) > limit, rows[:limit]
            found = parents(ask, [each["id"] for each in rows])
        return {"artifacts": [wire(each | {"parents": found[each["id"]]}) for each in rows], "more": more}

    def compare(self, owner: str, a: str, b: str) -> Row:
        """In what the parameters of the jobs of two artifacts differ, as [a's, b's] where both have one, and in which
        facts (seed, size) the artifacts do."""
        rows = [owned(self._store, id, owner) for id in (a, b)]
        jobs = [self._store.one("SELECT name, params FROM jobs WHERE id = ?", row["job"]) for row in rows]
        old, new = [job["params"] if job else {} for job in jobs]
        facts = [{key: value for key, value in row["facts"].items() if key != "infotext"} for row in rows]
        return {
            "jobs": [job and job["name"] for job in jobs],
            "changed": _changed(old, new),
            "added": {key: new[key] for key in new.keys() - old.keys()},
            "removed": {key: old[key] for key in old.keys() - new.keys()},
            "facts": _changed(*facts),
        }


def parents(ask: Ask, ids: list[str]) -> dict[str, list[str]]:
    """What each artifact was made from, still there or not."""
    sql = "SELECT * FROM links WHERE child IN (SELECT value FROM json_each(?)) ORDER BY parent LIMIT ?"
    found: dict[str, list[str]] = {id: [] for id in ids}
    for link in ask(sql, json.dumps(ids), LINKS):
        found[link["child"]].append(link["parent"])
    return found


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[Any]]:
    return {key: [old[key], new[key]] for key in old if key in new and old[key] != new[key]}
