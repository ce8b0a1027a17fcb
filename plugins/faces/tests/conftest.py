"""The plugin as the worker has it: its folder imported as a package of another name, no server."""

import sys
from pathlib import Path

import pytest

from core.library.models import Models
from core.ops.describe import signature
from tests.inside import context_of, import_as

FOLDER = Path(__file__).resolve().parent.parent
SHIPPED = [{"kind": "face_detector", "name": "builtin/cascades", "path": str(FOLDER / "builtin/cascades.json")}]


import_as("faces", FOLDER)  # so that the tests can write: from faces import alignment


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated")  # torchvision still uses it


@pytest.fixture
def plugin(tmp_path):
    import torch

    torch.set_num_threads(1)
    plugin = sys.modules["faces"].Faces(FOLDER)
    plugin.settings = sys.modules["faces"].FacesSettings()
    plugin.load("cpu")
    yield plugin
    plugin.unload()


@pytest.fixture
def ctx(tmp_path):
    """A context of a job; what it told is in `ctx.told`."""
    return context_of(tmp_path, Models(tmp_path / "models", SHIPPED))


@pytest.fixture
def run(plugin, ctx):
    """run("find_faces", picture, option=...) gives what the job returns, of a generator the list."""

    def run(job, image, **options):
        method = getattr(plugin, job)
        options = {"detection_size": 256} | options  # quick
        result = method(image=image, params=signature(method.__func__)[4](**options), ctx=ctx)
        return list(result) if job == "cut_faces" else result

    return run
