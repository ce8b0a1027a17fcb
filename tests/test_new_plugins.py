"""Plugins come, change, break, are mended and go while the server runs; nobody else notices, and no job is lost."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.serving import HEADER, ROOT, serve
from tests.wire import Wire

SAY = """
class {name}(Plugin):
    @job()
    def {job}(self) -> Text:
        return "{said}"
"""
SLOW = """
class Slow(Plugin):
    @job(concurrency=4)
    def nap(self, ctx: Context) -> Text:
        for step in range(600):
            ctx.raise_if_cancelled()
            if (self.folder.parent / "wake").exists():
                break
            time.sleep(0.05)
        return "old"
"""


@pytest.fixture(scope="module")
def server():
    with serve({"old": SAY.format(name="Old", job="old", said="old")}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def say(name, said="hello", job=None):
    return SAY.format(name=name.title(), job=job or name, said=said)


def told(wire, name):
    """What the events `plugins` said of it, in order."""
    return [body["status"] for _, event, body in wire.state_events() if event == "plugins" and body["name"] == name]


def about(wire, name):
    found = [plugin for plugin in wire.call("plugins")["plugins"] if plugin["name"] == name]
    return found[0] if found else None


def result(wire, job, **params):
    ended = wire.ended(wire.submit(job, params))
    assert ended["state"] == "done", ended
    return wire.text(ended["outputs"][0])


def test_a_plugin_that_is_put_there_is_announced_and_usable_within_seconds(server, wire):
    started = time.monotonic()
    server.write_plugin("fresh", say("fresh"))
    wire.until(lambda: told(wire, "fresh") == ["installing", "ready"])
    assert time.monotonic() - started < 8  # 2 s on a quiet machine
    assert result(wire, "fresh.fresh") == "hello"
    assert "plugin    fresh: fresh" in server.log


def test_a_new_plugin_is_in_the_list_of_the_command_line_with_its_flags_and_in_openapi(server, wire):
    source = """
    class LoudParams(Params):
        times: int = param(2, ge=1, le=9, help="How loud.")
        words: list[Literal["a", "b"]] = param([], help="Which.")
    class Loud(Plugin):
        @job()
        def loud(self, params: LoudParams) -> Text:
            return "!" * params.times
    """
    schemas = lambda: openapi(server)["components"]["schemas"]  # noqa: E731
    assert "loud.loud" not in schemas()
    server.write_plugin("loud", "from typing import Literal\n" + source.replace("\n    ", "\n"))
    wire.until(lambda: told(wire, "loud")[-1:] == ["ready"])
    assert "loud.loud" in cli(server, "plugins")
    assert "--times" in cli(server, "run", "loud", "--help")
    assert cli(server, "run", "loud", "--times", "3").strip() == "!!!"
    assert schemas()["loud.loud"]["properties"]["times"]["maximum"] == 9
    named = {"properties": {"job": {"enum": ["loud.loud", "loud"]}}, "required": ["job"]}
    assert named in [rule["if"] for rule in schemas()["SubmitBody"]["allOf"]]


def openapi(server):
    headers = {"Authorization": f"Bearer {server.token}"}
    return requests.get(f"{server.url}/api/v1/openapi.json", headers=headers, timeout=20).json()


def cli(server, *words):
    command = [sys.executable, "-m", "clients.cli", "--url", server.url, "--token", server.token, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_changed_plugin_runs_its_new_code_with_its_new_jobs(server, wire):
    server.write_plugin("changing", say("changing", "before"))
    wire.until(lambda: told(wire, "changing")[-1:] == ["ready"])
    assert result(wire, "changing") == "before"
    server.write_plugin(
        "changing", say("changing", "after") + "\n    @job()\n    def more(self) -> Text:\n        return 'more'"
    )
    wire.until(lambda: told(wire, "changing") == ["installing", "ready"] * 2)
    assert (result(wire, "changing"), result(wire, "changing.more")) == ("after", "more")


def test_a_running_job_ends_on_the_old_code_and_the_next_one_waits_for_the_new(server, wire):
    server.write_plugin("slow", SLOW)
    wire.until(lambda: told(wire, "slow")[-1:] == ["ready"])
    old = wire.submit("nap")
    wire.until(lambda: "running" in wire.states(old))
    server.write_plugin("slow", SLOW.replace('"old"', '"new"'))
    wire.until(lambda: told(wire, "slow") == ["installing", "ready"] * 2)
    new = wire.submit("nap")
    assert result(wire, "old") == "old"  # nobody else waits
    assert wire.states(new) == ["queued"]
    (server.folder / "plugins/wake").touch()
    assert [wire.text(ended["outputs"][0]) for ended in wire.ended(old, new)] == ["old", "new"]
    assert wire.call("job", {"id": old})["job"]["attempt"] == 1


def test_a_file_that_is_touched_or_is_no_code_disturbs_nobody(server, wire):
    result(wire, "old")
    pids = lambda: [each["pid"] for each in wire.call("queue")["workers"] if each["plugin"] == "old"]  # noqa: E731
    before = pids()
    (server.folder / "plugins/old/__init__.py").touch()
    (server.folder / "plugins/old/notes.txt").write_text("a note")
    time.sleep(3)
    assert (pids(), told(wire, "old")) == (before, [])


def test_a_broken_plugin_is_told_costs_nobody_else_and_loads_once_mended(server, wire):
    server.write_plugin("broken", "import nothing_of_that_name")
    wire.until(lambda: told(wire, "broken") == ["installing", "refused"])
    assert "nothing_of_that_name" in about(wire, "broken")["error"] and result(wire, "old") == "old"
    server.write_plugin("broken", say("broken", "mended"))
    wire.until(lambda: told(wire, "broken") == ["installing", "refused", "installing", "ready"])
    assert result(wire, "broken.broken") == "mended"


def test_the_jobs_of_a_plugin_that_breaks_wait_until_it_is_mended(server, wire):
    server.write_plugin("fragile", say("fragile"))
    wire.until(lambda: told(wire, "fragile")[-1:] == ["ready"])
    job = wire.submit("fragile", hold=True)
    server.write_plugin("fragile", "class Fragile(")
    wire.until(lambda: told(wire, "fragile")[-1] == "refused")
    refused = wire.call("submit", {"job": "fragile"})["error"]
    assert refused["code"] == "plugin_error" and "fragile is refused" in refused["message"]
    wire.call("release", {"id": job})
    server.write_plugin("fragile", say("fragile", "whole"))
    assert wire.text(wire.ended(job)["outputs"][0]) == "whole"


def test_a_plugin_that_is_removed_leaves_the_list_and_its_jobs_wait_for_it(server, wire):
    server.write_plugin("guest", say("guest"))
    wire.until(lambda: told(wire, "guest")[-1:] == ["ready"])
    result(wire, "guest")
    job = wire.submit("guest", hold=True)
    shutil.move(server.folder / "plugins/guest", server.folder / "guest")
    wire.until(lambda: told(wire, "guest")[-1] == "removed")
    assert about(wire, "guest") is None
    assert wire.call("submit", {"job": "guest"})["error"]["code"] == "unknown_job"
    wire.call("release", {"id": job})
    wire.until(lambda: "guest" not in [each["plugin"] for each in wire.call("queue")["workers"]])
    assert wire.states(job)[-1] == "queued"
    shutil.move(server.folder / "guest", server.folder / "plugins/guest")
    assert wire.text(wire.ended(job)["outputs"][0]) == "hello"


def test_a_slow_copy_is_not_read_before_it_is_whole(server, wire):
    folder = server.folder / "plugins/copied"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        HEADER + "from .part import WORD\n" + say("copied", "{WORD}").replace('"{W', 'f"{W')
    )
    for number in range(4):  # each file comes half a second after the one before
        time.sleep(0.5)
        (folder / f"weights{number}.bin").write_bytes(b"x" * 1000)
    (folder / "part.py").write_text("WORD = 'whole'\n")
    (folder / "plugin.toml").write_text('name = "copied"\nversion = "1"\napi = 1\n')
    wire.until(lambda: told(wire, "copied"))
    wire.until(lambda: told(wire, "copied")[-1] != "installing")
    assert told(wire, "copied") == ["installing", "ready"] and result(wire, "copied") == "whole"


def test_two_at_once_are_both_there_and_a_third_one_that_hangs_keeps_neither(server, wire):
    server.write_plugin("hanging", "time.sleep(60)")
    server.write_plugin("one", say("one"))
    server.write_plugin("two", say("two"))
    wire.until(lambda: told(wire, "one")[-1:] == told(wire, "two")[-1:] == ["ready"], seconds=15)
    assert (result(wire, "one.one"), result(wire, "two.two")) == ("hello", "hello")
    assert told(wire, "hanging") == ["installing"]
    shutil.rmtree(server.folder / "plugins/hanging")


@pytest.mark.parametrize("line", ["environment = 3", 'models = ["x"]', "jobs_from = 7"])
def test_nonsense_in_a_manifest_is_told_and_harms_nobody(server, wire, line):
    server.write_plugin("nonsense", say("nonsense"))
    with (server.folder / "plugins/nonsense/plugin.toml").open("a") as file:
        file.write(line)
    wire.until(lambda: about(wire, "nonsense") and line.split()[0] in (about(wire, "nonsense")["error"] or ""))
    assert wire.call("choices", {"list": "models/checkpoint"})["ok"] and result(wire, "old") == "old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
@pytest.mark.parametrize("content", [None, "x = " + "[" * 5000], ids=["a pipe", "too deep"])
def test_a_manifest_that_cannot_be_read_to_its_end_keeps_nobody_waiting(server, wire, content):
    server.write_plugin("endless", say("endless"))
    path = server.folder / "plugins/endless/plugin.toml"
    path.unlink()
    path.write_text(content) if content else os.mkfifo(path)
    wire.until(lambda: told(wire, "endless")[-1:] == ["refused"])
    assert result(wire, "old") == "old" and "RecursionError" not in server.log
    shutil.rmtree(path.parent)
    wire.until(lambda: told(wire, "endless")[-1:] == ["removed"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such names cannot be")
def test_a_folder_whose_name_steers_terminals_or_is_no_text_is_refused_by_a_name_that_can_be_told(server, wire):
    folder = Path(os.fsdecode(os.fsencode(server.folder / "plugins") + b"/\x1b[31m\xff"))
    folder.mkdir()
    (folder / "__init__.py").touch()
    wire.until(lambda: told(wire, "?[31m?")[-1:] == ["refused"])
    assert "?[31m?" in cli(server, "plugins") and "\x1b" not in server.log
    shutil.rmtree(folder)
