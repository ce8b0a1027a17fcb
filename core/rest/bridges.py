"""Other people's APIs on the server's own port: requests for them go on to clients/bridges, a process of its own.

That process is a client of the socket API like any other, with the token that the request brought. It starts with the
first such request."""

import base64
import binascii
import contextlib
import http.client
import ipaddress
import logging
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import flask

from core.api import Api
from core.errors import CoreError, Internal, InvalidParams, NotFound, TooLarge, Unauthorized
from core.ops import processes
from core.ops.config import Config
from core.rest import errors
from core.rest.twins import stream

PREFIXES = ("sdapi", "internal", "agent-scheduler", "v1", "mcp")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
OURS = {"host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "authorization", "cookie"}
OF_BODY = {"content-length", "expect"}  # said anew
PLAIN = "/:@!$&'()*+,;=~"  # signs that stay as they are in a path
START_SECONDS = 30
READ_BYTES = 65_536

log = logging.getLogger(__name__)


class Bridges:
    """`api()` has the Guard; `address()` is where the server listens."""

    def __init__(self, config: Config, api: Callable[[], Api], address: Callable[[], str]):
        self._config, self._api, self._address = config, api, address
        self._process: processes.LocalProcess | None = None
        self._port, self._secret, self._starting = 0, secrets.token_urlsafe(24), threading.Lock()

    @property
    def on(self) -> bool:
        """Whether they answer: as the setting says, which by itself means only where the server is on loopback."""
        return self._config.bridges == "on" or (self._config.bridges == "auto" and is_loopback(self._config.host))

    def mount(self, app: flask.Flask) -> None:
        """Add the routes."""
        for prefix in PREFIXES:
            for rule in (f"/{prefix}", f"/{prefix}/<path:rest>"):
                app.add_url_rule(rule, prefix, self._answer, methods=METHODS)

    def stop(self) -> None:
        if self._process:
            processes.end([self._process])

    def _answer(self, rest: str = "") -> Any:
        try:
            token = token_of(flask.request, self._api().guard.cookie)
            self._api().guard.owner(flask.request.environ, token)
            if not self.on:
                why = "" if self._config.bridges == "off" else ", as this server does not listen on loopback alone"
                hint = 'To switch them on, set bridges = "on" in config.toml.'
                raise NotFound(f"the bridges for other APIs are off{why}.", hint=hint)
            return self._pass_on(token)
        except Unauthorized as error:
            hint = "The token goes into the header Authorization: Bearer TOKEN, or is the password of Basic."
            return (*refused(error, hint), {"WWW-Authenticate": 'Basic realm="stable-core"'})
        except CoreError as error:
            return refused(error, error.extra["hint"] or "")

    def _pass_on(self, token: str) -> flask.Response:
        request = flask.request
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OURS | OF_BODY}
        headers |= {"Authorization": f"Bearer {token}", "X-Bridge-Secret": self._secret, "Host": request.host}
        chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        body = self._body() if chunked or request.content_length else None
        headers |= {} if chunked or request.content_length is None else {"Content-Length": str(request.content_length)}
        target, query = quote(request.path, PLAIN), quote(request.query_string, PLAIN + "%?[]")
        connection = http.client.HTTPConnection("127.0.0.1", self._started())
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
                connection.request(
                    request.method, f"{target}?{query}" if query else target, body, headers, encode_chunked=chunked
                )
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            text = "the bridge ended before it answered. What it had submitted goes on: look at the jobs."
            raise Internal(text, hint="Send the request again.") from error
        except BaseException:  # what was sent is not whole: the body is too large, or whoever sends it has gone
            connection.close()
            raise
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in OURS]
        return flask.Response(pieces(connection, answer), answer.status, kept, direct_passthrough=True)

    def _body(self) -> Iterator[bytes]:
        """The request's body in pieces. Raises TooLarge, or InvalidParams if it breaks off."""
        source, limit, size = stream(), self._config.max_upload_bytes, 0
        if (flask.request.content_length or 0) <= limit:
            while piece := read(source):
                size += len(piece)
                if size > limit:
                    break
                yield piece
            else:
                return
        raise TooLarge(f"the request is over the limit of {limit:,} bytes (max_upload_bytes).")

    def _started(self) -> int:
        """The port of the process, which is started if none runs. Raises Internal if it does not come up."""
        with self._starting:
            if self._process and self._process.exit_code() is None:
                return self._port
            file = self._config.data / "bridges.port"
            file.unlink(missing_ok=True)
            settings = {"url": self._address(), "secret": self._secret, "port_file": str(file)}
            path = self._config.data / "logs" / "bridges.log"
            self._process = processes.LocalProcess(Path(sys.executable), settings, path, "clients.bridges")
            deadline = time.monotonic() + START_SECONDS
            while not file.exists():
                if self._process.exit_code() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    raise Internal("the bridges do not start.", hint=f"Their log says why: {path}")
                time.sleep(0.02)
            self._port = int(file.read_text())
            return self._port


def read(source: Any) -> bytes:
    """What comes next of a request, which may have chunks that are none. Raises InvalidParams."""
    try:
        return source.read(READ_BYTES)
    except (OSError, ValueError) as error:
        raise InvalidParams("the request broke off, or its chunks make no sense. Send it again.") from error


def refused(error: CoreError, hint: str) -> tuple[Any, int]:
    """An answer in which each kind of client finds its words: OpenAI's in `error`, A1111's in `detail`."""
    body, status = errors.failed(error)
    body["error"] |= {"type": "server_error" if status >= 500 else "invalid_request_error", "param": None}
    return body | {"detail": f"{error} {hint}".strip()}, status


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(request: flask.Request, cookie: str) -> str:
    """What a request brings: a Bearer token, the password of Basic, or the page's cookie."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return given
    return request.cookies.get(cookie, "")


def pieces(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The answer's bytes as they come."""
    try:
        while piece := answer.read1(READ_BYTES):
            yield piece
    except (OSError, http.client.HTTPException):
        log.warning("a bridge's answer broke off")
        raise
    finally:
        connection.close()
