"""Colour correction: the colours of the original, the lightness of what was painted."""

import colorsys

import numpy
import PIL.Image
import pytest
from sd.colours import LUMINOSITY, _lab, _rgb, corrected


def random_picture(width, height, seed=0):
    return PIL.Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (height, width, 3), numpy.uint8))


def luminosity(picture):
    return numpy.asarray(picture) @ LUMINOSITY


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (512, 8)])
def test_a_picture_corrected_to_itself_stays(size):
    picture = random_picture(*size)
    difference = numpy.asarray(corrected(picture, picture)).astype(int) - numpy.asarray(picture)
    assert numpy.abs(difference).max() <= 16  # Lab in bytes is that coarse for deep blue
    assert numpy.abs(difference).mean() < 1.5


@pytest.mark.parametrize("sizes", [((64, 64), (64, 64)), ((7, 3), (30, 20)), ((1, 1), (8, 8)), ((16, 16), (1, 1))])
def test_the_lightness_of_every_pixel_stays(sizes):
    painted, original = random_picture(*sizes[0]), random_picture(*sizes[1], seed=1)
    result = corrected(painted, original)
    assert result.size == painted.size
    assert numpy.abs(luminosity(result) - luminosity(painted)).max() <= 1


def test_a_grey_gradient_takes_the_hue_of_the_original():
    gradient = PIL.Image.fromarray(numpy.tile(numpy.arange(40, 200, dtype=numpy.uint8)[:, None, None], (1, 8, 3)))
    tinted = PIL.Image.new("RGB", (5, 5), (180, 60, 60))
    pixels = numpy.asarray(corrected(gradient, tinted)) / 255
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in pixels[:, 0]]
    assert all(min(hue, 1 - hue) < 0.03 for hue in hues)


def test_a_colour_cast_goes_away():
    original = random_picture(64, 64)
    cast = PIL.Image.fromarray((numpy.asarray(original) * [0.6, 1, 0.8]).astype(numpy.uint8))
    before, after = (
        numpy.abs((numpy.asarray(picture).astype(float) - numpy.asarray(original)).mean((0, 1)))
        for picture in (cast, corrected(cast, original))
    )
    assert before[0] > 45
    assert after.max() - after.min() < 12  # darker evenly: the lightness is the painting's


def test_lab_in_bytes_is_known_for_known_colours():
    # CIELAB of sRGB's corners under D65, from the CIE's formulas: (L, a, b) = (53.24, 80.09, 67.20) for red
    colours = numpy.array([[[255, 0, 0], [255, 255, 255], [0, 0, 0]]], numpy.uint8)
    assert _lab(colours)[0].tolist() == [[136, 208, 195], [255, 128, 128], [0, 128, 128]]


def test_every_lab_becomes_a_colour_without_a_warning():
    steps = numpy.arange(0, 256, 15, dtype=numpy.uint8)
    rgb = _rgb(numpy.stack(numpy.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3))
    assert 0 <= rgb.min() and rgb.max() <= 1
