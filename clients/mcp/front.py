"""MCP over HTTP, behind the server's own port: /mcp of clients/bridges."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.authentication import AuthenticationMiddleware

from clients.mcp.server import McpServer
from clients.python import AsyncClient

IDLE_SECONDS = 24 * 60 * 60  # a desktop app that sleeps over night finds its session again
MAX_BODY_BYTES = 64 * 2**20  # pictures come as base64


class Front:
    """The ASGI app; it answers while `run()` is entered. `client_of(token, session)` gives the client of a token."""

    def __init__(self, client_of: Callable[[str, str], Awaitable[AsyncClient]]):
        self._manager = StreamableHTTPSessionManager(
            McpServer(lambda token: client_of(token, "mcp")),
            session_idle_timeout=IDLE_SECONDS,
            max_request_body_size=MAX_BODY_BYTES,
            # The server has checked Host and Origin, for its own port and whatever address it listens on.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._app = AuthenticationMiddleware(StreamableHTTPASGIApp(self._manager), BearerAuthBackend(Tokens()))

    def run(self) -> AbstractAsyncContextManager[None]:
        return self._manager.run()

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        await self._app(scope, receive, send)


class Tokens:
    """Tells whose session is whose: the server has checked the token, and a session is for the one that began it."""

    async def verify_token(self, token: str) -> AccessToken:
        return AccessToken(token=token, client_id=hashlib.sha256(token.encode()).hexdigest(), scopes=[])
