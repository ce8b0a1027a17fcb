"""The plugin as the worker has it: its folder imported as a package under a name of its own, no server."""

import gc
import sys
from pathlib import Path

import pytest

import core.plugin
from core.library.models import Models
from core.ops.describe import signature
from tests.inside import context_of, import_as

FOLDER = Path(__file__).resolve().parent.parent
SHIPPED = [{"kind": "checkpoint", "name": "builtin", "path": str(FOLDER / "builtin")}]


def pytest_configure(config):
    for warning in (
        "ignore:pkg_resources is deprecated",  # k-diffusion imports clip, which imports it
        "ignore:jsonschema.RefResolver is deprecated:DeprecationWarning",  # k-diffusion imports jsonmerge
        "ignore:`torch.jit.script_method` is deprecated",  # torch's compiler imports what torch.utils.mkldnn needs
    ):
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture(scope="session", autouse=True)
def libraries_first():
    """pytest imports the plugin as a package of the folder `plugins`, where the plugin diffusers would be found instead
    of the library: by the first test, and by processes that tests start."""
    sys.path[:] = [path for path in sys.path if Path(path) != FOLDER.parent]


import_as("sd", FOLDER)  # so that the tests can write: from sd.batcher import Batcher


@pytest.fixture
def make_context(tmp_path):
    return lambda *listen: context_of(tmp_path, Models(tmp_path / "models", SHIPPED), *listen)


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    import torch
    from sd import StableDiffusion
    from sd.settings import Settings

    torch.set_num_threads(1)
    plugin = StableDiffusion(FOLDER)
    plugin.models = Models(tmp_path_factory.mktemp("models"), SHIPPED)
    plugin.settings = Settings()
    plugin.load("cpu")
    gc.freeze()  # torch's million objects, which each model that leaves would have looked through: 0.3 s
    yield plugin
    plugin.unload()


@pytest.fixture
def no_throttle(monkeypatch):
    """All progress and all previews are told."""
    monkeypatch.setattr(core.plugin, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(core.plugin, "PREVIEW_SECONDS", 0)
    monkeypatch.setattr("sd.shot.UNSEEN_SECONDS", 0)


@pytest.fixture
def tiny(tmp_path):
    """tiny(kind) writes a model of that kind as models/checkpoint/KIND, or of another name, see tiny_models; gives its
    folder."""

    def tiny(kind, name=None, **changes):
        from tiny_models import write

        return write(tmp_path / "models/checkpoint" / (name or kind), kind, **changes)

    return tiny


@pytest.fixture
def draw(plugin, make_context, no_throttle):
    """draw(job=..., image=..., option=...) gives the Results of a job, by default of a red circle on blue."""
    from drawing import DEFAULTS  # with numpy, which some tests must not find imported

    def draw(ctx=None, job=None, **given):
        inputs = {name: given.pop(name) for name in ("image", "mask", "text", "control", "reference") if name in given}
        method = getattr(
            plugin, job or ("inpaint" if "mask" in inputs else "img2img" if "image" in inputs else "txt2img")
        )
        params = signature(method.__func__)[4]
        return list(method(**inputs, params=params(**DEFAULTS | given), ctx=ctx or make_context()))

    return draw


@pytest.fixture
def unread(plugin, make_context):
    """The built-in model has read nothing yet."""
    from sd.recall import Recall

    plugin._studio.checkpoints.get("builtin", make_context()).recall = Recall()


@pytest.fixture
def calls(plugin, monkeypatch):
    """The lists of asks that the denoiser got, in order, beginning with as many as before anything was measured: beside
    other tests that finds by chance that few are as quick."""
    from sd.denoiser import Denoiser
    from sd.rows import Rows

    monkeypatch.setattr(plugin._studio.batcher, "_rows", Rows())

    calls, denoise = [], Denoiser.denoise

    def counting(self, asks):
        calls.append(asks)
        return denoise(self, asks)

    monkeypatch.setattr(Denoiser, "denoise", counting)
    return calls


@pytest.fixture
def latents(monkeypatch):
    """The latents that were decoded, in order."""
    from sd.autoencoder import Autoencoder

    latents, decode = [], Autoencoder.decode

    def remembering(self, batch):
        latents.extend(batch)
        return decode(self, batch)

    monkeypatch.setattr(Autoencoder, "decode", remembering)
    return latents
