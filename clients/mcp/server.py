"""The MCP server, whatever carries its messages: lists tools and resources, carries out calls, tells of changes."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from mcp import MCPError, types
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from clients.bridges.answers import words_of
from clients.mcp import announced, asked, resources, results
from clients.mcp.inputs import uploaded, uri_of
from clients.mcp.progress import Progress
from clients.python import AsyncClient, AsyncJob, ServerError
from core.api import VERSION

ABOUT = """stable-core queues jobs of its plugins and runs them: drawing, changing and describing pictures, and more.
Each job is a tool named plugin-job. Leave out parameters that nobody asked about: their defaults are good. Where one
has values from a list, the tool `choices` tells them. Results have ids: give one as an input to another tool, or to
`artifact` to look at it again. A call waits until its job is done; for a job that takes longer than a call may, use
`submit`, and look at it with `job`."""
LOADING_SECONDS = 10  # a list of tools waits for plugins that are just being loaded: many clients ask only once
SETTLE_SECONDS = 0.5  # changes come in bursts
TELL_SECONDS = 5  # a client that does not read keeps nobody waiting for longer

Context = ServerRequestContext[Any, Any]
ClientOf = Callable[[str], Awaitable[AsyncClient]]


class Call:
    """A request that a job runs for. To lose the connection leaves the job alone; to cancel the request does not."""

    def __init__(self) -> None:
        self._job: AsyncJob | None = None
        self._cancelled = False

    async def run(self, job: AsyncJob) -> None:
        self._job = job
        if self._cancelled:
            await job.cancel()

    async def cancel(self) -> None:
        self._cancelled = True
        if self._job:
            await self._job.cancel()


class Audience:
    """Who hears of changes: those who ask with one token."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self.bus)  # since 2026-07-28 clients ask for changes
        self._connections: set[Connection] = set()  # before, each was told
        self._due: set[Any] = set()
        self._tasks: set[asyncio.Task] = set()

    def join(self, context: Context) -> None:
        connection = context.session._connection  # the SDK hands it to nobody yet
        if context.protocol_version not in MODERN_PROTOCOL_VERSIONS and connection not in self._connections:
            self._connections.add(connection)
            connection.exit_stack.callback(self._connections.discard, connection)

    def heard(self, event: str, data: dict[str, Any]) -> None:
        """An event of the server."""
        if event in ("plugins", "resync"):
            self.tell(ToolsListChanged())
        if event in ("artifact", "resync"):
            self.tell(ResourcesListChanged())
        if event == "artifact":
            self.tell(ResourceUpdated(uri_of(data["id"])))

    def tell(self, change: Any) -> None:
        if change not in self._due:
            self._due.add(change)
            task = asyncio.create_task(self._tell(change))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, change: Any) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        self._due.discard(change)
        await self.bus.publish(change)
        for connection in list(self._connections):
            try:
                if isinstance(change, ToolsListChanged):
                    await asyncio.wait_for(connection.send_tool_list_changed(), TELL_SECONDS)
                elif isinstance(change, ResourcesListChanged):
                    await asyncio.wait_for(connection.send_resource_list_changed(), TELL_SECONDS)
            except asyncio.TimeoutError:
                self._connections.discard(connection)


class McpServer(Server):
    """`client_of(token)` gives the client of whoever asks; without a front, on stdio, the token is ""."""

    def __init__(self, client_of: ClientOf):
        super().__init__(
            "stable-core", version=VERSION, title="stable-core", instructions=ABOUT,
            on_list_tools=self._list_tools, on_call_tool=self._call_tool,
            on_list_resources=self._list_resources, on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource, on_subscriptions_listen=self._listen,
        )  # fmt: skip
        self.add_notification_handler("notifications/cancelled", types.CancelledNotificationParams, self._cancelled)
        self._client_of = client_of
        self._audiences: dict[str, Audience] = {}
        self._heard: set[AsyncClient] = set()
        self._calls: dict[tuple[str, str], Call] = {}
        self._tasks: set[asyncio.Task] = set()

    def create_initialization_options(self, *_: Any, **more: Any) -> InitializationOptions:
        told = NotificationOptions(tools_changed=True, resources_changed=True)
        return super().create_initialization_options(told, **more)

    def audience(self, token: str) -> Audience:
        return self._audiences.setdefault(token, Audience())

    async def client(self, token: str) -> AsyncClient:
        """Raises ServerError."""
        client = await self._client_of(token)
        if client not in self._heard:
            self._heard.add(client)
            client.on_event(self.audience(token).heard)
        return client

    async def _asking(self, context: Context) -> AsyncClient:
        """Raises MCPError if no server answers, for requests that have no other way to say so."""
        try:
            return await self._client(context)
        except ServerError as error:
            raise MCPError(types.INTERNAL_ERROR, words_of(error)) from error

    async def _client(self, context: Context) -> AsyncClient:
        token = token_of(context)
        self.audience(token).join(context)
        return await self.client(token)

    async def _list_tools(self, context: Context, params: Any) -> types.ListToolsResult:
        client = await self._asking(context)
        jobs = [each.tool for each in announced.tools(await loaded(client)).values()]
        return types.ListToolsResult(tools=jobs + asked.tools(await client.document()))

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        call, modern_http = Call(), context.request and context.protocol_version in MODERN_PROTOCOL_VERSIONS
        key = (session_of(context), str(context.request_id))
        if not modern_http:
            self._calls[key] = call
        work = self._start(self._answer(context, params.name, params.arguments or {}, call))
        work.add_done_callback(lambda _: self._calls.get(key) is call and self._calls.pop(key))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if modern_http:  # there, to hang up is how one cancels
                self._start(call.cancel())
            raise

    async def _cancelled(self, context: Context, params: types.CancelledNotificationParams) -> None:
        if call := self._calls.get((session_of(context), str(params.request_id))):
            await call.cancel()

    async def _answer(self, context: Context, name: str, given: dict[str, Any], call: Call) -> types.CallToolResult:
        try:
            client = await self._client(context)
            if name in asked.EVENTS:
                return await asked.answer(client, context.protocol_version, name, given)
            return await self._run(client, context, await self._find(client, name), given, call)
        except ServerError as error:
            return results.failed(error)

    async def _find(self, client: AsyncClient, name: str) -> dict[str, Any]:
        """The job that a tool is, as the server describes it. Raises MCPError."""
        for plugins_of in (AsyncClient.plugins, loaded):
            known = announced.tools(await plugins_of(client))
            if name in known:
                return known[name].about
        near = difflib.get_close_matches(name, [*known, *asked.EVENTS], n=1)
        text = f"there is no tool {name[:100]!r}." + (f" Did you mean {near[0]}?" if near else " List the tools.")
        raise MCPError(types.INVALID_PARAMS, text)

    async def _run(
        self, client: AsyncClient, context: Context, about: dict[str, Any], given: dict[str, Any], call: Call
    ) -> types.CallToolResult:
        ports = about["inputs"]
        params = {name: value for name, value in given.items() if name not in ports}
        inputs = await uploaded(client, ports, {name: value for name, value in given.items() if name in ports})
        if about["light"]:
            outputs = await client.light(about["name"], params, inputs)
            return results.values({"outputs": outputs}, outputs)
        job = await client.submit(about["name"], params, inputs)
        await call.run(job)
        outputs = await Progress(context).follow(job)
        for each in outputs:
            await each.load()
        return await results.made(context.protocol_version, outputs, {"job": job.id})

    async def _list_resources(self, context: Context, params: Any) -> types.ListResourcesResult:
        return await resources.listed(await self._asking(context), params.cursor if params else None)

    async def _list_templates(self, context: Context, params: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[resources.TEMPLATE])

    async def _read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await resources.read(await self._asking(context), str(params.uri))

    async def _listen(self, context: Context, params: Any) -> types.SubscriptionsListenResult:
        await self._asking(context)  # from now on there is something to hear
        return await self.audience(token_of(context)).listen(context, params)

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task:
        """A task that goes on when the request that began it has gone; what it raises then is nobody's any more."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: (self._tasks.discard(done), done.cancelled() or done.exception()))
        return task


def token_of(context: Context) -> str:
    return context.request.user.access_token.token if context.request else ""


def session_of(context: Context) -> str:
    """Which client a request's id belongs to: on stdio there is but one."""
    return context.request.headers.get("mcp-session-id", "") if context.request else ""


async def loaded(client: AsyncClient) -> list[dict[str, Any]]:
    """The plugins, none of them just being loaded if that does not take too long."""
    for _ in range(round(LOADING_SECONDS / SETTLE_SECONDS)):
        if all(each["status"] != "installing" for each in await client.plugins()):
            break
        await asyncio.sleep(SETTLE_SECONDS)
    return await client.plugins()
