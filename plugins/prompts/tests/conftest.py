"""The plugin as the worker has it: its folder imported as a package under a name of its own, no server."""

import json
from pathlib import Path

import pytest

from core.library.models import Models
from core.ops.describe import load_plugin, signature
from tests.inside import context_of

FOLDER = Path(__file__).resolve().parents[1]
KIND = load_plugin(FOLDER)  # from now on the tests can write: from stable_core_plugin_prompts.related import Related


@pytest.fixture
def make_context(tmp_path):
    return lambda *listen: context_of(tmp_path / "scratch", Models(tmp_path / "models", []), *listen)


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plugin = KIND(FOLDER)
    plugin.load("cpu")
    yield plugin
    plugin.unload()


@pytest.fixture
def run(plugin, make_context):
    """run(job, text, option=...) gives what the job makes: texts, or Results; `run.logged` is what it has said."""

    def run(job, text, ctx=None, **params):
        method, ctx = getattr(plugin, job), ctx or make_context()
        made = method(text=text, params=signature(method.__func__)[4](**params), ctx=ctx)
        made = made if isinstance(made, str) else [*made]
        run.logged += [body["text"] for event, body in ctx.told if event == "log"]
        return made

    run.logged = []
    return run


@pytest.fixture
def write(tmp_path):
    """write("related_tags/my.csv", text) puts a file into the user's models folder."""

    def write(name, text):
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return path

    return write
