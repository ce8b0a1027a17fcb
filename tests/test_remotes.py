"""The server's part of other machines: a link for each whose record is on, told as it is, started again, and ended."""

import time
import types

import pytest

from core.auth import OWNER
from core.errors import Forbidden, NotFound
from core.ops import remotes
from core.ops.config import Config
from core.remote.records import RAY, Records, Remote, Rule, State
from tests.serving import wait_until


class Process:
    """In place of a link: ends as it is told."""

    made: list

    def __init__(self, python, settings, log, module):
        self.settings, self.log, self.module, self.code = settings, log, module, None
        Process.made.append(self)

    def exit_code(self):
        return self.code

    def ask_to_end(self):
        self.code = 0

    def kill(self):
        self.code = -9

    detached = False


class World:
    """A `Remotes` with nothing around it: `detached` are the workers that are not waited for any more."""

    def __init__(self, folder, attached=(), **settings):
        config = Config(data=folder, **settings)
        self.records, self.detached = Records(folder), []
        placing = types.SimpleNamespace()
        self.pool, self.memory = (
            types.SimpleNamespace(url="http://127.0.0.1:1", placing=placing),
            types.SimpleNamespace(),
        )
        rows = [{"plugin": "work", "device": device} for device in attached if "/" in device]
        store = types.SimpleNamespace(all=lambda sql: rows)
        forget = types.SimpleNamespace(detach=lambda owner, plugin, device: self.detached.append(device))
        self.background = types.SimpleNamespace(start_background_task=lambda function: function())
        self.remotes = remotes.Remotes(
            config, store, self.pool, self.memory, forget, self.background, "token", lambda run, *given: run(*given)
        )
        self.look = self.remotes.look

    def write(self, name="gpu1", **columns):
        self.records.write(Remote(name=name, host="192.0.2.1", user="root", **{"on": True} | columns))
        self.look()

    def say(self, name="gpu1", **columns):
        """As a link writes it."""
        time.sleep(0.002)
        self.records.write_state(name, State(**columns))
        self.look()

    def state(self, name="gpu1"):
        return {name: state for name, _, state in self.remotes.known()}[name]

    def links(self):
        return [process for process in Process.made if process.code is None]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(remotes, "LocalProcess", Process)
    monkeypatch.setattr(remotes, "PAUSES", (0,))
    Process.made = []
    return lambda **options: World(tmp_path, **options)


def test_a_machine_that_is_on_has_a_link_with_what_it_needs(world, tmp_path):
    here = world()
    here.write(on=False)
    assert not Process.made and here.state().state == "off"
    here.write()
    (link,) = here.links()
    assert link.module == "core.remote.link" and link.settings["name"] == "gpu1" and link.settings["token"] == "token"
    assert link.settings["door"] == str(tmp_path / "workers.sock") and link.settings["url"] == here.pool.url
    assert here.state().state == "connecting"
    here.look()
    assert len(Process.made) == 1


def test_a_record_that_changes_gets_another_link_but_not_for_its_rule(world):
    here = world()
    here.write()
    here.write(rule=Rule(when="only"))
    assert len(Process.made) == 1 and here.remotes.rules()["gpu1"].rule.when == "only"
    here.write(port=2222)
    assert Process.made[0].code == 0
    here.look()
    assert len(here.links()) == 1 and len(Process.made) == 2


def test_a_link_that_ends_is_told_and_started_again(world, monkeypatch):
    monkeypatch.setattr(remotes, "PAUSES", (0.2,))
    here = world()
    here.write()
    here.say(state="connected", devices={"cpu": {}})
    assert here.remotes.is_connected("gpu1")
    Process.made[0].code = 3
    here.look()
    state = here.state()
    assert (
        state.state == "lost" and "exit code 3" in state.error["message"] and "remote-gpu1.log" in state.error["hint"]
    )
    assert here.remotes.devices() == ["gpu1/cpu"]
    wait_until(lambda: here.look() or here.links())
    assert here.state().state == "connecting"  # whatever the one before has written
    here.say(state="connected")
    assert here.state().state == "connected"


def test_a_machine_that_has_stopped_itself_is_off_and_says_why(world, caplog):
    here = world()
    here.write()
    here.records.write(here.records.read("gpu1").model_copy(update={"on": False}))  # as its link does, which then ends
    here.records.write_state("gpu1", State(state="off", step="it has stopped itself: it had no jobs"))
    Process.made[0].code = 0
    here.look()
    assert here.state().state == "off" and here.state().step.endswith("it had no jobs")
    assert not here.links() and not here.state().error and "is started again" not in caplog.text


def test_pauses_grow_while_a_link_ends_at_once(world, monkeypatch):
    monkeypatch.setattr(remotes, "PAUSES", (0, 0, 60))
    here = world()
    here.write()
    for _ in range(6):
        for link in here.links():
            link.code = 1
        here.look()
    assert len(Process.made) == 3 and not here.links()


def test_what_a_machine_tells_is_known_by_the_names_of_the_server(world):
    here = world()
    here.write()
    here.say(state="connected", devices={"cuda:0": {"title": "Card", "free_bytes": 5, "total_bytes": 9}, "cpu": {}})
    assert here.remotes.devices() == ["gpu1/cuda:0", "gpu1/cpu"]
    assert here.remotes.about("gpu1/cuda:0") == {"title": "Card", "free_bytes": 5, "total_bytes": 9}
    assert here.memory.elsewhere("gpu1/cuda:0") == 5 and here.memory.elsewhere("gpu1/cpu") is None
    assert here.remotes.about("gpu2/cuda:0")["title"] == "cuda:0"


def test_workers_of_a_machine_that_is_off_or_gone_are_not_waited_for(world):
    here = world(attached=["gpu1/cpu", "gpu10/cpu", "cpu"])
    here.write("gpu10")
    assert here.detached == ["gpu1/cpu"]  # whose record was gone when the server started
    here.write()
    here.write(on=False)
    assert here.detached == ["gpu1/cpu"] * 2 and not [each for each in here.links() if each.settings["name"] == "gpu1"]
    here.write()
    (here.records.of("gpu1") / "record.json").unlink()
    here.look()
    assert here.detached == ["gpu1/cpu"] * 3 and [name for name, *_ in here.remotes.known()] == ["gpu10"]


def test_a_record_that_is_broken_changes_nothing(world):
    here = world()
    here.write()
    path = here.records.of("gpu1") / "record.json"
    for content in ("", "{", '{"name": "gpu1"}', "[]", '{"name": "gpu1", "host": 1}'):
        path.write_text(content)
        here.look()
        assert len(here.links()) == 1 and here.remotes.rules().keys() == {"gpu1"}
    (here.records.of("gpu1") / "state.json").write_text("{")
    here.look()
    assert here.state().state == "connecting"


def test_only_the_admin_starts_and_stops_machines(world):
    here = world()
    here.write(on=False)
    with pytest.raises(Forbidden):
        here.remotes.remote("anna", "gpu1", "start")
    for name in (".", "..", "../remotes/gpu1", "gpu1/", "/gpu1", "a\0b", "", "x" * 300, "gpu1\n"):
        with pytest.raises(NotFound, match="there is no machine"):
            here.remotes.remote(OWNER, name, "start")
    with pytest.raises(NotFound, match="there is no machine 'gpu2'"):
        here.remotes.remote(OWNER, "gpu2", "start")
    assert here.remotes.remote(OWNER, "gpu1", "start") == {"name": "gpu1", "on": True}
    here.look()
    assert here.links()
    here.remotes.remote(OWNER, "gpu1", "stop")
    here.look()
    assert not here.links()


def test_the_ray_cluster_has_a_link_in_an_environment_of_its_own(world, monkeypatch, tmp_path):
    monkeypatch.setattr(remotes.environments, "ensure_lock", lambda *where: tmp_path / "python")
    here = world(pool="ray", attached=["ray/0", "gpu1/cpu"])
    here.look()
    assert here.state(RAY).state == "connecting" and here.detached == ["gpu1/cpu"]
    here.look()
    (link,) = here.links()
    assert link.module == "core.remote.cluster" and link.settings["config"]["ray"]["address"] == "local"


def test_all_links_end_with_the_server(world):
    here = world()
    here.write("gpu1")
    here.write("gpu2")
    here.remotes.stop()
    assert [link.code for link in Process.made] == [-9, -9]  # asked to end, and made sure of
