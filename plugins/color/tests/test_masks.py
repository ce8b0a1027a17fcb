"""Masks: grown and feathered by the definition, made of what a picture shows."""

import numpy
import PIL.Image
import pytest
from stable_core_plugin_color.masks import grown

from core.plugin import InvalidParams


def bytes_of(picture):
    return numpy.asarray(picture).astype(int)


def dilated(mask, radius):
    """By the definition: white where something white is in the disc around it."""
    result = numpy.zeros_like(mask)
    for y, x in numpy.argwhere(mask):
        rows, columns = numpy.ogrid[: mask.shape[0], : mask.shape[1]]
        result |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return result


@pytest.mark.parametrize("radius", [1, 2, 5, 13, 1024])
def test_grow_and_shrink_are_exact_discs(run, radius):
    spots = numpy.zeros((40, 50), bool)
    spots[[3, 20, 21, 39], [49, 10, 10, 0]] = True
    wanted = 255 * dilated(spots, radius).astype(int)
    mask = PIL.Image.fromarray(255 * spots.astype(numpy.uint8))
    assert (bytes_of(run("edit_mask", mask, grow=radius)) == wanted).all()
    shrunk = run("edit_mask", run("edit_mask", mask, invert=True), grow=-radius)
    assert (bytes_of(shrunk) == 255 - wanted).all()


def test_growing_leaves_what_is_whiter_and_nothing_grows_from_nothing(run):
    ramp = PIL.Image.fromarray(numpy.arange(0, 256, 5, dtype=numpy.uint8)[None])  # 125, 130 in the middle
    pixels = bytes_of(run("edit_mask", ramp, grow=3))[0]
    assert (pixels[:23] == numpy.arange(0, 256, 5)[:23]).all() and (pixels[23:] == 255).all()
    pixels = bytes_of(run("edit_mask", ramp, grow=-3))[0]
    assert (pixels[:29] == 0).all() and (pixels[29:] == numpy.arange(0, 256, 5)[29:]).all()
    for level in (0, 255):
        plain = numpy.full((5, 4), level, numpy.uint8)
        assert (grown(plain, 9) == plain).all() and (grown(plain, -9) == plain).all()


@pytest.mark.parametrize("blur", [0.2, 1, 4])
def test_feather_is_a_gaussian_cut_off_and_mirrored(run, noise, blur):
    mask = noise(31, 23, bands=1)
    radius = int(2.5 * blur + 0.5)
    kernel = numpy.exp(-(numpy.arange(-radius, radius + 1) ** 2) / (2 * blur**2))
    wide = numpy.pad(bytes_of(mask), radius, "reflect").astype(float)
    for axis in (0, 1):
        wide = numpy.apply_along_axis(numpy.convolve, axis, wide, kernel / kernel.sum(), "valid")
    assert numpy.abs(bytes_of(run("edit_mask", mask, feather=blur)) - wide).max() <= 0.51


def test_grow_then_feather_then_invert(run):
    mask = PIL.Image.new("L", (41, 41))
    mask.putpixel((20, 20), 255)
    steps = run("edit_mask", run("edit_mask", run("edit_mask", mask, grow=6), feather=3), invert=True)
    assert run("edit_mask", mask, grow=6, feather=3, invert=True).tobytes() == steps.tobytes()
    assert steps.getpixel((20, 20)) < 60 and steps.getpixel((0, 0)) == 255


@pytest.mark.parametrize(
    "how, wanted",
    [("add", [9, 200, 255]), ("intersect", [0, 100, 200]), ("subtract", [9, 55, 55]), ("exclude", [9, 100, 55])],
)
def test_masks_are_combined(run, how, wanted):
    mask, other = (PIL.Image.fromarray(numpy.array([row], numpy.uint8)) for row in ([9, 100, 255], [0, 200, 200]))
    assert bytes_of(run("edit_mask", mask, combine=how, other=other))[0].tolist() == wanted
    assert run("edit_mask", mask, combine=how).tobytes() == mask.tobytes()
    assert run("edit_mask", mask, combine=how, other=PIL.Image.new("L", (30, 9), 255)).size == mask.size


def test_alpha_becomes_a_mask(run, noise):
    picture = noise(9, 7, bands=4)
    assert run("make_mask", picture, source="alpha").tobytes() == picture.getchannel("A").tobytes()
    assert bytes_of(run("make_mask", noise(9, 7), source="alpha", invert=True)).max() == 0


def test_a_colour_becomes_a_mask(run):
    picture = PIL.Image.new("RGB", (6, 1), "white")
    for x, color in enumerate(["#00ff00", "#10f010", "#00c000", "#ff0000", "#808080"]):
        picture.putpixel((x, 0), PIL.ImageColor.getrgb(color))
    mask = bytes_of(run("make_mask", picture, source="color", color="#00ff00", tolerance=10))[0]
    assert mask.tolist() == [255, 255, 0, 0, 0, 0]
    soft = bytes_of(run("make_mask", picture, source="color", color="lime", tolerance=10, softness=30))[0]
    assert soft[0] == soft[1] == 255 and 0 < soft[2] < 255 and not soft[3:].any()


def test_lightness_becomes_a_mask(run):
    picture = PIL.Image.fromarray(numpy.arange(256, dtype=numpy.uint8)[None])
    mask = bytes_of(run("make_mask", picture, source="lightness", low=50, high=80))[0]
    white = numpy.flatnonzero(mask)
    assert set(mask) == {0, 255} and 117 <= white[0] <= 120 and 196 <= white[-1] <= 199  # L of grey 119 is 50.03
    assert (numpy.diff(white) == 1).all()


def test_what_is_not_to_be_seen_is_not_masked(run):
    picture = PIL.Image.new("RGBA", (2, 1), "white")
    picture.putpixel((0, 0), (255, 255, 255, 0))
    assert bytes_of(run("make_mask", picture)).tolist() == [[0, 255]]


def test_bad_values_are_refused(run, noise):
    with pytest.raises(InvalidParams, match="low is 60, above high, which is 40"):
        run("make_mask", noise(3, 3), source="lightness", low=60, high=40)
    with pytest.raises(InvalidParams, match="color: 'grass' is no colour"):
        run("make_mask", noise(3, 3), color="grass")


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (3, 2)])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_every_size_and_mode_is_taken(run, noise, size, bands):
    for source in ("alpha", "color", "lightness"):
        mask = run("make_mask", noise(*size, bands=bands), source=source, grow=2, feather=20)
        assert (mask.mode, mask.size) == ("L", size)
