"""Tiles: how they are cut, that they leave no seams, and how much memory they take."""

import subprocess
import sys
from pathlib import Path

import numpy
import PIL.Image
import pytest
import tiny
import torch
from pictures import picture, pixels
from up import tiles
from up.networks import load
from up.sizes import Canvas
from up.tiles import axis, cut_up, strips

from core.plugin import OutOfMemory


class Made:
    """A network that is a function of a tile."""

    scale, channels, multiple, minimum, square, whole = 1, 3, 1, 1, False, False
    cost, reach, device, dtype = 100.0, 64, torch.device("cpu"), torch.float32

    def __init__(self, function, **about):
        self.function = function
        vars(self).update(about)

    def __call__(self, tile):
        return self.function(tile)


def enlarged(network, given, **how):
    image = pixels(given).astype(numpy.uint8).reshape(given.height, given.width, -1)
    return numpy.concatenate([*strips(network, image, *cut_up(network, *given.size, **{"budget": 1e9} | how))]).astype(
        int
    )


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 127, 500, 1001])
@pytest.mark.parametrize("multiple, minimum", [(1, 1), (8, 16), (64, 1)])
@pytest.mark.parametrize("margin", [0, 5, 30])
def test_tiles_cover_a_side_once_and_see_enough_around_them(length, multiple, minimum, margin):
    cut = axis(length, 128, margin, multiple, minimum)
    parts = [cut.part(n) for n in range(len(cut.starts))]
    assert [first for first, _ in parts] == [0, *cut.cuts] and [last for _, last in parts] == [*cut.cuts, length]
    assert cut.side % multiple == 0 and cut.side >= minimum and all(start % multiple == 0 for start in cut.starts)
    for start, (first, last) in zip(cut.starts, parts, strict=True):
        assert start <= max(0, first - margin)
        assert start + cut.side >= min(length, last + margin)


@pytest.mark.parametrize("make", [tiny.compact, tiny.esrgan, tiny.swinir])
def test_tiles_equal_the_whole(tmp_path, make):
    network = load(tiny.saved(make(), tmp_path / "tiny.safetensors"), "cpu")
    given = picture(150, 117)
    assert network.reach < tiles.NEAR
    assert numpy.abs(enlarged(network, given) - enlarged(network, given, tile=64)).max() <= 1


def test_what_a_network_sees_of_the_whole_fades_from_tile_to_tile():
    brightness = Made(lambda tile: (tile + tile.mean((2, 3), keepdim=True)) / 2)
    ramp = PIL.Image.fromarray(numpy.tile(numpy.linspace(0, 255, 400).astype(numpy.uint8), (300, 1))).convert("RGB")
    steps = numpy.abs(numpy.diff(enlarged(brightness, ramp, tile=128), axis=1))
    whole = numpy.abs(numpy.diff(enlarged(brightness, ramp), axis=1))
    assert steps.max() <= whole.max() + 3  # one tile is lighter by 20 than the next
    assert (
        numpy.abs(numpy.diff(enlarged(brightness, ramp.rotate(90, expand=True), tile=128), axis=0)).max()
        <= whole.max() + 3
    )


def test_a_network_that_needs_the_whole_picture_or_squares_gets_them():
    sizes = []

    def seen(tile):
        sizes.append(tuple(tile.shape[2:]))
        return tile

    for about in ({"whole": True}, {"square": True, "multiple": 32}):
        assert (enlarged(Made(seen, **about), picture(300, 100), budget=1e5) == pixels(picture(300, 100))).all()
    assert sizes[0] == (100, 300) and len(sizes) > 2
    assert all(height == width and height % 32 == 0 for height, width in sizes[1:])


def test_the_budget_decides_how_large_tiles_are(tmp_path):
    network = load(tiny.saved(tiny.compact(), tmp_path / "tiny.pth"), "cpu")
    for budget in (1e6, 1e7, 1e8):
        across, down, _ = cut_up(network, 3000, 2000, budget)
        assert 0.5 * budget < across.side * down.side * network.cost <= 1.1 * budget
    across, down, _ = cut_up(Made(None, minimum=32), 100_000, 1, 1e7)
    assert down.side == 32 and across.side * 32 * Made.cost <= 1e7


def test_where_memory_does_not_suffice_tiles_become_smaller():
    def full(tile):
        if tile.shape[2] * tile.shape[3] > 100 * 100:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return tile

    assert (enlarged(Made(full, reach=4), picture(300, 200)) == pixels(picture(300, 200))).all()
    with pytest.raises(OutOfMemory, match="the memory of the device did not suffice for [0-9]+x[0-9]+ pixels"):
        enlarged(Made(lambda tile: full(torch.empty(1, 3, 999, 999))), picture())


def test_a_batch_of_tiles_is_what_they_are_one_by_one(tmp_path):
    network = load(tiny.saved(tiny.compact(1), tmp_path / "tiny.pth"), "cpu")
    across, down, _ = cut_up(network, 200, 100, 1e9, tile=64)
    image = pixels(picture(200, 100)).astype(numpy.uint8)
    one, four = (numpy.concatenate([*strips(network, image, across, down, batch)]) for batch in (1, 4))
    assert (one == four).all()


@pytest.mark.parametrize("box", [None, (10.5, 3.25, 90.75, 50)])
@pytest.mark.parametrize("size", [(37, 23), (96, 64), (250, 170)])
def test_rows_that_come_bit_by_bit_become_what_lanczos_makes_of_the_whole(size, box):
    canvas = Canvas(PIL.Image.new("RGB", size), (96, 64), box)
    for top in range(0, 64, 5):
        canvas.add(numpy.asarray(picture())[top : top + 5])
    left, top, right, bottom = box or (0, 0, 96, 64)
    wide = picture().resize((size[0], 64), PIL.Image.Resampling.LANCZOS, (left, 0, right, 64))
    wanted = wide.resize(size, PIL.Image.Resampling.LANCZOS, (0, top, size[0], bottom))
    assert canvas.done == size[1]
    assert numpy.abs(pixels(canvas.picture) - pixels(wanted)).max() <= 1


HUGE = """
import resource, sys
from pathlib import Path
import conftest, torch
torch.set_num_threads(1)
from core.library.models import Models
from core.plugin import Context
from pictures import picture
from up import Upscale, UpscaleParams, UpscaleSettings

plugin, ctx = Upscale(conftest.FOLDER), Context("job", Path(), Models(Path(sys.argv[1]), []), lambda event, body: None)
plugin.settings = UpscaleSettings()
plugin.load("cpu")
params = dict(model="tiny.pth", scale=4)
plugin.upscale(picture(64, 64), UpscaleParams(**params), ctx)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ctx.low_memory = True
side = int(sys.argv[2])
made = plugin.upscale(picture(side, side), UpscaleParams(**params), ctx).value
print(made.width * made.height, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts ru_maxrss in kB")
def test_a_large_result_takes_little_more_than_its_own_size(tmp_path):
    tiny.saved(tiny.compact(scale=4, features=4, layers=1), tmp_path / "upscaler/tiny.pth")
    tests, root = Path(__file__).parent, Path(__file__).parents[3]
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(tests)!r}, *{sys.path!r}]" + HUGE
    child = subprocess.run(
        [sys.executable, "-c", code, tmp_path, "1250"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    made, taken = map(int, child.stdout.split() or pytest.fail(child.stderr))
    assert made == 25_000_000
    assert taken < 4 * made + 400e6  # 4 bytes a pixel; in floats, each of the network's last steps takes 12
