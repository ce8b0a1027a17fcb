"""The Socket.IO events. Every call is acknowledged with {"ok": true, ...} or {"ok": false, "error": {...}}.

A handler's signature is the event's schema: what a client may send, with types, defaults and bounds. The way of a job
is here; what else there is to ask is bound from core/library."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import socketio
from pydantic import Field

from core.auth import Guard
from core.errors import InvalidParams, NotFound, Unauthorized
from core.jobs import Priority, Row, Store, wire
from core.library import plain
from core.library.fair import fairly
from core.library.near import did_you_mean
from core.scheduler import Scheduler

VERSION = "0.1.0"
EVERYONE = "everyone"
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
Handler = Callable[..., Row]
OURS = {"owner", "self", "socket"}  # what a handler is given by the server, so no client sends it


class Submission(pydantic.BaseModel):
    """One job of a flow; `submit` takes the same."""

    model_config = pydantic.ConfigDict(extra="forbid")
    job: str = Field(description="plugin.job, or job where only one plugin has it.")
    params: dict[str, Any] = {}
    inputs: dict[str, Any] = Field({}, description='Artifact ids, {"job": id, "index": k}, or lists of these, by name.')
    priority: Priority = "normal"
    session: Name = "default"
    client_ref: Name | None = Field(None, description="Sent again, it gives the same job again.")
    hold: bool = Field(False, description="Wait until `release`.")
    fresh: bool = Field(False, description="Run it even if the results of an equal job are there.")
    embed_metadata: Literal["full", "minimal", "none"] = "full"
    id: Name | None = Field(None, description='Local name, which later jobs of a flow use: {"job": "a"}.')


Jobs = Annotated[list[pydantic.SkipValidation[Submission]], Field(min_length=1, max_length=10_000)]


def room_of(owner: str, session: str | None = None, job: str | None = None) -> str:
    """The Socket.IO room of those who follow a job, a session or all that an owner has."""
    return plain.compact(["job", owner, job] if job else ["session", owner, session] if session else [owner])


def rooms(about: Row) -> list[str]:
    """The rooms that an event about `about` (owner, session, job) is for."""
    owner = about["owner"]
    return [room_of(owner), room_of(owner, about["session"]), room_of(owner, job=about["job"])] if owner else [EVERYONE]


class Api:
    """Binds handlers to events: `handler(owner, **request)` returns the answer. A keyword `socket` gets the socket."""

    def __init__(self, sio: socketio.Server, store: Store, scheduler: Scheduler):
        self._sio, self._store, self._scheduler = sio, store, scheduler
        self.guard: Guard
        self.handlers: dict[str, Handler] = {}
        self._owners: dict[str, str] = {}  # by socket
        sio.on("connect", self._connect)
        sio.on("disconnect", lambda sid, reason=None: self._owners.pop(sid, None))
        sio.on("*", self._unknown)
        for handler in (self.submit, self.flow, self.cancel):
            self.bind(handler)

    def bind(self, handler: Handler) -> None:
        name = handler.__name__
        self.handlers[name] = pydantic.validate_call(handler)
        self._sio.on(name, lambda sid, *data: self._answer(name, sid, data))

    def _connect(self, sid: str, environ: Row, auth: Any) -> None:
        try:
            self._owners[sid] = self.guard.owner(environ, auth.get("token") if isinstance(auth, dict) else None)
        except Unauthorized as error:
            raise socketio.exceptions.ConnectionRefusedError(str(error), error.wire()) from None

    def _unknown(self, event: str, sid: str, *data: Any) -> Row:
        near = did_you_mean(str(event), self.handlers)
        return {"ok": False, "error": NotFound(f"there is no event {str(event)[:100]!r}.{near}").wire()}

    def _answer(self, event: str, sid: str, data: tuple) -> Row:
        """Do what is asked and say so; whatever goes wrong becomes data."""

        def act() -> Row:
            request = data[0] if data and data[0] is not None else {}
            if len(data) > 1 or not isinstance(request, dict) or request.keys() & OURS:
                raise InvalidParams("send one JSON object with the fields of the event.")
            plain.check(request)
            if sid not in self._owners:
                raise Unauthorized("this connection has ended.", hint="Connect again.")
            more = {"socket": sid} if event == "subscribe" else {}
            return self.handlers[event](self._owners[sid], **request, **more)

        return plain.answer(event, act)

    def submit(self, owner: str, **submission: Any) -> Row:
        """Queue one job; answered when it is on the disk."""
        request = Submission(**submission).model_dump()
        return {"job": wire(self._scheduler.submit([request], owner)[0])}

    def flow(self, owner: str, jobs: Jobs) -> Row:
        """Queue several jobs, all or none; later ones may use results of earlier ones by their local names."""
        requests = plain.each("jobs", Submission, jobs)
        return {"jobs": [wire(row) for row in fairly(self._scheduler.submit(requests, owner, flow=True))]}

    def cancel(self, owner: str, id: str, keep_partial: bool = False) -> Row:
        """Stop a job in any unfinished state; with keep_partial, keep what is there."""
        return {"job": wire(self._scheduler.cancel(self._store.job(id, owner)["id"], keep_partial))}
