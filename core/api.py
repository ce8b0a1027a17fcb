"""The Socket.IO events. Every call is acknowledged with {"ok": true, ...} or {"ok": false, "error": {...}}."""

import difflib
import logging
from collections.abc import Callable
from typing import Any, Literal

import pydantic
import socketio
from pydantic import Field

from core.auth import Guard
from core.catalogue import Catalogue
from core.config import Config
from core.errors import CoreError, Internal, InvalidParams, NotFound, Unauthorized, UnknownArtifact
from core.jobs import Row, Store, now, wire
from core.library.models import Models
from core.scheduler import Scheduler
from core.types import MAX_PIXELS
from core.workers import Pool

VERSION = "0.1.0"
REPLAY_PAGE = 500
log = logging.getLogger(__name__)


class Request(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class Nothing(Request):
    pass


class Choices(Request):
    list: str = Field(description='What a parameter\'s choices_from says, for example "models/checkpoint".')
    search: str = Field("", description="Only entries that contain this.")
    offset: int = Field(0, ge=0)
    limit: int = Field(200, ge=1, le=1000)


class Submit(Request):
    job: str = Field(description="plugin.job, or job where only one plugin has it.")
    params: dict[str, Any] = {}
    inputs: dict[str, Any] = Field(
        {}, description='Artifact ids, {"job": id} or {"job": id, "index": k}, or lists of these.'
    )
    priority: Literal["interactive", "normal", "batch"] = "normal"
    session: str = Field("default", min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/\\]+$")
    client_ref: str | None = Field(None, max_length=200, description="Sent again, it gives the same job again.")
    hold: bool = Field(False, description="Wait until `release`.")
    embed_metadata: Literal["full", "minimal", "none"] = "full"


class FlowJob(Submit):
    id: str | None = Field(None, description='Local name that later jobs of the flow use: {"job": "a"}.')


class Flow(Request):
    jobs: list[FlowJob] = Field(min_length=1, max_length=10_000)


class JobId(Request):
    id: str


class Cancel(JobId):
    keep_partial: bool = Field(False, description="Keep what is there instead of discarding it.")


class Move(JobId):
    to: Literal["front", "back"]


class Listing(Request):
    session: str | None = None
    before: str | None = Field(None, description="Only those older than this id: for the next page.")
    limit: int = Field(50, ge=1, le=1000)


class Jobs(Listing):
    state: Literal["held", "waiting", "queued", "running", "done", "failed", "cancelled"] | None = None


class Artifacts(Listing):
    job: str | None = None


class Queue(Request):
    action: Literal["status", "pause", "resume"] = "status"


class Session(Request):
    id: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/\\]+$")
    memorised: dict[str, Any] | None = Field(None, description="Parameters to remember, by job name.")


class Subscribe(Request):
    since: int | None = Field(None, ge=0, description="Replay the state events after this number first.")
    session: str | None = None
    job: str | None = None


EVERYONE = "everyone"


def room_of(owner: str, session: str | None = None, job: str | None = None) -> str:
    """The Socket.IO room of those who follow a job, a session or all that an owner has."""
    return f"job {owner} {job}" if job else f"session {owner} {session}" if session else f"owner {owner}"


def rooms(event: Row) -> list[str]:
    """The rooms that an event or a row with owner, session and job is for."""
    owner = event["owner"]
    if owner is None:
        return [EVERYONE]
    return [room_of(owner), room_of(owner, event["session"]), room_of(owner, job=event["job"])]


class Api:
    """Binds the events to the kernel. `handlers` is the list that documentation and tests compare with."""

    def __init__(
        self, sio: socketio.Server, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler, pool: Pool
    ):
        self._sio, self._config, self._store = sio, config, store
        self._catalogue, self._scheduler, self._pool = catalogue, scheduler, pool
        self.guard: Guard
        self._owners: dict[str, str] = {}  # by socket
        self.handlers: dict[str, tuple[type[Request], Callable[..., Row]]] = {
            "hello": (Nothing, self.hello),
            "plugins": (Nothing, self.plugins),
            "choices": (Choices, self.choices),
            "submit": (Submit, self.submit),
            "flow": (Flow, self.flow),
            "job": (JobId, self.job),
            "jobs": (Jobs, self.jobs),
            "cancel": (Cancel, self.cancel),
            "retry": (JobId, self.retry),
            "move": (Move, self.move),
            "hold": (JobId, self.hold),
            "release": (JobId, self.release),
            "queue": (Queue, self.queue),
            "artifact": (JobId, self.artifact),
            "artifacts": (Artifacts, self.artifacts),
            "sessions": (Nothing, self.sessions),
            "session": (Session, self.session),
            "subscribe": (Subscribe, self.subscribe),
        }
        sio.on("connect", self._connect)
        sio.on("disconnect", lambda sid, reason: self._owners.pop(sid, None))
        sio.on("*", self._unknown)
        for event in self.handlers:
            sio.on(event, lambda sid, data=None, event=event: self.answer(event, data, sid))

    def _connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        try:
            self._owners[sid] = self.guard.owner(environ, auth.get("token") if isinstance(auth, dict) else None)
        except Unauthorized as error:
            raise socketio.exceptions.ConnectionRefusedError(error.wire()) from None

    def _unknown(self, event: str, sid: str, *data: Any) -> Row:
        near = difflib.get_close_matches(str(event), self.handlers, n=1)
        error = NotFound(f"there is no event {str(event)[:100]!r}." + (f" Did you mean {near[0]}?" if near else ""))
        return {"ok": False, "error": error.wire()}

    def answer(self, event: str, data: Any, sid: str) -> Row:
        """Check the request, do it, and say so; whatever goes wrong becomes data."""
        request, handler = self.handlers[event]
        try:
            parsed = request.model_validate({} if data is None else data)
            return {"ok": True, **handler(parsed, self._owners[sid], sid)}
        except pydantic.ValidationError as error:
            errors = [{"field": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
            text = "; ".join(
                f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors[:10]
            )
            return {
                "ok": False,
                "error": InvalidParams(f"{event}: {text}.", field=errors[0]["field"], errors=errors[:50]).wire(),
            }
        except CoreError as error:
            return {"ok": False, "error": error.wire()}
        except Exception:
            log.exception("%s failed", event)
            return {
                "ok": False,
                "error": Internal(f"{event} failed by our own mistake; the server's log says why.").wire(),
            }

    def hello(self, request: Nothing, owner: str, sid: str) -> Row:
        limits = {
            "message_bytes": self._config.max_message_bytes,
            "upload_bytes": self._config.max_upload_bytes,
            "pixels": MAX_PIXELS,
            "attachments": 10,
        }
        return {
            "server": "stable-core",
            "version": VERSION,
            "api": 1,
            "owner": owner,
            "rights": ["admin"],
            "limits": limits,
        }

    def plugins(self, request: Nothing, owner: str, sid: str) -> Row:
        return {"plugins": [info.wire() for info in self._catalogue.plugins.values()]}

    def choices(self, request: Choices, owner: str, sid: str) -> Row:
        kind, _, name = request.list.partition("/")
        if kind != "models" or not name:
            raise NotFound(f"there is no list {request.list[:100]!r}. Lists are called models/KIND.")
        found = [
            entry
            for entry in Models(self._config.models, self._catalogue.shipped_models()).entries(name)
            if request.search.lower() in entry.lower()
        ]
        return {"choices": found[request.offset :][: request.limit], "total": len(found)}

    def submit(self, request: Submit, owner: str, sid: str) -> Row:
        return {"job": wire(self._scheduler.submit([request.model_dump()], owner)[0])}

    def flow(self, request: Flow, owner: str, sid: str) -> Row:
        return {
            "jobs": [wire(row) for row in self._scheduler.submit([job.model_dump() for job in request.jobs], owner)]
        }

    def job(self, request: JobId, owner: str, sid: str) -> Row:
        row = self._owned(request.id, owner)
        return {"job": wire(row | {"position": self._scheduler.ready.position(row["id"])})}

    def jobs(self, request: Jobs, owner: str, sid: str) -> Row:
        return {"jobs": self._listed("jobs", request, owner, state=request.state)}

    def cancel(self, request: Cancel, owner: str, sid: str) -> Row:
        return {"job": wire(self._scheduler.cancel(self._owned(request.id, owner)["id"], request.keep_partial))}

    def retry(self, request: JobId, owner: str, sid: str) -> Row:
        return {"job": wire(self._scheduler.retry(self._owned(request.id, owner)["id"]))}

    def move(self, request: Move, owner: str, sid: str) -> Row:
        return {"job": wire(self._scheduler.move(self._owned(request.id, owner)["id"], request.to == "front"))}

    def hold(self, request: JobId, owner: str, sid: str) -> Row:
        return {"job": wire(self._scheduler.hold(self._owned(request.id, owner)["id"]))}

    def release(self, request: JobId, owner: str, sid: str) -> Row:
        return {"job": wire(self._scheduler.release(self._owned(request.id, owner)["id"]))}

    def queue(self, request: Queue, owner: str, sid: str) -> Row:
        if request.action != "status":
            self._scheduler.pause(request.action == "pause")
        return {
            "paused": self._scheduler.paused,
            "queued": len(self._scheduler.ready),
            "workers": self._pool.describe(),
        }

    def artifact(self, request: JobId, owner: str, sid: str) -> Row:
        row = self._store.one("SELECT * FROM artifacts WHERE id = ? AND owner = ?", request.id, owner)
        if row is None:
            raise UnknownArtifact(f"there is no artifact {request.id[:100]!r}.")
        return {"artifact": wire(row)}

    def artifacts(self, request: Artifacts, owner: str, sid: str) -> Row:
        return {"artifacts": self._listed("artifacts", request, owner, job=request.job)}

    def sessions(self, request: Nothing, owner: str, sid: str) -> Row:
        return {"sessions": self._store.all("SELECT * FROM sessions WHERE owner = ? ORDER BY created DESC", owner)}

    def session(self, request: Session, owner: str, sid: str) -> Row:
        """Open a session, made if need be; `memorised` replaces what is remembered for the jobs it names."""
        known = self._store.one("SELECT * FROM sessions WHERE id = ? AND owner = ?", request.id, owner)
        row = known or {"id": request.id, "name": request.id, "owner": owner, "created": now(), "memorised": {}}
        if request.memorised is not None or not known:
            row["memorised"] |= request.memorised or {}
            self._store.write(lambda tx: tx.insert("sessions", row, "OR REPLACE"))
        return {"session": row}

    def subscribe(self, request: Subscribe, owner: str, sid: str) -> Row:
        """Follow all jobs, one session or one job. Events after `since` are replayed before the live ones."""
        room = room_of(owner, request.session, request.job)
        for old in self._sio.rooms(sid):
            if old != sid:
                self._sio.leave_room(sid, old)
        since, resync = self._store.last_event(), False
        if request.since is not None:
            resync = not self._store.oldest_event() - 1 <= request.since <= since
            since = since if resync else request.since
        while len(page := self._store.events_after(since, REPLAY_PAGE)) == REPLAY_PAGE:
            since = self._replay(page, room, sid)
            self._sio.sleep(0)
        with self._store.quiet():  # nothing is published between the last one replayed and the first live one
            since = self._replay(self._store.events_after(since, -1), room, sid) or since
            self._sio.enter_room(sid, room)
            self._sio.enter_room(sid, EVERYONE)
        return {"seq": since, "resync": resync}

    def _replay(self, events: list[Row], room: str, sid: str) -> int:
        for event in events:
            if {room, EVERYONE} & {*rooms(event)}:
                self._sio.emit(event["type"], event["body"] | {"seq": event["seq"]}, to=sid)
        return events[-1]["seq"] if events else 0

    def _owned(self, job: str, owner: str) -> Row:
        row = self._store.job(job)
        if row["owner"] != owner:
            raise NotFound(f"there is no job {job}.")
        return row

    def _listed(self, table: str, request: Listing, owner: str, **columns: Any) -> list[Row]:
        """The newest rows first."""
        wanted = {"owner": owner, "session": request.session, **columns}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join([f"{name} = ?" for name in given] + (["id < ?"] if request.before else []))
        values = [*given.values(), *([request.before] if request.before else [])]
        return [
            wire(row)
            for row in self._store.all(
                f"SELECT * FROM {table} WHERE {where} ORDER BY id DESC LIMIT ?", *values, request.limit
            )
        ]
