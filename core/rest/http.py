"""HTTP: the page at / and a health check; what else there is comes from the files beside it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask

from core.api import VERSION, Api
from core.artifacts import Blobs
from core.auth import Guard
from core.errors import Unauthorized
from core.jobs import Store
from core.ops.config import ROOT, Config
from core.rest import documents, downloads, errors, stream, twins, uploads

PAGE = ROOT / "clients" / "plain"
PAGE_TYPES = {".js": "text/javascript", ".css": "text/css"}  # what the system says may differ: on Windows it often does
PAGE_POLICY = (  # what the page may load and do: only what comes from this server
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
COOKIE_SECONDS = 365 * 24 * 3600


def create_app(
    config: Config, store: Store, blobs: Blobs, run_blocking: Callable[..., Any], api: Callable[[], Api]
) -> flask.Flask:
    """`api()` has the handlers and, once the port is known, the Guard."""
    app = flask.Flask("stable-core", static_folder=None)
    app.json.sort_keys = False  # forms show parameters in the order in which they were declared
    errors.handle(app)
    uploads.mount(app, config, store, blobs, run_blocking, api)
    downloads.mount(app, store, blobs, run_blocking, api)
    twins.mount(app, api, config.max_message_bytes)
    stream.mount(app, api, store)
    documents.mount(app, run_blocking, api)

    def guard() -> Guard:
        return api().guard

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

    return app
