"""The plugin as the worker has it, no server."""

from pathlib import Path

import numpy
import PIL.Image
import pytest

import core.plugin
from core.ops.describe import load_plugin, signature
from tests.inside import context_of

FOLDER = Path(__file__).resolve().parents[1]
KIND = load_plugin(FOLDER)  # as the package stable_core_plugin_color, which the tests import from


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setattr(core.plugin, "PROGRESS_SECONDS", 0)
    return context_of(tmp_path, None)


@pytest.fixture
def run(context):
    """run("crop", image, left=3) gives what the job gives; what is a picture is an input, in order or by name."""
    plugin = KIND(FOLDER)

    def run(job, *pictures, **given):
        inputs = {name: given.pop(name) for name in ("mask", "other") if name in given}
        method = getattr(plugin, job)
        params = signature(method.__func__)[4](**given)
        return method(*pictures, params=params, **({} if job == "extend" else {"ctx": context}), **inputs)

    return run


@pytest.fixture
def noise():
    """noise(width, height, seed, bands) is a picture of random bytes, the same each time."""

    def noise(width, height, seed=0, bands=3):
        pixels = numpy.random.default_rng(seed).integers(0, 256, (height, width, bands), numpy.uint8)
        return PIL.Image.fromarray(pixels.squeeze(-1) if bands == 1 else pixels)

    return noise
