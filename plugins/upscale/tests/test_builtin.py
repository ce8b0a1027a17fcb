"""The built-in network on pictures that it has not seen: small drawings of the kinds it was trained on, other seeds."""

import importlib.util
import random

import numpy
import PIL.Image
import pytest
from conftest import FOLDER
from pictures import psnr


@pytest.fixture(scope="module")
def training():
    """training/pictures.py, which nothing else of the plugin imports."""
    spec = importlib.util.spec_from_file_location("training_pictures", FOLDER / "training/pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("way", ["area", "bicubic"])
@pytest.mark.parametrize("kind", ["leaves", "text", "strokes"])
def test_the_built_in_network_beats_bicubic_by_half_a_decibel(upscale, training, kind, way):
    gains = []
    for k in range(3):
        drawn = training.KINDS[kind](128, random.Random(f"held out {k}"))
        small = training.smaller(drawn, way)
        plain = small.resize(drawn.size, PIL.Image.Resampling.BICUBIC)
        gains.append(psnr(upscale(small, scale=4).value, drawn) - psnr(plain, drawn))
    assert numpy.mean(gains) > 0.5, gains
