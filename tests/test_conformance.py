"""The test of plugins: what keeps the contract passes, and each way to break it is told with what to do."""

import argparse
import re
import signal
import subprocess
import sys
import textwrap
from typing import Literal

import pydantic
import pytest

from clients import python as client_errors
from clients.python import Client
from core.errors import Conflict, InvalidParams, NotFound, PluginError
from core.ops.config import Config
from core.ops.conformance import manifest, selftest, values
from core.ops.conformance.checking import check
from core.ops.packages.developing import run_dev
from core.ops.packages.registry import Installed, Registry, Release
from core.plugin import Params, param
from tests.serving import HEADER, ROOT, serve, toml, wait_until

GOOD = """
class DrawParams(Params):
    side: int = param(8, ge=1, le=64, help="Side.")
    seed: int = param(-1, ge=-1, le=1000, widget="seed", help="Seed.")

class Good(Plugin):
    @job(reuse=True)
    def draw(self, params: DrawParams, ctx: Context) -> Image:
        '''Draw.'''
        import PIL.Image
        for step in range(5):
            ctx.raise_if_cancelled()
            ctx.progress(step, 5, "draw")
            time.sleep(0.1)
        return PIL.Image.new("RGB", (params.side, params.side), (params.seed % 256, 0, 0))

    @job(light=True)
    def count(self, text: Text) -> Json:
        '''Count.'''
        return {"letters": len(text)}

    @job()
    def needs(self, ctx: Context) -> Text:
        '''Needs a model.'''
        return str(ctx.models.path("upscaler", "none"))
"""
SAY = """
class Say(Plugin):
    @job()
    def say(self, ctx: Context) -> Text:
        '''Say.'''
        ctx.log("{said}")
        return "{said}"
"""
BAD = """
import os, pathlib, random
pathlib.Path(__file__).with_name("touched").write_text("")

class Side(Params):
    side: int = param(8, ge=0, le=64, help="Side.")

class Seeded(Params):
    seed: int = param(-1, widget="seed", help="Seed.")

class Bad(Plugin):
    @job()
    def divides(self, params: Side) -> Text:
        return str(8 // params.side)

    @job()
    def dies(self, params: Side) -> Text:
        '''Dies.'''
        os._exit(3) if params.side == 64 else 0
        return ""

    @job()
    def lies(self) -> Image:
        '''Lies.'''
        return "no picture"

    @job()
    def reads(self, data: Json) -> Json:
        '''Reads.'''
        return data["name"]

    @job(reuse=True)
    def chance(self, params: Seeded, ctx: Context) -> Json:
        '''Chance.'''
        ctx.progress(3, 2, "draw")
        return random.random()

    @job()
    def deaf(self, ctx: Context) -> Text:
        '''Deaf.'''
        ctx.progress(0, 1, "sleep")
        time.sleep(4)
        return ""
"""


def plugin(folder, source, more=""):
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text(f'name = "{folder.name}"\nversion = "1"\napi = 1\n{more}')
    (folder / "__init__.py").write_text(HEADER + textwrap.dedent(source))
    return folder


def settings(folder, **more):
    own = {name: folder / name for name in ("data", "outputs", "models", "packages")}
    given = {"plugins": [folder / "none"], "environments": ROOT / ".envs", "web": "off", "bridges": "off"}
    return own | given | {"port": 0, "cancel_grace_seconds": 0.3} | more


def command(folder, *words):
    """`server.py plugins WORDS`, as it is started."""
    lines = [f"{key} = {toml(value)}\n" for key, value in settings(folder).items()]
    (folder / "config.toml").write_text("".join(lines))
    return [sys.executable, "server.py", "plugins", "--config", str(folder / "config.toml"), *map(str, words)]


def test_a_plugin_that_keeps_the_contract_passes(tmp_path):
    folder = plugin(tmp_path / "good", GOOD, "[test]\nseconds = 3\n")
    done = subprocess.run(command(tmp_path, "test", folder), cwd=ROOT, capture_output=True, text=True)
    text = re.sub(r"\d+\.\d s", "N s", done.stdout)
    assert done.returncode == 0, done
    for claim in (
        "describes itself: 3 jobs", "imports lightly, writes nothing, uses no network (N s)",
        "draw: runs, returns image (N s)", "draw: progress grows and is finite", "draw: equal jobs give equal results",
        "draw: cancel is bounded (N s)", "count: takes all that its inputs may be: 2 tried, 2 done",
            ):  # fmt: skip
        assert f"passed     {claim}\n" in text
    assert re.search("^passed     a killed worker costs nothing: draw (ran again|is too quick)", text, re.MULTILINE)
    assert "not tried  needs: runs: it needs a model: there is no upscaler model 'none'." in text
    assert re.search(r"^\d+ passed, 0 failed, 1 not tried$", text, re.MULTILINE)


def test_each_breach_of_the_contract_is_told(tmp_path):
    folder, said = plugin(tmp_path / "bad", BAD, "[test]\nseconds = 8\n"), []
    report = check(folder, Config(**settings(tmp_path)), said.append)
    wanted = [
        r"says what its jobs are for: divides. Write docstrings",
        r"imports lightly: importing it writes \S*touched \(__init__.py:5\)",
        r"divides: takes all that it announces: with side=0: bad: ZeroDivisionError",
        r"dies: takes all that it announces: with side=64: .*worker",
        r"lies: runs: type_mismatch: expected a PIL image, got str",
        r"reads: takes all that its inputs may be: with \[\] as data: bad: TypeError",
        r"chance: progress grows and is finite: step 3 of 2",
        r"chance: equal jobs give equal results: two runs differ",
        r"deaf: cancel is bounded: its worker had to be killed .* Call ctx.raise_if_cancelled",
    ]
    failed = [line.removeprefix("failed     ") for line in said if line.startswith("failed")]
    assert len(failed) == len(wanted), said
    assert [line for pattern, line in zip(wanted, failed, strict=True) if not re.match(pattern, line)] == []
    assert len(report.failed) == len(wanted)


def test_selftest_raises_what_failed_and_says_each_claim(tmp_path):
    said = []
    selftest(plugin(tmp_path / "good", GOOD), Config(**settings(tmp_path)), said.append)
    assert "passed     describes itself: 3 jobs" in said
    with pytest.raises(PluginError, match="it does not pass its test: describes itself: .*SyntaxError"):
        selftest(plugin(tmp_path / "worse", "this is no Python"), Config(**settings(tmp_path)), said.append)


@pytest.mark.parametrize(
    "table, problem",
    [
        ("[test]\nsecond = 1", "test.second: Extra inputs are not permitted"),
        ("[test.jobs.draw]\ninputs = {image = '../secret.png'}", "there is no file ../secret.png in the plugin"),
        ("[test", "plugin.toml: "),
    ],
)
def test_a_bad_table_is_refused_with_its_place(tmp_path, table, problem):
    with pytest.raises(InvalidParams, match=problem):
        manifest.read(plugin(tmp_path / "bad", "", table))


class Many(Params):
    count: int = param(3, ge=0, le=9, multiple_of=3, help="A number.")
    weight: float | None = param(None, gt=0, le=1, help="Maybe a number.")
    word: Literal["a", "b"] = param("a", help="A choice.")
    title: str = param(..., min_length=2, max_length=5, help="A text.")
    code: str = param("x1", pattern=r"^x\d$", help="A pattern.")
    seed: int = param(-1, ge=-1, widget="seed", help="A seed.")
    tags: list[str] = param([], help="Several.", max_length=2)


def test_generated_parameters_are_what_the_class_allows_and_refuses():
    made = values.Parameters(Many.model_json_schema(), lambda source: [], {"tags": ["kept"]})
    valid = [Many(**each) for each in made.valid()]
    for name, given in made.invalid():
        with pytest.raises(pydantic.ValidationError, match=name):
            Many(**given)
    assert {each.count for each in valid} >= {0, 3, 9} and {each.word for each in valid} == {"a", "b"}
    assert {each.weight for each in valid} >= {None, 1} and {len(each.title) for each in valid} >= {2, 5}
    assert all(each.tags == ["kept"] for each in valid) and made.base()["seed"] == values.SEED


def test_what_is_saved_is_loaded_while_somebody_works_on_it(tmp_path):
    folder = plugin(tmp_path / "work" / "say", SAY.format(said="one"))
    with (tmp_path / "out").open("w") as out:
        dev = subprocess.Popen(command(tmp_path, "dev", folder), cwd=ROOT, stdout=out, stderr=out)
    shown = lambda pattern: re.search(pattern, (tmp_path / "out").read_text(), re.MULTILINE)  # noqa: E731
    try:
        address = wait_until(lambda: shown(r"(http://\S+?)/\?token=(\S+)"))
        wait_until(lambda: shown("^ready     say: say$"))
        with Client(*address.groups()) as client:
            assert client.run("say")[0].text() == "one"
            (folder / "__init__.py").write_text("import no_such_module\n")
            wait_until(lambda: shown("^ +ModuleNotFoundError: No module named 'no_such_module'$"))
            (folder / "__init__.py").write_text(HEADER + SAY.format(said="two").replace("return", "1 / 0; return"))
            wait_until(lambda: shown("^ready(?s:.*)^ready     say: say$"))
            with pytest.raises(client_errors.PluginError):
                client.run("say")
        wait_until(lambda: shown("^failed    say  say: ZeroDivisionError"))
        assert shown("^log       one$") and shown(r"^print     Traceback.*\n +File .*__init__.py., line \d+, in say$")
        assert Registry(tmp_path / "packages").read().links == {"say": folder}
    finally:
        dev.send_signal(signal.SIGINT)
    assert dev.wait(20) == 0 and shown("^unlink    say$")
    assert Registry(tmp_path / "packages").read().links == {}


def test_the_server_that_runs_is_the_one_that_is_worked_with(tmp_path, monkeypatch):
    folder = plugin(tmp_path / "work" / "say", SAY.format(said="one"))
    with serve({}, packages=tmp_path / "packages", data=tmp_path / "data") as server:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(server.folder / "config"))
        with (tmp_path / "out").open("w") as out:
            dev = subprocess.Popen(command(tmp_path, "dev", folder), cwd=ROOT, stdout=out, stderr=out)
        try:
            wait_until(lambda: "ready     say: say" in (tmp_path / "out").read_text())
            with server.client() as client:
                assert client.run("say")[0].text() == "one"
                dev.send_signal(signal.SIGINT)
                assert dev.wait(20) == 0
                wait_until(lambda: not client.call("plugins")["plugins"])
        finally:
            dev.kill()
    assert "stable-core 0" not in (tmp_path / "out").read_text()  # it started no other


def test_neither_a_release_nor_a_name_that_is_taken_is_worked_on(tmp_path):
    config, registry = Config(**settings(tmp_path)), Registry(tmp_path / "packages")
    plugin(registry.place("say", "1-a"), SAY)
    with registry.change() as state:
        release = Release(id="1-a", version="1", hash="a", source="here", installed_at=0)
        state.plugins["say"] = Installed(active="1-a", releases=[release])
    with pytest.raises(Conflict, match="is an installed release, which never changes"):
        run_dev(argparse.Namespace(plugin="say"), config, registry)
    plugin(tmp_path / "none" / "other", SAY)
    with pytest.raises(Conflict, match="is a plugin of that name already"):
        run_dev(argparse.Namespace(plugin=str(plugin(tmp_path / "other", SAY))), config, registry)
    with pytest.raises(NotFound, match="there is no plugin 'othr', .* Did you mean other?"):
        run_dev(argparse.Namespace(plugin="othr"), config, registry)
