"""Assistants use the server through MCP: over HTTP and stdio, by its old versions and its newest."""

import asyncio
import base64
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time

import jsonschema
import PIL.Image
import pytest
import requests
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, types
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged
from mcp.shared._httpx_utils import create_mcp_http_client

from clients.mcp import asked
from clients.mcp.announced import name_of
from clients.python import Client as OurClient
from tests.cable import Cable
from tests.node import npm_ci, run_node, start_node
from tests.serving import ROOT, serve, wait_until

BOT = "the token of another person"
STUDIO = """
import pathlib, random

class Colour(Params):
    color: str = param("red", help="What colour.", choices_from="models/paint")
    side: int = param(8, ge=1, le=2000, help="Of the square.")
    noise: bool = param(False, help="What PNG cannot make small.")
    count: int = param(1, ge=1, le=50, help="How many.")

class Count(Params):
    n: int = param(3, ge=1, le=100_000, help="Up to which number.")

class Studio(Plugin):
    @job()
    def paint(self, params: Colour) -> list[Image]:
        '''Paint squares.'''
        import PIL.Image
        for seed in range(params.count):
            size = (params.side, params.side)
            noise = random.Random(seed).randbytes(3 * size[0] * size[1]) if params.noise else b""
            yield PIL.Image.frombytes("RGB", size, noise) if noise else PIL.Image.new("RGB", size, params.color)

    @job()
    def turn(self, image: Image, mask: Mask | None) -> Image:
        '''Turn a picture.'''
        return image.rotate(90, expand=True)

    @job()
    def beside(self, images: list[Image]) -> Json:
        '''Measure several pictures.'''
        return {"widths": [image.width for image in images]}

    @job()
    def count(self, params: Count, ctx: Context) -> Text:
        '''Count slowly.'''
        for i in range(params.n):
            ctx.progress(i + 1, params.n, "counting")
            time.sleep(0.02)
        return f"counted to {params.n}"

    @job(light=True)
    def length(self, text: Text) -> Json:
        '''How long a text is.'''
        return {"characters": len(text)}
"""


@pytest.fixture(scope="module")
def server():
    with serve({"studio": STUDIO}, tokens={"bot": BOT}) as server:
        yield server


@contextlib.asynccontextmanager
async def session(server, how="http", mode="legacy", token=None, url=None, **options):
    """A client of the Python SDK. `mode`: "legacy" (a handshake, until 2025-11-25) or "2026-07-28"."""
    token, url = token or server.token, url or server.url
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        target = streamable_http_client(f"{url}/mcp", http_client=http)
        if how == "stdio":  # from another folder, as assistants do
            surroundings = {"STABLE_CORE_URL": url, "STABLE_CORE_TOKEN": token}
            command, folder = [str(ROOT / "clients" / "mcp")], tempfile.gettempdir()
            target = StdioServerParameters(command=sys.executable, args=command, env=surroundings, cwd=folder)
        async with Client(target, mode=mode, **options) as client:
            yield client


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 120))


WAYS = [("http", "legacy"), ("http", "2026-07-28"), ("stdio", "legacy"), ("stdio", "2026-07-28")]


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def talk(server, request):
    """talk(function) returns what the coroutine function does with a client whose session is kept: by stdio, to begin
    one takes a second."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(session(server, *request.param)) as client:
            yield lambda function: portal.call(function, client)


def png(width, height, color="red"):
    out = io.BytesIO()
    PIL.Image.new("RGB", (width, height), color).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def picture(content):
    return PIL.Image.open(io.BytesIO(base64.b64decode(content.data)))


def ids(result):
    return [each["id"] for each in result.structured_content["artifacts"]]


def test_every_announced_job_is_a_tool_with_its_schema(talk):
    async def listed(client):
        return {tool.name: tool for tool in (await client.list_tools()).tools}

    tools = talk(listed)
    jobs = {"studio-paint", "studio-turn", "studio-beside", "studio-count", "studio-length"}
    assert jobs | {"choices", "submit", "job", "cancel", "artifact"} <= tools.keys()
    side = tools["studio-paint"].input_schema["properties"]["side"]
    assert side == {"type": "integer", "default": 8, "minimum": 1, "maximum": 2000, "description": "Of the square."}
    assert tools["studio-turn"].input_schema["required"] == ["image"]
    assert tools["studio-beside"].input_schema["properties"]["images"]["type"] == "array"
    assert tools["jobs"].annotations.read_only_hint and tools["cancel"].annotations.destructive_hint
    assert tools["studio-turn"].annotations.destructive_hint is False  # and of a light job nobody knows
    assert tools["studio-length"].annotations.destructive_hint is None


def test_schemas_are_valid_and_names_are_what_all_models_take(server):
    async def listed():
        async with session(server) as client:
            return (await client.list_tools()).tools

    for tool in run(listed()):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name) and tool.description and tool.title
        for schema in (tool.input_schema, tool.output_schema or {}):
            jsonschema.Draft202012Validator.check_schema(schema)
            assert "$ref" not in json.dumps(schema) and '"ui"' not in json.dumps(schema)


def test_names_of_tools_are_never_those_of_others():
    jobs = [("a", "b"), ("a-b", "c"), ("a", "b-c"), ("a_b", "c"), ("a", "b_c"), ("a", "ä"), ("a", "ö"), ("a", "b" * 99)]
    names = [name_of(*job) for job in jobs]
    assert len(set(names)) == len(jobs) and names[0] == "a-b"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)


def test_pictures_come_back_as_pictures_and_go_in_by_id_uri_or_whole(talk):
    async def painted(client):
        first = await client.call_tool("studio-paint", {"color": "blue", "side": 4})
        assert picture(first.content[0]).getpixel((3, 3)) == (0, 0, 255)
        about = first.structured_content["artifacts"][0]
        given = [about["id"], about["uri"], png(2, 4), f"data:image/png;base64,{png(9, 4)}"]
        return about, (await client.call_tool("studio-beside", {"images": given})).structured_content

    about, beside = talk(painted)
    assert beside["artifacts"][0]["value"] == {"widths": [4, 4, 2, 9]}
    assert (about["kind"], about["width"], about["mime"]) == ("image", 4, "image/png")
    assert requests.get(about["url"]).content.startswith(b"\x89PNG")  # by a person, without the token


def test_results_hold_what_their_schema_says(server):
    async def called():
        async with session(server) as client:  # it checks each answer against the tool's outputSchema
            await client.list_tools()
            text = await client.call_tool("studio-count", {"n": 2})
            light = await client.call_tool("studio-length", {"text": "three"})
            refused = await client.call_tool("studio-count", {"n": 0})
            return text, light, refused

    text, light, refused = run(called())
    assert text.content[0].text == "counted to 2" and text.content[1].type == "resource_link"
    assert light.structured_content == {"outputs": [{"characters": 5}]} and light.content[0].text == '{"characters": 5}'
    assert refused.is_error


def test_large_pictures_come_as_jpeg_that_clients_take_and_a_link_leads_to_the_whole(server):
    async def painted(**params):
        async with session(server) as client:
            return await client.call_tool("studio-paint", params)

    large = run(painted(side=900, noise=True))
    assert large.content[0].mime_type == "image/jpeg" and picture(large.content[0]).size == (900, 900)
    assert large.structured_content["artifacts"][0]["size_bytes"] > 2_000_000
    many = run(painted(side=200, noise=True, count=40))
    shown = [each for each in many.content if each.type == "image"]
    assert 20 < len(shown) < 40 and len(ids(many)) == 40 == sum(each.type == "resource_link" for each in many.content)
    for result in (large, many):
        assert len(result.model_dump_json()) < 1_000_000 + 50_000


def test_errors_say_what_to_mend(server):
    async def wrong(tool, **given):
        async with session(server) as client:
            return await client.call_tool(tool, given)

    refused = run(wrong("studio-paint", sides=4, count=99))
    error = refused.structured_content["error"]
    assert (refused.is_error, error["code"], error["field"]) == (True, "invalid_params", "sides")
    assert "Did you mean side?" in refused.content[0].text and refused.content[0].text.count("maximum of 50") == 1
    error = run(wrong("studio-turn", image="/etc/passwd")).structured_content["error"]
    assert error["field"] == "image" and "base64" in error["message"]
    error = run(wrong("studio-turn", image="01m800ymfqv85p6ydgtcb7pe5e")).structured_content["error"]
    assert error["code"] == "unknown_artifact"


def test_long_jobs_report_progress_that_only_grows(talk):
    told = []

    async def progress(done, total, message):
        told.append((done, total, message))

    async def counted(client):
        return await client.call_tool("studio-count", {"n": 30}, progress_callback=progress)

    assert talk(counted).content[0].text == "counted to 30"
    steps = [done for done, _, _ in told]
    assert len(steps) > 3 and steps == sorted(set(steps))
    assert told[-1][1] == 30 and re.fullmatch(r"counting: \d+ of 30", told[-1][2])


def test_a_silent_job_gives_signs_of_life(server, monkeypatch):
    """Clients give up on a call that is silent for a minute; a job may wait in the queue for longer."""
    from clients.mcp import progress
    from clients.mcp import server as ours

    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.1)
    told = []

    async def heard(done, total, message):
        told.append(message)

    async def waited():
        from clients.python import AsyncClient

        async with AsyncClient(server.url, server.token) as own:

            async def of(token):
                return own

            async with Client(ours.McpServer(of), mode="legacy") as client:
                await own.queue("pause")
                call = asyncio.create_task(client.call_tool("studio-count", {"n": 3}, progress_callback=heard))
                while len(told) < 4:
                    await asyncio.sleep(0.05)
                await own.queue("resume")
                return await call

    assert run(waited()).content[0].text == "counted to 3"
    assert told[1].startswith("queued, at position")


def states(server, name, **options):
    with OurClient(server.url, options.get("token") or server.token) as client:
        return [job.state for job in client.jobs(limit=1000) if job.record["name"] == name]


@pytest.mark.parametrize("talk", WAYS[:3], indirect=True, ids="-".join)
def test_to_cancel_the_call_cancels_its_job(server, talk):
    async def cancelled(client):
        began = asyncio.Event()

        async def progress(done, total, message):
            began.set() if done else None

        call = asyncio.create_task(client.call_tool("studio-count", {"n": 50_000}, progress_callback=progress))
        await began.wait()
        call.cancel()  # sends notifications/cancelled; since 2026-07-28, over HTTP, it hangs up
        while "running" in await asyncio.to_thread(states, server, "studio.count"):
            await asyncio.sleep(0.05)

    talk(cancelled)
    assert states(server, "studio.count")[0] == "cancelled"


@pytest.mark.parametrize("how", ["http", "stdio"])
def test_to_lose_the_connection_leaves_the_job_alone(server, how):
    async def lost(cable):
        began = asyncio.Event()

        async def progress(done, total, message):
            began.set() if done else None

        async with session(server, how, url=cable.url) as client:
            call = client.call_tool("studio-count", {"n": 60}, progress_callback=progress)
            asyncio.create_task(call)
            await began.wait()
            if how == "http":
                cable.cut()
            raise ConnectionAbortedError  # the client goes without a word

    with Cable(server) as cable, contextlib.suppress(Exception):
        run(lost(cable))
    assert wait_until(lambda: states(server, "studio.count")[0] != "running")
    assert states(server, "studio.count")[0] == "done"


def test_ten_calls_at_once_get_each_their_own_picture(server):
    colors = [(index * 20, 255 - index * 20, index) for index in range(10)]

    async def painted(color, how):
        async with session(server, how) as client:
            words = "rgb({},{},{})".format(*color)
            result = await client.call_tool("studio-paint", {"color": words, "side": 3})
            return picture(result.content[0]).getpixel((1, 1))

    async def all_of_them():
        return await asyncio.gather(*(painted(color, "http") for color in colors))

    assert run(all_of_them()) == colors

    async def in_one_session():
        async with session(server) as client:
            calls = [client.call_tool("studio-paint", {"color": "rgb({},{},{})".format(*each)}) for each in colors]
            return [picture(result.content[0]).getpixel((1, 1)) for result in await asyncio.gather(*calls)]

    assert run(in_one_session()) == colors


def test_what_one_asks_for_besides_is_there_too(server):
    paint = server.folder / "models" / "paint"
    paint.mkdir(parents=True, exist_ok=True)
    (paint / "ochre.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")

    async def asked():
        async with session(server) as client:

            async def ask(tool, **given):
                return (await client.call_tool(tool, given)).structured_content

            submitted = (await ask("submit", job="studio.turn", inputs={"image": png(2, 6)}))["job"]
            while (done := (await ask("job", id=submitted["id"]))["job"])["state"] != "done":
                await asyncio.sleep(0.05)
            shown = await client.call_tool("artifact", {"id": f"stable-core://artifacts/{done['outputs'][0]}"})
            picked = await ask("review", ids=done["outputs"], state="picked")
            parents = await ask("lineage", id=done["outputs"][0])
            plan = await ask("plan", job="paint", params={"count": 3})
            return (
                picture(shown.content[0]).size, picked["artifacts"][0]["review"], len(parents["artifacts"]),
                plan["plan"]["params"]["count"], (await ask("choices", list="models/paint"))["choices"],
                len((await ask("jobs", limit=1))["jobs"]), (await ask("queue"))["paused"],
            )  # fmt: skip

    assert run(asked()) == ((6, 2), "picked", 1, 3, ["ochre.safetensors"], 1, False)


def test_artifacts_are_resources_the_newest_first_page_by_page(server):
    async def read():
        async with session(server) as client:
            made = [await client.call_tool("studio-paint", {"count": 50, "side": 1}) for _ in range(3)]
            first = await client.list_resources()
            second = await client.list_resources(cursor=first.next_cursor)
            text = await client.call_tool("studio-count", {"n": 1})
            blob = (await client.read_resource(first.resources[0].uri)).contents[0]
            words = (await client.read_resource(text.structured_content["artifacts"][0]["uri"])).contents[0]
            template = (await client.list_resource_templates()).resource_templates[0].uri_template
            with pytest.raises(MCPError, match="there is no artifact"):
                await client.read_resource("stable-core://artifacts/none")
            return [set(ids(each)) for each in made], first, second, blob, words, template

    made, first, second, blob, words, template = run(read())
    found = [each.uri.rpartition("/")[2] for each in first.resources + second.resources]
    assert [set(found[:50]), set(found[50:100]), set(found[100:150])] == made[::-1]
    assert (blob.mime_type, base64.b64decode(blob.blob)[1:4], words.text) == ("image/png", b"PNG", "counted to 1")
    assert template == "stable-core://artifacts/{id}" and first.resources[0].description.startswith("image, 1x1")


def rpc(server, method, params=None, id=None, session=None, token=None, **headers):
    """A request as it goes over the wire; (status, message, session)."""
    body = {"jsonrpc": "2.0", "method": method} | ({"params": params} if params is not None else {})
    body |= {"id": id} if id is not None else {}
    headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {token or server.token}"} | (
        {"mcp-session-id": session} if session else {}
    ) | headers  # fmt: skip
    answer = requests.post(f"{server.url}/mcp", json=body, headers=headers, timeout=30)
    lines = re.findall(r"^data: (\{.*\})\r?$", answer.text, re.MULTILINE) or [answer.text or "null"]
    try:
        message = json.loads(lines[-1])
    except ValueError:
        message = answer.text
    return answer.status_code, message, answer.headers.get("mcp-session-id")


CLAUDE = {  # what Claude Desktop sends
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
}  # fmt: skip


def test_raw_requests_as_well_known_apps_send_them(server):
    status, message, own = rpc(server, "initialize", CLAUDE, id=0)
    assert (status, message["result"]["protocolVersion"]) == (200, "2025-06-18")
    assert message["result"]["capabilities"]["tools"] == {"listChanged": True}
    assert message["result"]["serverInfo"]["name"] == "stable-core" and message["result"]["instructions"]
    assert rpc(server, "notifications/initialized", session=own)[0] == 202
    tools = rpc(server, "tools/list", {}, id=1, session=own)[1]["result"]["tools"]
    assert {"name", "title", "description", "inputSchema", "outputSchema", "annotations"} <= tools[0].keys()
    call = {"name": "studio-paint", "arguments": {"color": "lime"}, "_meta": {"progressToken": 1}}
    result = rpc(server, "tools/call", call, id=2, session=own)[1]["result"]
    assert [each["type"] for each in result["content"]] == ["image", "resource_link", "text"]
    error = rpc(server, "tools/call", {"name": "studio-tern"}, id=3, session=own)[1]["error"]
    assert error == {"code": -32602, "message": "there is no tool 'studio-tern'. Did you mean studio-turn?"}
    assert rpc(server, "prompts/list", {}, id=4, session=own)[1]["error"]["code"] == -32601


def test_old_clients_get_nothing_that_they_do_not_know(server):
    _, message, own = rpc(server, "initialize", CLAUDE | {"protocolVersion": "2024-11-05"}, id=0)
    assert message["result"]["protocolVersion"] == "2024-11-05"
    result = rpc(server, "tools/call", {"name": "studio-paint"}, id=1, session=own)[1]["result"]
    assert [each["type"] for each in result["content"]] == ["image", "text"]


def test_sessions_of_one_token_are_nobody_elses(server):
    _, _, own = rpc(server, "initialize", CLAUDE, id=0)
    call = {"name": "studio-paint", "arguments": {}}
    made = rpc(server, "tools/call", call, id=1, session=own)[1]["result"]["structuredContent"]["artifacts"][0]
    assert rpc(server, "tools/list", {}, id=2, session=own, token=BOT)[0] == 404
    _, _, theirs = rpc(server, "initialize", CLAUDE, id=0, token=BOT)
    error = rpc(server, "resources/read", {"uri": made["uri"]}, id=1, session=theirs, token=BOT)[1]["error"]
    assert "there is no artifact" in error["message"]
    assert rpc(server, "resources/list", {}, id=2, session=theirs, token=BOT)[1]["result"]["resources"] == []


def test_who_has_no_token_or_comes_from_elsewhere_is_kept_out(server):
    assert rpc(server, "initialize", CLAUDE, id=0, token="wrong")[0] == 401
    assert rpc(server, "initialize", CLAUDE, id=0, Origin="https://evil.example")[0] == 403
    assert rpc(server, "initialize", CLAUDE, id=0, Host="evil.example")[0] == 403
    basic = base64.b64encode(f"any:{server.token}".encode()).decode()
    assert rpc(server, "initialize", CLAUDE, id=0, Authorization=f"Basic {basic}")[0] == 200


PLUGIN = "class New(Plugin):\n    @job()\n    def greet(self) -> Text:\n        return 'hello'\n"


@pytest.mark.parametrize("how, mode", WAYS)
def test_a_plugin_that_comes_while_the_server_runs_is_told_and_callable(server, how, mode):
    name = f"new_{how}_{mode[:4]}"
    heard = threading.Event()

    async def note(message):
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    async def greeted():
        async with session(server, how, mode, message_handler=note) as client, contextlib.AsyncExitStack() as stack:
            await client.list_tools()
            if mode != "legacy":
                changes = await stack.enter_async_context(client.listen(tools_list_changed=True))
            server.write_plugin(name, PLUGIN)
            if mode != "legacy":
                assert isinstance(await anext(aiter(changes)), ToolsListChanged)
            while mode == "legacy" and not await asyncio.to_thread(heard.wait, 3):
                server.write_plugin(name, f"{PLUGIN}# {time.monotonic()}")  # the stream for news was not open yet
            while f"{name}-greet" not in [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]:
                await asyncio.sleep(0.05)
            return await client.call_tool(f"{name}-greet", {})

    assert run(greeted()).content[0].text == "hello"


# The published client for JavaScript, which Claude Desktop, Cursor and VS Code are built on.
CONNECT = """
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

const [how, url, token, command, folder] = process.argv.slice(2);
const transport = how === "http"
  ? new StreamableHTTPClientTransport(new URL("/mcp", url), {
      requestInit: { headers: { Authorization: `Bearer ${token}` } },
    })
  : new StdioClientTransport({
      command, args: [folder], cwd: "/", env: { STABLE_CORE_URL: url, STABLE_CORE_TOKEN: token },
    });
const client = new Client({ name: "test", version: "1" });
await client.connect(transport);
const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
const colour = async (name, color) => (await call(name, { color, side: 2 })).content[0].data;
"""


def javascript(server, how, code, start=run_node):
    """What the code prints; it finds `client`, connected, and `call`."""
    arguments = [how, server.url, server.token, sys.executable, str(ROOT / "clients" / "mcp")]
    return start(CONNECT + code + "\nawait client.close(); process.exit(0);", *arguments, folder=npm_ci())


@pytest.mark.parametrize("how", ["http", "stdio"])
def test_the_javascript_client_sees_tools_pictures_and_progress(server, how):
    printed = javascript(
        server,
        how,
        """
        const { tools } = await client.listTools();  // from now on it checks results against outputSchema
        const painted = await call("studio-paint", { color: "blue", side: 3 });
        const turned = await call("studio-turn", { image: painted.structuredContent.artifacts[0].uri });
        const progress = [];
        const counted = await call("studio-count", { n: 20 }, { onprogress: (each) => progress.push(each) });
        const wrong = await call("studio-count", { n: 0 });
        const { resources } = await client.listResources();
        const read = await client.readResource({ uri: resources[0].uri });
        const colours = Array.from({ length: 10 }, (_, index) => `rgb(${index},0,0)`);
        const pictures = await Promise.all(colours.map((each) => colour("studio-paint", each)));
        console.log(JSON.stringify({
          tools: tools.map((tool) => tool.name), turned, text: counted.content[0].text, progress, wrong,
          read: read.contents[0].mimeType, pictures,
        }));
        """,
    )
    told = json.loads(printed)
    assert {"studio-paint", "choices"} <= set(told["tools"]) and told["turned"]["content"][0]["type"] == "image"
    assert told["text"] == "counted to 20" and told["progress"][-1]["total"] == 20 and len(told["progress"]) > 2
    assert told["wrong"]["isError"] and told["wrong"]["structuredContent"]["error"]["field"] == "n"
    decoded = [PIL.Image.open(io.BytesIO(base64.b64decode(data))).getpixel((0, 0)) for data in told["pictures"]]
    assert decoded == [(index, 0, 0) for index in range(10)] and told["read"] == "text/plain"


@pytest.mark.parametrize("how", ["http", "stdio"])
def test_the_javascript_client_hears_of_new_plugins_and_cancels(server, how):
    name = f"js_{how}"
    code = f"""
        const changed = new Promise((tell) => client.setNotificationHandler(ToolListChangedNotificationSchema, tell));
        await client.listTools();
        console.error("ready");
        await changed;
        const {{ tools }} = await client.listTools();
        const stop = new AbortController();
        const options = {{ signal: stop.signal, onprogress: () => stop.abort("enough") }};
        const why = await call("studio-count", {{ n: 50000 }}, options).catch((error) => String(error));
        await new Promise((later) => setTimeout(later, 500));  // it says so beside
        console.log(JSON.stringify({{ found: tools.some((tool) => tool.name === "{name}-greet"), why }}));
        """
    with javascript(server, how, code, start_node) as process:
        assert process.stderr.readline() == "ready\n"
        out = ""
        while not out:  # news come by a stream that is opened beside: perhaps it was too early
            server.write_plugin(name, f"{PLUGIN}# {time.monotonic()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, problems = process.communicate(timeout=3)
    assert json.loads(out)["found"] and "enough" in json.loads(out)["why"], problems
    assert wait_until(lambda: states(server, "studio.count")[0] != "running")
    assert states(server, "studio.count")[0] == "cancelled"


@pytest.fixture(scope="module")
def mortal():
    """A server of their own for tests that end it."""
    with serve({"studio": STUDIO}) as server:
        yield server


def test_stdio_survives_a_restart_of_the_server_in_the_middle_of_a_call(mortal):
    _, _, over_http = rpc(mortal, "initialize", CLAUDE, id=0)

    async def counted():
        began = asyncio.Event()

        async def progress(done, total, message):
            began.set() if done else None

        async with session(mortal, "stdio") as client:
            call = asyncio.create_task(client.call_tool("studio-count", {"n": 100}, progress_callback=progress))
            await began.wait()
            await asyncio.to_thread(mortal.restart)
            return (await call).content[0].text, len((await client.list_tools()).tools)

    text, tools = run(counted())
    assert text == "counted to 100" and tools > 10
    assert rpc(mortal, "tools/list", {}, id=1, session=over_http)[0] == 404  # which tells a client to begin anew
    assert rpc(mortal, "initialize", CLAUDE, id=0)[0] == 200


def test_stdio_may_be_started_before_the_server(mortal):
    heard = threading.Event()

    async def note(message):
        heard.set() if isinstance(message, types.ToolListChangedNotification) else None

    async def waited():
        async with session(mortal, "stdio", message_handler=note) as client:
            with pytest.raises(MCPError, match="no server answers at .* Start one with: python3 server.py"):
                await client.list_tools()
            refused = await client.call_tool("studio-paint", {})
            await asyncio.to_thread(mortal.start)
            while not heard.is_set():
                await asyncio.sleep(0.05)
            return refused, (await client.call_tool("studio-paint", {"side": 7})).content[0]

    mortal.kill()
    refused, drawn = run(waited())
    assert refused.is_error and refused.structured_content["error"]["code"] == "unreachable"
    assert picture(drawn).size == (7, 7)


GUIDE = (ROOT / "docs" / "mcp.md").read_text("utf-8")


def configured():
    """The entries of all snippets in the guide, as an app would read them."""
    for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL):
        snippet = json.loads(block)
        yield from (snippet.get("mcpServers") or snippet["servers"]).values()


def test_the_snippets_of_the_guide_connect(server):
    async def tools(target):
        async with Client(target, mode="legacy") as client:
            return len((await client.list_tools()).tools)

    async def over_http(entry):
        headers = {name: re.sub(r"TOKEN|\$\{.*\}", server.token, value) for name, value in entry["headers"].items()}
        async with create_mcp_http_client(headers=headers) as http:
            url = entry["url"].replace("http://127.0.0.1:7777", server.url)
            return await tools(streamable_http_client(url, http_client=http))

    async def over_stdio(entry):
        here = {"STABLE_CORE_URL": server.url, "XDG_CONFIG_HOME": str(server.folder / "config")}
        there = {"STABLE_CORE_URL": server.url, "STABLE_CORE_TOKEN": server.token}
        folder = [each.replace("/path/to/stable-core", str(ROOT)) for each in entry["args"]]
        env = there if "env" in entry else here  # without a token, it finds that of this machine
        return await tools(StdioServerParameters(command=entry["command"], args=folder, env=env))

    entries = list(configured())
    counts = [run(over_http(each) if "url" in each else over_stdio(each)) for each in entries]
    assert (
        len(counts) == 5 and min(counts) > 10 and entries[-1]["env"].keys() == {"STABLE_CORE_URL", "STABLE_CORE_TOKEN"}
    )


def test_the_guide_names_every_tool():
    assert asked.EVENTS.keys() <= set(re.findall(r"`(\w+)`", GUIDE))
