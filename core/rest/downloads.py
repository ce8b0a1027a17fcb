"""How bytes go out: GET /artifacts/<id>, as they are stored, or a picture as JPEG or WebP.

Who has a token can sign a link to an artifact of theirs, which works without the token for a while."""

import contextlib
import hashlib
import hmac
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import flask
import pydantic
from pydantic import Field

from core.api import Api
from core.artifacts import Blobs
from core.auth import Guard
from core.errors import InvalidParams, Unauthorized, UnknownArtifact
from core.jobs import Row, Store
from core.library import media
from core.library.review import owned
from core.types import KINDS

SAFE_INLINE = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "audio/",
    "video/",
    "text/plain",
    "application/json",
)


CONVERTED_AT_ONCE = max(2, min(4, (os.cpu_count() or 2) - 1))  # most threads stay for others
LARGE_PIXELS = 16_000_000  # one of these at a time: it takes seconds and hundreds of megabytes
FOR_GOOD = "private, max-age=31536000, immutable"
LEAST_OF_HASH = 8  # characters


class Wanted(pydantic.BaseModel):
    """As what a picture is sent. Other words in the address tell caches apart and mean nothing to us."""

    format: Literal["jpeg", "webp"] | None = Field(None, description="Of a picture; if not given, as it is stored.")
    quality: int = Field(80, ge=1, le=100, description="Of jpeg and webp: 100 is best and largest.")
    size: int | None = Field(
        None, ge=16, le=4096, description="With format: a thumbnail, whose longer side has at most that many pixels."
    )
    v: str = Field("", description="How the artifact's sha256 begins: who asks like that need never ask again.")
    expires: int = Field(0, description="Until when a signed link works, in seconds since 1970.")
    signature: str = Field("", description="Of a signed link, in hexadecimal digits: takes the place of the token.")


def mount(
    app: flask.Flask, store: Store, blobs: Blobs, run_blocking: Callable[..., Any], api: Callable[[], Api]
) -> None:
    """Add the route."""
    turns = Turns()

    @app.get("/artifacts/<id>")
    def download(id: str) -> Any:
        wanted = Wanted.model_validate(flask.request.args.to_dict())
        owner = reader(api().guard, id, wanted)
        row = owned(store, id, owner)
        path = blobs.path(row["sha256"])
        if not path.is_file():
            raise UnknownArtifact(f"the bytes of artifact {id} are gone from the server's disk.")
        if wanted.size and not wanted.format:
            raise InvalidParams("size is there for converted pictures.", field="size", hint="Send format=webp, too.")
        if wanted.format:
            answer = _converted(row, path, wanted, turns, run_blocking)
        else:
            answer = flask.send_file(
                path, row["mime"], as_attachment=not row["mime"].startswith(SAFE_INLINE),
                download_name=_called(row), etag=row["sha256"], conditional=True,
            )  # fmt: skip
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Content-Security-Policy"] = (
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        )
        same = len(wanted.v) >= LEAST_OF_HASH and row["sha256"].startswith(wanted.v)
        # A later attempt may replace it; the ETag makes it cheap.
        answer.headers["Cache-Control"] = FOR_GOOD if same else "private, no-cache"
        return answer


def reader(guard: Guard, id: str, wanted: Wanted) -> str:
    """Who may read it: whoever signed the link, else whoever the token is of. Raises Unauthorized."""
    if wanted.expires > time.time():
        for owner, token in guard.tokens.items():
            if hmac.compare_digest(signed(token, id, wanted.expires).encode(), wanted.signature.encode()):
                return owner
    try:
        return guard.owner(flask.request.environ)
    except Unauthorized as error:
        if not wanted.signature:
            raise
        text = "this link has expired, or was not signed for this artifact."
        raise Unauthorized(text, hint="Ask for a new one.") from error


def signed(token: str, id: str, expires: int) -> str:
    """The signature of a link. It tells nothing of the token and is good for nothing else; a new token ends it."""
    return hmac.new(token.encode(), f"artifact {id} {expires}".encode(), hashlib.sha256).hexdigest()


class Turns:
    """Keeps the conversion of many pictures, or of huge ones, from taking all threads, processors and memory."""

    def __init__(self):
        self._few, self._large = threading.BoundedSemaphore(CONVERTED_AT_ONCE), threading.Lock()

    @contextlib.contextmanager
    def of(self, row: Row) -> Iterator[None]:
        """Entered while it is converted."""
        facts = row["facts"]
        try:
            large = facts["width"] * facts["height"] > LARGE_PIXELS
        except (KeyError, TypeError):  # a plugin may say what it likes
            large = True
        with self._large if large else contextlib.nullcontext(), self._few:
            yield


def _called(row: Row) -> str:
    """The name of its file: an upload's has its suffix, one that a program has given has none."""
    suffix = KINDS[row["kind"]].suffix if row["job"] and row["name"] else ""
    return (row["name"] or row["id"]) + suffix


def _converted(row: Row, path: Path, wanted: Wanted, turns: Turns, run_blocking: Callable[..., Any]) -> flask.Response:
    """Made anew each time, unless the client has it."""
    if row["kind"] not in ("image", "mask"):
        text = f"{row['id']} is of kind {row['kind']}; only pictures can be had as {wanted.format}."
        raise InvalidParams(text, field="format", hint="Leave format out.")
    etag = f"{row['sha256']}-{wanted.format}-{wanted.quality}" + (f"-{wanted.size}" if wanted.size else "")
    data = b""
    if etag not in flask.request.if_none_match:
        with turns.of(row):
            data = run_blocking(_convert, path, wanted)
    name = (Path(row["name"]).stem if row["name"] else row["id"]) + media.SUFFIXES[wanted.format]
    mime = f"image/{wanted.format}"
    return flask.send_file(io.BytesIO(data), mime, download_name=name, etag=etag, conditional=True)


def _convert(path: Path, wanted: Wanted) -> bytes:
    return media.convert(path.read_bytes(), wanted.format, wanted.quality, wanted.size)
