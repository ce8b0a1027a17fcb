"""What jobs have written, and what the server says about plugins: the newest lines, kept for who comes later.

Lines wait in memory for half a second and are stored together: a job may write as many as it likes. A server that is
killed may have lost the last ones."""

import contextlib
import threading
from collections import defaultdict, deque
from typing import Annotated, Any

from pydantic import Field

from core.api import Handler, Name
from core.auth import OWNER
from core.errors import Internal
from core.jobs import Row, Store, Transaction, now, wire
from core.rest.outgoing import Outgoing

OF_ONE, OF_ALL = 200, 10_000  # lines that are kept of a job (or of all plugins), and of all together
CHARACTERS = 10_000  # of a line, as `ctx.log` has them
OLDER = "SELECT id FROM logs WHERE job IS ? ORDER BY id DESC LIMIT 1 OFFSET ?"
OLDEST = "SELECT id FROM logs ORDER BY id DESC LIMIT 1 OFFSET ?"


class Logs:
    """Stands between those who tell and `outgoing`, and passes everything on."""

    def __init__(self, store: Store, outgoing: Outgoing):
        self._store, self._outgoing = store, outgoing
        self._new = _lines()
        self._keeping = threading.Lock()
        self.handlers: list[Handler] = [self.logs]

    def tell(self, event: str, data: Row, row: Row) -> None:
        if event == "log":
            self._note(row["owner"], row["id"], row["name"], data.get("text"))
        self._outgoing.tell(event, data, row)

    def publish(self, event: Row) -> None:
        if event["type"] == "plugins":
            body = event["body"]
            self.of_plugin(body["name"], f"{body['status']}: {body['error']}" if body["error"] else body["status"])
        self._outgoing.publish(event)

    def of_plugin(self, name: str, text: str) -> None:
        self._note(OWNER, None, name, text)

    def _note(self, owner: str, job: str | None, name: str, text: Any) -> None:
        line = {"time": now(), "owner": owner, "job": job, "name": name, "text": str(text)[:CHARACTERS]}
        self._new[job].append(line)

    def keep(self) -> None:
        """Called often: store what is new, and drop what is old."""
        with self._keeping:
            new, self._new = self._new, _lines()
            if not new:
                return
            # Other threads, one that installs a plugin say, may be adding to it still: `list` copies it at one stroke.
            lines = sorted((line for each in list(new.values()) for line in list(each)), key=lambda line: line["time"])

            def change(tx: Transaction) -> None:
                for line in lines:
                    tx.insert("logs", line)
                for job in {line["job"] for line in lines}:
                    if last := tx.one(OLDER, job, OF_ONE):
                        tx.all("DELETE FROM logs WHERE job IS ? AND id <= ?", job, last["id"])
                if last := tx.one(OLDEST, OF_ALL):
                    tx.all("DELETE FROM logs WHERE id <= ?", last["id"])

            try:
                self._store.write(change)
            except Internal:  # a full disk, say: the next round may go well
                for line in reversed(lines):
                    if len(self._new[line["job"]]) < OF_ONE:
                        self._new[line["job"]].appendleft(line)
                raise

    def logs(self, owner: str, job: Name | None = None, limit: Annotated[int, Field(ge=1, le=1000)] = OF_ONE) -> Row:
        """The newest lines of your jobs, or of one, the newest last; for the admin also what is said about plugins."""
        if job is not None:
            self._store.job(job, owner)
        with contextlib.suppress(Internal):  # what cannot be stored just now is told later
            self.keep()
        where, value = ("job", job) if job is not None else ("owner", owner)
        newest = f"SELECT time, job, name, text FROM logs WHERE {where} = ? ORDER BY id DESC LIMIT ?"
        lines = self._store.all(newest, value, limit)
        return {"lines": [wire(line) for line in reversed(lines)]}


def _lines() -> dict[str | None, deque[Row]]:
    """By job, as many of each as are kept."""
    return defaultdict(lambda: deque(maxlen=OF_ONE))
