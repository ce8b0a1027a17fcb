"""What becomes of two or three models, and what is left when that is ended in the middle."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import torch
from sd.model_files import opened
from sd.options import Info, Merge
from sd.saving import save

from core.errors import Conflict
from core.plugin import Cancelled, InvalidParams

SUM, DIFFERENCE = "weighted sum", "add difference"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models: a, b and c alike, an inpainting model like them, and an XL one."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("a", "b", "c")):
        tiny_models.write(folder / name, "sd1", seed)
    tiny_models.write(folder / "inpainting", "inpainting", 3)
    tiny_models.write(folder / "xl", "sdxl")
    return folder


@pytest.fixture
def ctx(models, make_context):
    ctx = make_context()
    shutil.copytree(models, ctx.models.folder / "checkpoint")
    return ctx


@pytest.fixture
def merge(plugin, ctx):
    def merge(model_a="a", model_b="b", name="new", **options):
        return plugin.merge_checkpoints(Merge(model_a=model_a, model_b=model_b, name=name, **options), ctx)

    return merge


def weights(ctx, name):
    source = opened(name, ctx.models.path("checkpoint", name))
    return {(part, each): source.tensor(part, each) for part in source.parts for each in source.names(part)}


def listed(ctx):
    return set(ctx.models.entries("checkpoint")) - {"builtin", "a", "b", "c", "inpainting", "xl"}


def test_a_weighted_sum_lies_between_two_models(merge, ctx):
    merged = merge(multiplier=0.25, dtype="float32")
    a, b, new = (weights(ctx, name) for name in ("a", "b", merged["model"]))
    assert new.keys() == a.keys()
    for key, found in new.items():
        assert torch.allclose(found, a[key] * 0.75 + b[key] * 0.25, atol=1e-6), key


def test_a_difference_is_added_to_a_model(merge, ctx):
    merged = merge(method=DIFFERENCE, model_c="c", multiplier=0.5)
    a, b, c, new = (weights(ctx, name) for name in ("a", "b", "c", merged["model"]))
    for key, found in new.items():
        assert found.dtype == torch.float16
        assert torch.allclose(found.float(), a[key] + (b[key] - c[key]) / 2, atol=2e-3, rtol=2e-3), key


def test_an_inpainting_model_takes_over_what_another_has_and_still_inpaints(merge, ctx):
    merged = merge("inpainting", "b", multiplier=0.5, dtype="float32")
    a, b, new = (weights(ctx, name)["unet", "conv_in.weight"] for name in ("inpainting", "b", merged["model"]))
    assert torch.allclose(new[:, :4], (a[:, :4] + b) / 2, atol=1e-6)
    assert torch.equal(new[:, 4:], a[:, 4:])
    with pytest.raises(InvalidParams, match=r"conv_in.weight is \[32, 4, 3, 3\] in A and \[32, 9, 3, 3\] in B"):
        merge("b", "inpainting", name="other")


def test_a_merged_model_draws_at_once_and_is_made_of_files_and_folders_alike(merge, ctx, draw, models):
    save(ctx.models.folder / "checkpoint/file.safetensors", opened("b", models / "b"), torch.float32, {})
    of_folders, of_both = merge(dtype="float32"), merge("a", "file.safetensors", "other", dtype="float32")
    one, other = (draw(ctx, model=made["model"], exact=True, steps=2)[0] for made in (of_folders, of_both))
    assert one.value.tobytes() == other.value.tobytes()
    assert one.facts["model_hash"] == of_folders["model_hash"] == of_folders["sha256"][:10]


def test_the_hash_of_a_small_model_is_told_before_it_is_used(ctx, plugin, models):
    save(ctx.models.folder / "checkpoint/file.safetensors", opened("b", models / "b"), torch.float32, {})
    written = hashlib.sha256((ctx.models.folder / "checkpoint/file.safetensors").read_bytes())
    assert plugin.model_info(Info(model="file.safetensors"), ctx)["sha256"] == written.hexdigest()


def test_a_merged_model_says_how_it_was_made(merge, ctx, plugin):
    merged = merge(multiplier=0.25)
    told = plugin.model_info(Info(model=merged["model"]), ctx)
    recipe = json.loads(told["metadata"]["sd_merge_recipe"])
    assert (recipe["primary_model_name"], recipe["secondary_model_name"], recipe["multiplier"]) == ("a", "b", 0.25)
    assert (told["architecture"], told["prediction"], told["draws"]) == ("sd1", "epsilon", "pictures")
    assert (told["bytes"], told["sha256"]) == (merged["bytes"], merged["sha256"])


def test_nothing_is_overwritten(merge, ctx):
    merge()
    path = ctx.models.folder / "checkpoint/new.safetensors"
    before = path.read_bytes()
    with pytest.raises(Conflict, match="new.safetensors already"):
        merge("b", "c")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_b": "xl"}, "model 'xl' is of architecture sdxl, and model 'a' of sd1"),
        ({"method": DIFFERENCE}, "there is no model_c"),
        ({"model_b": "builtin"}, "the models do not fit: "),
    ],
)
def test_models_that_do_not_fit_are_refused_and_nothing_is_written(merge, ctx, options, message):
    with pytest.raises(InvalidParams, match=message):
        merge(**options)
    assert listed(ctx) == set()


def test_a_cancelled_merge_leaves_nothing(merge, ctx, no_throttle, monkeypatch):
    def progress(done, *_):
        if done == 20:
            ctx._cancelled.set()

    monkeypatch.setattr(ctx, "progress", progress)
    with pytest.raises(Cancelled):
        merge()
    assert listed(ctx) == set()
    assert not list((ctx.models.folder / "checkpoint").glob(".*"))


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import conftest, torch
from sd.model_files import opened
from sd.saving import save
source, count = opened("a", Path(sys.argv[1])), []
def tensor(part, name):
    count.append(name)
    if len(count) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return source.tensor(part, name)
save(Path(sys.argv[2]), source, torch.float32, {}, tensor)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_merge_leaves_nothing_that_is_listed_and_the_next_cleans_up(merge, ctx):
    folder = ctx.models.folder / "checkpoint"
    paths = [str(Path(__file__).parent), *sys.path]
    script = [sys.executable, "-c", KILLED, folder / "a", folder / "killed.safetensors", *paths]
    done = subprocess.run(script, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = folder.glob(".*")
    assert listed(ctx) == set()
    os.utime(left, (0, 0))
    merge(name="killed")
    assert (listed(ctx), left.exists()) == ({"killed.safetensors"}, False)
