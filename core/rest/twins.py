"""REST twins of the Socket.IO events: the same handlers, the same checks, the same errors, at /api/v1."""

import functools
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_origin

import flask
from werkzeug.exceptions import UnsupportedMediaType

from core.api import OURS, Api
from core.errors import InvalidParams, TooLarge
from core.jobs import Row
from core.library import plain

BASE = "/api/v1"
JSON = "application/json"


@dataclass(frozen=True)
class Twin:
    """`{name}` in the path is a field of the event; `fixed` are fields that the path says without naming them.

    What GET cannot express as query parameters (objects) is not for GET; what changes something neither."""

    event: str
    method: str
    path: str
    fixed: Row = field(default_factory=dict)

    @property
    def said(self) -> set[str]:
        """The fields that the path says."""
        return {part[1:-1] for part in self.path.split("/") if part.startswith("{")} | self.fixed.keys()


TWINS = (
    Twin("hello", "GET", "/hello"),
    Twin("plugins", "GET", "/plugins"),
    Twin("choices", "GET", "/choices"),
    Twin("submit", "POST", "/jobs"),
    Twin("flow", "POST", "/flows"),
    Twin("plan", "POST", "/plan"),
    Twin("call", "POST", "/call"),
    Twin("jobs", "GET", "/jobs"),
    Twin("job", "GET", "/jobs/{id}"),
    Twin("cancel", "POST", "/jobs/{id}/cancel"),
    Twin("skip", "POST", "/jobs/{id}/skip"),
    Twin("retry", "POST", "/jobs/{id}/retry"),
    Twin("hold", "POST", "/jobs/{id}/hold"),
    Twin("release", "POST", "/jobs/{id}/release"),
    Twin("move", "POST", "/jobs/{id}/move"),
    Twin("queue", "GET", "/queue", {"action": "status"}),
    Twin("queue", "POST", "/queue/pause", {"action": "pause"}),
    Twin("queue", "POST", "/queue/resume", {"action": "resume"}),
    Twin("attach", "POST", "/workers"),
    Twin("detach", "POST", "/workers/detach"),
    Twin("devices", "GET", "/devices"),
    Twin("remote", "POST", "/remotes/{name}/start", {"action": "start"}),
    Twin("remote", "POST", "/remotes/{name}/stop", {"action": "stop"}),
    Twin("artifact", "GET", "/artifacts/{id}"),
    Twin("artifacts", "GET", "/artifacts"),
    Twin("review", "POST", "/review"),
    Twin("delete", "POST", "/delete"),
    Twin("lineage", "GET", "/artifacts/{id}/lineage"),
    Twin("accepts", "GET", "/artifacts/{id}/accepts"),
    Twin("compare", "GET", "/compare"),
    Twin("sessions", "GET", "/sessions"),
    Twin("session", "PATCH", "/sessions/{id}"),
    Twin("models", "GET", "/models"),
    Twin("fetch_model", "POST", "/models/fetch"),
    Twin("settings", "GET", "/settings"),
    Twin("configure", "PATCH", "/settings"),
    Twin("packages", "GET", "/packages"),
    Twin("package", "POST", "/packages"),
    Twin("logs", "GET", "/logs"),
)
STREAMED = {"subscribe": "/events"}  # what has no twin but a stream: core/rest/stream.py


def mount(app: flask.Flask, api: Callable[[], Api], max_bytes: int) -> None:
    """Add the routes. `api()` has the handlers once they are bound; bodies hold at most `max_bytes`."""
    for twin in TWINS:
        path = BASE + twin.path.replace("{", "<").replace("}", ">")
        view = functools.partial(_answer, twin, api, max_bytes)
        app.add_url_rule(path, f"{twin.method} {twin.path}", view, methods=[twin.method])


def _answer(twin: Twin, api: Callable[[], Api], max_bytes: int, **path: str) -> Row:
    owner = api().guard.owner(flask.request.environ)
    handler = api().handlers[twin.event]
    given = query(handler) if twin.method == "GET" else body(max_bytes)
    said = path | twin.fixed
    for name in given.keys() & (said.keys() | OURS):
        raise InvalidParams(f"{name[:100]} is said by the path or the token. Leave it out.", field=name[:100])
    plain.check(given)
    return {"ok": True, **handler(owner, **given, **said)}


def query(handler: Callable[..., Row]) -> Row:
    """The query parameters, one value each, but for those that the handler takes a list of."""
    known = inspect.signature(handler, eval_str=True).parameters
    lists = {name for name, each in known.items() if get_origin(each.annotation) is list}
    found = flask.request.args.to_dict(flat=False)
    for name, values in found.items():
        if len(values) > 1 and name not in lists:
            raise InvalidParams(f"{name[:100]} is given {len(values)} times. Say it once.", field=name[:100])
    return {name: values if name in lists else values[0] for name, values in found.items()}


def body(max_bytes: int) -> Row:
    """The JSON object in the body, {} where there is none. Raises InvalidParams, TooLarge, UnsupportedMediaType."""
    if flask.request.args:
        raise InvalidParams(f"{flask.request.method} takes its fields as JSON in the body, not in the address.")
    try:
        data = b"" if (flask.request.content_length or 0) > max_bytes else stream().read(max_bytes + 1)
    except ValueError as error:
        raise InvalidParams(f"the body's chunks could not be read: {str(error)[:200]}. Send it again.") from error
    if max(len(data), flask.request.content_length or 0) > max_bytes:
        raise TooLarge(f"the request is over the limit of {max_bytes:,} bytes (max_message_bytes). Upload large data.")
    if data and flask.request.mimetype != JSON:
        raise UnsupportedMediaType(f"the body has to be JSON. Send it with the header Content-Type: {JSON}.")
    if data.count(b",") + data.count(b":") > plain.MAX_VALUES:
        raise plain.too_many_values()
    try:
        given = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"the body is not JSON: {str(error)[:200]}.") from error
    if not isinstance(given, dict):
        raise InvalidParams("send one JSON object with the fields of the event.")
    return given


class Body:
    """The request's body. Each read lets the others go first: bytes that arrive fast would keep them waiting."""

    def __init__(self, stream: Any):
        self._stream = stream

    def read(self, size: int) -> bytes:
        time.sleep(0)
        return self._stream.read(size)


def stream() -> Any:
    """The request's body. Flask takes one of unknown length for empty."""
    chunked = "chunked" in flask.request.headers.get("Transfer-Encoding", "").lower()
    return Body(flask.request.environ["wsgi.input"] if chunked else flask.request.stream)
