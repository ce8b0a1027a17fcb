"""Plugins are installed over the API by the admin alone, where the config allows it, and only what was looked at."""

import json
import os
import signal
import socket

import psutil
import pytest

from tests.serving import HEADER, serve, wait_until
from tests.test_indexes import commit, entry, write
from tests.wire import Wire

ADD = """
import sys


class Adding(Plugin):
    @job()
    def add(self) -> Text:
        return "{version}"
"""
BOT = "a long random token of a bot"


def plugin(folder, version, code=ADD):
    folder.mkdir(parents=True, exist_ok=True)
    text = f'name = "adding"\nversion = "{version}"\napi = 1\nlicence = "MIT"\nauthor = "me"\n'
    (folder / "plugin.toml").write_text(text)
    (folder / "__init__.py").write_text(HEADER + code.format(version=version))
    return commit(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    keeper = tmp_path_factory.mktemp("keeper")
    with serve({}, install_over_api=True, plugin_indexes=[str(keeper / "index.json")], tokens={"bot": BOT}) as server:
        server.keeper = keeper
        write(keeper / "index.json")
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def run(wire, action, **fields):
    """The run of a command that was let end, as `packages` tells it."""
    answer = wire.call("package", {"action": action, **fields})
    assert answer["ok"], answer
    wire.until(lambda: ended(wire, answer["run"]["id"]), 60)
    return wire.call("packages")["run"]


def ended(wire, id):
    told = [body for _, event, body in wire.state_events() if event == "package" and body["id"] == id]
    return any(body["state"] != "running" for body in told)


def said(wire):
    wait_until(lambda: [each["status"] for each in wire.call("plugins")["plugins"]] == ["ready"])
    job = wire.ended(wire.submit("adding.add"))
    assert job["state"] == "done", job
    return wire.text(job["outputs"][0])


def test_a_plugin_is_looked_at_installed_updated_and_taken_back_over_the_api(server, wire):
    source, index = server.keeper / "adding", server.keeper / "index.json"
    named = {"repo": source.as_uri(), "name": "adding"}
    first = plugin(source, "1")
    looked = run(wire, "inspect", source=source.as_uri())["report"]
    assert (looked["commit"], looked["errors"]) == (first, [])
    assert looked["jobs"] == {"add": {"inputs": {}, "output": "Text", "light": False, "program": False}}
    write(index, entry(**named, version="1", commit=first, hash=looked["hash"]))

    refused = run(wire, "install", source="adding", hash="0" * 64)
    assert refused["state"] == "failed" and "this is not what was looked at" in refused["error"]["message"]
    done = run(wire, "install", source="adding", hash=looked["hash"])
    assert done["state"] == "done", done
    assert any(line.startswith("install   adding 1 (1-") for line in done["lines"])
    heard = [body["text"] for name, body in wire.received if name == "log" and body["id"] == done["id"]]
    assert "plugin    adding 1" in heard
    assert any(line["text"].startswith("install   adding 1") for line in wire.call("logs")["lines"])
    assert said(wire) == "1"

    second = plugin(source, "2", ADD.replace("sys", "subprocess"))
    write(index, entry(**named, version="2", commit=second))
    (package,) = wire.call("packages")["packages"]
    assert (package["name"], package["newer"], package["releases"][0]["commit"]) == ("adding", "2", first)
    wrong = run(wire, "inspect", name="adding")
    assert wrong["state"] == "failed" and "is not what the index names" in wrong["error"]["message"]
    hash = run(wire, "inspect", source=source.as_uri())["report"]["hash"]
    write(index, entry(**named, version="2", commit=second, hash=hash))
    changes = run(wire, "inspect", name="adding")["report"]["changes"]
    assert "update    1 -> 2" in changes and "new       warning: __init__.py:4  imports subprocess" in changes
    assert run(wire, "update", name="adding", hash=hash)["state"] == "done"
    wait_until(lambda: said(wire) == "2")
    assert run(wire, "rollback", name="adding")["state"] == "done"
    wait_until(lambda: said(wire) == "1")
    assert run(wire, "uninstall", name="adding")["state"] == "done"
    wait_until(lambda: wire.call("plugins")["plugins"] == [])


def test_what_indexes_have_is_told_with_what_cannot_be_read(server, wire):
    write(server.keeper / "index.json", entry(), entry("film", description="Cuts."), {"name": "broken"})
    told = wire.call("packages", {"search": "cuts"})
    assert ([each["name"] for each in told["available"]], told["total"]) == (["film"], 1)
    (index,) = told["indexes"]
    assert (index["title"], index["notes"]) == ("Ours", ["plugins.2.version broken None: Field required"])
    assert len(wire.call("packages", {"limit": 1})["available"]) == 1


def test_nobody_but_the_admin_sees_or_changes_packages(server, wire):
    with Wire(server, token=BOT) as bot:
        for event, fields in (("packages", {}), ("package", {"action": "enable", "name": "x"})):
            answer = bot.call(event, fields)
            assert answer["error"]["code"] == "forbidden", answer
        assert run(wire, "enable", name="nothing")["error"]["code"] == "not_found"
        bot.call("hello")
        assert {name for name, _ in bot.received} & {"package", "log"} == set()


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        ({"action": "install", "source": "https://example.org/x.git"}, "hash"),
        ({"action": "install", "hash": "0" * 64}, "source"),
        ({"action": "install", "source": "--yes", "hash": "0" * 64}, "source"),
        ({"action": "install", "source": "x\ny", "hash": "0" * 64}, "source"),
        ({"action": "install", "source": "x", "hash": "main"}, "hash"),
        ({"action": "update", "name": "x"}, "hash"),
        ({"action": "enable"}, "name"),
        ({"action": "enable", "name": "../x"}, "name"),
        ({"action": "enable", "name": "x", "source": "y"}, "source"),
        ({"action": "inspect"}, "source"),
        ({"action": "inspect", "name": "x", "source": "y"}, "source"),
        ({"action": "rollback", "name": "x", "to": "-x"}, "to"),
        ({"action": "lock", "name": "x"}, "action"),
        ({"action": "refresh", "name": "x"}, "name"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_its_field(wire, fields, bad):
    error = wire.call("package", fields)["error"]
    assert (error["code"], error["field"].split(".")[0]) == ("invalid_params", bad), error


def test_one_command_runs_at_a_time_and_one_that_is_killed_is_told(server, wire):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which never answers
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        answer = wire.call("package", {"action": "inspect", "source": source})
        again = wire.call("package", {"action": "refresh"})
        assert again["error"]["code"] == "conflict" and "is still running" in again["error"]["message"]
        children = psutil.Process(server.process.pid).children
        wait_until(lambda: commands(children()))
        os.killpg(commands(children())[0].pid, signal.SIGKILL)
        wire.until(lambda: ended(wire, answer["run"]["id"]))
    assert "was stopped" in wire.call("packages")["run"]["error"]["message"]


def test_a_command_ends_with_the_server_and_the_next_server_can_have_others():
    with socket.create_server(("127.0.0.1", 0)) as silent, serve({}, install_over_api=True) as server:
        with Wire(server) as wire:
            source = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
            wire.call("package", {"action": "inspect", "source": source})
            with silent.accept()[0]:
                started = psutil.Process(server.process.pid).children(recursive=True)
                server.kill()
                wait_until(lambda: not any(map(alive, started)))
        server.start()
        with Wire(server) as wire:
            assert wire.call("packages")["run"] is None
            assert run(wire, "refresh")["state"] == "done"


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def commands(processes):
    return [process for process in processes if "core.ops.packages.managing" in process.cmdline()]


def test_without_the_setting_nothing_new_comes_in_over_the_api_and_the_way_is_told():
    with serve({"adding": ADD.format(version="1")}) as server, Wire(server) as wire:
        for fields in (
            {"action": "install", "source": "adding", "hash": "0" * 64},
            {"action": "inspect", "source": "adding"},
            {"action": "update", "name": "adding", "hash": "0" * 64},
            {"action": "uninstall", "name": "adding"},
        ):
            error = wire.call("package", fields)["error"]
            assert error["code"] == "forbidden" and f"server.py plugins {fields['action']}" in error["hint"], error
        assert wire.call("packages")["install_over_api"] is False
        assert run(wire, "disable", name="adding")["state"] == "done"
        wait_until(lambda: wire.call("plugins")["plugins"][0]["status"] == "disabled")
        assert run(wire, "enable", name="adding")["state"] == "done"
        wait_until(lambda: wire.call("plugins")["plugins"][0]["status"] == "ready")
        assert json.loads((server.folder / "packages" / "installed.json").read_text())["disabled"] == []
