"""The machine-readable description of this server: GET /api/v1/openapi.json and /api/v1/asyncapi.json."""

from collections.abc import Callable
from typing import Any

import flask

from core.api import Api, Handler
from core.jobs import Row
from core.rest.twins import BASE


def mount(app: flask.Flask, run_blocking: Callable[..., Any], api: Callable[[], Api]) -> None:
    """Add the routes. A document is made when it is first asked for; jobs, which come and go, are added each time."""
    made: dict[str, Row] = {}

    @app.get(f"{BASE}/openapi.json", endpoint="openapi")
    @app.get(f"{BASE}/asyncapi.json", endpoint="asyncapi")
    def describe() -> Row:
        owner = api().guard.owner(flask.request.environ)
        name = str(flask.request.endpoint)
        if name not in made:
            made[name] = run_blocking(_document, name, api().handlers)
        if name == "openapi":
            return run_blocking(_with_jobs, made[name], api().handlers["plugins"](owner)["plugins"])
        return made[name]


def _document(name: str, handlers: dict[str, Handler]) -> Row:
    from core.rest import asyncapi, openapi  # imported when asked for: it would be a tenth of the server's start

    return (openapi if name == "openapi" else asyncapi).document(handlers)


def _with_jobs(document: Row, plugins: list[Row]) -> Row:
    from core.rest import openapi

    return openapi.with_jobs(document, plugins)
