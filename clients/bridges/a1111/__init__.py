"""A1111's REST API: /sdapi/v1, /internal, /agent-scheduler. Each call becomes an ordinary job in the session a1111."""

from fastapi import Depends, FastAPI

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
from clients.bridges.asking import ClientOf, client_asking
from clients.python import AsyncClient

SESSION = "a1111"


def create(client_of: ClientOf) -> FastAPI:
    """The app; `client_of(token, session)` gives the client of whoever asks: `request.state.client`."""

    asking = client_asking(client_of, SESSION)

    async def listening(client: AsyncClient = asking) -> None:
        progress.watch(client)  # from the first call on, else the newest preview might be missed

    app = FastAPI(
        title="A1111", openapi_url="/sdapi/v1/openapi.json", docs_url="/sdapi/v1/docs", redoc_url=None,
        dependencies=[Depends(listening)],
    )  # fmt: skip
    errors.handle(app)
    for part in (agent_scheduler, extras, generating, lists, machine, options, progress, scripts):
        app.include_router(part.router)
    return app
