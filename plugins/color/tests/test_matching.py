"""Whose colours a picture gets: compared with the plain way, pixel by pixel and without a palette."""

import cv2
import numpy
import PIL.Image
import pytest
from stable_core_plugin_color import palette
from stable_core_plugin_color.lab import lab, rgb

from core.plugin import Cancelled, InvalidParams

# What OpenCV 4.6, 4.13, 4.14 and 5.0 make of these, to 4 digits: all the same.
IN_OPENCV = {
    (255, 0, 0): (53.2410, 80.0938, 67.2031),
    (0, 255, 0): (87.7380, -86.1875, 83.1719),
    (0, 0, 255): (32.2937, 79.1875, -107.8594),
    (255, 255, 255): (100, 0, 0),
    (128, 128, 128): (53.5828, 0, 0),
    (200, 30, 90): (44.1040, 65.7031, 10.7500),
    (17, 130, 240): (54.3945, 12.0625, -62.8750),
    (3, 2, 1): (0.5859, 0.1250, 0.4688),
}
WHITE = numpy.array([0.950456, 1, 1.088754])
TO_XYZ = numpy.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
LUMINOSITY = numpy.array([0.3, 0.59, 0.11])


def bytes_of(picture):
    return numpy.asarray(picture).astype(int)


def by_formula(rgb):
    """CIE 15:2004 under D65, with sRGB's curve of IEC 61966-2-1. float (N, 3) from 0 to 1."""
    linear = numpy.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ TO_XYZ.T / WHITE
    f = numpy.where(xyz > (6 / 29) ** 3, numpy.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return numpy.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


def test_lab_is_that_of_opencv():
    colors = numpy.array([*IN_OPENCV], numpy.uint8)
    assert numpy.abs(lab(colors) - [*IN_OPENCV.values()]).max() < 1e-3


def test_lab_is_near_the_formula_and_back_again_exact():
    steps = numpy.linspace(0, 255, 12).astype(numpy.uint8)
    colors = numpy.stack(numpy.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    exact = by_formula(colors / 255)
    assert (numpy.abs(lab(colors) - exact).max(0) < [0.2, 0.45, 0.35]).all()
    assert numpy.abs(rgb(exact) - colors / 255).max() < 1e-3


def as_the_batch_program(painted, original, boost, amount, rounds):
    """Its colour correction, for each pixel: quantiles by sorting, in place of levels that are counted."""
    source, wanted = (
        cv2.cvtColor(numpy.asarray(each).astype(numpy.float32) / 255, cv2.COLOR_RGB2LAB) for each in (painted, original)
    )
    new = numpy.empty_like(source)
    new[..., 0] = numpy.clip(source[..., 0] + boost, 0, 100)
    for channel in (1, 2):
        values, there = source[..., channel].astype(float), numpy.sort(wanted[..., channel], None)
        last = numpy.append(there[1:] != there[:-1], True)  # of several equal ones, the last one's rank counts
        ranks = (numpy.flatnonzero(last) + 1) / there.size
        for _ in range(rounds if amount < 1 else 0):
            quantiles = numpy.searchsorted(numpy.sort(values, None), values, "right") / values.size
            values = values * amount + numpy.interp(quantiles, ranks, there[last]) * (1 - amount)
        new[..., channel] = values
    return (255 * cv2.cvtColor(new, cv2.COLOR_LAB2RGB)).astype(numpy.uint8)


@pytest.mark.parametrize("boost, amount, rounds", [(10, 0, 1), (1, 0.35, 2), (3, 0.8, 2), (2, 1, 2)])
@pytest.mark.parametrize("sizes", [((40, 30), (23, 31)), ((5, 1), (1, 4)), ((1, 1), (9, 9))])
def test_lab_is_the_correction_of_the_batch_program_in_both_versions(run, noise, sizes, boost, amount, rounds):
    painted, original = noise(*sizes[0]), noise(*sizes[1], seed=1)
    given = {"lightness": boost, "keep": amount, "rounds": rounds, "truncate": True}
    result = run("match_colors", painted, original, **given).value
    difference = bytes_of(result) - as_the_batch_program(painted, original, boost, amount, rounds)
    # OpenCV's vectors round their last bits otherwise than its single steps at the end of a row
    assert numpy.abs(difference).max() <= 1 and (difference != 0).mean() < 0.005


def test_truncating_is_half_a_level_darker_than_rounding(run, noise):
    painted, original = noise(64, 64), noise(64, 64, seed=1)
    rounded, cut = (bytes_of(run("match_colors", painted, original, truncate=cut).value) for cut in (False, True))
    assert {*numpy.unique(rounded - cut)} == {0, 1} and 0.3 < (rounded - cut).mean() < 0.6


def as_a1111(painted, original):
    source, wanted = (cv2.cvtColor(numpy.asarray(each), cv2.COLOR_RGB2LAB) for each in (painted, original))
    new = numpy.empty_like(source)
    for channel in range(3):
        values, levels = source[..., channel], numpy.arange(256)
        ranks = [(wanted[..., channel] <= level).mean() for level in levels]
        there = [level in wanted[..., channel] for level in levels]
        quantiles = numpy.array([(values <= level).mean() for level in levels])[values]
        new[..., channel] = numpy.interp(quantiles, numpy.array(ranks)[there], levels[there])  # cut off in bytes
    colors, own = cv2.cvtColor(new, cv2.COLOR_LAB2RGB) / 255, numpy.asarray(painted) / 255
    shifted = colors + ((own - colors) @ LUMINOSITY)[..., None]
    for color in shifted.reshape(-1, 3):  # ClipColor of W3C's Compositing and Blending
        light, low, high = color @ LUMINOSITY, color.min(), color.max()
        if low < 0:
            color[:] = light + (color - light) * light / (light - low)
        if high > 1:
            color[:] = light + (color - light) * (1 - light) / (high - light)
    return 255 * shifted


@pytest.mark.parametrize("sizes", [((40, 30), (23, 31)), ((3, 5), (1, 1))])
def test_a1111_matches_lab_in_bytes_and_gives_each_pixel_its_luminosity(run, noise, sizes):
    painted, original = noise(*sizes[0]), noise(*sizes[1], seed=1)
    result = bytes_of(run("match_colors", painted, original, method="a1111").value)
    assert numpy.abs(result - as_a1111(painted, original)).max() <= 1
    assert numpy.abs((result - bytes_of(painted)) @ LUMINOSITY).max() <= 1


def test_rgb_gives_the_histograms_of_the_reference(run):
    ramp = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16) // 2
    painted = PIL.Image.fromarray(numpy.stack([ramp, ramp.T, ramp[::-1]], -1))
    reference = painted.point(lambda value: value * value // 200 + value)
    result = run("match_colors", painted, reference, method="rgb").value
    assert result.tobytes() == reference.tobytes()  # no two levels become one, and the order stays


@pytest.mark.parametrize("method, near", [("lab", 0), ("a1111", 16), ("rgb", 0)])  # bytes are coarse in deep blue
def test_a_picture_matched_to_itself_stays(run, noise, method, near):
    picture = noise(64, 64)
    result = bytes_of(run("match_colors", picture, picture, method=method).value)
    assert numpy.abs(result - bytes_of(picture)).max() <= max(near, 1)


def test_pixels_that_are_not_seen_neither_count_nor_change(run, noise):
    rgba, reference = noise(20, 20, bands=4), noise(20, 20, seed=1)
    seen = numpy.zeros((20, 20), numpy.uint8)
    seen[:, :10] = 7
    rgba.putalpha(PIL.Image.fromarray(seen))
    reference.putalpha(PIL.Image.fromarray(seen))
    result = run("match_colors", rgba, reference, method="rgb").value
    left = [each.crop((0, 0, 10, 20)).convert("RGB") for each in (rgba, reference)]
    assert (bytes_of(result)[:, 10:] == bytes_of(rgba)[:, 10:]).all()
    assert (bytes_of(result)[:, :10, :3] == bytes_of(run("match_colors", *left, method="rgb").value)).all()
    assert (bytes_of(result)[..., 3] == seen).all()


def test_nothing_to_be_seen_is_left_or_refused(run, noise):
    nothing = noise(4, 4, bands=4)
    nothing.putalpha(0)
    assert run("match_colors", nothing, noise(4, 4)).value.tobytes() == nothing.tobytes()
    with pytest.raises(InvalidParams, match="transparent all over"):
        run("match_colors", noise(4, 4), nothing)


def test_the_table_of_large_pictures_gives_the_same_as_sorting(run, noise, monkeypatch, context):
    pictures = noise(50, 40, bands=4), noise(30, 20, seed=1)
    small = run("match_colors", *pictures).value
    monkeypatch.setattr(palette, "COUNTED_ONE_BY_ONE", 0)
    assert run("match_colors", *pictures).value.tobytes() == small.tobytes()
    context._cancelled.set()
    with pytest.raises(Cancelled):
        run("match_colors", *pictures)


def test_a_grey_picture_becomes_coloured(run, noise):
    result = run("match_colors", noise(9, 9, bands=1), PIL.Image.new("RGB", (2, 2), "red")).value
    assert result.mode == "RGB" and result.getpixel((4, 4))[0] > result.getpixel((4, 4))[1]


def cumulative(values, levels):
    return numpy.array([(values <= level).sum() for level in levels])


def test_channels_are_equalized_over_all_levels(run, noise):
    picture = noise(40, 30).point(lambda value: 60 + value // 4)
    result = bytes_of(run("equalize", picture, method="channels").value)
    pixels = bytes_of(picture)
    for channel in range(3):
        counts = cumulative(pixels[..., channel], range(256))
        lowest = counts[pixels[..., channel].min()]
        wanted = 255 * (counts - lowest) / (pixels[..., channel].size - lowest)
        assert (result[..., channel] == wanted.round()[pixels[..., channel]]).all()
    assert result.min() == 0 and result.max() == 255


@pytest.mark.parametrize("method", ["lightness", "adaptive"])
def test_lightness_gets_contrast_and_hues_stay(run, method):
    y, x = numpy.mgrid[0:64, 0:64]
    pixels = numpy.stack([100 + x // 4, 90 + y // 4, 110 + 0 * x], -1).astype(numpy.uint8)
    result = run("equalize", PIL.Image.fromarray(pixels), method=method, clip_limit=40)
    before, after = lab(pixels), lab(numpy.asarray(result.value))
    assert after[..., 0].std() > 1.5 * before[..., 0].std()
    inside = (after[..., 0] > 10) & (after[..., 0] < 90)  # at the ends there are no such colours
    assert numpy.abs(after - before)[inside][:, 1:].max() < 6 and inside.mean() > 0.5


@pytest.mark.parametrize("method", ["lightness", "channels", "adaptive"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 3)])
def test_equalize_takes_any_size_and_amount_0_leaves_all_as_it_is(run, noise, method, size):
    for bands, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        picture = noise(*size, bands=bands)
        result = run("equalize", picture, method=method, amount=0).value
        assert (result.mode, result.size) == (mode, size)
        assert numpy.abs(bytes_of(result) - bytes_of(picture)).max() <= 2
        assert run("equalize", picture, method=method).value.mode == mode


def test_one_colour_alone_has_nothing_to_be_equalized(run):
    for method in ("lightness", "channels"):
        assert run("equalize", PIL.Image.new("RGB", (5, 5), "#406080"), method=method).value.getpixel((2, 2)) == (
            64,
            96,
            128,
        )
