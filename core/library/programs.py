"""What a running program may ask of the server: to submit jobs, each once by its key, and to keep values."""

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import socketio
from pydantic import Field

from core.errors import Cancelled, Conflict, Forbidden, InvalidParams
from core.jobs import TERMINAL, Row, Store, Transaction, now
from core.library import plain
from core.library.catalogue import Catalogue
from core.library.exports import Exports
from core.library.extending import take_over
from core.library.lineage import Lineage
from core.library.review import owned
from core.library.runs import Run
from core.library.waiting import TIMES
from core.scheduler import Scheduler
from core.workers import NAMESPACE, Pool

INHERITED = ("session", "priority", "embed_metadata")
PACES, ENDS = 500, 32  # programs whose pace is known, and ends of children that it is made of
Key = Annotated[str, Field(min_length=1, max_length=500)]
# Of the ids that a program needs: its unfinished children, and artifacts that nobody has reviewed.
MISSING = """WITH needs(id) AS (SELECT value FROM json_each(?))
SELECT jobs.id FROM needs CROSS JOIN jobs ON jobs.id = needs.id WHERE parent = ? AND finished IS NULL UNION ALL
SELECT artifacts.id FROM needs CROSS JOIN artifacts ON artifacts.id = needs.id WHERE owner = ? AND review = 'new'"""


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


class Ids(pydantic.BaseModel):
    lease: str
    ids: Annotated[list[str], Field(max_length=1_000)]


class Once(pydantic.BaseModel):
    lease: str
    key: Key
    value: Any = None


class Asked(pydantic.BaseModel):
    lease: str
    key: Key
    artifacts: Annotated[list[str], Field(max_length=1_000)]


class Named(pydantic.BaseModel):
    artifact: str
    path: Annotated[str, Field(min_length=1, max_length=500)]


class Names(pydantic.BaseModel):
    lease: str
    names: Annotated[list[Named], Field(max_length=1_000)]


class Link(pydantic.BaseModel):
    artifact: str
    source: str


class Links(pydantic.BaseModel):
    lease: str
    links: Annotated[list[Link], Field(max_length=1_000)]


class Relatives(pydantic.BaseModel):
    id: str
    direction: Literal["ancestors", "descendants", "siblings"]
    depth: Annotated[int, Field(ge=1, le=100)]
    limit: Annotated[int, Field(ge=1, le=1000)]


class Programs:
    """`tell(event, data, row)` emits to the clients that follow the job `row`."""

    def __init__(
        self, store: Store, catalogue: Catalogue, scheduler: Scheduler, pool: Pool, sio: socketio.Server,
        tell: Callable[[str, Row, Row], None], exports: Exports, lineage: Lineage,
    ):  # fmt: skip
        self._store, self._catalogue, self._scheduler, self._pool = store, catalogue, scheduler, pool
        self._sio, self._tell = sio, tell
        self._exports, self._lineage = exports, lineage
        self._paces: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()  # when how many children had ended
        scheduler.tell_progress, pool.leave = self._tell_progress, self._leave
        for handler in (self.children, self.states, self.once, self.review, self.name, self.link, self.lineage):
            self._bind(handler.__name__, handler)

    def _bind(self, event: str, handler: Callable[[Run, Row], Row]) -> None:
        """Let workers ask something about a program that they run."""

        def answer(sid: str, message: Any = None, *rest: Any) -> Row:
            def act() -> Row:
                plain.check(message)
                run = self._pool.run_of(sid, plain.mapping(message))
                if run is None:
                    raise Cancelled("the job was cancelled, or runs elsewhere.")
                if not run.job["program"]:  # its worker may be on a machine of somebody else
                    raise Forbidden(f"{run.job['name']} is no program.", hint="Announce it with @job(program=True).")
                return handler(run, message)

            return plain.answer(event, act)

        self._sio.on(event, answer, namespace=NAMESPACE)

    def children(self, run: Run, message: Row) -> Row:
        """Submit what is not there yet; tells of each child its state and, once it has ended, its outputs."""
        asked = {request.key: request for request in Requests(**message).requests}
        marks = ", ".join("?" * len(asked))
        kept = self._store.all(f"SELECT * FROM jobs WHERE parent = ? AND key IN ({marks})", run.job["id"], *asked)
        found = {row["key"]: row for row in kept}
        more = {"parent": run.job["id"]} | {key: run.job[key] for key in INHERITED}
        requests = {key: request.model_dump() | more for key, request in asked.items()}
        if run.job["extends"]:
            found = take_over(self._store, self._catalogue, self._scheduler, run.job, requests, found)
        fresh = [request for key, request in requests.items() if key not in found]
        if fresh:
            rows = self._scheduler.submit(fresh, run.job["owner"], run.lease)
            if run.job["id"] not in self._paces:
                self._pace(run.job["id"], run.job["children_ended"] or 0)
            found |= {row["key"]: row for row in rows}
        return {"children": self._told([found[request["key"]] for request in message["requests"]])}

    def states(self, run: Run, message: Row) -> Row:
        """What has become of children, but for those that are not known under a key any more."""
        sql = """SELECT id, state, error FROM jobs WHERE id IN (SELECT value FROM json_each(?))
            AND owner = ? AND key IS NOT NULL"""
        return {"children": self._told(self._store.all(sql, json.dumps(Ids(**message).ids), run.job["owner"]))}

    def _told(self, rows: list[Row]) -> list[Row]:
        outputs: dict[str, list[Row]] = {row["id"]: [] for row in rows if row["state"] in TERMINAL}
        sql = "SELECT * FROM artifacts WHERE job IN (SELECT value FROM json_each(?)) ORDER BY job, idx"
        for artifact in self._store.all(sql, json.dumps([*outputs])):
            outputs[artifact["job"]].append({key: artifact[key] for key in ("id", "kind", "sha256", "facts", "name")})
        keys = ("id", "state", "error")
        return [{key: row.get(key) for key in keys} | {"outputs": outputs.get(row["id"], [])} for row in rows]

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

    def review(self, run: Run, message: Row) -> Row:
        """What a person said of the artifacts, kept under the key once it is said of all: `said`, by id."""
        asked, key = Asked(**message), f"review/{message['key']}"

        def change(tx: Transaction) -> Row:
            tx.leased(run.job["id"], run.lease)
            kept = tx.one("SELECT value FROM recorded WHERE job = ? AND key = ?", run.job["id"], key)
            said = json.loads(kept["value"]) if kept else {}
            found = [owned(tx, id, run.job["owner"]) for id in asked.artifacts if id not in said]
            said |= {row["id"]: row["review"] for row in found if row["review"] != "new"}
            if found and all(id in said for id in asked.artifacts):
                tx.insert("recorded", {"job": run.job["id"], "key": key, "value": json.dumps(said)}, "OR REPLACE")
            return said

        return {"said": self._store.write(change)}

    def name(self, run: Run, message: Row) -> Row:
        """Name artifacts; tells where their files are, in the outputs folder."""
        names = Names(**message).names
        return {
            "paths": [
                self._exports.name(owned(self._store, each.artifact, run.job["owner"]), each.path) for each in names
            ]
        }

    def link(self, run: Run, message: Row) -> Row:
        """Note what artifacts were made from, all of the links or none; what is older was not made from them."""
        links = Links(**message).links

        def change(tx: Transaction) -> None:
            for each in links:
                child, source = (owned(tx, id, run.job["owner"]) for id in (each.artifact, each.source))
                if child["id"] == source["id"] or child["created"] < source["created"]:
                    raise InvalidParams(f"{child['id']} was not made from {source['id']}, which came later.")
                tx.insert("links", {"parent": source["id"], "child": child["id"]}, "OR IGNORE")

        self._store.write(change)
        return {}

    def lineage(self, run: Run, message: Row) -> Row:
        rows = self._lineage.lineage(run.job["owner"], **Relatives(**message).model_dump())["artifacts"]
        keys = ("parents", "depth", "job_name", "review", "name")
        artifact = lambda row: {key: row.get(key) for key in ("id", "kind", "sha256", "facts", "name")}  # noqa: E731
        return {"artifacts": [{key: row.get(key) for key in keys} | {"artifact": artifact(row)} for row in rows]}

    def _leave(self, job: str, lease: str, needs: list[str]) -> None:
        """A program leaves its worker until those of its children that it `needs` have ended, artifacts are reviewed,
        and a time has come."""

        def change(tx: Transaction) -> Row:
            row = tx.leased(job, lease)
            if row["cancel"]:
                raise Conflict(f"job {job} is being cancelled.", job=job)
            waits = [each["id"] for each in tx.all(MISSING, json.dumps(needs), job, row["owner"])]
            waits += [need for need in needs if need.startswith(TIMES)]
            for need in waits:
                tx.insert("waits", {"job": job, "needs": need}, "OR IGNORE")
            columns = {"state": "waiting" if waits else "queued", "queued": now(), "lease": None, "worker": None}
            columns |= {"deaths": 0, "alone": 0}  # it got on: what ended its workers before was not all its doing
            return tx.update_job(job, ("running",), attempt=row["attempt"] - 1, **columns)  # goes on where it was

        self._scheduler.dispatch({self._store.write(change)["plugin"]})

    def _tell_progress(self, program: str) -> None:
        row = self._store.one("SELECT id, owner, session, children, children_ended FROM jobs WHERE id = ?", program)
        if row is None:  # deleted, while a child that was held stayed
            return
        about = {"id": program, "step": row["children_ended"], "total": row["children"], "phase": "jobs"}
        self._tell("progress", about | {"eta_seconds": self._eta(row)}, row)

    def _eta(self, row: Row) -> float | None:
        """At the pace of the last children."""
        pace = self._pace(row["id"], row["children_ended"])
        (first, before), (last, ended) = pace[0], pace[-1]
        left = row["children"] - row["children_ended"]
        return round((last - first) * left / (ended - before), 2) if ended > before else None

    def _pace(self, program: str, ended: int) -> deque[tuple[float, int]]:
        pace = self._paces[program] = self._paces.pop(program, None) or deque(maxlen=ENDS)
        pace.append((time.monotonic(), ended))
        if len(self._paces) > PACES:
            self._paces.popitem(last=False)
        return pace
