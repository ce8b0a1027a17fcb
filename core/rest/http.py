"""HTTP: the page at /, artifact up- and download, a health check."""

import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import PIL.Image
from werkzeug.exceptions import HTTPException

from core.api import VERSION
from core.artifacts import Blobs
from core.auth import Guard
from core.errors import (
    BadImage,
    CoreError,
    Forbidden,
    Internal,
    InvalidParams,
    NotFound,
    TooLarge,
    TypeMismatch,
    Unauthorized,
    UnknownArtifact,
)
from core.jobs import Row, Store, Transaction, new_id, now, wire
from core.library.media import open_image
from core.ops.config import ROOT, Config
from core.types import KINDS

STATUS = {Internal: 500, Unauthorized: 401, Forbidden: 403, NotFound: 404, UnknownArtifact: 404, TooLarge: 413}
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
PAGE = ROOT / "clients" / "plain"
PAGE_TYPES = {".js": "text/javascript", ".css": "text/css"}  # what the system says may differ: on Windows it often does
PAGE_POLICY = (  # what the page may load and do: only what comes from this server
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
MAX_TEXT_BYTES = 10_000_000  # reading more than that would stop the others for long
COOKIE_SECONDS = 365 * 24 * 3600


def create_app(
    config: Config, store: Store, blobs: Blobs, run_blocking: Callable[..., Any], guard: Callable[[], Guard]
) -> flask.Flask:
    """`guard()` gives the Guard once the port is known."""
    app = flask.Flask("stable-core", static_folder=None)

    @app.errorhandler(CoreError)
    def failed(error: CoreError) -> Any:
        return {"ok": False, "error": error.wire()}, STATUS.get(type(error), 400)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Any:
        if error.code in (404, 405):
            return failed(NotFound(f"there is nothing at {flask.request.method} {flask.request.path[:200]}."))
        return {"ok": False, "error": InvalidParams(f"{error.name}: {error.description}").wire()}, error.code

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Any:
        if isinstance(error, OSError) and error.errno is None:  # the client went away, or its chunks make no sense
            return failed(InvalidParams("the request broke off or could not be read. Send it again."))
        logging.exception("%s failed", flask.request.path)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return failed(Internal("the server's disk is full." if full else "this failed; the server's log says why."))

    @app.get("/healthz")
    def healthz() -> Any:
        return {"ok": True, "version": VERSION, "time": time.time()}

    @app.get("/")
    def page() -> Any:
        if token := flask.request.args.get("token"):
            try:
                guard().owner(flask.request.environ, token)
            except Unauthorized:
                return flask.redirect("/#wrong-token")  # the locked page shows what has this id
            answer = flask.redirect("/")
            answer.set_cookie(guard().cookie, token, COOKIE_SECONDS, httponly=True, samesite="Strict")
            return answer
        try:
            guard().owner(flask.request.environ)
        except Unauthorized:
            return page_file("locked.html"), 401
        return page_file("index.html")

    @app.get("/plain/<path:name>")
    def page_file(name: str) -> Any:
        answer = flask.send_from_directory(PAGE, name, mimetype=PAGE_TYPES.get(Path(name).suffix))
        answer.headers["Content-Security-Policy"] = PAGE_POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    @app.route("/artifacts", methods=["POST", "PUT"])
    def upload() -> Any:
        owner = guard().owner(flask.request.environ)
        session = flask.request.args.get("session", "default")
        if not 0 < len(session) <= 100 or not session.isprintable() or set(session) & {"/", "\\"}:
            raise InvalidParams("session must be 1 to 100 printable characters without / and \\.", field="session")
        name = "".join(filter(str.isprintable, flask.request.args.get("name", "")))[:200]
        size = flask.request.content_length
        if size is not None and size > config.max_upload_bytes:
            raise TooLarge(
                f"the upload of {size:,} bytes is over the limit of {config.max_upload_bytes:,} (max_upload_bytes)."
            )
        chunked = "chunked" in flask.request.headers.get("Transfer-Encoding", "").lower()
        stream = flask.request.environ["wsgi.input"] if chunked else flask.request.stream  # Flask takes that for empty
        try:
            sha256, size = blobs.receive(stream, config.max_upload_bytes, run_blocking)
        except ValueError as error:
            raise InvalidParams(f"the upload's chunks could not be read: {error}. Send it again.") from error
        kind, mime, facts = run_blocking(identify, blobs.path(sha256), flask.request.args.get("kind"))
        row = {
            "id": new_id(), "job": None, "idx": 0, "kind": kind, "sha256": sha256, "size_bytes": size, "mime": mime,
            "name": name or None, "owner": owner, "session": session, "review": "new", "facts": facts, "created": now(),
        }  # fmt: skip

        def change(tx: Transaction) -> None:
            about = {"id": session, "owner": owner, "name": session, "created": row["created"]}
            tx.insert("sessions", about, "OR IGNORE")
            tx.add_artifact(row, [])

        store.write(change)
        return {"ok": True, "artifact": wire(row)}, 201

    @app.get("/artifacts/<artifact>")
    def download(artifact: str) -> Any:
        owner = guard().owner(flask.request.environ)
        row = store.one("SELECT * FROM artifacts WHERE id = ? AND owner = ?", artifact, owner)
        if row is None:
            raise UnknownArtifact(f"there is no artifact {artifact[:100]!r}.")
        if not blobs.path(row["sha256"]).is_file():
            raise UnknownArtifact(f"the bytes of artifact {artifact} are gone from the server's disk.")
        inline = row["mime"].startswith(SAFE_INLINE)
        answer = flask.send_file(
            blobs.path(row["sha256"]), row["mime"], as_attachment=not inline, download_name=row["name"] or row["id"],
            etag=row["sha256"], conditional=True,
        )  # fmt: skip
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Content-Security-Policy"] = (
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        )
        answer.headers["Cache-Control"] = "private, no-cache"  # a later attempt may replace it; the ETag makes it cheap
        return answer

    return app


def identify(path: Path, kind: str | None) -> tuple[str, str, Row]:
    """(kind, mime type, facts) of an uploaded file, by its content; `kind` is what the sender says it is.

    Raises InvalidParams for an unknown kind, BadImage or TypeMismatch if the content is something else."""
    if kind is not None and kind not in KINDS:
        raise InvalidParams(f"kind must be one of {', '.join(KINDS)}, got {kind[:50]!r}.", field="kind")
    if kind in ("text", "json") and path.stat().st_size > MAX_TEXT_BYTES:
        raise TooLarge(f"a {kind} of more than {MAX_TEXT_BYTES:,} bytes is too large.", field="kind")
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
            return name, KINDS[name].mime, {}
        mime = PIL.Image.MIME.get(open_image(data).format, "image/png")
        return name, mime, {"width": value.width, "height": value.height}
    raise problem
