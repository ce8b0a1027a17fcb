"""The plugin as the worker has it, on pipelines with random weights that are written once."""

import json
import shutil
from pathlib import Path

import diffusers  # noqa: F401, the library, before pytest imports this plugin's folder under the same name
import pytest

import core.plugin
from core.library.models import Models
from core.ops.describe import announce, function_of, signature
from tests.inside import context_of, import_as

FOLDER = Path(__file__).resolve().parent.parent
BUILTIN = FOLDER.parent / "stable_diffusion" / "builtin"


def pytest_configure(config):
    for warning in (
        "ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning",  # the autoencoder of Stable Audio uses it
        "ignore:.torch.jit.script. is deprecated:DeprecationWarning",  # Kolors uses it
    ):
        config.addinivalue_line("filterwarnings", warning)


import_as("df", FOLDER)  # so that the tests can write: from df.signatures import form_of


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A folder with a pipeline of each family; tests that change something take a copy."""
    import tiny_pipelines
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "pipeline"
    for name in ("flux", "wan", "stable_audio"):
        getattr(tiny_pipelines, name)(folder / name)
    for name, class_name in (("redraw", "StableDiffusionImg2ImgPipeline"), ("fill", "StableDiffusionInpaintPipeline")):
        shutil.copytree(BUILTIN, folder / name)
        edit(folder / name, _class_name=class_name)
    return folder


@pytest.fixture
def models(tmp_path):
    return Models(tmp_path / "models", [])


@pytest.fixture
def put(models, written):
    """put("flux", "mine", _class_name="...") puts a copy of a written pipeline into models/pipeline, changed."""

    def put(name, into=None, **changes):
        target = models.folder / "pipeline" / (into or name)
        shutil.copytree(written / name, target)
        edit(target, **changes)
        return target

    return put


def edit(folder, file="model_index.json", **changes):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="session")
def kept():
    """One plugin for all tests, as a worker has one."""
    from df import Diffusers

    plugin = Diffusers(FOLDER)
    plugin.load("cpu")
    yield plugin
    plugin.unload()


@pytest.fixture
def plugin(kept, models):
    kept.models = models
    return kept


@pytest.fixture
def make_context(tmp_path, models, monkeypatch):
    monkeypatch.setattr(core.plugin, "PROGRESS_SECONDS", 0)

    return lambda *listen: context_of(tmp_path / "scratch", models, *listen)


@pytest.fixture
def run(plugin, make_context):
    """run("flux", prompt=..., image=...) gives the Results of a job."""

    def run(job, ctx=None, **given):
        function = function_of(plugin, job)
        ports, params = signature(function)[0], signature(function)[4]
        inputs = {name: given.pop(name, [] if port["list"] else None) for name, port in ports.items()}
        return list(function(plugin, params=params(**given), ctx=ctx or make_context(), **inputs))

    return run


@pytest.fixture
def announced(models):
    """announced() gives the jobs by name and the notes, as the server would hear them."""

    def announced():
        from df import Diffusers

        from core.ops.describe import describe

        class Fresh(Diffusers):
            pass

        notes = announce(Fresh, models)
        return {job["name"]: job for job in describe(Fresh) if job["name"] in vars(Fresh)}, notes

    return announced
