"""Lists of jobs, artifacts and sessions, the newest first: pages that end early where records are large, and counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from core.jobs import Row, wire
from core.library.database import Ask, view
from core.types import KINDS

KindName = Literal[tuple(KINDS)]

ROWS_AT_ONCE, PAGE_BYTES = 5, 4_000_000
AFTER_ALL = "~"  # greater than any id
SIZE = {"jobs": "length(params) + length(inputs)", "artifacts": "length(facts)"}
# What lists are read from, by the columns that are asked for; the others are compared row by row, so many at a time.
INDEXES, LOOKED_AT = (("job",), ("parent",), ("family",), ("state", "owner"), ("owner", "session"), ("owner",)), 1_000
TEXTS = ("name", "json_extract(facts, '$.prompt')", "json_extract(facts, '$.infotext')")
SAYS = "has_words(" + " || ' ' || ".join(f"coalesce({text}, '')" for text in TEXTS) + ", ?)"
INSIDE = "FROM {} WHERE owner = sessions.owner AND session = sessions.id"
JOBS, ARTIFACTS = INSIDE.format("jobs"), INSIDE.format("artifacts")
SESSIONS = f"""SELECT id, owner, name, created,
    (SELECT count(*) {JOBS}) AS jobs, (SELECT count(*) {ARTIFACTS}) AS artifacts,
    max(created, coalesce((SELECT created {JOBS} ORDER BY id DESC LIMIT 1), 0),
        coalesce((SELECT created {ARTIFACTS} ORDER BY id DESC LIMIT 1), 0)) AS last_activity
FROM sessions WHERE owner = ? AND (created, id) < (?, ?) ORDER BY created DESC, id DESC LIMIT ?"""
# The jobs of a program and those that it has taken over from an earlier one.
FAMILY = "id IN (SELECT id FROM jobs WHERE parent = ?1 UNION ALL SELECT child FROM taken WHERE program = ?1)"
FIRST = "+job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM artifacts AS other WHERE other.id = artifacts.source)"
ORIGINS = {"job": "+job IS NOT NULL", "upload": "+job IS NULL", "first": FIRST}


class Listing:
    """`columns` are what the rows of a table have to be, None: any; "" for parent: none. `more` are further conditions,
    each with its values."""

    def __init__(self, table: str, columns: Row, *more: tuple[str, list[Any]]):
        if columns.get("parent") == "":
            columns, more = columns | {"parent": None}, (*more, ("+parent IS NULL", []))
        given = {name: value for name, value in columns.items() if value is not None}
        index = next(names for names in INDEXES if given.keys() >= set(names))
        # A plus sign keeps SQLite from using a column's index.
        others = [(f"+{name} = ?", [given[name]]) for name in given if name not in index] + [*more]
        self._table, self._others = table, [condition for condition, _ in others]
        self._indexed = [FAMILY if name == "family" else f"{name} = ?" for name in index]
        self._first, self._rest = [given[name] for name in index], [value for _, values in others for value in values]

    def page(self, ask: Ask, limit: int, before: str | None, pause: Callable[[], None] = lambda: None) -> list[Row]:
        indexed = " AND ".join([*self._indexed, "id < ?"])
        where = " AND ".join([indexed, "id >= ?", *self._others])
        sql = f"SELECT *, {SIZE[self._table]} AS page_bytes FROM {self._table} WHERE {where} ORDER BY id DESC LIMIT ?"
        far = f"SELECT id FROM {self._table} WHERE {indexed} ORDER BY id DESC LIMIT 1 OFFSET {LOOKED_AT}"
        rows: list[Row] = []
        size, before = 0, before or AFTER_ALL
        while before and len(rows) < limit and size < PAGE_BYTES:
            until = next(iter(ask(far, *self._first, before)), None) if self._others else None
            asked = min(ROWS_AT_ONCE, limit - len(rows))
            more = ask(sql, *self._first, before, until["id"] if until else "", *self._rest, asked)
            size += sum(row.pop("page_bytes") for row in more)
            before = more[-1]["id"] if len(more) == asked else until and until["id"]
            rows += map(wire, more)
            pause()
        return rows

    def total(self, ask: Ask) -> int:
        where = " AND ".join([*self._indexed, *self._others])
        return ask(f"SELECT count(*) AS rows FROM {self._table} WHERE {where}", *self._first, *self._rest)[0]["rows"]


def artifacts(queue: Path, limit: int, before: str | None, search: str, origin: str | None, **columns: Any) -> Row:
    """A page of artifacts, the first with the total. For a thread of its own: many rows may have to be compared."""
    wanted: list[tuple[str, list[Any]]] = [(ORIGINS[origin], [])] if origin else []
    wanted += [(SAYS, [search.casefold()])] if search.strip() else []
    listing = Listing("artifacts", columns, *wanted)
    with view(queue) as ask:
        total = {} if before else {"total": listing.total(ask)}
        return {"artifacts": listing.page(ask, limit, before)} | total


def sessions(queue: Path, owner: str, created: float, id: str, limit: int) -> list[Row]:
    """Those before one. For a thread of its own, as all that is in them is counted."""
    with view(queue) as ask:
        return ask(SESSIONS, owner, created, id, limit)
