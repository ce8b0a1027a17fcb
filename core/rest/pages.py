"""Pages: the full one at / once it is built, the plain one until then and at /plain/; a locked one without a token."""

import mimetypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
from werkzeug.utils import safe_join

from core.api import Api
from core.auth import Guard
from core.errors import NotFound, Unauthorized
from core.ops.config import ROOT
from core.ops.webclient import WebClient

PLAIN = ROOT / "clients" / "plain"
TYPES = {  # what the system says may differ: on Windows it often does
    ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json",
    ".woff2": "font/woff2", ".webmanifest": "application/manifest+json",
}  # fmt: skip
POLICY = (  # what a page may load and do: only what comes from this server
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
COOKIE_SECONDS = 365 * 24 * 3600
FOR_GOOD = "public, max-age=31536000, immutable"  # of a file whose name changes with its content


def mount(app: flask.Flask, web: WebClient, api: Callable[[], Api]) -> None:
    """Add the routes. `api()` has the Guard."""
    mimetypes.init()  # else the first file that is sent reads the system's lists, which takes a tenth of a second

    def guard() -> Guard:
        return api().guard

    @app.get("/")
    def page() -> Any:
        built = web.folder and (web.folder / "index.html").is_file()
        return unlocked(lambda: file(web.folder, "index.html") if built else file(PLAIN, "index.html"))

    @app.get("/plain/")
    def plain_page() -> Any:
        return unlocked(lambda: file(PLAIN, "index.html"))

    @app.get("/plain/<path:name>")
    def plain_file(name: str) -> Any:
        return file(PLAIN, name)

    @app.get("/web")
    def state() -> Any:
        guard().owner(flask.request.environ)
        return {"ok": True, "state": web.state, "text": web.text}

    @app.get("/web/<path:name>")
    def web_file(name: str) -> Any:
        if not web.folder:
            raise NotFound("the full page is not there.", hint="GET /web says how it stands.")
        if not name.startswith("assets/"):
            return file(web.folder, name)
        answer = file(having(web.folder, name), name)
        answer.headers["Cache-Control"] = FOR_GOOD
        return answer

    def unlocked(send: Callable[[], Any]) -> Any:
        """What `send` returns for whoever has the token, which goes from the address into a cookie; else a locked
        page."""
        address = flask.request.path
        if token := flask.request.args.get("token"):
            try:
                guard().owner(flask.request.environ, token)
            except Unauthorized:
                return flask.redirect(f"{address}#wrong-token")  # the locked page shows what has this id
            answer = flask.redirect(address)
            answer.set_cookie(guard().cookie, token, COOKIE_SECONDS, httponly=True, samesite="Strict")
            return answer
        try:
            guard().owner(flask.request.environ)
        except Unauthorized:
            return file(PLAIN, "locked.html"), 401
        return send()


def having(folder: Path, name: str) -> Path:
    """The page that has a file: one that is open since before an update still asks for parts of its own."""
    for page in (folder, *folder.parent.glob("page-*")):
        path = safe_join(str(page), name)
        if path and os.path.isfile(path):
            return page
    return folder


def file(folder: Path, name: str) -> flask.Response:
    """A file of a page, compressed if it is there like that, for whoever can read it."""
    compressed = safe_join(str(folder), f"{name}.gz")
    small = bool(compressed) and os.path.isfile(compressed) and "gzip" in flask.request.accept_encodings
    stored, path = f"{name}.gz" if small else name, Path(name)
    answer = flask.send_from_directory(folder, stored, mimetype=TYPES.get(path.suffix), download_name=path.name)
    if small:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
