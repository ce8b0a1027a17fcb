"""The events about what is kept: artifacts, sessions, lists of jobs and of choices."""

import re
from typing import Annotated, Any

from pydantic import Field

from core.api import Handler, Name
from core.errors import NotFound, UnknownArtifact
from core.jobs import Row, State, Store, Transaction, now, wire
from core.library.catalogue import Catalogue
from core.library.models import Models
from core.ops.config import Config

Limit = Annotated[int, Field(ge=1, le=1000)]


class Library:
    """`handlers` are bound by the API: each is called as `handler(owner, **request)`."""

    def __init__(self, config: Config, store: Store, catalogue: Catalogue):
        self._config, self._store, self._catalogue = config, store, catalogue
        self.handlers: list[Handler] = [
            self.jobs, self.artifact, self.artifacts, self.sessions, self.session, self.choices,
        ]  # fmt: skip

    def jobs(
        self, owner: str, state: State | None = None, session: str | None = None, before: str | None = None,
        limit: Limit = 50,
    ) -> Row:  # fmt: skip
        """The newest jobs first; `before` a job's id gives the next page."""
        return {"jobs": self._listed("jobs", limit, before, owner=owner, state=state, session=session)}

    def artifacts(
        self, owner: str, job: str | None = None, session: str | None = None, before: str | None = None,
        limit: Limit = 50,
    ) -> Row:  # fmt: skip
        """The newest results and uploads first; `before` an artifact's id gives the next page."""
        return {"artifacts": self._listed("artifacts", limit, before, owner=owner, job=job, session=session)}

    def artifact(self, owner: str, id: str) -> Row:
        """What is known of one result or upload. Its bytes are at /artifacts/ID."""
        row = self._store.one("SELECT * FROM artifacts WHERE id = ? AND owner = ?", id, owner)
        if row is None:
            raise UnknownArtifact(f"there is no artifact {id[:100]!r}.")
        return {"artifact": wire(row)}

    def sessions(self, owner: str) -> Row:
        """The sessions, the newest first."""
        return {"sessions": self._store.all("SELECT * FROM sessions WHERE owner = ? ORDER BY created DESC", owner)}

    def session(self, owner: str, id: Name, name: Name | None = None, memorised: dict[str, Any] | None = None) -> Row:
        """Open a session, made if need be; give it a name, remember parameters by job name."""

        def change(tx: Transaction) -> Row:
            row = {"id": id, "owner": owner, "name": id, "created": now(), "memorised": {}}
            row = tx.one("SELECT * FROM sessions WHERE id = ? AND owner = ?", id, owner) or row
            row |= {"name": name or row["name"], "memorised": row["memorised"] | (memorised or {})}
            tx.insert("sessions", row, "OR REPLACE")
            return row

        return {"session": self._store.write(change)}

    def choices(
        self, owner: str, list: str, search: str = "", offset: Annotated[int, Field(ge=0)] = 0, limit: Limit = 200
    ) -> Row:
        """The entries of a parameter's `choices_from`, for example models/checkpoint, read anew each time."""
        kind, _, name = list.partition("/")
        if kind != "models" or not re.fullmatch(r"[\w.-]{1,100}", name):
            raise NotFound(f"there is no list {list[:100]!r}. Lists are called models/KIND.")
        shipped = [model for info in self._catalogue.plugins.values() for model in info.models()]
        found = [
            entry for entry in Models(self._config.models, shipped).entries(name) if search.lower() in entry.lower()
        ]
        return {"choices": found[offset:][:limit], "total": len(found)}

    def _listed(self, table: str, limit: int, before: str | None, **columns: Any) -> list[Row]:
        given = {name: value for name, value in columns.items() if value is not None}
        where = " AND ".join([f"{name} = ?" for name in given] + ["id < ?"] * (before is not None))
        values = [*given.values(), *([] if before is None else [before])]
        sql = f"SELECT * FROM {table} WHERE {where} ORDER BY id DESC LIMIT ?"
        return [wire(row) for row in self._store.all(sql, *values, limit)]
