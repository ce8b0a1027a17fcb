"""Tiles: they cover the picture, give it back unchanged, and take over from each other without a seam."""

import math
from dataclasses import replace

import numpy
import PIL.Image
import pytest
from sd.tiles import combined, split

from core.plugin import InvalidParams

SIZES = [(1, 1), (7, 3), (512, 8), (8, 512), (64, 64), (65, 64), (200, 131), (1000, 40)]
TILINGS = [(64, 64, 16), (64, 32, 0), (8, 8, 7), (128, 64, 63)]


def random_picture(width, height):
    return PIL.Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (height, width, 3), numpy.uint8))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tiling", TILINGS)
def test_unchanged_tiles_are_the_picture_again(size, tiling):
    picture = random_picture(*size)
    grid = split(picture, *tiling)
    assert {tile.size for tile in grid.tiles} == {tiling[:2]}
    assert combined(grid).tobytes() == picture.tobytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tiling", TILINGS)
def test_tiles_are_counted_as_in_a1111_and_overlap_enough(size, tiling):
    grid = split(random_picture(*size), *tiling)
    for starts, length, tile in ((grid.xs, size[0], tiling[0]), (grid.ys, size[1], tiling[1])):
        length = max(length, tile)
        assert len(starts) == math.ceil((length - tiling[2]) / (tile - tiling[2]))
        assert (starts[0], starts[-1]) == (0, length - tile)
        assert all(after - before <= tile - tiling[2] for before, after in zip(starts, starts[1:], strict=False))
    assert len(grid.tiles) == len(grid.xs) * len(grid.ys)


def test_tiles_are_spread_evenly():
    grid = split(random_picture(1024, 1000), 512, 512, 64)
    assert (grid.xs, grid.ys) == ([0, 256, 512], [0, 244, 488])
    assert split(random_picture(1024, 512), 512, 512, 0).xs == [0, 512]


def test_a_tile_is_the_picture_at_its_place():
    picture = random_picture(200, 131)
    grid = split(picture, 64, 32, 16)
    row, column = 2, 1
    x, y = grid.xs[column], grid.ys[row]
    expected = picture.crop((x, y, x + 64, y + 32))
    assert grid.tiles[row * len(grid.xs) + column].tobytes() == expected.tobytes()


def test_a_picture_smaller_than_a_tile_is_continued_with_its_outermost_pixels():
    picture = random_picture(7, 3)
    tile = numpy.asarray(split(picture, 16, 8, 4).tiles[0])
    assert (tile[:3, :7] == numpy.asarray(picture)).all()
    assert (tile[:3, 7:] == tile[:3, 6:7]).all() and (tile[3:] == tile[2]).all()


@pytest.mark.parametrize("lying", [True, False])
def test_neighbours_of_different_brightness_meet_in_a_straight_ramp(lying):
    size = (112, 64) if lying else (64, 112)
    grid = split(PIL.Image.new("RGB", size), 64, 64, 16)
    grid = replace(grid, tiles=[PIL.Image.new("RGB", (64, 64), (grey,) * 3) for grey in (40, 200)])
    pixels = numpy.asarray(combined(grid))[..., 0].astype(int)
    pixels = pixels if lying else pixels.T
    assert (pixels == pixels[0]).all()
    expected = [40] * 48 + [40 + 160 * k / 16 for k in range(16)] + [200] * 48
    assert numpy.abs(pixels[0] - expected).max() <= 1
    assert (numpy.diff(pixels[0]) >= 0).all()


def test_four_tiles_stay_between_their_brightnesses():
    grid = split(PIL.Image.new("RGB", (112, 112)), 64, 64, 16)
    greys = (10, 90, 170, 250)
    pixels = numpy.asarray(combined(replace(grid, tiles=[PIL.Image.new("RGB", (64, 64), (g,) * 3) for g in greys])))
    assert [pixels[y, x, 0] for y in (0, 111) for x in (0, 111)] == list(greys)
    for axis in (0, 1):
        steps = numpy.diff(pixels[..., 0].astype(int), axis=axis)
        assert steps.min() >= 0 and steps.max() <= 160 / 16 + 2


@pytest.mark.parametrize("overlap", [-1, 32, 64])
def test_an_overlap_that_leaves_nothing_of_a_tile_is_refused(overlap):
    with pytest.raises(InvalidParams, match=f"tiles of 64 x 32 cannot overlap by {overlap} pixels") as refusal:
        split(random_picture(100, 100), 64, 32, overlap)
    assert refusal.value.wire()["hint"] == "Allowed is 0 to 31."


def test_more_tiles_than_there_is_memory_for_are_refused_before_one_is_cut():
    with pytest.raises(
        InvalidParams, match="2000 x 2000 would be cut into 59,049 tiles of 64 x 64, the limit is 36,000"
    ):
        split(PIL.Image.new("RGB", (2000, 2000)), 64, 64, 56)
    assert len(split(PIL.Image.new("RGB", (4096, 4096)), 4096, 4096, 256).tiles) == 1
