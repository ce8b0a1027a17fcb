"""The queue as its owner sees it: what runs, what runs next and when, what waits and for what."""

import heapq
import json
from itertools import islice
from pathlib import Path
from typing import Any

from core.jobs import Row, wire
from core.library.catalogue import Catalogue
from core.library.database import Ask, view
from core.library.forecast import Forecast
from core.library.listing import PAGE_BYTES
from core.library.placing import Placing
from core.library.waiting import waits_for

UNFINISHED = ("running", "queued", "waiting", "held")
ROWS_AT_ONCE = 20


def upcoming(queue: Path, placing: Placing, catalogue: Catalogue, owner: str, limit: int, **columns: Any) -> Row:
    """The first `limit` unfinished jobs, fewer where they are large, and how many there are. Takes long where many are
    queued: it is looked up in a thread of its own, all at one moment. `columns` are what they have to be, None: any; ""
    for parent: none."""
    given = {name: value or None for name, value in columns.items() if value is not None}
    with view(queue) as ask:
        forecast, jobs, size = Forecast(ask, placing.width(), catalogue), [], 0
        for state in [each for each in UNFINISHED if given.get("state", each) == each]:
            rest = limit - len(jobs) if size < PAGE_BYTES else 0
            if state == "queued":
                places = _queued(ask, forecast, owner, given, rest)
            else:
                order = "started, id" if state == "running" else "class, rank, rowid"
                places = {row["id"]: {} for row in _listed(ask, owner, given | {"state": state}, order, rest)}
            for row in _records(ask, [*places], PAGE_BYTES - size):
                size += row.pop("page_bytes")
                if state in ("waiting", "held"):
                    row["waits_for"] = waits_for(ask, row)
                elif state == "queued":
                    row["waits_for"] = placing.waits_for(row) or None
                jobs.append(wire(row) | places[row["id"]])
        return {"jobs": jobs, "total": _total(ask, owner, given)}


def _queued(ask: Ask, forecast: Forecast, owner: str, given: Row, limit: int) -> dict[str, Row]:
    """The places of the first ones, by id. Each plugin has workers of its own: what begins sooner is listed first."""
    limit = limit and min(limit, _total(ask, owner, given | {"state": "queued"}))  # those of others may be many more
    known = ask("SELECT DISTINCT plugin FROM lanes WHERE owner = ? AND unfinished > 0", owner)
    wanted = {"owner": owner, **{name: given[name] for name in ("session", "parent") if name in given}}
    lanes = [forecast.lane(row["plugin"], program, wanted) for row in known for program in (0, 1)] if limit else []
    return {id: place for _, id, place in islice(heapq.merge(*lanes, key=lambda each: each[:2]), limit)}


def _listed(ask: Ask, owner: str, given: Row, order: str, limit: int) -> list[Row]:
    where = " AND ".join(f"{name} IS ?" for name in given)
    sql = f"SELECT id FROM jobs WHERE {where} AND owner = ? ORDER BY {order} LIMIT ?"
    return ask(sql, *given.values(), owner, limit)


def _records(ask: Ask, ids: list[str], size: int) -> list[Row]:
    """In that order, as many as take about `size` bytes."""
    rows, size_of = [], "length(params) + length(inputs) AS page_bytes"
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = json.dumps(ids[start : start + ROWS_AT_ONCE])
        rows += ask(f"SELECT jobs.*, {size_of} FROM json_each(?) JOIN jobs ON jobs.id = value ORDER BY key", some)
        if sum(row["page_bytes"] for row in rows) >= size:
            break
    return rows


def _total(ask: Ask, owner: str, given: Row) -> int:
    if not given:
        return ask("SELECT coalesce(sum(unfinished), 0) AS jobs FROM lanes WHERE owner = ?", owner)[0]["jobs"]
    states = [given["state"]] if "state" in given else [*UNFINISHED]
    others = {name: value for name, value in given.items() if name != "state"}
    where = " AND ".join(["owner = ?", *(f"+{name} IS ?" for name in others)])
    sql = f"SELECT count(*) AS jobs FROM jobs WHERE state IN (SELECT value FROM json_each(?)) AND {where}"
    return ask(sql, json.dumps(states), owner, *others.values())[0]["jobs"]
