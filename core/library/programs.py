"""What a running program may ask of the server: to submit jobs, each once by its key, and to keep values."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import pydantic
import socketio
from pydantic import Field

from core.errors import Cancelled, Conflict
from core.jobs import TERMINAL, Row, Store, Transaction, now
from core.library import plain
from core.library.runs import Run
from core.scheduler import Scheduler
from core.workers import NAMESPACE, Pool

INHERITED = ("session", "priority", "embed_metadata")
Key = Annotated[str, Field(min_length=1, max_length=500)]


class ChildRequest(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    job: str
    params: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    key: Key
    hold: bool = False
    fresh: bool = False


class Requests(pydantic.BaseModel):
    lease: str
    requests: Annotated[list[ChildRequest], Field(max_length=1_000)]


class Once(pydantic.BaseModel):
    lease: str
    key: Key
    value: Any = None


class Programs:
    """`tell(event, data, row)` emits to the clients that follow the job `row`."""

    def __init__(
        self, store: Store, scheduler: Scheduler, pool: Pool, sio: socketio.Server,
        tell: Callable[[str, Row, Row], None],
    ):  # fmt: skip
        self._store, self._scheduler, self._pool, self._sio, self._tell = store, scheduler, pool, sio, tell
        scheduler.tell_progress, pool.leave = self._tell_progress, self._leave
        self._bind("children", self.children)
        self._bind("once", self.once)

    def _bind(self, event: str, handler: Callable[[Run, Row], Row]) -> None:
        """Let workers ask something about a job that they run."""

        def answer(sid: str, message: Any = None, *rest: Any) -> Row:
            def act() -> Row:
                plain.check(message)
                if run := self._pool.run_of(sid, plain.mapping(message)):
                    return handler(run, message)
                raise Cancelled("the job was cancelled, or runs elsewhere.")

            return plain.answer(event, act)

        self._sio.on(event, answer, namespace=NAMESPACE)

    def children(self, run: Run, message: Row) -> Row:
        """Submit what is not there yet; tells of each child its state and, once it has ended, its outputs."""
        asked = {request.key: request for request in Requests(**message).requests}
        marks = ", ".join("?" * len(asked))
        kept = self._store.all(f"SELECT * FROM jobs WHERE parent = ? AND key IN ({marks})", run.job["id"], *asked)
        found = {row["key"]: row for row in kept}
        more = {"parent": run.job["id"]} | {key: run.job[key] for key in INHERITED}
        fresh = [request.model_dump() | more for key, request in asked.items() if key not in found]
        if fresh:
            rows = self._scheduler.submit(fresh, run.job["owner"], run.lease)
            found |= {row["key"]: row for row in rows}
        outputs: dict[str, list[Row]] = {row["id"]: [] for row in found.values()}
        marks = ", ".join("?" * len(outputs))
        for artifact in self._store.all(f"SELECT * FROM artifacts WHERE job IN ({marks}) ORDER BY idx", *outputs):
            outputs[artifact["job"]].append({key: artifact[key] for key in ("id", "kind", "sha256", "facts")})
        rows = [found[request["key"]] for request in message["requests"]]
        return {
            "children": [
                {key: row.get(key) for key in ("id", "state", "error")}
                | {"outputs": outputs[row["id"]] if row["state"] in TERMINAL else []}
                for row in rows
            ]
        }

    def once(self, run: Run, message: Row) -> Row:
        """The value kept under a key, which is the first that was sent; nothing if there is none."""
        asked = Once(**message)

        def change(tx: Transaction) -> None:
            tx.leased(run.job["id"], run.lease)
            row = {"job": run.job["id"], "key": asked.key, "value": json.dumps(asked.value)}
            tx.insert("recorded", row, "OR IGNORE")

        if "value" in message:
            self._store.write(change)
        kept = self._store.one("SELECT value FROM recorded WHERE job = ? AND key = ?", run.job["id"], asked.key)
        return {"value": json.loads(kept["value"])} if kept else {}

    def _leave(self, job: str, lease: str, children: list[str]) -> None:
        """A program leaves its worker until those of its `children` that are unfinished have ended."""

        def change(tx: Transaction) -> Row:
            row = tx.leased(job, lease)
            if row["cancel"]:
                raise Conflict(f"job {job} is being cancelled.", job=job)
            unfinished = {
                each["id"] for each in tx.all("SELECT id FROM jobs WHERE parent = ? AND finished IS NULL", job)
            }
            waits = unfinished.intersection(children)
            for child in waits:
                tx.insert("waits", {"job": job, "needs": child}, "OR IGNORE")
            columns = {"state": "waiting" if waits else "queued", "queued": now(), "lease": None, "worker": None}
            return tx.update_job(job, ("running",), attempt=row["attempt"] - 1, **columns)  # goes on where it was

        self._scheduler.dispatch({self._store.write(change)["plugin"]})

    def _tell_progress(self, program: str) -> None:
        row = self._store.one("SELECT * FROM jobs WHERE id = ?", program)
        if row is None:  # deleted, while a child that was held stayed
            return
        about = {"id": program, "step": row["children_ended"], "total": row["children"], "phase": "jobs"}
        self._tell("progress", about | {"eta_seconds": None}, row)
