"""Who asks: the client of the token that the server has let through."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, Request

from clients.python import AsyncClient

ClientOf = Callable[[str, str], Awaitable[AsyncClient]]


def client_asking(client_of: ClientOf, session: str) -> Any:
    """A dependency of FastAPI: the client for `session` of whoever asks, also as `request.state.client`."""

    async def asking(request: Request) -> AsyncClient:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        request.state.client = await client_of(token, session)
        return request.state.client

    return Depends(asking)
