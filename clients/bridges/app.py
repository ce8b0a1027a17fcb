"""Puts the bridges together: one app, which asks for the server's secret and has a client for each token."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from clients.bridges import a1111, openai_images
from clients.mcp.front import Front
from clients.python import AsyncClient


class Clients:
    """One AsyncClient for each token and session, made when it is first asked for."""

    def __init__(self, url: str):
        self._url, self._made, self._lock = url, {}, asyncio.Lock()

    async def of(self, token: str, session: str) -> AsyncClient:
        async with self._lock:
            if (token, session) not in self._made:
                self._made[token, session] = await AsyncClient(self._url, token, session=session).connect()
            return self._made[token, session]

    async def close(self) -> None:
        for client in self._made.values():
            await client.close()


class OnlyFromServer:
    """ASGI middleware: whoever does not know the server's secret has not passed its checks."""

    def __init__(self, app: Any, secret: str):
        self._app, self._secret = app, secret.encode()

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        given = dict(scope.get("headers", [])).get(b"x-bridge-secret", b"")
        if scope["type"] == "lifespan" or hmac.compare_digest(given, self._secret):
            return await self._app(scope, receive, send)
        await JSONResponse({"detail": "ask the server, not this port."}, 403)(scope, receive, send)


def create(url: str, secret: str) -> Any:
    """The ASGI app, for the server at `url`."""
    clients = Clients(url)
    mcp = Front(clients.of)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with mcp.run():
            yield
        await clients.close()

    routes = [
        Route("/mcp", mcp),
        Mount("/v1", openai_images.create(clients.of)),
        Mount("", a1111.create(clients.of)),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    return OnlyFromServer(app, secret)
