"""What jobs have written is there for those who come later, in bounds; the admin also reads about plugins."""

import time

import pytest

from core.auth import OWNER
from core.errors import Internal
from core.jobs import Store
from core.library.logs import Logs
from tests.serving import serve, wait_until
from tests.wire import Wire

PLUGIN = """
class Say(Params):
    lines: int = param(1, help="How many.")
    fail: bool = param(False, help="Whether it fails then.")

class Says(Plugin):
    @job()
    def say(self, params: Say, ctx: Context) -> Text:
        for number in range(params.lines):
            ctx.log(f"line {number}")
        if params.fail:
            raise ValueError("on purpose")
        return "said"
"""
BOT = "a token that nobody would guess"


@pytest.fixture(scope="module")
def server():
    with serve({"says": PLUGIN, "broken": "1 / 0"}, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def texts(wire, **fields):
    return [line["text"] for line in wire.call("logs", fields)["lines"]]


def test_lines_of_a_job_are_told_later_the_newest_last(server, wire):
    job = wire.submit("say", {"lines": 3})
    wire.ended(job)
    with Wire(server) as late:
        lines = late.call("logs", {"job": job})["lines"]
    assert [line["text"] for line in lines] == ["line 0", "line 1", "line 2"]
    assert {(line["job"], line["name"]) for line in lines} == {(job, "says.say")}
    assert all(abs(line["time"] - time.time()) < 60 for line in lines)
    assert texts(wire, job=job, limit=2) == ["line 1", "line 2"]


def test_the_traceback_of_a_failed_job_is_there_after_a_restart():
    with serve({"says": PLUGIN}) as server:
        with Wire(server) as wire:
            job = wire.submit("say", {"fail": True})
            wire.ended(job)
            assert "Traceback" in texts(wire, job=job)[-1]  # which also stores what was not stored yet
        server.restart()
        with Wire(server) as wire:
            assert 'raise ValueError("on purpose")' in texts(wire, job=job)[-1]


def test_lines_are_stored_within_a_second_whoever_asks():
    with serve({"says": PLUGIN}) as server:
        with Wire(server) as wire:
            job = wire.submit("say")
            wire.ended(job)
            time.sleep(1.5)
        server.restart()
        with Wire(server) as wire:
            assert texts(wire, job=job) == ["line 0"]


def test_a_job_that_writes_much_keeps_its_newest_200_and_costs_nobody_else_theirs(wire):
    quiet, loud = wire.submit("say"), wire.submit("say", {"lines": 5_000})
    wire.ended(quiet, loud)
    assert texts(wire, job=loud, limit=1000) == [f"line {number}" for number in range(4_800, 5_000)]
    assert texts(wire, job=quiet) == ["line 0"]


def test_everybody_reads_the_lines_of_own_jobs_only(server, wire):
    job = wire.submit("say")
    wire.ended(job)
    with Wire(server, token=BOT) as bot:
        theirs = bot.submit("say")
        bot.ended(theirs)
        assert {line["job"] for line in bot.call("logs")["lines"]} == {theirs}
        assert bot.call("logs", {"job": job})["error"]["code"] == "not_found"
    assert theirs not in {line.get("job") for line in wire.call("logs", {"limit": 1000})["lines"]}


def test_the_admin_reads_what_the_server_says_about_plugins(server, wire):
    said = {line["name"]: line["text"] for line in wire.call("logs", {"limit": 1000})["lines"] if "job" not in line}
    assert said["says"] == "ready" and said["broken"].startswith("refused: importing it failed")
    server.write_plugin("late", PLUGIN)
    wait_until(lambda: ("late", "ready") in {(line["name"], line["text"]) for line in wire.call("logs")["lines"]})


def test_lines_that_cannot_be_stored_wait_until_they_can(tmp_path, monkeypatch):
    store = Store(tmp_path / "jobs.db", False, lambda function, *args: function(*args), lambda event: None)
    logs = Logs(store, outgoing=None)
    told = lambda: [line["text"] for line in logs.logs(OWNER)["lines"]]  # noqa: E731
    logs.of_plugin("says", "first")
    logs.keep()
    logs.of_plugin("says", "second")

    def fail(change):
        raise Internal("the disk is full.")

    with monkeypatch.context() as full:
        full.setattr(store, "write", fail)
        with pytest.raises(Internal):
            logs.keep()
        logs.of_plugin("says", "third")
        assert told() == ["first"]
    assert told() == ["first", "second", "third"]
    store.close()
