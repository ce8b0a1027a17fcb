"""A1111's REST API: /sdapi/v1, /internal, /agent-scheduler. Each call becomes an ordinary job in the session a1111."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from clients.bridges.a1111 import (
    agent_scheduler,
    errors,
    extras,
    generating,
    lists,
    machine,
    options,
    progress,
    scripts,
)
from clients.python import AsyncClient

SESSION = "a1111"
ClientOf = Callable[[str, str], Awaitable[AsyncClient]]


def create(client_of: ClientOf) -> FastAPI:
    """The app; `client_of(token, session)` gives the client of whoever asks: `request.state.client`."""
    app = FastAPI(title="A1111", openapi_url="/sdapi/v1/openapi.json", docs_url="/sdapi/v1/docs", redoc_url=None)

    errors.handle(app)

    @app.middleware("http")
    async def asking(request, call_next):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        request.state.client = await client_of(token, SESSION)
        progress.watch(request.state.client)  # from the first call on, else the newest preview might be missed
        return await call_next(request)

    for part in (agent_scheduler, extras, generating, lists, machine, options, progress, scripts):
        app.include_router(part.router)
    return app
