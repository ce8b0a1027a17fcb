"""The job: sizes, tiles, two upscalers, alpha, what it tells."""

import numpy
import pytest
from pictures import picture, pixels


@pytest.mark.parametrize(
    "given, size",
    [
        ({}, (384, 256)),
        ({"scale": 1}, (96, 64)),
        ({"scale": 2.5}, (240, 160)),
        ({"scale": 8}, (768, 512)),
        ({"width": 100}, (100, 67)),
        ({"height": 128}, (192, 128)),
        ({"width": 100, "height": 100}, (100, 100)),
        ({"width": 100, "height": 100, "crop": False}, (150, 100)),
        ({"width": 33, "height": 7}, (33, 7)),
    ],
)
def test_any_size(upscale, given, size):
    assert upscale(picture(), **given).value.size == size


def test_tiles_leave_no_seams(upscale):
    whole = upscale(picture(200, 150))
    assert numpy.abs(pixels(whole.value) - pixels(upscale(picture(200, 150), tile=64).value)).max() <= 1
