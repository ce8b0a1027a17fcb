"""The published weights that somebody has: python3 -m tests --weights DIR, with the files in DIR/upscaler."""

import os
from pathlib import Path

import numpy
import PIL.Image
import pytest
from pictures import picture, pixels, psnr

from core.library.models import Models

GIVEN = os.environ.get("STABLE_CORE_WEIGHTS")
FILES = sorted(Models(Path(GIVEN or "/nowhere"), []).entries("upscaler"))
if not FILES:
    pytest.skip("no weights: python3 -m tests --weights DIR, with files in DIR/upscaler", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_picture_stays_itself_and_tiles_equal_the_whole(upscale, tmp_path, name):
    (tmp_path / "models").symlink_to(GIVEN)
    given = picture(160, 120).resize((80, 60), PIL.Image.Resampling.BOX)
    whole = upscale(given, model=name, scale=2, overlap=24, steps=20).value
    tiles = upscale(given, model=name, scale=2, overlap=24, steps=20, tile=64).value
    assert (
        psnr(whole, picture(160, 120))
        > psnr(given.resize((160, 120), PIL.Image.Resampling.NEAREST), picture(160, 120)) - 4
    )
    assert numpy.abs(pixels(whole) - pixels(tiles)).mean() < 1
