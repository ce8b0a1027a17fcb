"""What is not even a request: broken packets, frames and HTTP cost their sender an error or the connection, no more."""

import json
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
import requests
import websocket

from core.artifacts import Blobs
from core.library import plain
from core.library.results import outcome
from tests.serving import serve
from tests.test_attacks import LIAR, PLUGIN
from tests.wire import Wire

UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = b"\0\0\0\0"
THREADING = os.environ.get("STABLE_CORE_TEST_ASYNC_MODE") == "threading"


@pytest.fixture(scope="module")
def server():
    with serve({"echo": PLUGIN}, max_upload_bytes=20_000_000) as server:
        yield server


@pytest.fixture
def unharmed(server):
    """While a test runs, another client works and is answered soon, on a busy machine within seconds; afterwards
    the server's log has no traceback and its memory is what it was."""
    before, already, slowest, stop = memory(server), len(server.log), [0.0], threading.Event()
    with Wire(server) as wire:

        def work():
            while not stop.is_set():
                started = time.monotonic()
                assert wire.call("submit", {"job": "echo", "hold": True})["ok"]
                slowest.append(time.monotonic() - started)
                time.sleep(0.05)

        thread = threading.Thread(target=work)
        thread.start()
        yield wire
        stop.set()
        thread.join()
        assert len(slowest) > 1 and max(slowest) < 10
        assert wire.text(wire.ended(wire.submit("echo"), seconds=10)["outputs"][0]) == "hello"
    assert "Traceback" not in server.log[already:] and memory(server) < before + 200_000_000


def memory(server):
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def connected(server, namespace=True):
    """A WebSocket that has gone as far as Socket.IO's CONNECT."""
    raw = websocket.create_connection(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket")
    raw.settimeout(3)
    raw.recv()
    if namespace:
        raw.send("40" + json.dumps({"token": server.token}))
        assert raw.recv().startswith("40")
    return raw


def closed(raw):
    """Whether the server hangs up; a time-out fails the test."""
    with raw.sock:
        try:
            while raw.recv():
                pass
        except (ConnectionError, websocket.WebSocketConnectionClosedException):
            pass
    return True


def http(server, request, body=b"", wait=3):
    """The answer to bytes that may be no HTTP."""
    with socket.create_connection(("127.0.0.1", server.port), wait) as raw:
        raw.sendall(request.encode("latin-1") + body)
        return b"".join(iter(lambda: raw.recv(65536), b""))


@pytest.mark.parametrize(
    "packet",
    [
        "", "x", "7", "\u00e9", "bzzz",  # not Engine.IO
        "4", "b", "4x", "44", "47", "4\u00b2", "42", "42{}", "42[]", "42[{}]", "42[[]]", "42[1]", "42[null]",
        "42" + "1" * 200 + '["hello"]', '42/nowhere,["x"]', '42/worker,0["ready",{}]', '42/worker,["finished",{}]',
        '450-["hello"]', '4511-["hello"]', '459999999999-["hello"]',
    ],
    ids=lambda packet: packet[:30],
)  # fmt: skip
@pytest.mark.parametrize("namespace", [True, False])
def test_what_is_no_packet_ends_its_connection(server, unharmed, packet, namespace):
    raw = connected(server, namespace)
    raw.send(packet)
    assert closed(raw)


@pytest.mark.parametrize("number", ["1", '"a"', "null", "1.5", "[]", "{}"])
def test_a_placeholder_without_its_attachment_ends_the_connection(server, unharmed, number):
    raw = connected(server)
    raw.send('451-["hello",{"_placeholder":true,"num":NUMBER}]'.replace("NUMBER", number))
    raw.send_binary(b"attached")
    assert closed(raw)


@pytest.mark.parametrize("attach", [lambda raw: raw.send("2"), lambda raw: raw.send('42["hello"]')])
def test_text_where_an_attachment_was_announced_ends_the_connection(server, unharmed, attach):
    raw = connected(server)
    raw.send('451-["hello",{"_placeholder":true,"num":0}]')
    attach(raw)
    raw.send_binary(b"x" * 10)
    raw.send_binary(b"one more, which nobody announced")
    assert closed(raw)


@pytest.mark.parametrize("name", ["connect", "disconnect", "*", "", "\x00", "submit " * 1000])
def test_an_event_with_a_name_of_the_librarys_own_is_unknown(server, unharmed, name):
    raw = connected(server)
    raw.send("420" + json.dumps([name, {}, {}]))
    assert json.loads(raw.recv().removeprefix("430"))[0]["error"]["code"] == "not_found"
    raw.close()


def test_acknowledgements_that_nobody_asked_for_are_ignored(server, unharmed):
    raw = connected(server)
    for packet in ("43", "430", "430[]", "43999[1,2,3]", '43/worker,5["x"]', "43{}", "41/worker,"):
        raw.send(packet)
    raw.send('420["hello"]')
    assert json.loads(raw.recv().removeprefix("430"))[0]["ok"]
    raw.close()


@pytest.mark.parametrize(
    "auth", ["", "{}", '{"token":"guessed"}', '{"token":{"a":1}}', "[1]", '"x"', '{"token":"\\ud800"}']
)
def test_nobody_gets_into_the_namespace_of_workers_without_a_token(server, unharmed, auth):
    raw = connected(server)
    raw.send("40/worker," + auth)
    assert raw.recv().startswith("44/worker,")
    raw.send('42/worker,["finished",{"lease":"x"}]')
    assert closed(raw)


def test_attachments_are_limited_and_forgotten_with_their_connection(server, unharmed):
    before = memory(server)
    for _ in range(12):
        raw = connected(server)
        raw.send('4510-["hello",{"_placeholder":true,"num":0}]')
        try:
            for _ in range(4):
                raw.send_binary(b"x" * 8_000_000)
        except (ConnectionError, websocket.WebSocketConnectionClosedException):
            pass
        assert closed(raw)
    assert memory(server) < before + 80_000_000


def test_connections_that_come_and_go_leave_nothing_behind(server, unharmed):
    for _ in range(150):
        raw = connected(server)
        raw.send('451-["submit",{"_placeholder":true,"num":0}]')
        raw.shutdown()
    assert requests.get(f"{server.url}/healthz", timeout=5).ok


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x01a",  # without a mask
        b"\xf1\x81" + MASK + b"a",  # reserved bits
        b"\x83\x81" + MASK + b"a",  # an unknown opcode
        b"\x81\xff" + b"\xff" * 8 + MASK,  # a length of 2**64 - 1
        b"\x81\xff" + struct.pack("!Q", 16_000_001) + MASK,
        b"\x89\xfe\x00\xff" + MASK + b"a" * 255,  # a ping that is too long
        b"\x09\x81" + MASK + b"a",  # a ping in fragments
        b"\x80\x81" + MASK + b"a",  # goes on with nothing
        b"\x01\x81" + MASK + b"a\x81\x81" + MASK + b"a",  # a message within a message
        b"\x81\x82" + MASK + b"\xff\xff",  # not UTF-8
        b"\x88\x81" + MASK + b"a",  # half a close code
        b"\x88\x82" + MASK + b"\0\1",
        b"\x81\x80" + MASK,
        b"\x82\x81" + MASK + b"a",  # bytes that nobody announced
    ],
)
def test_a_broken_frame_ends_its_connection(server, unharmed, frame):
    if THREADING and frame[:2] in (b"\x81\x80", b"\x81\xff", b"\x82\x81"):
        pytest.skip("simple-websocket hangs up when the ping's time is over, after 30 s")
    with socket.create_connection(("127.0.0.1", server.port), 3) as raw:
        raw.sendall(UPGRADE.encode())
        assert b"101" in raw.recv(65536)
        raw.sendall(frame)
        while raw.recv(65536):  # a time-out fails the test
            pass


def test_a_websocket_of_before_the_standard_is_refused(server, unharmed):
    """They have no lengths, so one message could fill the memory."""
    with socket.create_connection(("127.0.0.1", server.port), 3) as raw:
        raw.sendall(UPGRADE.replace("Sec-WebSocket-Version: 13\r\n", "").encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 400")


def test_many_half_requests_keep_nobody_waiting(server, unharmed):
    token = f"Host: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n"
    halves = (
        "GET / HT",
        f"GET / HTTP/1.1\r\n{token}X-Slow: ",
        f"PUT /artifacts HTTP/1.1\r\n{token}Content-Length: 9\r\n\r\nx",
    )
    raws = [socket.create_connection(("127.0.0.1", server.port), 3) for _ in range(300)]
    for number, raw in enumerate(raws):
        raw.sendall(halves[number % 3].encode())
    for raw in raws:
        raw.sendall(b"a")
        assert requests.get(f"{server.url}/healthz", timeout=2).ok
        raw.close()


@pytest.mark.parametrize("path", ["/artifacts", "/api/v1/jobs"])
@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("chunks", ["zz\r\n", "-5\r\nhello\r\n", "f" * 3_000_000, "5;" + "x" * 3_000_000])
def test_chunks_that_make_no_sense_are_refused_without_being_kept(server, unharmed, path, token, chunks):
    if THREADING and len(chunks) > 1_000:
        pytest.skip("werkzeug answers, but waits for the rest of a body before it hangs up")
    head = "Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {server.token}\r\n" if token else ""
    try:
        answer = http(server, f"POST {path} HTTP/1.1\r\n{head}\r\n{chunks}\r\n0\r\n\r\n")
    except ConnectionError:
        return  # hung up while we still sent
    error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
    assert error["code"] == ("invalid_params" if token else "unauthorized")


@pytest.mark.parametrize("mode", ["eventlet", "threading"])
def test_chunks_that_break_off_do_not_end_the_server(mode):
    with serve({"echo": PLUGIN}, async_mode=mode) as server:
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
        for path in ("/api/v1/jobs", "/artifacts") * 3:
            with socket.create_connection(("127.0.0.1", server.port), 3) as raw:
                request = f"POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + "x" * 100_000
                raw.sendall(request.encode())
        with Wire(server) as wire:
            assert wire.ended(wire.submit("echo"))["state"] == "done"
        assert "Traceback" not in server.log


@pytest.mark.parametrize("body", [b"\xff\xff", b"d=", b"4" + b"\x1e4" * 50])
def test_a_poll_that_makes_no_sense_is_refused_and_ends_its_connection(server, unharmed, body):
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    url += "&sid=" + json.loads(requests.get(url, timeout=5).text[1:])["sid"]
    assert requests.post(url, data=body, timeout=3).status_code == 400
    assert requests.post(url, data="40", timeout=3).status_code == 400


@pytest.mark.parametrize(
    "request_",
    [
        "\x00\x01\x02\r\n\r\n", "GET /{} HTTP/1.1\r\n\r\n".format("a" * 100_000), "GET / HTTP/99999999999.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nX: {}\r\n\r\n".format("a" * 100_000),
        "GET / HTTP/1.1\r\n{}\r\n".format("".join(f"X{number}: 1\r\n" for number in range(20_000))),
        "PUT /artifacts HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "PUT /artifacts HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "PUT /artifacts HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:x@y\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\nConnection: close\r\n\r\n",
        "GET /artifacts/%ff%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer \xff\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: ;=;\xff=;\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda request: ascii(request[:40]),
)  # fmt: skip
def test_what_is_no_http_is_refused(server, unharmed, request_):
    try:
        status = int(http(server, request_).split(b"</h1>")[0].partition(b" ")[2][:3] or 400)
    except (ConnectionError, ValueError):  # hung up, or a page without a status line, as HTTP/0.9 has it
        return
    assert 400 <= status < 500 or status == 505


def test_an_upload_of_a_hundred_megabytes_over_the_limit_is_refused_and_not_kept(server, unharmed):
    headers = {"Authorization": f"Bearer {server.token}"}
    try:
        answer = requests.put(f"{server.url}/artifacts", data=bytes(100_000_000), headers=headers, timeout=20)
        assert answer.json()["error"]["code"] == "too_large"
    except requests.ConnectionError:
        pass  # the server may hang up while we still send
    assert not [*(server.folder / "data" / "blobs" / "incoming").iterdir()]


def test_a_prompt_of_ten_megabytes_is_too_large(server, unharmed):
    for event in ("submit", "call", "plan"):
        answer = unharmed.call(event, {"job": "echo", "params": {"text": "x" * 10_000_000}})
        assert answer["error"]["code"] == ("invalid_params" if event == "call" else "too_large")
    assert unharmed.call("flow", {"jobs": [{"job": "echo", "params": {"text": "x" * 10_000_000}}]})["error"]


PATHS = [
    "../../etc/passwd",
    "..",
    ".",
    "/etc/passwd",
    "a/../../b",
    "C:\\x",
    "a\0b",
    "a\nb",
    "%2e%2e%2f",
    "\u202egnp.exe",
    "~",
]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_a_path_in_a_name_leads_nowhere(server, unharmed, path):
    outside = {*server.folder.iterdir()}
    for event, request in (
        ("choices", {"list": f"models/{path}"}), ("artifact", {"id": path}), ("job", {"id": path}),
        ("lineage", {"id": path}), ("review", {"ids": [path], "state": "new"}), ("submit", {"job": f"echo.{path}"}),
        ("submit", {"job": "join", "inputs": {"parts": [path]}}),
    ):  # fmt: skip
        answer = unharmed.call(event, request)
        assert answer.get("choices") == [] or answer["error"]["code"] != "internal"
    answer = unharmed.call("submit", {"job": "echo", "session": path})
    if answer["ok"]:
        unharmed.ended(answer["job"]["id"])
    answer = unharmed.upload(b"a text", name=path, session=path)
    assert answer["ok"] or answer["error"]["code"] == "invalid_params"
    assert {*server.folder.iterdir()} == outside


def test_one_client_ref_sent_by_many_at_once_makes_one_job(server, unharmed):
    answers, wires = [], [Wire(server, subscribe=False) for _ in range(8)]
    ready = threading.Barrier(8)

    def submit(wire):
        ready.wait()
        answers.append(wire.call("submit", {"job": "echo", "client_ref": "raced", "hold": True}))

    threads = [threading.Thread(target=submit, args=[wire]) for wire in wires]
    for thread in threads:
        thread.start()
    for thread, wire in zip(threads, wires, strict=True):
        thread.join()
        wire.socket.disconnect()
    assert len({answer["job"]["id"] for answer in answers}) == 1 and len(answers) == 8


LARGE = """
class Large(Plugin):
    @job()
    def many(self) -> list[Text]:
        return [str(number) for number in range(1000)]

    @job()
    def facts(self) -> list[Text]:
        return [Result("", {"infotext": "x" * 9_000}) for _ in range(20)]

    @job()
    def hint(self) -> Text:
        raise InvalidParams("no", hint="x" * 200_000)

    @job(program=True)
    def once(self, ctx: Context) -> Text:
        return ctx.once("key", lambda: "x" * 200_000)

    @job(program=True)
    def submits(self, ctx: Context) -> Json:
        return [ctx.submit("many", {"x" * 200_000: 1}).id]

    @job(light=True)
    def answer(self) -> Text:
        return "x" * 200_000

    @job(light=True)
    def values(self) -> Json:
        return [1] * 400_000

    @job()
    def phase(self, ctx: Context) -> Text:
        ctx.progress(1, 2, "x" * 200_000)
        return "fine"
"""


def test_what_is_too_large_to_be_told_fails_its_job_instead_of_being_sent_for_ever():
    """The server hangs up on a message over the limit, so its worker would come back and send it again."""
    with serve({"large": LARGE}, max_message_bytes=100_000) as server, Wire(server) as wire:
        for job in ("many", "facts", "hint", "once", "submits"):
            assert wire.ended(wire.submit(job), seconds=20)["error"]["code"] == "too_large"
        for job, size in {"answer": 200_000, "values": 400_000}.items():  # they go as blobs
            assert len(wire.call("call", {"job": job})["outputs"][0]) == size
        assert wire.ended(wire.submit("phase"), seconds=20)["state"] == "done"
        assert "Traceback" not in server.log


def test_a_result_of_too_many_values_is_a_failure(tmp_path):
    """As a worker of another version may send it."""
    said = outcome(plain.Oversized(), Blobs(tmp_path))
    assert said.state == "failed" and "more than 300,000 values" in said.error["message"]


def test_a_worker_that_lies_about_its_memory_stops_nobody():
    with serve({"liar": LIAR}) as server, Wire(server) as wire:
        for said in ("many", None, -1, [1], 10**30, 1e308, True):
            messages = [["beat", {"memory_bytes": said}], ["ready", {"leases": said}]]
            first = wire.submit("lie", {"messages": json.dumps(messages)})
            wire.until(lambda job=first: "running" in wire.states(job))
            time.sleep(0.1)  # it has lied, and has not ended yet
            assert [each["state"] for each in wire.ended(first, wire.submit("lie"), seconds=10)] == ["done", "done"]
        assert wire.call("queue", {"action": "status"})["ok"] and "Traceback" not in server.log
