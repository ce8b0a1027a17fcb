"""Releases of installed plugins and plugins that are switched off, at a server that runs."""

import re
import subprocess
import sys

import pytest

from core.errors import Conflict
from core.ops.packages.registry import Installed, Registry, Release
from tests.serving import HEADER, ROOT, serve, wait_until
from tests.wire import Wire

SAY = """
class Say(Plugin):
    @job()
    def say(self) -> Text:
        return "{said}"
"""


@pytest.fixture(scope="module")
def server():
    with serve({}, before_start=lambda folder: release(folder, "1")) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def release(folder, version):
    """Put a release beside the others and make it the active one."""
    registry, id = Registry(folder / "packages"), f"{version}-abc"
    place = registry.place("say", id)
    place.mkdir(parents=True, exist_ok=True)
    (place / "plugin.toml").write_text(f'name = "say"\nversion = "{version}"\napi = 1\n')
    (place / "__init__.py").write_text(HEADER + SAY.format(said=version))
    with registry.change() as state:
        known = state.plugins.get("say", Installed(active=id, releases=[])).releases
        new = Release(id=id, version=version, hash="abc", source="here", installed_at=0)
        state.plugins["say"] = Installed(active=id, releases=[*known, new])


def plugins(server, *words):
    command = [sys.executable, "server.py", "plugins", "--config", str(server.folder / "config.toml"), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def about(wire):
    return wire.call("plugins")["plugins"][0]


def said(wire, job):
    ended = wire.ended(job)
    assert ended["state"] == "done", ended
    return wire.text(ended["outputs"][0])


def test_the_next_release_takes_the_place_of_the_one_before_under_its_name(server, wire):
    assert said(wire, wire.submit("say")) == "1"
    release(server.folder, "2")
    wait_until(lambda: (about(wire).get("version"), about(wire)["status"]) == ("2", "ready"))
    assert said(wire, wire.submit("say")) == "2"
    assert "removed" not in [body["status"] for _, event, body in wire.state_events() if event == "plugins"]


def test_a_disabled_plugin_is_listed_its_jobs_wait_and_run_once_it_is_enabled(server, wire):
    job = wire.submit("say", hold=True)
    assert plugins(server, "disable", "say").stdout == "disable say\n"
    wait_until(lambda: about(wire)["status"] == "disabled")
    wire.call("release", {"id": job})
    assert wire.call("submit", {"job": "say"})["error"]["message"] == "say is disabled."
    assert wire.states(job)[-1] == "queued"
    assert plugins(server, "enable", "say").stdout == "enable  say\n"
    assert said(wire, job)


def test_an_unknown_name_is_refused_with_the_one_that_was_meant(server):
    answer = plugins(server, "disable", "sey")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "stable-core: there is no plugin 'sey'. Did you mean say?\n"


def test_where_no_name_is_near_those_there_are_are_told(server):
    assert re.search(r"there is no plugin 'zebra'\. There are .*\bsay\b", plugins(server, "info", "zebra").stderr)


def test_a_list_of_packages_that_is_none_is_told_and_a_change_that_fails_changes_nothing(tmp_path):
    registry = Registry(tmp_path)
    with pytest.raises(ZeroDivisionError), registry.change() as state:
        state.disabled.append("say")
        raise ZeroDivisionError
    assert registry.read().disabled == []
    (tmp_path / "installed.json").write_text("[]")
    with pytest.raises(Conflict, match="is not the list of installed plugins any more"):
        registry.read()
