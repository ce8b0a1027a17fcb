"""The machine-readable description of this server: GET /api/v1/openapi.json and /api/v1/asyncapi.json."""

from collections.abc import Callable
from typing import Any

import flask

from core.api import Api
from core.jobs import Row
from core.rest import asyncapi, openapi
from core.rest.twins import BASE


def mount(app: flask.Flask, run_blocking: Callable[..., Any], api: Callable[[], Api]) -> None:
    """Add the routes. Each document is made when it is first asked for, which takes a tenth of a second; jobs, which
    come and go, are added each time."""
    made: dict[str, Row] = {}

    @app.get(f"{BASE}/openapi.json", endpoint="openapi")
    @app.get(f"{BASE}/asyncapi.json", endpoint="asyncapi")
    def describe() -> Row:
        owner = api().guard.owner(flask.request.environ)
        name = str(flask.request.endpoint)
        if name not in made:
            module = openapi if name == "openapi" else asyncapi
            made[name] = run_blocking(module.document, api().handlers)
        if name == "openapi":
            return run_blocking(openapi.with_jobs, made[name], api().handlers["plugins"](owner)["plugins"])
        return made[name]
