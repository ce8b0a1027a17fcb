"""How bytes come in: PUT /artifacts in one request, or /api/v1/uploads, which go on after a cut (tus 1.0.0).

An unfinished upload is two files in data/uploads: what the sender said of it, and the bytes so far, whose number is the
offset. Its id is that of the artifact it becomes: an upload is finished when that artifact exists, so whatever is
killed at whatever moment, asking again finishes it or finds it finished."""

import base64
import binascii
import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import PIL.Image
import pydantic
from pydantic import Field
from werkzeug.exceptions import ClientDisconnected, MethodNotAllowed, PreconditionFailed, UnsupportedMediaType
from werkzeug.http import http_date

from core.api import Api, Name
from core.artifacts import Blobs
from core.errors import (
    BadImage,
    Conflict,
    InvalidParams,
    NotFound,
    QueueFull,
    TooLarge,
    TypeMismatch,
    UnknownArtifact,
)  # fmt: skip
from core.jobs import Row, Store, Transaction, new_id, now, wire
from core.library.embedded import claimed_id
from core.library.media import open_image
from core.library.recognition import recognise
from core.library.review import owned
from core.ops.config import Config
from core.rest.twins import BASE, stream
from core.types import KINDS

MAX_TEXT_BYTES = 10_000_000  # reading more than that would stop the others for long
PATH = f"{BASE}/uploads"
TUS = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration"
BYTES = "application/offset+octet-stream"
KEPT_SECONDS = 24 * 3600  # after the last byte
MAX_UNFINISHED = 1000  # of one person
CHUNK = 1 << 16
About = tuple[str, str, Row, str | None]  # of a file: see `identify`


class Label(pydantic.BaseModel):
    """What a sender says of an upload."""

    model_config = pydantic.ConfigDict(extra="forbid")
    kind: str | None = Field(None, description="Found out if not given.", json_schema_extra={"enum": [*KINDS]})
    name: str = Field("", description="File name, for people.")
    session: Name = "default"
    source: Name | None = Field(None, description="What it was made from; else its content tells.")


def mount(
    app: flask.Flask, config: Config, store: Store, blobs: Blobs, run_blocking: Callable[..., Any],
    api: Callable[[], Api],
) -> None:  # fmt: skip
    """Add the routes."""
    uploads = Uploads(config, store, blobs, run_blocking)

    @app.route("/artifacts", methods=["POST", "PUT"])
    def upload() -> Any:
        owner = api().guard.owner(flask.request.environ)
        label = Label.model_validate(flask.request.args.to_dict())
        _check_size(flask.request.content_length or 0, config)
        try:
            sha256, size = blobs.receive(stream(), config.max_upload_bytes, run_blocking)
        except ValueError as error:
            raise InvalidParams(f"the upload's chunks could not be read: {error}. Send it again.") from error
        about = run_blocking(identify, blobs.path(sha256), label.kind)
        return {"ok": True, "artifact": wire(_keep(store, new_id(), owner, label, sha256, size, about))}, 201

    @app.route(PATH, methods=["POST", "OPTIONS"], provide_automatic_options=False)
    @app.route(f"{PATH}/<id>", methods=["HEAD", "PATCH", "DELETE", "POST", "OPTIONS"], provide_automatic_options=False)
    def tus(id: str = "") -> Any:
        method = flask.request.method
        if method == "OPTIONS":
            return "", 204, {"Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(config.max_upload_bytes)}
        owner = api().guard.owner(flask.request.environ)
        if flask.request.headers.get("Tus-Resumable") != TUS:
            raise PreconditionFailed(f"this is tus {TUS}. Send the header Tus-Resumable: {TUS}.")
        if id and method == "POST":  # for those whose network lets nothing but GET and POST pass
            method = flask.request.headers.get("X-HTTP-Method-Override", "")
        if flask.request.args:
            raise InvalidParams("uploads take no query parameters; say kind, name and session in Upload-Metadata.")
        answers = {"HEAD": uploads.look, "PATCH": uploads.go_on, "DELETE": uploads.drop}
        if not id:
            return uploads.begin(owner)
        if method not in answers:
            raise MethodNotAllowed([*answers])
        return answers[method](owner, id)

    @app.after_request
    def version(answer: flask.Response) -> flask.Response:
        if flask.request.path.startswith(PATH):
            answer.headers["Tus-Resumable"] = answer.headers["Tus-Version"] = TUS
            answer.headers["Cache-Control"] = "no-store"
        return answer


class Uploads:
    """The resumable ones. Of several requests that send bytes the latest counts: the connection of an earlier one is
    often dead, which the server may not know yet."""

    def __init__(self, config: Config, store: Store, blobs: Blobs, run_blocking: Callable[..., Any]):
        self._config, self._store, self._blobs, self._run_blocking = config, store, blobs, run_blocking
        self._folder = config.data / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writing = threading.Lock()
        self._latest: dict[str, object] = {}  # by upload, while a request writes
        self._owners: dict[str, str] = {}  # of the unfinished ones
        self._sweep()
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(ValueError):  # a power cut came before its bytes were on the disk
                self._owners[path.stem] = json.loads(path.read_text())["owner"]

    def begin(self, owner: str) -> Any:
        """POST: the upload's address; the first bytes may come with it."""
        length, metadata = _number("Upload-Length"), flask.request.headers.get("Upload-Metadata", "")
        _check_size(length, self._config)
        label = read_metadata(metadata)
        check_kind(label.kind, length)
        self._sweep()
        if [*self._owners.values()].count(owner) >= MAX_UNFINISHED:
            raise QueueFull(f"you have {MAX_UNFINISHED:,} unfinished uploads. Finish or delete some.")
        id = new_id()
        said = {"owner": owner, "length": length, "metadata": metadata, "label": label.model_dump()}
        self._part(id).touch()
        unfinished = self._about(id).with_suffix(".new")
        unfinished.write_text(json.dumps(said))
        os.replace(unfinished, self._about(id))  # from here on it exists
        self._owners[id] = owner
        if flask.request.mimetype == BYTES:
            self._receive(id, length, 0)
        return "", 201, {"Location": f"{PATH}/{id}"} | self._state(owner, id)

    def look(self, owner: str, id: str) -> Any:
        """HEAD: how much is there."""
        self._find(owner, id)
        return "", 200, self._state(owner, id)

    def go_on(self, owner: str, id: str) -> Any:
        """PATCH: more bytes."""
        if flask.request.mimetype != BYTES:
            raise UnsupportedMediaType(f"send the bytes with Content-Type: {BYTES}.")
        self._receive(id, self._find(owner, id)["length"], _number("Upload-Offset"))
        return "", 204, self._state(owner, id)

    def drop(self, owner: str, id: str) -> Any:
        """DELETE: forget it. What has become an artifact stays."""
        self._find(owner, id)
        self._forget(id)
        return "", 204

    def _part(self, id: str) -> Path:
        return self._folder / f"{id}.part"

    def _about(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _find(self, owner: str, id: str) -> Row:
        """What was said of an upload, finished or not; raises NotFound."""
        if re.fullmatch(r"[0-9a-z]{26}", id):
            if done := self._artifact(owner, id):
                return {"length": done["size_bytes"]}
            try:
                said = json.loads(self._about(id).read_text())
                if said["owner"] == owner and not self._expired(self._part(id)):
                    return said
            except FileNotFoundError:
                pass
        raise NotFound(f"there is no upload {id[:100]!r} (any more).", hint="Begin a new one.")

    def _artifact(self, owner: str, id: str) -> Row | None:
        return self._store.one("SELECT * FROM artifacts WHERE id = ? AND owner = ? AND job IS NULL", id, owner)

    def _receive(self, id: str, length: int, offset: int) -> None:
        """Append the request's body, as far as it comes. Raises Conflict if this is not where the upload goes on."""
        mine = object()
        try:
            with self._part(id).open("r+b", buffering=0) as part:  # there since it was begun, until it is finished
                with self._writing:  # from here on no earlier request adds to it
                    self._latest[id] = mine
                    there = part.seek(0, os.SEEK_END)
                if there != offset:
                    raise Conflict(f"the upload is at {there:,}, not at {offset:,}.", field="Upload-Offset")
                if (flask.request.content_length or 0) > length - offset:
                    raise TooLarge(f"the upload would be longer than the {length:,} bytes of its Upload-Length.")
                source = stream()
                while part.tell() < length and (chunk := _read(source, min(CHUNK, length - part.tell()))):
                    self._append(id, mine, part, chunk)
        except FileNotFoundError:
            if offset != length:
                raise Conflict(f"the upload is finished, not at {offset:,}.", field="Upload-Offset") from None
        finally:
            if self._latest.get(id) is mine:
                del self._latest[id]

    def _append(self, id: str, mine: object, part: Any, chunk: bytes) -> None:
        with self._writing:
            if self._latest.get(id) is not mine:
                raise Conflict("another request goes on with this upload.")
            while chunk:  # a disk that is nearly full takes a part of it
                chunk = chunk[part.write(chunk) :]

    def _state(self, owner: str, id: str) -> dict[str, str]:
        """The headers that say how far an upload is. All bytes there: it becomes an artifact, if it is not one yet."""
        done = self._artifact(owner, id)
        if not done:
            said, part = self._find(owner, id), self._part(id)
            headers = {"Upload-Offset": str(part.stat().st_size), "Upload-Length": str(said["length"])}
            if said["metadata"]:
                headers["Upload-Metadata"] = said["metadata"]
            if part.stat().st_size < said["length"]:
                return headers | {"Upload-Expires": http_date(part.stat().st_mtime + KEPT_SECONDS)}
            done = self._finish(owner, id, Label(**said["label"]))
        size = str(done["size_bytes"])
        return {"Upload-Offset": size, "Upload-Length": size, "Upload-Artifact": id}

    def _finish(self, owner: str, id: str, label: Label) -> Row:
        try:
            sha256, size, about = self._run_blocking(self._settle, self._part(id), label.kind)
        except FileNotFoundError:  # somebody else just did
            if done := self._artifact(owner, id):
                return done
            raise NotFound(f"the upload {id} is not there any more.") from None
        except (InvalidParams, BadImage, TypeMismatch, TooLarge):  # it will not get better
            self._forget(id)
            raise
        try:
            row = _keep(self._store, id, owner, label, sha256, size, about)
        except UnknownArtifact:  # its source
            self._forget(id)
            raise
        self._forget(id)
        return row

    def _settle(self, part: Path, kind: str | None) -> tuple[str, int, About]:
        about = identify(part, kind)
        with part.open("rb") as file:
            sha256, size = self._blobs.receive(file, self._config.max_upload_bytes, lambda function, *a: function(*a))
        return sha256, size, about

    def _forget(self, id: str) -> None:
        self._latest.pop(id, None)
        self._owners.pop(id, None)
        self._about(id).unlink(missing_ok=True)
        self._part(id).unlink(missing_ok=True)

    def _expired(self, path: Path) -> bool:
        return path.stat().st_mtime < time.time() - KEPT_SECONDS

    def _sweep(self) -> None:
        """Forget what nobody went on with, and what was not even begun when the server ended."""
        for path in sorted(self._folder.iterdir()):  # .json before the .part that it is judged by
            part = path.with_suffix(".part")
            try:
                if self._expired(part if part.exists() else path):
                    path.unlink(missing_ok=True)
                    self._owners.pop(path.stem, None)
            except FileNotFoundError:
                pass


def read_metadata(header: str) -> Label:
    """tus' Upload-Metadata, "name cGhvdG8ucG5n,kind aW1hZ2U=", as a Label; `filename` and `filetype` may come along."""
    said = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            said[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            text = "Upload-Metadata must be pairs of a key and Base64 of UTF-8, separated by commas."
            raise InvalidParams(text, field=key[:100]) from error
    file_name = said.pop("filename", "")
    said.pop("filetype", None)  # what browsers' clients send along; the kind is found out from the content
    return Label.model_validate({"name": file_name} | said)


def check_kind(kind: str | None, size: int) -> None:
    if kind is not None and kind not in KINDS:
        raise InvalidParams(f"kind must be one of {', '.join(KINDS)}, got {kind[:50]!r}.", field="kind")
    if kind in ("text", "json") and size > MAX_TEXT_BYTES:
        raise TooLarge(f"a {kind} of more than {MAX_TEXT_BYTES:,} bytes is too large.", field="kind")


def identify(path: Path, kind: str | None) -> About:
    """(kind, mime type, facts, id that it claims) of an uploaded file, by its content; `kind` is what the sender says.

    Raises InvalidParams for an unknown kind, BadImage or TypeMismatch if the content is something else."""
    check_kind(kind, path.stat().st_size)
    data, problem = path.read_bytes(), None
    guesses = ["image", "audio", "video"]
    if len(data) <= MAX_TEXT_BYTES:
        guesses += (["json"] if data[:1] in (b"{", b"[") else []) + ["text"]
    for name in [kind] if kind else guesses:
        try:
            value = KINDS[name].decode(data)
        except (BadImage, TypeMismatch) as error:
            problem = problem or error
            continue
        if KINDS[name].mime != "image/png":
            return name, KINDS[name].mime, {}, None
        mime = PIL.Image.MIME.get(open_image(data).format, "image/png")
        return name, mime, {"width": value.width, "height": value.height}, claimed_id(value.info)
    raise problem


def _keep(
    store: Store, id: str, owner: str, label: Label, sha256: str, size: int, about: About
) -> Row:  # fmt: skip
    """Make an artifact of a blob; the same again changes nothing."""
    kind, mime, facts, claimed = about
    name = "".join(filter(str.isprintable, label.name))[:200]
    row = {
        "id": id, "job": None, "idx": 0, "kind": kind, "sha256": sha256, "size_bytes": size, "mime": mime,
        "name": name or None, "owner": owner, "session": label.session, "review": "new", "facts": facts,
        "created": now(),
    }  # fmt: skip

    def change(tx: Transaction) -> None:
        said = label.source and owned(tx, label.source, owner)["id"]
        tx.add_session(label.session, owner)
        tx.add_artifact(row, recognise(tx, row, claimed, said))

    store.write(change)
    return row


def _check_size(size: int, config: Config) -> None:
    if size > config.max_upload_bytes:
        limit = f"the limit of {config.max_upload_bytes:,} (max_upload_bytes)"
        raise TooLarge(f"the upload of {size:,} bytes is over {limit}.")


def _number(header: str) -> int:
    text = flask.request.headers.get(header, "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidParams(f"the header {header} must be a number, got {text[:50]!r}.", field=header)
    return int(text)


def _read(source: Any, size: int) -> bytes:
    """At most `size` bytes, none when the connection is cut."""
    try:
        return source.read(size)
    except (OSError, ValueError, ClientDisconnected):  # the rest comes with the next request
        return b""
