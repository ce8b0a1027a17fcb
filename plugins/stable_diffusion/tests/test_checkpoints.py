"""Which models can be used, what is said about those that cannot, and what stays loaded."""

import gc
import json
import shutil
import weakref

import pytest
from sd import TextToImage, Unload
from sd.cache import Cache, bytes_of
from sd.checkpoint import Checkpoints
from sd.hashes import short_hash, stamped
from sd.model_files import Source, Stored, opened
from sd.placement import Placement
from sd.settings import Settings

from core.plugin import Cancelled, InvalidParams, ModelNotFound


@pytest.fixture
def model(plugin, tmp_path):
    """A copy of the built-in model as models/checkpoint/copy."""
    return shutil.copytree(plugin.folder / "builtin", tmp_path / "models/checkpoint/copy")


@pytest.fixture
def checkpoints(plugin):
    return Checkpoints(Placement("cpu"), Cache(lambda: 1_000_000_000), Settings())


def test_an_unknown_model_is_named_together_with_the_nearest(plugin, make_context):
    with pytest.raises(ModelNotFound, match="'bultin'.*Did you mean builtin"):
        list(plugin.txt2img(TextToImage(model="bultin"), make_context()))


def test_a_model_is_loaded_once_and_again_when_its_files_change(checkpoints, model, make_context):
    ctx = make_context()
    first = checkpoints.get("copy", ctx)
    assert checkpoints.get("copy", ctx) is first
    (model / "unet/diffusion_pytorch_model.safetensors").touch()
    assert checkpoints.get("copy", ctx) is not first


def test_as_many_models_stay_loaded_as_fit_the_one_used_last_among_them(model, make_context):
    shutil.copytree(model, model.parent / "third")
    ctx, room = make_context(), [1_000_000_000]
    checkpoints = Checkpoints(Placement("cpu"), Cache(lambda: room[0]), Settings())
    builtin = checkpoints.get("builtin", ctx)
    room[0] = 2 * bytes_of([builtin]) + 1000
    kept, other = weakref.ref(builtin), weakref.ref(checkpoints.get("copy", ctx))
    assert checkpoints.get("builtin", ctx) is builtin
    del builtin
    checkpoints.get("third", ctx)
    assert checkpoints.get("builtin", ctx) is kept()
    assert other() is None


@pytest.fixture
def no_collection():
    """Only what nothing refers to is freed, not what goes round in circles: that may take minutes."""
    gc.disable()
    yield
    gc.enable()


def test_a_model_that_makes_room_is_freed_at_once(checkpoints, model, make_context, no_collection):
    ctx = make_context()
    base = checkpoints.get("copy", ctx)
    tiling = checkpoints.variant(base, (), True, ctx)
    gone = [weakref.ref(part) for each in (base, tiling) for part in (each, each.unet, each.vae)]
    gone += [weakref.ref(base.clips[0])]
    del base, tiling
    (model / "unet/diffusion_pytorch_model.safetensors").touch()
    checkpoints.get("copy", ctx)
    assert [part() for part in gone] == [None] * len(gone)


def test_the_hash_is_that_of_the_weights(plugin, model, tmp_path):
    files = stamped(opened("copy", model).files)
    assert [path.parent.name for path, _, _ in files] == ["text_encoder", "unet", "vae"]
    builtin = stamped(opened("builtin", plugin.folder / "builtin").files)
    assert short_hash(files, tmp_path) == short_hash(builtin, tmp_path)
    assert len(short_hash(files, tmp_path)) == 10
    assert short_hash(files[:1], tmp_path) != short_hash(files, tmp_path)


NOISE = "scheduler/scheduler_config.json"


def truncate(model):
    path = model / "unet/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "unet.*safetensors cannot be read"),
        (lambda model: (model / "vae/config.json").unlink(), "vae.config.json cannot be read"),
        (lambda model: (model / "vae/config.json").write_text("{"), "vae.config.json cannot be read"),
        (lambda model: (model / "vae/diffusion_pytorch_model.safetensors").unlink(), "vae has no .safetensors file"),
        (lambda model: edit(model / "unet/config.json", in_channels=7), "takes 7 channels"),
        (
            lambda model: edit(model / "unet/config.json", in_channels=9),
            r"\[64, 4, 3, 3\] instead of",
        ),
        (lambda model: edit(model / NOISE, prediction_type="sample"), "'sample'"),
        (lambda model: edit(model / "unet/config.json", layers_per_block=10**9), "layers_per_block of 1000000000"),
        (lambda model: (model / "vae/config.json").write_text("[" * 10**6), "vae.config.json cannot be read"),
        (lambda model: edit(model / NOISE, num_train_timesteps=10**12), "num_train_timesteps is 1000000000000"),
        (lambda model: edit(model / NOISE, beta_schedule="none"), "scheduler's configuration cannot be used: none"),
        (lambda model: shutil.rmtree(model / "tokenizer"), "tokenizer is missing"),
        (lambda model: (model / "tokenizer/tokenizer.json").write_text("{"), "tokenizer cannot be loaded"),
    ],
)
def test_a_folder_that_is_no_usable_model_is_refused_by_file(checkpoints, model, make_context, damage, message):
    damage(model)
    with pytest.raises(InvalidParams, match=f"model 'copy' cannot be used: .*copy.*{message}"):
        checkpoints.get("copy", make_context())


def test_loading_can_be_cancelled(checkpoints, make_context, monkeypatch):
    ctx = make_context()
    loaded, module = [], Source.module
    monkeypatch.setattr(Source, "module", lambda *given: loaded.append(1) or module(*given))
    monkeypatch.setattr(ctx, "progress", lambda *told: ctx._cancelled.set())
    with pytest.raises(Cancelled):
        checkpoints.get("builtin", ctx)
    assert loaded == []


def test_a_part_is_not_read_to_its_end_after_a_cancel(checkpoints, make_context, monkeypatch):
    ctx = make_context()
    read, tensor = [], Stored.tensor
    monkeypatch.setattr(Stored, "tensor", lambda *given: read.append(ctx._cancelled.set()) or tensor(*given))
    with pytest.raises(Cancelled):
        checkpoints.get("builtin", ctx)
    assert len(read) == 1


def test_a_job_unloads_models_and_tells_which_stay(plugin, make_context):
    ctx = make_context()
    plugin.unload_models(Unload(), ctx)
    loaded = weakref.ref(plugin._studio.checkpoints.get("builtin", ctx))
    assert plugin._studio.unload("another")["builtin"] == bytes_of([loaded()])
    assert plugin.unload_models(Unload(model="builtin"), ctx) == {}
    assert loaded() is None
