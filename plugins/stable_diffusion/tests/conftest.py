"""The plugin as the worker has it: its folder imported as a package under a name of its own, no server."""

import importlib.util
import sys
from pathlib import Path

import pytest

from core.library.models import Models
from core.plugin import Context

FOLDER = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    for warning in (
        "ignore:pkg_resources is deprecated",  # k-diffusion imports clip, which imports it
        "ignore:jsonschema.RefResolver is deprecated:DeprecationWarning",  # k-diffusion imports jsonmerge
    ):
        config.addinivalue_line("filterwarnings", warning)


def import_plugin():
    init = FOLDER / "__init__.py"
    spec = importlib.util.spec_from_file_location("sd", init, submodule_search_locations=[str(FOLDER)])
    sys.modules["sd"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["sd"])


import_plugin()  # so that the tests can write: from sd.batcher import Batcher


@pytest.fixture
def make_context(tmp_path):
    def make(listen=lambda event, body: None):
        """A context of a job; `listen(event, body)` hears what the job tells, as does the list `context.told`."""
        told = []

        def send(event, body):
            told.append((event, body))
            listen(event, body)

        shipped = [{"kind": "checkpoint", "name": "builtin", "path": str(FOLDER / "builtin")}]
        context = Context("job", tmp_path, Models(tmp_path / "models", shipped), send)
        context.told = told
        return context

    return make


@pytest.fixture(scope="session")
def plugin():
    import torch
    from sd import StableDiffusion

    torch.set_num_threads(1)
    plugin = StableDiffusion(FOLDER)
    plugin.load("cpu")
    yield plugin
    plugin.unload()
