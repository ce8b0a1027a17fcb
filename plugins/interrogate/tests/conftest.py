"""The plugin as the worker has it: its folder imported as a package under a name of its own, no server."""

import gc
import shutil
from pathlib import Path

import pytest

from core.library.models import Models
from core.ops.describe import signature
from tests.inside import context_of, import_as

FOLDER = Path(__file__).resolve().parent.parent
SHIPPED = [{"kind": "tagger", "name": "builtin/shapes", "path": str(FOLDER / "builtin/shapes")}]


import_as("interrogating", FOLDER)  # so that the tests can write: from interrogating.tagging import Tagger


@pytest.fixture
def plugin():
    from interrogating import Interrogate

    plugin = Interrogate(FOLDER)
    plugin.load("cpu")
    yield plugin
    plugin.unload()


@pytest.fixture
def ctx(tmp_path):
    """The context of a job; the list `ctx.told` has what it tells."""
    return context_of(tmp_path / "scratch", Models(tmp_path / "models", SHIPPED))


@pytest.fixture(scope="session", autouse=True)
def libraries():
    """Their million objects would be looked through whenever a model leaves: 0.3 s each time."""
    import transformers.models.blip.modeling_blip
    import transformers.models.clip.modeling_clip  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """(folder, network) of a tiny CLIP and a tiny BLIP."""
    from tiny_models import write_blip, write_clip

    folder = tmp_path_factory.mktemp("tiny")
    return {name: (folder / name, write(folder / name)) for name, write in (("clip", write_clip), ("blip", write_blip))}


@pytest.fixture
def clip(made, tmp_path):
    """The network of the tiny CLIP, which is models/clip/tiny."""
    shutil.copytree(made["clip"][0], tmp_path / "models/clip/tiny")
    return made["clip"][1]


@pytest.fixture
def blip(made, tmp_path):
    shutil.copytree(made["blip"][0], tmp_path / "models/captioner/tiny")
    return made["blip"][1]


@pytest.fixture
def ask(plugin, ctx):
    """ask("tag", picture, threshold=0.5) gives what the job returns."""

    def ask(job, picture, **given):
        method = getattr(plugin, job)
        return method(picture, params=signature(method.__func__)[4](**given), ctx=ctx)

    return ask
