"""Where a result comes from, what was made of it, and in what two results differ."""

from typing import Annotated, Any, Literal

from pydantic import Field

from core.api import Handler
from core.jobs import Row, Store, wire
from core.library.review import owned

STEPS = 20_000  # links that one question follows at most, however the graph looks
WALK = """WITH RECURSIVE found(id, depth) AS (
    SELECT ?, 0 UNION SELECT links.{to}, depth + 1 FROM found JOIN links ON links.{come} = found.id
    WHERE depth < ? LIMIT ?
) SELECT artifacts.*, jobs.name AS job_name, min(depth) AS depth FROM found
JOIN artifacts ON artifacts.id = found.id LEFT JOIN jobs ON jobs.id = artifacts.job
WHERE artifacts.owner = ? AND depth > 0 GROUP BY artifacts.id ORDER BY depth, artifacts.id LIMIT ?"""
SIBLINGS = """WITH near(id) AS (
    SELECT id FROM artifacts WHERE job = ? UNION
    SELECT others.child FROM links JOIN links AS others ON others.parent = links.parent WHERE links.child = ?
) SELECT artifacts.*, jobs.name AS job_name FROM near
JOIN artifacts ON artifacts.id = near.id LEFT JOIN jobs ON jobs.id = artifacts.job
WHERE artifacts.owner = ? AND artifacts.id != ? ORDER BY artifacts.id LIMIT ?"""
DIRECTIONS = {"ancestors": ("parent", "child"), "descendants": ("child", "parent")}


class Lineage:
    def __init__(self, store: Store):
        self._store = store
        self.handlers: list[Handler] = [self.lineage, self.compare]

    def lineage(
        self, owner: str, id: str, direction: Literal["ancestors", "descendants", "siblings"] = "ancestors",
        depth: Annotated[int, Field(ge=1, le=100)] = 20, limit: Annotated[int, Field(ge=1, le=1000)] = 200,
    ) -> Row:  # fmt: skip
        """What an artifact was made from, what was made of it, or what came of the same job or the same parents; the
        nearest first, each with the name of its job, its parents and its depth."""
        row = owned(self._store, id, owner)
        if direction == "siblings":
            rows = self._store.all(SIBLINGS, row["job"], id, owner, id, limit + 1)
        else:
            to, come = DIRECTIONS[direction]
            rows = self._store.all(WALK.format(to=to, come=come), id, depth, STEPS, owner, limit + 1)
        more, rows = len(rows) > limit, rows[:limit]
        for each in rows:
            each["parents"] = parents(self._store, each["id"])
        return {"artifacts": [wire(each) for each in rows], "more": more}

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


def parents(store: Store, id: str) -> list[str]:
    """What an artifact was made from, still there or not, in the order of their ids."""
    return [link["parent"] for link in store.all("SELECT parent FROM links WHERE child = ? ORDER BY parent", id)]


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[Any]]:
    return {key: [old[key], new[key]] for key in old if key in new and old[key] != new[key]}
