"""What ControlNets are shown of pictures: each preprocessor finds what it is for, in pictures of any kind."""

import numpy
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
import pytest
from sd.options import PREPROCESSORS, Preprocess, Preprocessing
from sd.preprocessors import hint

from core.plugin import InvalidParams


def circle(size=(64, 48), ground=(0, 0, 160), fill=(160, 0, 0), mode="RGB"):
    """A filled circle of radius 16 in the middle."""
    picture = PIL.Image.new("RGB", size, ground)
    x, y = size[0] // 2, size[1] // 2
    PIL.ImageDraw.Draw(picture).ellipse((x - 16, y - 16, x + 16, y + 16), fill)
    return picture.convert(mode)


def from_middle(size=(64, 48)):
    """The distance of each pixel from the middle."""
    rows, columns = numpy.mgrid[: size[1], : size[0]]
    return numpy.hypot(columns - size[0] // 2, rows - size[1] // 2)


def seen(picture, preprocessor, mask=None, **options):
    return hint(picture, Preprocessing(preprocessor=preprocessor, **options), mask)


def test_canny_finds_the_edge_of_a_circle_between_colours_of_equal_lightness():
    edges = seen(circle(fill=(0, 82, 0)), "canny")[..., 0] == 1
    assert abs(from_middle()[edges] - 16).max() < 2  # nothing else
    angles = numpy.arctan2(*[axis - half for axis, half in zip(numpy.nonzero(edges), (24, 32), strict=True)])
    assert numpy.histogram(angles, 16, (-numpy.pi, numpy.pi))[0].all()  # all around


def test_canny_sees_a_step_that_is_as_high_as_its_thresholds_say():
    faint = circle(ground=(100, 100, 100), fill=(140, 140, 140))  # a step of 40 has a gradient of 160
    assert not seen(faint, "canny").any()
    assert seen(faint, "canny", low_threshold=60, high_threshold=120).any()
    assert seen(faint, "canny", low_threshold=120, high_threshold=60).any()  # in any order


def test_a_scribble_is_the_dark_line_of_a_drawing():
    drawing = PIL.Image.new("L", (64, 48), 255)
    PIL.ImageDraw.Draw(drawing).line((8, 24, 56, 24), 0, 2)
    found = seen(drawing, "scribble")[..., 0] == 1
    rows, columns = numpy.nonzero(found)
    assert set(range(10, 54)) <= set(columns) and abs(rows - 24).max() <= 2
    assert not seen(PIL.ImageOps.invert(drawing), "scribble")[23:26, 10:54].any()  # light lines are none


def test_a_tile_keeps_the_colours_and_loses_the_detail():
    noisy = PIL.Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (48, 64, 3), "u1"))
    assert (seen(noisy, "tile") == numpy.asarray(noisy, "f4") / 255).all()
    coarse = seen(noisy, "tile", downsampling=8)
    assert abs(coarse.mean((0, 1)) - numpy.asarray(noisy).mean((0, 1)) / 255).max() < 0.01
    assert coarse.std() < 0.3 * seen(noisy, "tile").std()


def test_a_mask_is_what_is_inpainted_or_transparent_or_white():
    mask = circle(ground=0, fill=(255, 255, 255), mode="L")
    white = from_middle() < 15
    transparent = circle()
    transparent.putalpha(PIL.ImageOps.invert(mask))
    for hinted in (seen(circle(), "mask", mask), seen(transparent, "mask"), seen(mask, "mask")):
        assert hinted[white].min() == 1 and hinted[from_middle() > 17].max() == 0


def test_for_inpainting_all_is_shown_but_what_is_masked():
    mask = circle(ground=0, fill=(255, 255, 255), mode="L")
    hinted = seen(circle(), "inpaint", mask)
    assert (hinted[from_middle() < 15] == -1).all()
    assert numpy.allclose(hinted[from_middle() > 17], [0, 0, 160 / 255])
    with pytest.raises(InvalidParams, match="needs to know which part is to be drawn"):
        seen(circle(), "inpaint")


def test_inverted_black_is_white():
    drawing = PIL.Image.new("L", (8, 8), 255)
    drawing.putpixel((3, 3), 0)
    assert seen(drawing, "invert")[3, 3].min() == 1 and seen(drawing, "invert").sum() == 3


@pytest.mark.parametrize("preprocessor", PREPROCESSORS)
@pytest.mark.parametrize(("mode", "size"), [("RGBA", (33, 17)), ("L", (1, 1)), ("RGB", (7, 64))])
def test_every_preprocessor_takes_pictures_of_any_size_and_kind(plugin, preprocessor, mode, size):
    picture = PIL.Image.new(mode, size, 128)
    if preprocessor == "inpaint":
        picture = picture.convert("RGBA")
    shown = plugin.preprocess(picture, Preprocess(preprocessor=preprocessor, downsampling=8))
    assert (shown.mode, shown.size) == ("RGB", size)
