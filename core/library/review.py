"""What a person says about results: new, picked or rejected. Jobs behind a review gate wait for it."""

from typing import Annotated, Literal

from pydantic import Field

from core.api import Handler, Name
from core.errors import UnknownArtifact
from core.jobs import Row, Store, Transaction, wire
from core.library.waiting import After, settle
from core.scheduler import Scheduler


class Review:
    def __init__(self, store: Store, scheduler: Scheduler):
        self._store, self._scheduler = store, scheduler
        self.picks = 0  # so far
        self.handlers: list[Handler] = [self.review]

    def review(
        self, owner: str, ids: Annotated[list[Name], Field(min_length=1, max_length=500)],
        state: Literal["new", "picked", "rejected"],
    ) -> Row:  # fmt: skip
        """Say what you think of results, all of `ids` or none. Jobs that waited for it run if something was picked."""

        after = After()

        def change(tx: Transaction) -> list[Row]:
            rows = [owned(tx, id, owner) for id in dict.fromkeys(ids)]
            for row in rows:
                if row["review"] != state:
                    row["review"] = state
                    tx.all("UPDATE artifacts SET review = ? WHERE id = ?", state, row["id"])
                    tx.event("artifact", wire(row), row)
            self.picks += state == "picked"
            settle(tx, after, reviewed=[row["id"] for row in rows])
            return rows

        rows = self._store.write(change)
        self.picks += state == "picked"  # again: by now it is committed
        self._scheduler.follow_up(after)
        return {"artifacts": [wire(row) for row in rows]}


def owned(db: Transaction | Store, id: str, owner: str) -> Row:
    """The artifact `id` of an owner; raises UnknownArtifact."""
    row = db.one("SELECT * FROM artifacts WHERE id = ? AND owner = ?", id, owner)
    if row is None:
        raise UnknownArtifact(f"there is no artifact {id[:100]!r}.")
    return row
