"""The plugin as the worker has it, no server."""

from pathlib import Path

import PIL.Image
import pytest

from core.ops.describe import load_plugin, signature
from tests.inside import context_of

FOLDER = Path(__file__).resolve().parents[1]
KIND = load_plugin(FOLDER)  # as the package stable_core_plugin_sheets, which the tests import from


@pytest.fixture
def context(tmp_path):
    return context_of(tmp_path, None)


@pytest.fixture
def run(context):
    """run("contact_sheet", pictures, columns=3) gives what the job gives."""
    plugin = KIND(FOLDER)

    def run(job, images, **given):
        method = getattr(plugin, job)
        return method(images, signature(method.__func__)[4](**given), context)

    return run


@pytest.fixture
def squares():
    """squares(5, 40) are five pictures of 40x40, the first black, the last white."""

    def squares(count, side=32):
        return [PIL.Image.new("RGB", (side, side), (round(255 * k / max(1, count - 1)),) * 3) for k in range(count)]

    return squares
