"""HTTP: a health check; what else there is comes from the files beside it."""

import time
from collections.abc import Callable
from typing import Any

import flask

from core.api import VERSION, Api
from core.artifacts import Blobs
from core.jobs import Store
from core.ops.config import Config
from core.ops.webclient import WebClient
from core.rest import documents, downloads, errors, pages, stream, twins, uploads


def create_app(
    config: Config, store: Store, blobs: Blobs, web: WebClient, run_blocking: Callable[..., Any], api: Callable[[], Api]
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
    pages.mount(app, web, api)

    @app.get("/healthz")
    def healthz() -> Any:
        return {"ok": True, "version": VERSION, "time": time.time()}

    return app
