"""The events about what is kept: artifacts, sessions, lists of jobs and of choices."""

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
from core.library.accepting import Accepting
from core.library.arrivals import Arrivals
from core.library.catalogue import MAX_PARAMS, Catalogue
from core.library.fair import Pause
from core.library.inventory import inventory, of_kind
from core.library.lineage import Lineage, parents
from core.library.listing import KindName, Listing, artifacts, sessions
from core.library.placing import Placing
from core.library.plain import json_size
from core.library.retention import Retention
from core.library.review import Review, owned
from core.library.upcoming import upcoming
from core.ops.config import Config
from core.scheduler import Scheduler

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
        run_blocking: Callable[..., Any], call: Handler, placing: Placing,
    ):  # fmt: skip
        self._placing, self._queue = placing, config.data / "jobs.db"
        self._config, self._store, self._catalogue, self._run_blocking = config, store, catalogue, run_blocking
        self._call = call
        review, self.lineage = Review(store, scheduler), Lineage(config, store, run_blocking)
        self._arrivals = Arrivals(config.models, store, catalogue, run_blocking)
        self._retention = Retention(config, store, blobs, review, run_blocking)
        self.handlers: list[Handler] = [
            self.jobs, self.artifact, self.artifacts, self.sessions, self.session, self.choices, self.models,
            *review.handlers, *self.lineage.handlers, *self._retention.handlers,
            *Accepting(store, catalogue).handlers,
        ]  # fmt: skip

    def maintain(self) -> None:
        """Called every few seconds: see what models have come, and delete what is over the retention settings."""
        self._arrivals.look()
        self._retention.maintain()

    def jobs(
        self, owner: str, state: State | None = None, session: str | None = None, parent: str | None = None,
        before: str | None = None, limit: Limit = 50, order: Literal["newest", "queue"] = "newest",
    ) -> Row:  # fmt: skip
        """The newest jobs first; `before` a job's id gives the next page; `parent` "" leaves out those of programs.
        With `order` "queue" the unfinished ones, those that run first, then as they will run, then those that wait;
        and how many there are."""
        if order == "queue":
            if before is not None:
                raise InvalidParams("the queue has no pages, for it moves: leave out before.", field="before")
            if state in TERMINAL:
                raise InvalidParams(f"the queue has no jobs that are {state}: those have ended.", field="state")
            given = {"state": state, "session": session, "parent": parent}
            known = (self._queue, self._placing, self._catalogue)
            return self._run_blocking(lambda: upcoming(*known, owner, limit, **given))
        columns = {"owner": owner, "state": state, "session": session, "parent": parent}
        if parent and self._store.one("SELECT child FROM taken WHERE program = ? LIMIT 1", parent):
            columns |= {"parent": None, "family": parent}
        return {"jobs": Listing("jobs", columns).page(self._store.all, limit, before, Pause())}

    def artifacts(
        self, owner: str, job: str | None = None, session: str | None = None, kind: KindName | None = None,
        review: Literal["new", "picked", "rejected"] | None = None,
        origin: Literal["job", "first", "upload"] | None = None,
        search: Annotated[str, Field(max_length=1000)] = "", before: str | None = None, limit: Limit = 50,
    ) -> Row:  # fmt: skip
        """The newest results and uploads first; `before` an artifact's id gives the next page, and the first page says
        how many there are. `search` finds those that have all its words in their name, prompt or infotext."""
        columns = {"owner": owner, "job": job, "session": session, "kind": kind, "review": review}
        return self._run_blocking(lambda: artifacts(self._queue, limit, before, search, origin, **columns))

    def artifact(self, owner: str, id: str) -> Row:
        """What is known of one result or upload. Its bytes are at /artifacts/ID."""
        row = owned(self._store, id, owner)
        return {"artifact": wire(row | {"parents": parents(self._store.all, [id])[id]})}

    def sessions(self, owner: str, before: str | None = None, limit: Limit = 50) -> Row:
        """The newest sessions first, each with how much is in it and the time of its latest; `before` a session's id
        gives the next page."""
        after: Row | None = {"created": math.inf, "id": ""}
        if before is not None:
            after = self._store.one("SELECT created, id FROM sessions WHERE owner = ? AND id = ?", owner, before)
        if after is None:
            raise NotFound(f"there is no session {before[:100]!r}.", field="before")
        place = (after["created"], after["id"])
        return self._run_blocking(lambda: {"sessions": sessions(self._queue, owner, *place, limit)})

    def session(self, owner: str, id: Name, name: Name | None = None, memorised: dict[str, Any] | None = None) -> Row:
        """Open a session, made if need be; give it a name, remember parameters by job name. What is submitted in a
        session is remembered by itself; the latest counts."""
        given = {self._full_name(job): params for job, params in (memorised or {}).items()}
        too_large = TooLarge(f"a session remembers at most {MAX_PARAMS:,} bytes.", field="memorised")
        if json_size(given, MAX_PARAMS) > MAX_PARAMS:  # by itself, before the others wait for a transaction
            raise too_large

        def change(tx: Transaction) -> Row:
            row = {"id": id, "owner": owner, "name": id, "created": now(), "memorised": {}, "memorised_at": {}}
            old = tx.one("SELECT * FROM sessions WHERE id = ? AND owner = ?", id, owner)
            row |= old or {}
            row |= {"name": name or row["name"], "memorised": row["memorised"] | given}
            row["memorised_at"] = row["memorised_at"] | dict.fromkeys(given, new_id())
            if len(json.dumps(row["memorised"])) > MAX_PARAMS:
                raise too_large
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

    def models(self, owner: str) -> Row:
        """The files in models/, in folders of other apps, and of plugins, by kind; and those that can be fetched."""
        return {"kinds": self._run_blocking(inventory, self._config.models, self._catalogue)}

    def _full_name(self, job: str) -> str:
        try:
            return self._catalogue.find(job).name
        except (UnknownJob, PluginError):
            return job

    def choices(
        self, owner: str, list: str, search: str = "", offset: Annotated[int, Field(ge=0)] = 0, limit: Limit = 200
    ) -> Row:
        """The entries of a parameter's `choices_from`, read anew each time: the models of models/KIND, or the names
        that the light job of call/JOB returns; and which other models can be fetched."""
        kind, _, name = list.partition("/")
        if kind not in ("models", "call") or not re.fullmatch(r"[\w.-]{1,100}", name):
            raise NotFound(f"there is no list {list[:100]!r}. Lists are called models/KIND or call/JOB.")
        if kind == "call":
            entries, more = _names(name, self._call(owner, name)["outputs"]), {}
        else:
            entries, offers = self._run_blocking(of_kind, self._config.models, self._catalogue, name)
            more = {"fetchable": offers}
        found = [entry for entry in entries if search.lower() in entry.lower()]
        return {"choices": found[offset:][:limit], "total": len(found), **more}


def _names(job: str, outputs: list[Any]) -> list[str]:
    """The entries that a light job has returned: texts, or objects with a "name", one by one or as one list."""
    entries = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], list) else outputs
    names = [each.get("name") if isinstance(each, dict) else each for each in entries]
    if not all(isinstance(name, str) for name in names):
        hint = 'The job has to return list[Text], or as Json a list of texts or of objects with a "name".'
        raise PluginError(f"{job} returns no list of names.", hint=hint)
    return names
