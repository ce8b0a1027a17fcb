"""MCP on stdin and stdout: one assistant, one token, which is found as the command line finds it."""

import asyncio
import os
import sys

from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import ToolsListChanged

from clients.bridges.answers import words_of
from clients.mcp.server import McpServer
from clients.python import AsyncClient, ServerError, Unreachable

RETRY_SECONDS = 2


class Own:
    """The one client, connected when it is first needed."""

    def __init__(self) -> None:
        self._client: AsyncClient | None = None
        self._lock = asyncio.Lock()

    async def of(self, token: str) -> AsyncClient:
        """Raises Unreachable while no server answers."""
        async with self._lock:
            if self._client is None:
                self._client = await AsyncClient(session="mcp").connect()
            return self._client


def main() -> int:
    return asyncio.run(serve())


async def serve() -> int:
    own = Own()
    server = McpServer(own.of)
    waiting = asyncio.create_task(connect(server))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
    waiting.cancel()
    sys.stdout.flush()
    os._exit(0)  # jobs go on without us, and so would threads that wait for a server which is gone


async def connect(server: McpServer) -> None:
    """Until a server answers; assistants start this with themselves, and the server may come later."""
    told = False
    while True:
        try:
            await server.client("")
        except Unreachable as error:
            if not told:
                print(f"{words_of(error)} Trying again until one does.", file=sys.stderr, flush=True)
            told = True
            await asyncio.sleep(RETRY_SECONDS)
        except ServerError as error:
            print(f"{error.code}: {words_of(error)}", file=sys.stderr, flush=True)
            return
        else:
            if told:
                server.audience("").tell(ToolsListChanged())
            return
