"""What the others show with small models, with published ones: `python3 -m tests --weights DIR`."""

import os
from pathlib import Path

import pytest
import torch
from sd.model_files import opened

ROOT = Path(os.environ.get("STABLE_CORE_WEIGHTS", "/nowhere"))
FOLDERS = [path.parent for path in ROOT.rglob("model_index.json")]
FILES = [path for path in ROOT.rglob("*") if path.suffix in (".safetensors", ".ckpt")]
FILES = [path for path in FILES if not (path.parent / "config.json").exists()]  # language models and others of plugins
FOUND = FOLDERS + [path for path in FILES if not {*path.parents} & {*FOLDERS}]
NAMES = sorted(path.relative_to(ROOT).as_posix() for path in FOUND)
pytestmark = pytest.mark.skipif(not NAMES, reason="needs published models: python3 -m tests --weights DIR")


@pytest.mark.parametrize("name", NAMES)
def test_each_weight_has_its_place(name):
    source = opened(name, ROOT / name)
    for part in source.parts:
        weights = source.module(part, torch.float16).state_dict()
        assert all(weight.isfinite().all() for weight in weights.values()), part


@pytest.mark.parametrize("name", NAMES)
def test_it_draws(name, draw, make_context):
    if "vae" not in opened(name, ROOT / name).parts:
        pytest.skip("it has no VAE")
    ctx = make_context()
    ctx.models.folder.mkdir()
    (ctx.models.folder / "checkpoint").symlink_to(ROOT, target_is_directory=True)
    (drawn,) = draw(ctx, model=name, steps=2, width=256, height=256)
    assert drawn.value.size == (256, 256)
    assert len(drawn.value.getcolors(1 << 16)) > 16
