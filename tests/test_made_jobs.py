"""Jobs that a plugin makes of the user's files: they come and change without a restart, and what is broken is told."""

import json
import re
import threading

import pytest

from core.errors import InvalidParams
from core.ops.describe import announce, describe
from core.ops.plugins import Looking
from core.plugin import Plugin
from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire

GUIDE = (ROOT / "docs/plugins.md").read_text("utf-8").split("## Jobs made of the user's files")[1]
KITCHEN = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)[1]  # what the guide shows is what is run here


def put(server, name, **about):
    folder = server.folder / "models/recipe" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(about))


def write_manifest(folder):
    path = folder / "plugins/kitchen"
    path.mkdir(parents=True)
    (path / "__init__.py").write_text(KITCHEN)
    (path / "plugin.toml").write_text('name = "kitchen"\nversion = "1"\napi = 1\njobs_from = ["recipe"]\n')


@pytest.fixture(scope="module")
def server():
    with serve({}, write_manifest) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def kitchen(wire):
    return next(plugin for plugin in wire.call("plugins")["plugins"] if plugin["name"] == "kitchen")


def cooked(wire, name):
    ended = wire.ended(wire.submit(name))
    assert ended["state"] == "done", ended
    return wire.text(ended["outputs"][0])


def test_jobs_come_and_change_while_the_server_and_its_worker_run(server, wire):
    about = kitchen(wire)
    assert (about["status"], about["jobs"], about["notes"]) == ("ready", [], ["Put recipes into models/recipe."])
    assert wire.call("submit", {"job": "omelette"})["error"]["code"] == "unknown_job"
    put(server, "omelette", title="Omelette", eggs=3)
    assert cooked(wire, "omelette") == "Omelette with 3 eggs"  # nobody has asked for `plugins` since
    put(server, "cake", title="Cake", eggs=5)
    put(server, "omelette", title="Big omelette", eggs=6)
    assert [job["name"] for job in kitchen(wire)["jobs"]] == ["cake", "omelette"]
    assert cooked(wire, "omelette") == "Big omelette with 6 eggs"  # by the worker that knew another one


def test_jobs_of_the_same_model_run_one_after_the_other_where_that_keeps_nobody_waiting_for_long(server, wire):
    put(server, "tea", title="Tea", eggs=0)
    put(server, "pie", title="Pie", eggs=2)
    wire.until(lambda: {"tea", "pie"} <= {job["name"] for job in kitchen(wire)["jobs"]})
    wire.call("queue", {"action": "pause"})
    jobs = {wire.submit(name): name for name in ["tea", "pie"] * 6}
    wire.call("queue", {"action": "resume"})
    wire.ended(*jobs)
    started = [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "running"]
    order = [jobs[job] for job in started if job in jobs]
    assert sum(before != after for before, after in zip(order, order[1:], strict=False)) < 6  # as they came: 11


def test_single_files_make_jobs_and_take_the_short_name_of_none(server, wire):
    manifest = server.folder / "plugins/kitchen/plugin.toml"
    manifest.write_text(manifest.read_text() + '[data]\nrecipe = [".json"]\n')
    source = server.folder / "plugins/kitchen/__init__.py"
    source.write_text(
        source.read_text().replace(
            '(folder / "config.json")', "(folder / 'config.json' if folder.is_dir() else folder)"
        )
    )
    source.write_text(source.read_text().replace("jobs[name] =", 'jobs[name.removesuffix(".json")] ='))
    server.write_plugin(
        "host", "class Host(Plugin):\n    @job()\n    def toast(self) -> Text:\n        return 'Cheers'"
    )
    (server.folder / "models/recipe/toast.json").write_text('{"title": "Toast", "eggs": 1}')
    wire.until(lambda: "toast" in [job["name"] for job in kitchen(wire)["jobs"]])
    wire.until(lambda: any(each["name"] == "host" and each["jobs"] for each in wire.call("plugins")["plugins"]))
    assert cooked(wire, "kitchen.toast") == "Toast with 1 eggs"
    assert cooked(wire, "toast") == "Cheers"
    assert "toast.json" in wire.call("choices", {"list": "models/recipe"})["choices"]


def test_a_broken_file_hides_nothing_else_and_is_told(server, wire):
    put(server, "salad", title="Salad", eggs=0)
    (server.folder / "models/recipe/broken").mkdir(parents=True)
    (server.folder / "models/recipe/broken/config.json").write_text("{")
    about = kitchen(wire)
    assert "salad" in [job["name"] for job in about["jobs"]]
    assert len(about["notes"]) == 1 and "recipe/broken cannot be read" in about["notes"][0]


def test_who_asks_waits_for_a_look_but_not_for_long_and_there_is_one_at_a_time():
    looks, go_on = [], threading.Event()
    looking = Looking(lambda: (looks.append("begun"), go_on.wait(30), looks.append("ended")), seconds=0.1)
    looking()
    looking()
    assert looks == ["begun"]
    go_on.set()
    wait_until(lambda: looks == ["begun", "ended"])
    wait_until(lambda: looking() or len(looks) >= 4)
    assert looks[:4] == ["begun", "ended"] * 2


def test_a_made_job_does_not_take_the_place_of_something_else_of_the_plugin():
    class Greedy(Plugin):
        @classmethod
        def announce(cls, models):
            return {"load": lambda self: None}, []

    with pytest.raises(InvalidParams, match="makes a job load"):
        announce(Greedy, None)
    assert describe(Greedy) == []
