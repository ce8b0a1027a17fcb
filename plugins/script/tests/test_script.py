"""The script plugin at a real server: what it makes, what it tells of mistakes, and who may not use it."""

import time
from pathlib import Path

import PIL.Image
import pytest

from clients.python import Client, ServerError
from core.ops import sandbox
from tests.serving import serve, wait_until

FOLDER = Path(__file__).resolve().parents[1]
BOT = "a-token-of-a-bot-0123456789"


@pytest.fixture(scope="module")
def server():
    if problem := sandbox.problem():
        pytest.skip(f"no sandbox can be made: {problem}")
    with serve({"script": FOLDER}, allow_code=True, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def test_code_makes_pictures_texts_and_values_of_what_it_is_given(client):
    wide = client.upload(PIL.Image.new("RGB", (30, 20), "red"))
    turned = client.run(
        "python_images", images=[wide], code="result = [each.rotate(90, expand=True) for each in images]"
    )
    assert [each.image().size for each in turned] == [(20, 30)]
    found = client.run("python_texts", images=turned, code="result = f'{images[0].width} wide'")
    assert found[0].text() == "20 wide"
    said = client.run(
        "python_json", texts=found, code="print('hello')\nprogress(1, 2)\nresult = {'words': texts[0].split()}"
    )
    assert said[0].text() == '{"words": ["20", "wide"]}'


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("a = 1\nb = a / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def f():\n    return undefined\n\nf()", "line 2: NameError: name 'undefined'"),
        ("a = 1\nif:\n", "line 2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)", r"line 2: the script called exit\(3\)"),
        ("import os\nos._exit(1)", "the script ended its process"),
        ("a = 1", "leaves nothing in result"),
        ("result = 7", "result has a int, not image"),
        ("open('/etc/passwd')", "line 1: FileNotFoundError"),
        ("import socket\nsocket.create_connection(('1.1.1.1', 80), 1)", "line 2: OSError"),
    ],
)
def test_mistakes_are_told_with_the_line_of_the_script(client, code, told):
    with pytest.raises(ServerError, match=told):
        client.run("python_images", code=code)


def test_what_it_prints_and_the_traceback_are_in_the_log(client):
    job = client.submit("python_texts", {"code": "print('so far')\nraise ValueError('no further')"})
    with pytest.raises(ServerError, match="no further"):
        job.wait()
    log = wait_until(lambda: [line["text"] for line in client.logs(job=job.id)])
    assert "so far" in log and "    raise ValueError('no further')" in log


def test_a_cancel_ends_a_script_at_once_and_the_worker_goes_on(client):
    job = client.submit("python_texts", {"code": "progress(1, 9)\nwhile True:\n    pass"})
    wait_until(lambda: job.refresh().state == "running")
    started = time.monotonic()
    job.cancel()
    wait_until(lambda: job.refresh().state == "cancelled")
    assert time.monotonic() - started < 4  # else the whole worker is killed
    assert client.run("python_texts", code="result = 'on'")[0].text() == "on"


def test_others_neither_see_nor_run_it(server):
    with Client(server.url, BOT) as bot:
        assert bot.plugins() == []
        assert bot.call("settings")["declared"] == {}
        with pytest.raises(ServerError, match="bot may not run script.python_texts") as refused:
            bot.submit("script.python_texts", {"code": "result = 'mine'"})
        assert refused.value.code == "forbidden"


def test_without_allow_code_or_a_sandbox_it_is_not_there(client):
    with serve({"script": FOLDER}) as other, other.client() as mine:
        assert mine.plugins() == []
    with serve({"script": FOLDER}, allow_code=True, sandbox="off") as other, other.client() as mine:
        assert mine.plugins()[0]["status"] == "refused" and "sandbox only" in mine.plugins()[0]["error"]
