"""The way to the bridges: who is let through, what becomes of requests that break, and when the process ends."""

import base64
import contextlib
import os
import signal
import socket
import threading
import time

import psutil
import pytest
import requests

from tests.serving import serve, wait_until
from tests.wire import Wire, alive

LIMIT = 200_000
BOT = "b" * 20
PAINT = """
import PIL.Image

class PaintParams(Params):
    prompt: str = param("", help="A colour.")
    steps: int = param(1, ge=1, le=10000, help="How long it takes.")

class Paint(Plugin):
    @job(concurrency=4)
    def paint(self, params: PaintParams, ctx: Context) -> Image:
        for step in range(params.steps):
            ctx.raise_if_cancelled()
            time.sleep(0.02)
        return PIL.Image.new("RGB", (16, 16), params.prompt)
"""
URL = "/sdapi/v1/txt2img"


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def server(request):
    options = {"max_upload_bytes": LIMIT, "tokens": {"bot": BOT}, "cancel_grace_seconds": 0}
    with serve({"paint": PAINT}, async_mode=request.param, **options) as server:
        yield server


def get(server, headers=None, path="/internal/ping", **options):
    return requests.get(server.url + path, headers=headers, timeout=30, **options)


def bearer(server):
    return {"Authorization": f"Bearer {server.token}"}


def draw(server, **body):
    return requests.post(server.url + URL, json={"prompt": "red", **body}, headers=bearer(server), timeout=60)


def bridge(server):
    """The process, or None."""
    children = psutil.Process(server.process.pid).children()
    return next((child for child in children if "clients.bridges" in child.cmdline()), None)


@contextlib.contextmanager
def drawing(server, steps):
    """A call that takes a while, under way; it gives the list that its answer comes into."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(draw(server, steps=steps)))
    thread.start()
    with Wire(server) as wire:
        wait_until(lambda: wire.call("jobs", {"state": "running"})["jobs"])
    yield answers
    thread.join(30)


def test_many_first_calls_at_once_start_one_bridge(server):
    assert bridge(server) is None
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(get(server, bearer(server)).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    children = psutil.Process(server.process.pid).children()
    assert codes == [200] * 8 and sum("clients.bridges" in child.cmdline() for child in children) == 1


# Who is let through


def test_the_token_is_a_bearer_or_the_password_of_basic_or_the_pages_cookie(server):
    assert get(server, bearer(server)).json() == {}
    assert get(server, auth=("anybody", server.token)).status_code == 200
    with requests.Session() as page:
        page.get(f"{server.url}/?token={server.token}", timeout=10)
        assert page.get(f"{server.url}/internal/ping", timeout=10).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic " + base64.b64encode(b"user:wrong").decode()},
        {"Authorization": "Basic ?"},
        {"Cookie": "stable_core_1=wrong"},
        {"X-Bridge-Secret": "", "Authorization": ""},
    ],
)
def test_without_the_token_there_is_a_401_that_asks_for_it(server, headers):
    for path in ("/internal/ping", "/sdapi/v1/options", "/v1/models", "/mcp"):
        answer = get(server, headers, path)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == 'Basic realm="stable-core"'
        assert answer.json()["error"]["code"] == "unauthorized"
        assert "Authorization: Bearer TOKEN, or is the password of Basic" in answer.json()["detail"]


def test_each_token_has_its_own_jobs(server):
    draw(server)
    history = "/agent-scheduler/v1/history"
    assert get(server, bearer(server), history).json()["total"] >= 1
    assert get(server, {"Authorization": f"Bearer {BOT}"}, history).json()["total"] == 0


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_pages_and_names_of_others_are_refused_also_with_the_token(server, headers):
    answer = get(server, bearer(server) | headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_the_bridges_own_port_answers_nobody_but_the_server(server):
    get(server, bearer(server))
    port = int((server.folder / "data/bridges.port").read_text())
    for headers in ({}, bearer(server), {"X-Bridge-Secret": "guess"}):
        answer = requests.get(f"http://127.0.0.1:{port}/internal/ping", headers=headers, timeout=10)
        assert (answer.status_code, answer.json()) == (403, {"detail": "ask the server, not this port."})


# Switched off


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"bridges": "off"}, "the bridges for other APIs are off."),
        ({"host": "0.0.0.0"}, "the bridges for other APIs are off, as this server does not listen on loopback alone."),
    ],
)
def test_bridges_that_are_off_say_so_and_start_nothing(settings, why):
    with serve({}, **settings) as server:
        answer = get(server, bearer(server))
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, why)
        assert answer.json()["error"]["hint"] == 'To switch them on, set bridges = "on" in config.toml.'
        assert bridge(server) is None and get(server).status_code == 401


def test_bridges_that_are_on_answer_on_any_host():
    with serve({}, host="0.0.0.0", bridges="on") as server:
        assert get(server, bearer(server)).json() == {}


# What breaks


def test_a_bridge_that_dies_in_a_call_is_told_and_another_one_is_started(server):
    get(server, bearer(server))
    with drawing(server, steps=100) as answers:
        before = bridge(server)
        before.kill()
    assert answers[0].status_code == 500
    assert answers[0].json()["error"]["message"].startswith("the bridge ended before it answered.")
    wait_until(lambda: get(server, bearer(server)).status_code == 200)  # it may take a moment to be dead
    assert bridge(server).pid != before.pid


def test_a_body_over_the_limit_is_refused_with_its_length_or_in_pieces(server):
    whole = requests.post(server.url + URL, data=b" " * (LIMIT + 1), headers=bearer(server), timeout=30)
    pieces = requests.post(
        server.url + URL, data=(b" " * 50_000 for _ in range(20)), headers=bearer(server), timeout=30
    )
    for answer in (whole, pieces):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        assert "200,000 bytes (max_upload_bytes)" in answer.json()["error"]["message"]
    assert draw(server).status_code == 200


def test_a_body_in_pieces_arrives_whole(server):
    body = iter([b'{"prompt": ', b'"lime", "force_task_', b'id": "pieces"}'])
    answer = requests.post(
        server.url + URL, data=body, headers=bearer(server) | {"Content-Type": "application/json"}, timeout=30
    )
    assert answer.json()["parameters"]["prompt"] == "lime"


def test_a_client_that_goes_away_costs_nobody_else_and_its_job_is_done(server):
    body = b'{"prompt": "red", "steps": 40, "force_task_id": "left"}'
    head = f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as left:
        left.sendall(head.encode() + body)
        task = lambda: requests.post(  # noqa: E731
            f"{server.url}/internal/progress", json={"id_task": "left"}, headers=bearer(server), timeout=10
        ).json()
        wait_until(lambda: task()["active"])
    assert draw(server).status_code == 200
    wait_until(lambda: task()["completed"])


def test_a_client_that_goes_away_within_its_body_costs_nobody_else(server):
    for ending in (b"", b"5\r\n"):
        length = b"Transfer-Encoding: chunked" if ending else b"Content-Length: 1000"
        head = f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.port)) as left:
            left.sendall(head + length + b"\r\n\r\n" + ending + b'{"p')
    time.sleep(0.2)
    assert draw(server).status_code == 200


# When the process ends


def test_the_bridge_ends_with_the_server(server):
    get(server, bearer(server))
    process = bridge(server)
    assert server.stop() == 0 and not alive(process.pid)
    server.start()
    get(server, bearer(server))
    process = bridge(server)
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(process.pid), 5)
