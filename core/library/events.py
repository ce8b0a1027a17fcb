"""The events about what is kept: artifacts, sessions, lists of jobs and of choices."""

import functools
import json
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from core.api import Handler, Name
from core.artifacts import Blobs
from core.errors import InvalidParams, NotFound, PluginError, TooLarge, UnknownJob
from core.jobs import TERMINAL, Row, State, Store, Transaction, new_id, now, wire
from core.library.arrivals import Arrivals
from core.library.catalogue import MAX_PARAMS, Catalogue
from core.library.fair import Pause
from core.library.lineage import Lineage, parents
from core.library.models import Models
from core.library.retention import Retention
from core.library.review import Review, owned
from core.library.upcoming import upcoming
from core.ops.config import Config
from core.scheduler import Scheduler

ROWS_AT_ONCE, PAGE_BYTES = 5, 4_000_000  # a page of a list ends early where its records are that large
AFTER_ALL = "~"  # greater than any id
SIZE = {"jobs": "length(params) + length(inputs)", "artifacts": "length(facts)"}
# What lists are read from, by the columns that are asked for; the others are compared row by row, so many at a time.
INDEXES, LOOKED_AT = (("job",), ("parent",), ("state", "owner"), ("owner", "session"), ("owner",)), 1_000
Limit = Annotated[int, Field(ge=1, le=1000)]
MEMORISED = 200  # jobs whose parameters a session tells
# The newest job of each name, name by name: as many steps as there are names, however many jobs the session has.
NEWEST = """WITH RECURSIVE mine(name) AS (
    SELECT min(name) FROM jobs WHERE owner = ?1 AND session = ?2 AND parent IS NULL UNION ALL
    SELECT (SELECT min(name) FROM jobs WHERE owner = ?1 AND session = ?2 AND parent IS NULL AND name > mine.name)
    FROM mine WHERE mine.name IS NOT NULL LIMIT ?3
) SELECT jobs.name, jobs.id, params FROM mine JOIN jobs ON jobs.id = (
    SELECT max(id) FROM jobs WHERE owner = ?1 AND session = ?2 AND parent IS NULL AND name = mine.name
)"""


class Library:
    """`handlers` are bound by the API: each is called as `handler(owner, **request)`."""

    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler, blobs: Blobs,
        run_blocking: Callable[..., Any], call: Handler, devices: list[str],
    ):  # fmt: skip
        self._devices = devices
        self._config, self._store, self._catalogue, self._run_blocking = config, store, catalogue, run_blocking
        self._call = call
        review = Review(store, scheduler)
        self._arrivals = Arrivals(config.models, store, catalogue, run_blocking)
        self._retention = Retention(config, store, blobs, review, run_blocking)
        self.handlers: list[Handler] = [
            self.jobs, self.artifact, self.artifacts, self.sessions, self.session, self.choices,
            *review.handlers, *Lineage(config, store, run_blocking).handlers, *self._retention.handlers,
        ]  # fmt: skip

    def maintain(self) -> None:
        """Called every few seconds: see what models have come, and delete what is over the retention settings."""
        self._arrivals.look()
        self._retention.maintain()

    def jobs(
        self, owner: str, state: State | None = None, session: str | None = None, parent: str | None = None,
        before: str | None = None, limit: Limit = 50, order: Literal["newest", "queue"] = "newest",
    ) -> Row:  # fmt: skip
        """The newest jobs first; `before` a job's id gives the next page. With `order` "queue" the unfinished ones,
        those that run first, then as they will run, then those that wait; and how many there are."""
        if order == "queue":
            if before is not None:
                raise InvalidParams("the queue has no pages, for it moves: leave out before.", field="before")
            if state in TERMINAL:
                raise InvalidParams(f"the queue has no jobs that are {state}: those have ended.", field="state")
            queue, given = self._config.data / "jobs.db", {"state": state, "session": session, "parent": parent}
            seen = functools.partial(upcoming, queue, len(self._devices), self._catalogue, owner, limit, **given)
            return self._run_blocking(seen)
        return {"jobs": self._listed("jobs", limit, before, owner=owner, state=state, session=session, parent=parent)}

    def artifacts(
        self, owner: str, job: str | None = None, session: str | None = None, before: str | None = None,
        limit: Limit = 50,
    ) -> Row:  # fmt: skip
        """The newest results and uploads first; `before` an artifact's id gives the next page."""
        return {"artifacts": self._listed("artifacts", limit, before, owner=owner, job=job, session=session)}

    def artifact(self, owner: str, id: str) -> Row:
        """What is known of one result or upload. Its bytes are at /artifacts/ID."""
        row = owned(self._store, id, owner)
        return {"artifact": wire(row | {"parents": parents(self._store.all, [id])[id]})}

    def sessions(self, owner: str, before: str | None = None, limit: Limit = 50) -> Row:
        """The newest sessions first; `before` a session's id gives the next page."""
        after: Row | None = {"created": math.inf, "id": ""}
        if before is not None:
            after = self._store.one("SELECT created, id FROM sessions WHERE owner = ? AND id = ?", owner, before)
        if after is None:
            raise NotFound(f"there is no session {before[:100]!r}.", field="before")
        sql = """SELECT id, owner, name, created FROM sessions WHERE owner = ? AND (created, id) < (?, ?)
            ORDER BY created DESC, id DESC LIMIT ?"""
        return {"sessions": self._store.all(sql, owner, after["created"], after["id"], limit)}

    def session(self, owner: str, id: Name, name: Name | None = None, memorised: dict[str, Any] | None = None) -> Row:
        """Open a session, made if need be; give it a name, remember parameters by job name. What is submitted in a
        session is remembered by itself; the latest counts."""
        given = {self._full_name(job): params for job, params in (memorised or {}).items()}

        def change(tx: Transaction) -> Row:
            row = {"id": id, "owner": owner, "name": id, "created": now(), "memorised": {}, "memorised_at": {}}
            old = tx.one("SELECT * FROM sessions WHERE id = ? AND owner = ?", id, owner)
            row |= old or {}
            row |= {"name": name or row["name"], "memorised": row["memorised"] | given}
            row["memorised_at"] = row["memorised_at"] | dict.fromkeys(given, new_id())
            if len(json.dumps(row["memorised"])) > MAX_PARAMS:
                raise TooLarge(f"a session remembers at most {MAX_PARAMS:,} bytes.", field="memorised")
            if row != old:
                tx.insert("sessions", row, "OR REPLACE")
                tx.event("session", {key: row[key] for key in ("id", "name", "created")}, row | {"session": id})
            return row

        row = self._store.write(change)
        since = row.pop("memorised_at")
        for job in self._store.all(NEWEST, owner, id, MEMORISED):
            if since.get(job["name"], "") < job["id"]:
                row["memorised"][job["name"]] = job["params"]
        return {"session": row}

    def _full_name(self, job: str) -> str:
        try:
            return self._catalogue.find(job).name
        except (UnknownJob, PluginError):
            return job

    def choices(
        self, owner: str, list: str, search: str = "", offset: Annotated[int, Field(ge=0)] = 0, limit: Limit = 200
    ) -> Row:
        """The entries of a parameter's `choices_from`, read anew each time: the models of models/KIND, or the names
        that the light job of call/JOB returns."""
        kind, _, name = list.partition("/")
        if kind not in ("models", "call") or not re.fullmatch(r"[\w.-]{1,100}", name):
            raise NotFound(f"there is no list {list[:100]!r}. Lists are called models/KIND or call/JOB.")
        if kind == "call":
            entries = _names(name, self._call(owner, name)["outputs"])
        else:
            entries = self._run_blocking(Models(self._config.models, self._catalogue.shipped_models()).entries, name)
        found = [entry for entry in entries if search.lower() in entry.lower()]
        return {"choices": found[offset:][:limit], "total": len(found)}

    def _listed(self, table: str, limit: int, before: str | None, **columns: Any) -> list[Row]:
        """Ends early where the records are large."""
        given = {name: value for name, value in columns.items() if value is not None}
        index = next(names for names in INDEXES if given.keys() >= set(names))
        # A plus sign keeps SQLite from using a column's index.
        indexed = " AND ".join([f"{name} = ?" for name in index] + ["id < ?"])
        others = [name for name in given if name not in index]
        where = " AND ".join([indexed, "id >= ?", *(f"+{name} = ?" for name in others)])
        sql = f"SELECT *, {SIZE[table]} AS page_bytes FROM {table} WHERE {where} ORDER BY id DESC LIMIT ?"
        far = f"SELECT id FROM {table} WHERE {indexed} ORDER BY id DESC LIMIT 1 OFFSET {LOOKED_AT}"
        first, rest = [given[name] for name in index], [given[name] for name in others]
        rows, size, before, pause = [], 0, before or AFTER_ALL, Pause()
        while before and len(rows) < limit and size < PAGE_BYTES:
            until = self._store.one(far, *first, before) if others else None
            asked = min(ROWS_AT_ONCE, limit - len(rows))
            more = self._store.all(sql, *first, before, until["id"] if until else "", *rest, asked)
            size += sum(row.pop("page_bytes") for row in more)
            before = more[-1]["id"] if len(more) == asked else until and until["id"]
            rows += map(wire, more)
            pause()
        return rows


def _names(job: str, outputs: list[Any]) -> list[str]:
    """The entries that a light job has returned: texts, or objects with a "name", one by one or as one list."""
    entries = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], list) else outputs
    names = [each.get("name") if isinstance(each, dict) else each for each in entries]
    if not all(isinstance(name, str) for name in names):
        hint = 'The job has to return list[Text], or as Json a list of texts or of objects with a "name".'
        raise PluginError(f"{job} returns no list of names.", hint=hint)
    return names
