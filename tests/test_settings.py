"""Own defaults and bounds, and settings of plugins: changed while the server runs, and kept in config.toml."""

import os
import textwrap
from pathlib import Path

import pytest

from core.auth import OWNER
from core.errors import Conflict, Internal
from core.library.catalogue import Catalogue, PluginInfo
from core.ops import toml
from core.ops.config import Config, load, tomllib
from core.ops.settings import Settings
from tests.serving import serve, wait_until
from tests.wire import Wire

PLUGIN = """
class Draw(Params):
    steps: int = param(20, ge=1, le=100, step=1, help="How many.")
    size: int | None = param(None, ge=8, le=64, help="How large.")
    prompt: str = param("", help="What to draw.")

class Set(Params):
    tile: int = param(256, ge=64, help="Side of a tile.")

class Draws(Plugin):
    settings: Set

    @job()
    def draw(self, params: Draw) -> Text:
        return f"{params.steps} {self.settings.tile}"
"""
BOT = "a token that nobody would guess"


@pytest.fixture(scope="module")
def server():
    with serve({"draws": PLUGIN, "other": PLUGIN}, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire
        wire.call("configure", {"overrides": {"draws.draw": None}, "plugin_settings": {"draws": None}})


def configure(wire, **changes):
    answer = wire.call("configure", changes)
    assert answer["ok"], answer
    return answer


def written(server):
    return tomllib.loads((server.folder / "config.toml").read_text("utf-8"))


def schema(wire, param, job="draws.draw"):
    plugins = {plugin["name"]: plugin for plugin in wire.call("plugins")["plugins"]}
    return plugins[job.split(".")[0]]["jobs"][0]["params"]["properties"][param]


def result(wire, job="draws.draw", **params):
    return wire.text(wire.ended(wire.submit(job, params))["outputs"][0])


def test_settings_tell_what_plugins_declare_beside_what_is_set(server, wire):
    told = configure(
        wire, overrides={"draws.draw": {"steps": {"default": 30}}}, plugin_settings={"draws": {"tile": 99}}
    )
    assert told["overrides"] == {"draws.draw": {"steps": {"default": 30}}}
    assert told["declared"]["draws.draw"] == {
        "steps": {"default": 20, "minimum": 1, "maximum": 100, "step": 1},
        "size": {"default": None, "minimum": 8, "maximum": 64}, "prompt": {"default": ""},
    }  # fmt: skip
    assert told["plugin_settings"] == {"draws": {"tile": 99}} and told["file"] == str(server.folder / "config.toml")
    assert wire.call("settings") == told


def test_a_default_and_bounds_hold_at_once_for_everybody_and_after_a_restart():
    with serve({"draws": PLUGIN}) as server:
        with Wire(server) as wire, Wire(server) as tab:
            configure(wire, overrides={"draws.draw": {"steps": {"default": 30, "maximum": 40}}})
            tab.until(lambda: ("plugins", "ready") in [(name, body.get("status")) for name, body in tab.received])
            assert (schema(tab, "steps")["default"], schema(tab, "steps")["maximum"]) == (30, 40)
            assert result(tab) == "30 256"
            assert tab.call("submit", {"job": "draw", "params": {"steps": 41}})["error"]["field"] == "steps"
        server.restart()
        with Wire(server) as wire:
            assert schema(wire, "steps")["default"] == 30


def test_what_is_not_named_stays_and_null_gives_back_what_the_plugin_declares(server, wire):
    configure(wire, overrides={"draws.draw": {"steps": {"default": 30}, "prompt": {"default": "a cat"}}})
    configure(wire, overrides={"draws.draw": {"steps": {"maximum": 50, "default": None}}})
    assert written(server)["overrides"] == {"draws.draw": {"steps": {"maximum": 50}, "prompt": {"default": "a cat"}}}
    assert schema(wire, "steps")["default"] == 20 and schema(wire, "steps")["maximum"] == 50
    configure(wire, overrides={"draws.draw": {"steps": None}})
    assert schema(wire, "steps")["maximum"] == 100 and schema(wire, "prompt")["default"] == "a cat"
    assert configure(wire, overrides={"draws.draw": None})["overrides"] == {}
    assert "overrides" not in written(server) and schema(wire, "prompt")["default"] == ""


def test_settings_of_a_plugin_reach_its_next_jobs_and_no_other_plugin(server, wire):
    assert (result(wire), result(wire, "other.draw")) == ("20 256", "20 256")
    configure(wire, plugin_settings={"draws": {"tile": 512}})
    assert (result(wire), result(wire, "other.draw")) == ("20 512", "20 256")
    assert written(server)["plugin_settings"] == {"draws": {"tile": 512}}
    configure(wire, plugin_settings={"draws": {"tile": None}})
    assert result(wire) == "20 256" and "plugin_settings" not in written(server)


@pytest.mark.parametrize(
    "changes, code, field, says",
    [
        ({"overrides": {"draws.drow": {}}}, "unknown_job", "overrides.draws.drow", "Did you mean"),
        ({"overrides": {"draws.draw": {"step": {}}}}, "invalid_params", "overrides.draws.draw.step", "mean steps"),
        ({"overrides": {"draws.draw": {"steps": {"max": 3}}}}, "invalid_params", "overrides.draws.draw.steps", "max"),
        ({"overrides": {"draws.draw": {"prompt": {"maximum": 3}}}}, "invalid_params", None, "no number"),
        ({"overrides": {"draws.draw": {"steps": {"maximum": "x"}}}}, "invalid_params", None, "has to be a number"),
        ({"overrides": {"draws.draw": {"steps": {"step": 0}}}}, "invalid_params", None, "a number over 0"),
        ({"overrides": {"draws.draw": {"steps": {"maximum": 200}}}}, "invalid_params", None, "own maximum is 100"),
        ({"overrides": {"draws.draw": {"steps": {"minimum": 0}}}}, "invalid_params", None, "own minimum is 1"),
        ({"overrides": {"draws.draw": {"steps": {"minimum": 30, "maximum": 25}}}}, "invalid_params", None, "is over"),
        ({"overrides": {"draws.draw": {"steps": {"default": 101}}}}, "invalid_params", None, "maximum of 100"),
        ({"overrides": {"draws.draw": {"steps": {"default": "x"}}}}, "invalid_params", None, "not of type"),
        ({"overrides": {"draws.draw": {"steps": {"maximum": 10}}}}, "invalid_params", None, "another default, too"),
        ({"overrides": {"draws.draw": {"size": {"default": 100}}}}, "invalid_params", None, "does not fit"),
        ({"plugin_settings": {"drows": {"tile": 99}}}, "not_found", "plugin_settings.drows", "Did you mean draws"),
        ({"plugin_settings": {"draws": {"tile": 3}}}, "invalid_params", "plugin_settings.draws.tile", "minimum of 64"),
        ({"plugin_settings": {"draws": {"tiles": 3}}}, "invalid_params", None, "Did you mean tile?"),
        ({"overrides": {"draws.draw": "x"}}, "invalid_params", "overrides.draws.draw", "dictionary"),
    ],
)
def test_what_is_wrong_is_refused_whole_and_says_what_is_allowed(server, wire, changes, code, field, says):
    before = written(server)
    good = {"overrides": {"other.draw": {"steps": {"default": 7}}}}
    error = wire.call("configure", {key: good.get(key, {}) | each for key, each in changes.items()})["error"]
    assert error["code"] == code and says in error["message"]
    assert field is None or error["field"] == field
    assert written(server) == before and schema(wire, "steps", "other.draw")["default"] == 20


def test_all_that_is_wrong_is_told_at_once(wire):
    changes = {"steps": {"default": 0}, "prompt": {"minimum": 1}}
    error = wire.call("configure", {"overrides": {"draws.draw": changes}, "plugin_settings": {"draws": {"tile": 1}}})
    assert [bad["field"] for bad in error["error"]["errors"]] == [
        "overrides.draws.draw.steps.default", "overrides.draws.draw.prompt", "plugin_settings.draws.tile",
    ]  # fmt: skip


def test_others_read_defaults_and_bounds_and_change_nothing(server, wire):
    with Wire(server, token=BOT) as bot:
        told = bot.call("settings")
        assert told["declared"]["draws.draw"]["steps"]["default"] == 20
        assert "plugin_settings" not in told and "file" not in told
        assert bot.call("configure", {"overrides": {"draws.draw": None}})["error"]["code"] == "forbidden"


def test_the_defaults_of_jobs_for_the_admin_alone_are_not_told_to_others(tmp_path):
    run = lambda function, *values: function(*values)  # noqa: E731
    catalogue = Catalogue(run)
    catalogue.plugins["code"] = PluginInfo("code", tmp_path, {"runs_code": True}, declared={"go": {}})
    settings = Settings(Config(), catalogue, lambda info, now: None, run).settings
    assert settings(OWNER)["declared"] == {"code.go": {}}
    assert settings("bot")["declared"] == {}


def test_a_file_that_somebody_is_editing_is_left_alone_and_the_place_is_told(server, wire):
    path = server.folder / "config.toml"
    before = path.read_text("utf-8")
    path.write_text(f"{before}\n[overrides\n")
    error = wire.call("configure", {"overrides": {"draws.draw": {"steps": {"default": 30}}}})["error"]
    assert error["code"] == "conflict" and f"line {len(before.splitlines()) + 2}" in error["message"]
    assert path.read_text("utf-8") == f"{before}\n[overrides\n" and schema(wire, "steps")["default"] == 20
    path.write_text(f"# mine\n{before}")
    configure(wire, overrides={"draws.draw": {"steps": {"default": 30}}})
    assert path.read_text("utf-8").startswith("# mine\n")


def test_a_plugin_that_is_refused_for_its_settings_is_mended_by_others():
    with serve({"draws": PLUGIN}, plugin_settings={"draws": {"tile": 3}}) as server, Wire(server) as wire:
        assert wire.call("plugins")["plugins"][0]["status"] == "refused"
        configure(wire, plugin_settings={"draws": {"tile": 300}})
        wait_until(lambda: wire.call("plugins")["plugins"][0]["status"] == "ready")
        assert result(wire) == "20 300"


# The file


HAND = """\
# My server.
port = 7777  # as always

[overrides."a.b"]  # mine
# so many are enough
steps = {default = 30, maximum = 50}  # not more
prompt.default = "a cat"

[tokens]
bot = "a token that nobody would guess"

[plugin_settings.a]
tile = 64
"""
CHANGES = {"overrides": {"a.b": {"steps": {"default": 31}, "size": {"default": 8}}, "c.d": {"n": {"minimum": 0.5}}}}


def test_folders_that_are_named_from_here_are_so_for_processes_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(None, {"data": "mine", "plugins": ["a", "/b"]})
    assert config.data == tmp_path / "mine" and config.plugins == [tmp_path / "a", Path("/b")]


def test_comments_and_order_stay(tmp_path):
    (tmp_path / "config.toml").write_text(HAND)
    toml.change(tmp_path / "config.toml", CHANGES)
    text = (tmp_path / "config.toml").read_text()
    for kept in (
        "# My server.\n",
        "port = 7777  # as always\n",
        '[overrides."a.b"]  # mine\n# so many are',
        "# not more",
    ):
        assert kept in text
    values = tomllib.loads(HAND)
    values["overrides"]["a.b"] |= CHANGES["overrides"]["a.b"]
    values["overrides"]["c.d"] = {"n": {"minimum": 0.5}}
    assert tomllib.loads(text) == values


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_what_is_written_has_the_rights_of_the_file_and_never_more(tmp_path, monkeypatch, mode):
    path, meanwhile = tmp_path / "config.toml", []
    path.write_text(HAND)
    path.chmod(mode)
    monkeypatch.setattr(os, "fsync", lambda file: meanwhile.append(os.fstat(file).st_mode & 0o777))
    toml.change(path, CHANGES)
    assert meanwhile == [0o600] and path.stat().st_mode & 0o777 == mode


def test_what_keeps_it_from_being_written_is_told(tmp_path):
    path = tmp_path / "config.toml"
    (tmp_path / "config.toml.new").mkdir()
    with pytest.raises(Internal, match="cannot write .*config.toml: "):
        toml.change(path, CHANGES)
    assert not path.exists()


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# nothing yet",
        'overrides = {"a.b" = {steps = {default = 30}}}\nport = 1\n',
        '[overrides]\n"a.b".steps.default = 30\n',
        '[overrides."a.b".steps]\ndefault = 30  # many\n',
        '[overrides."a.b"]\nsteps = {default = 30}\n[tokens]\nx = "y"\n[overrides."c.d"]\nk = {default = 1}\n',
        "[overrides]\n",
    ],
)
def test_every_way_to_write_it_is_understood(tmp_path, before):
    path = tmp_path / "folder" / "config.toml"
    if before:
        path.parent.mkdir()
        path.write_text(before)
    toml.change(path, CHANGES)
    expected = tomllib.loads(before)
    expected["overrides"] = toml.changed(expected.get("overrides", {}), CHANGES["overrides"])
    assert tomllib.loads(path.read_text()) == expected
    toml.change(path, {"overrides": {"a.b": None, "c.d": None}})
    assert "overrides" not in tomllib.loads(path.read_text()) and [*path.parent.iterdir()] == [path]


def test_a_file_that_cannot_be_read_is_told_with_its_place(tmp_path):
    (tmp_path / "config.toml").write_text(
        textwrap.dedent("""
        port = 1
        host = oops
    """)
    )
    with pytest.raises(Conflict, match="line 3 col 7"):
        toml.change(tmp_path / "config.toml", CHANGES)
