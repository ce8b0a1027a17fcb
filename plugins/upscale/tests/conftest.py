"""The plugin as the worker has it: its folder imported as a package under a name of its own, no server."""

import sys
from pathlib import Path

import pytest

import core.plugin
from core.library.models import Models
from tests.inside import context_of, import_as

FOLDER = Path(__file__).resolve().parent.parent
FILES = {"builtin/compact-x4": "compact-x4.safetensors", "Lanczos": "lanczos.json", "Nearest": "nearest.json"}
SHIPPED = [{"kind": "upscaler", "name": name, "path": str(FOLDER / "builtin" / file)} for name, file in FILES.items()]


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:torch.meshgrid:UserWarning")  # in spandrel


import_as("up", FOLDER)  # so that the tests can write: from up.tiles import axis


@pytest.fixture(scope="session", autouse=True)
def libraries_first():
    """pytest imports the plugin as a package of the folder `plugins`, where the plugin diffusers would be found instead
    of the library."""
    sys.path[:] = [path for path in sys.path if Path(path) != FOLDER.parent]


@pytest.fixture
def make_context(tmp_path):
    return lambda *listen: context_of(tmp_path, Models(tmp_path / "models", SHIPPED), *listen)


@pytest.fixture(scope="session")
def plugin():
    import torch
    from up import Upscale, UpscaleSettings

    torch.set_num_threads(1)
    plugin = Upscale(FOLDER)
    plugin.settings = UpscaleSettings()
    plugin.load("cpu")
    yield plugin
    plugin.unload()


@pytest.fixture
def upscale(plugin, make_context):
    """upscale(picture, option=...) gives the Result of the job."""
    from up import UpscaleParams

    def upscale(picture, ctx=None, **given):
        return plugin.upscale(image=picture, params=UpscaleParams(**given), ctx=ctx or make_context())

    return upscale


@pytest.fixture
def no_throttle(monkeypatch):
    """All progress and all previews are told."""
    monkeypatch.setattr(core.plugin, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(core.plugin, "PREVIEW_SECONDS", 0)
