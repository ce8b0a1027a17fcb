"""The Socket.IO events. Every call is acknowledged with {"ok": true, ...} or {"ok": false, "error": {...}}.

A handler's signature is the event's schema: what a client may send, with types, defaults and bounds."""

import difflib
import logging
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import socketio
from pydantic import Field

from core.auth import Guard
from core.catalogue import Catalogue
from core.config import Config
from core.errors import CoreError, Internal, InvalidParams, NotFound, Unauthorized
from core.jobs import Row, Store, wire
from core.library.media import MAX_PIXELS
from core.scheduler import Scheduler

VERSION = "0.1.0"
REPLAY_PAGE = 500
EVERYONE = "everyone"
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/\\]+$")]
Priority = Literal["interactive", "normal", "batch"]
State = Literal["held", "waiting", "queued", "running", "done", "failed", "cancelled"]
Metadata = Literal["full", "minimal", "none"]
log = logging.getLogger(__name__)


class Submission(pydantic.BaseModel):
    """One job of a flow; `submit` takes the same."""

    model_config = pydantic.ConfigDict(extra="forbid")
    job: str = Field(description="plugin.job, or job where only one plugin has it.")
    params: dict[str, Any] = {}
    inputs: dict[str, Any] = Field({}, description='Artifact ids, {"job": id, "index": k}, or lists of these, by name.')
    priority: Priority = "normal"
    session: Name = "default"
    client_ref: str | None = Field(None, max_length=200, description="Sent again, it gives the same job again.")
    hold: bool = Field(False, description="Wait until `release`.")
    embed_metadata: Metadata = "full"
    id: str | None = Field(None, description='Local name, which later jobs of a flow use: {"job": "a"}.')


def room_of(owner: str, session: str | None = None, job: str | None = None) -> str:
    """The Socket.IO room of those who follow a job, a session or all that an owner has."""
    return f"job {owner} {job}" if job else f"session {owner} {session}" if session else f"owner {owner}"


def rooms(about: Row) -> list[str]:
    """The rooms that an event about `about` (owner, session, job) is for."""
    owner = about["owner"]
    return [room_of(owner), room_of(owner, about["session"]), room_of(owner, job=about["job"])] if owner else [EVERYONE]


class Api:
    """Binds the events to the kernel. `bind` adds a handler: `handler(owner, **request)` returns the answer."""

    def __init__(self, sio: socketio.Server, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler):
        self._sio, self._config, self._store = sio, config, store
        self._catalogue, self._scheduler = catalogue, scheduler
        self.guard: Guard
        self.handlers: dict[str, Callable[..., Row]] = {}
        self._owners: dict[str, str] = {}  # by socket
        sio.on("connect", self._connect)
        sio.on("disconnect", lambda sid, reason: self._owners.pop(sid, None))
        sio.on("*", self._unknown)
        for handler in (self.hello, self.plugins, self.submit, self.flow, self.cancel):
            self.bind(handler)
        sio.on("subscribe", lambda sid, *data: self.answer(self.subscribe, data, sid, socket=sid))
        self.handlers["subscribe"] = self.subscribe

    def bind(self, handler: Callable[..., Row]) -> None:
        self.handlers[handler.__name__] = handler
        checked = pydantic.validate_call(handler)
        self._sio.on(handler.__name__, lambda sid, *data: self.answer(checked, data, sid))

    def _connect(self, sid: str, environ: Row, auth: Any) -> None:
        try:
            self._owners[sid] = self.guard.owner(environ, auth.get("token") if isinstance(auth, dict) else None)
        except Unauthorized as error:
            raise socketio.exceptions.ConnectionRefusedError(str(error), error.wire()) from None

    def _unknown(self, event: str, sid: str, *data: Any) -> Row:
        near = difflib.get_close_matches(str(event), self.handlers, n=1)
        error = NotFound(f"there is no event {str(event)[:100]!r}." + (f" Did you mean {near[0]}?" if near else ""))
        return {"ok": False, "error": error.wire()}

    def answer(self, handler: Callable[..., Row], data: tuple, sid: str, **more: Any) -> Row:
        """Do what is asked and say so; whatever goes wrong becomes data."""
        try:
            request = data[0] if data and data[0] is not None else {}
            if len(data) > 1 or not isinstance(request, dict) or request.keys() & {"owner", *more}:
                raise InvalidParams("send one JSON object with the fields of the event.")
            return {"ok": True, **handler(self._owners[sid], **request, **more)}
        except pydantic.ValidationError as error:
            problem = invalid(error)
        except CoreError as error:
            problem = error
        except Exception:
            log.exception("%s failed", handler)
            problem = Internal("this failed by our own mistake; the server's log says why.")
        return {"ok": False, "error": problem.wire()}

    def hello(self, owner: str) -> Row:
        """The server's version, its limits and the caller's rights."""
        limits = {"message_bytes": self._config.max_message_bytes, "upload_bytes": self._config.max_upload_bytes}
        limits |= {"pixels": MAX_PIXELS, "attachments": 10}
        about = {"server": "stable-core", "version": VERSION, "api": 1}
        return about | {"owner": owner, "rights": ["admin"], "limits": limits}

    def plugins(self, owner: str) -> Row:
        """The plugins and the jobs they announce, with JSON Schemas and types."""
        return {"plugins": [info.wire() for info in self._catalogue.plugins.values()]}

    def submit(self, owner: str, **submission: Any) -> Row:
        """Queue one job; answered when it is on the disk."""
        request = Submission(**submission).model_dump()
        return {"job": wire(self._scheduler.submit([request], owner)[0])}

    def flow(self, owner: str, jobs: Annotated[list[Submission], Field(min_length=1, max_length=10_000)]) -> Row:
        """Queue several jobs, all or none; later ones may use results of earlier ones by their local names."""
        return {"jobs": [wire(row) for row in self._scheduler.submit([job.model_dump() for job in jobs], owner)]}

    def cancel(self, owner: str, id: str, keep_partial: bool = False) -> Row:
        """Stop a job in any unfinished state; with keep_partial, keep what is there."""
        return {"job": wire(self._scheduler.cancel(self._store.job(id, owner)["id"], keep_partial))}

    @pydantic.validate_call
    def subscribe(
        self, owner: str, since: Annotated[int | None, Field(ge=0)] = None, session: Name | None = None,
        job: str | None = None, *, socket: str,
    ) -> Row:  # fmt: skip
        """Follow all jobs, one session or one job. State events after `since` are replayed before the live ones;
        `resync` says that they are not all kept any more (or that the server is another): ask for what you need."""
        room = room_of(owner, session, job)
        for old in self._sio.rooms(socket):
            if old != socket:
                self._sio.leave_room(socket, old)
        oldest, newest = self._store.kept_events()
        resync = since is not None and not oldest - 1 <= since <= newest
        since = newest if since is None or resync else since
        while since < newest:  # the long past, page by page
            since = self._replay(since, REPLAY_PAGE, room, socket)
            self._sio.sleep(0)
        with self._store.quiet():  # nothing is published between the last one replayed and the first live one
            since = self._replay(since, -1, room, socket)
            self._sio.enter_room(socket, room)
            self._sio.enter_room(socket, EVERYONE)
        return {"seq": since, "resync": resync}

    def _replay(self, since: int, limit: int, room: str, sid: str) -> int:
        page = self._store.all("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", since, limit)
        for event in page:
            if {room, EVERYONE} & {*rooms(event)}:
                self._sio.emit(event["type"], event["body"] | {"seq": event["seq"]}, to=sid)
        return page[-1]["seq"] if page else since


def invalid(error: pydantic.ValidationError) -> InvalidParams:
    """All bad fields of a request at once."""
    errors = [{"field": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()][:50]
    text = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors)
    return InvalidParams(f"{text}.", field=errors[0]["field"], errors=errors)
