"""Sizes: every mode gives the size asked for, keeps what it should, and repeats or cuts the rest."""

import numpy
import PIL.Image
import pytest
from sd.resizing import MODES, UPSCALERS, bordered, flattened, resized, round_up, upscaled

from core.plugin import InvalidParams

SIZES = [(1, 1), (7, 3), (3, 7), (512, 8), (1, 2000), (64, 64)]


def random_picture(width, height, mode="RGB"):
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return PIL.Image.fromarray(numpy.random.default_rng(0).integers(0, 256, shape, numpy.uint8))


def plain(width, height, colour):
    return PIL.Image.new("RGB", (width, height), colour)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("picture_mode", ["RGB", "L"])
def test_every_mode_gives_the_size_asked_for(mode, picture_mode):
    for size in SIZES:
        for wanted in SIZES:
            result = resized(random_picture(*size, picture_mode), *wanted, mode)
            assert (result.size, result.mode) == (wanted, picture_mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_of_that_size_stays_as_it_is(mode):
    for size in SIZES:
        picture = random_picture(*size)
        assert resized(picture, *size, mode).tobytes() == picture.tobytes()


def test_just_resize_stretches():
    halves = plain(40, 20, "red")
    halves.paste("blue", (20, 0, 40, 20))
    result = resized(halves, 20, 40, "just resize")
    assert (result.getpixel((2, 20)), result.getpixel((17, 20))) == ((255, 0, 0), (0, 0, 255))


def test_crop_and_resize_keeps_the_middle():
    stripes = plain(60, 20, "red")
    stripes.paste("green", (20, 0, 40, 20))
    assert resized(stripes, 20, 20, "crop and resize").tobytes() == plain(20, 20, "green").tobytes()
    lying = stripes.transpose(PIL.Image.Transpose.ROTATE_90)
    assert resized(lying, 20, 20, "crop and resize").tobytes() == plain(20, 20, "green").tobytes()


@pytest.mark.parametrize("height", [40, 41, 47])
def test_resize_and_fill_repeats_the_outermost_rows(height):
    picture = random_picture(20, 20)
    pixels = numpy.asarray(resized(picture, 20, height, "resize and fill"))
    top = (height - 20) // 2
    assert (pixels[top : top + 20] == numpy.asarray(picture)).all()
    assert (pixels[:top] == pixels[top]).all()
    assert (pixels[top + 20 :] == pixels[top + 19]).all()


def test_resize_and_fill_repeats_the_outermost_columns():
    picture = random_picture(20, 20)
    pixels = numpy.asarray(resized(picture, 33, 20, "resize and fill"))
    assert (pixels[:, 6:26] == numpy.asarray(picture)).all()
    assert (pixels[:, :6] == pixels[:, 6:7]).all()
    assert (pixels[:, 26:] == pixels[:, 25:26]).all()


def test_nearest_repeats_pixels_and_lanczos_does_not():
    picture = random_picture(5, 4)
    repeated = numpy.asarray(picture).repeat(3, 0).repeat(3, 1)
    assert (numpy.asarray(upscaled(picture, 15, 12, "Nearest")) == repeated).all()
    assert (numpy.asarray(upscaled(picture, 15, 12, "Lanczos")) != repeated).any()
    assert all(upscaled(picture, 1, 9, name).size == (1, 9) for name in UPSCALERS)


def test_unknown_names_are_refused_with_what_there_is():
    with pytest.raises(InvalidParams, match="resize_mode 'tile' does not exist") as refusal:
        resized(plain(8, 8, "red"), 8, 8, "tile")
    assert refusal.value.wire()["field"] == "resize_mode"
    with pytest.raises(InvalidParams, match="upscaler 'ESRGAN'") as refusal:
        upscaled(plain(8, 8, "red"), 8, 8, "ESRGAN")
    assert refusal.value.wire()["hint"] == "There are: Lanczos, Nearest."


def test_what_is_transparent_becomes_white():
    assert flattened(PIL.Image.new("RGBA", (1, 1), (200, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert flattened(PIL.Image.new("RGBA", (1, 1), (200, 0, 0, 255))).getpixel((0, 0)) == (200, 0, 0)
    assert flattened(PIL.Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert flattened(PIL.Image.new("L", (1, 1), 9)).getpixel((0, 0)) == (9, 9, 9)


def test_round_up_gives_the_next_multiple():
    assert [round_up(pixels) for pixels in (0, 1, 7, 8, 9, 512)] == [0, 8, 8, 8, 16, 512]
    assert round_up(65, 64) == 128


def test_a_border_repeats_the_corner_at_the_corner():
    assert numpy.asarray(bordered(random_picture(1, 1, "L"), 1, 2, 3, 4)).shape == (7, 5)
    picture = random_picture(4, 3)
    assert bordered(picture, 2, 1, 0, 0).getpixel((0, 0)) == picture.getpixel((0, 0))
    assert bordered(picture, 0, 0, 0, 0).tobytes() == picture.tobytes()
