"""Crop, extend and blend: compared with the definitions, pixel by pixel."""

import itertools
import math

import numpy
import PIL.Image
import PIL.ImageCms
import pytest
from stable_core_plugin_color import pictures
from stable_core_plugin_color.blending import MODES

from core.plugin import Cancelled, InvalidParams


def bytes_of(picture):
    return numpy.asarray(picture).astype(int)


@pytest.mark.parametrize(
    "given, box",
    [
        ({}, (0, 0, 30, 20)),
        ({"left": 3, "top": 5}, (3, 5, 30, 20)),
        ({"left": 3, "width": 7, "height": 1}, (3, 0, 10, 1)),
        ({"width": 27, "height": 20, "multiple_of": 8}, (1, 2, 25, 18)),
        ({"mode": "shape"}, (5, 0, 25, 20)),
        ({"mode": "shape", "wide": 1, "high": 2, "across": 1}, (20, 0, 30, 20)),
        ({"mode": "shape", "wide": 16, "high": 4, "down": 0}, (0, 0, 30, 8)),
        ({"mode": "shape", "wide": 100, "high": 0.1}, (0, 10, 30, 11)),
    ],
)
def test_crop_cuts_out_the_box(run, noise, given, box):
    picture = noise(30, 20)
    result = run("crop", picture, **given)
    assert result.value.tobytes() == picture.crop(box).tobytes()
    assert result.facts["box"] == list(box)


@pytest.mark.parametrize(
    "given, field",
    [
        ({"left": 30}, "left"),
        ({"top": 15, "height": 6}, "top"),
        ({"width": 31}, "left"),
        ({"multiple_of": 32}, "multiple_of"),
        ({"mode": "mask"}, "mask"),
        ({"mode": "mask", "mask": PIL.Image.new("L", (30, 20))}, "mask"),
    ],
)
def test_crop_refuses_what_is_not_there(run, noise, given, field):
    with pytest.raises(InvalidParams) as refused:
        run("crop", noise(30, 20), **given)
    assert refused.value.extra["field"] == field


@pytest.mark.parametrize("size", [(30, 20), (60, 40)])  # of the mask: it gets the picture's
def test_crop_keeps_what_the_mask_shows(run, noise, size):
    mask = PIL.Image.new("L", (30, 20))
    mask.paste(255, (10, 5, 14, 6))
    given = {"mode": "mask", "mask": mask.resize(size, PIL.Image.Resampling.NEAREST)}
    left, top, right, bottom = run("crop", noise(30, 20), **given, padding=7).facts["box"]
    assert (left, top) in {(3, 0), (2, 0)} and (right, bottom) in {(21, 13), (22, 14)}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_crop_cuts_off_the_border(run, noise, mode):
    picture = PIL.Image.new("RGB", (40, 30), (250, 240, 235))
    picture.paste(noise(11, 7).point(lambda value: value // 2), (20, 9))
    picture.putpixel((0, 29), (246, 243, 235))  # as JPEGs are
    assert run("crop", picture.convert(mode), mode="border").facts["box"] == [20, 9, 31, 16]


def test_crop_cuts_off_what_is_not_to_be_seen(run, noise, context):
    picture = noise(40, 30, bands=4)
    alpha = PIL.Image.new("L", (40, 30))
    alpha.paste(255, (4, 5, 9, 30))
    picture.putalpha(alpha)
    assert run("crop", picture, mode="border").facts["box"] == [4, 5, 9, 30]
    plain = PIL.Image.new("RGB", (4, 4), "red")
    assert run("crop", plain, mode="border").value.size == (4, 4)
    assert ("log", {"text": "The picture is of one colour: nothing is cut off."}) in context.told


@pytest.mark.parametrize("fill, at", [("edge", (0, 19)), ("mirror", (2, 18)), ("wrap", (27, 1))])
def test_extend_repeats_what_there_is(run, noise, fill, at):
    picture = noise(30, 20, bands=4)
    result = run("extend", picture, left=3, down=2, fill=fill).value
    assert result.size == (33, 22) and result.crop((3, 0, 33, 20)).tobytes() == picture.tobytes()
    assert result.getpixel((0, 21)) == picture.getpixel(at)


def test_extend_by_more_than_there_is(run, noise):
    for fill in ("edge", "mirror", "wrap", "color", "transparent"):
        assert run("extend", noise(1, 2), left=50, up=9, fill=fill).value.size == (51, 11)


@pytest.mark.parametrize(
    "bands, fill, color, mode, pixel",
    [
        (3, "color", "#102030", "RGB", (16, 32, 48)),
        (1, "color", "red", "RGB", (255, 0, 0)),
        (4, "color", "red", "RGBA", (255, 0, 0, 255)),
        (3, "color", "#10203040", "RGBA", (16, 32, 48, 64)),
        (3, "transparent", "red", "RGBA", (0, 0, 0, 0)),
    ],
)
def test_extend_by_a_colour(run, noise, bands, fill, color, mode, pixel):
    picture = noise(4, 4, bands=bands)
    result = run("extend", picture, left=2, down=1, fill=fill, color=color).value
    assert (result.mode, result.getpixel((0, 0)), result.getpixel((5, 4))) == (mode, pixel, pixel)
    assert result.crop((2, 0, 6, 4)).tobytes() == picture.convert(mode).tobytes()


def test_what_is_no_colour_and_what_is_too_large_is_refused(run, noise):
    with pytest.raises(InvalidParams, match="'reddish' is no colour"):
        run("extend", noise(4, 4), color="reddish")
    with pytest.raises(InvalidParams, match="would have 16385x16385 pixels"):
        run("extend", noise(1, 1), left=8192, right=8192, up=8192, down=8192)


def of_one(channel):
    """A blend mode that mixes each channel by itself: of colours."""
    return lambda below, above: [channel(b, s) for b, s in zip(below, above, strict=True)]


def hard_light(b, s):
    return 2 * b * s if s <= 0.5 else b + (2 * s - 1) - b * (2 * s - 1)


def soft_light(b, s):
    if s <= 0.5:
        return b - (1 - 2 * s) * b * (1 - b)
    return b + (2 * s - 1) * ((((16 * b - 12) * b + 4) * b if b <= 0.25 else math.sqrt(b)) - b)


def lum(color):
    return 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]


def sat(color):
    return max(color) - min(color)


def set_lum(color, light):
    color = [c + light - lum(color) for c in color]
    low, high = min(color), max(color)
    if low < 0:
        color = [light + (c - light) * light / (light - low) for c in color]
    if high > 1:
        color = [light + (c - light) * (1 - light) / (high - light) for c in color]
    return color


def set_sat(color, spread):
    return [(c - min(color)) * spread / sat(color) if sat(color) else 0 for c in color]


# Sections 9 and 10 of the specification, in its order; "add" and "subtract" are not in it.
SPECIFIED = {
    "normal": lambda below, above: above,
    "multiply": of_one(lambda b, s: b * s),
    "screen": of_one(lambda b, s: b + s - b * s),
    "overlay": of_one(lambda b, s: hard_light(s, b)),
    "darken": of_one(min),
    "lighten": of_one(max),
    "color dodge": of_one(lambda b, s: 0 if b == 0 else 1 if s == 1 else min(1, b / (1 - s))),
    "color burn": of_one(lambda b, s: 1 if b == 1 else 0 if s == 0 else 1 - min(1, (1 - b) / s)),
    "hard light": of_one(hard_light),
    "soft light": of_one(soft_light),
    "difference": of_one(lambda b, s: abs(b - s)),
    "exclusion": of_one(lambda b, s: b + s - 2 * b * s),
    "add": of_one(lambda b, s: min(1, b + s)),
    "subtract": of_one(lambda b, s: max(0, b - s)),
    "hue": lambda below, above: set_lum(set_sat(above, sat(below)), lum(below)),
    "saturation": lambda below, above: set_lum(set_sat(below, sat(above)), lum(below)),
    "color": lambda below, above: set_lum(above, lum(below)),
    "luminosity": lambda below, above: set_lum(below, lum(above)),
}


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("mode", SPECIFIED)
def test_blend_is_as_specified(run, noise, mode, bands):
    assert MODES.keys() == SPECIFIED.keys()
    below, above = noise(16, 8, bands=bands), noise(16, 8, seed=1, bands=4)
    for k, (b, s) in enumerate(itertools.product([(0, 0, 0), (255, 255, 255), (128, 127, 0), (255, 0, 255)], repeat=2)):
        below.putpixel((k, 0), (*b, 255)[:bands])  # the formulas have exceptions there
        above.putpixel((k, 0), (*s, 255))
    result = bytes_of(run("blend", below, above, mode=mode, opacity=0.75).value)
    for y, x in numpy.ndindex(8, 16):
        b, s = ([value / 255 for value in picture.getpixel((x, y))] for picture in (below, above))
        a_s, a_b = 0.75 * s[3], b[3] if bands == 4 else 1
        mixed = [(1 - a_b) * cs + a_b * bs for cs, bs in zip(s[:3], SPECIFIED[mode](b[:3], s[:3]), strict=True)]
        a_o = a_s + a_b * (1 - a_s)
        wanted = [(a_s * m + (1 - a_s) * a_b * cb) / a_o for m, cb in zip(mixed, b[:3], strict=True)]
        assert numpy.abs(result[y, x, :3] - 255 * numpy.array(wanted)).max() <= 0.51, (x, y)
        assert bands == 3 or abs(result[y, x, 3] - 255 * a_o) <= 0.51


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_where_the_layer_does_not_show_nothing_changes(run, noise, bands):
    below, mask = noise(20, 10, bands=bands), PIL.Image.new("L", (20, 10))
    mask.paste(255, (5, 0, 9, 10))
    result = run("blend", below, noise(20, 10, seed=1), mode="multiply", mask=mask).value
    pixels, before = bytes_of(result), bytes_of(below.convert(result.mode))
    changed = (pixels != before).any(-1)
    assert changed[:, 5:9].mean() > 0.9 and not changed[:, :5].any() and not changed[:, 9:].any()
    assert run("blend", below, noise(20, 10, seed=1), opacity=0).value.tobytes() == below.convert(result.mode).tobytes()


@pytest.mark.parametrize(
    "fit, given, covered",
    [
        ("stretch", {}, (0, 0, 20, 10)),
        ("cover", {}, (0, 0, 20, 10)),
        ("inside", {}, (5, 0, 15, 10)),
        ("place", {"left": 15, "top": -3}, (15, 0, 20, 3)),
        ("place", {"left": -6, "top": 9}, (0, 9, 0, 10)),
        ("place", {"left": 20}, (0, 0, 0, 0)),
    ],
)
def test_the_layer_lies_where_it_fits(run, fit, given, covered):
    black = PIL.Image.new("RGB", (20, 10))
    result = run("blend", black, PIL.Image.new("RGB", (6, 6), "white"), fit=fit, **given).value
    wanted = black.copy()
    wanted.paste((255, 255, 255), covered)
    assert result.tobytes() == wanted.tobytes()


def test_a_crop_goes_back_to_where_it_was(run, noise):
    picture = noise(30, 20)
    part = run("crop", picture, left=7, top=3, width=11, height=12)
    left, top, *_ = part.facts["box"]
    assert run("blend", picture, part.value, fit="place", left=left, top=top).value.tobytes() == picture.tobytes()


JOBS = {"match_colors": {}, "equalize": {}, "crop": {"mode": "shape"}, "extend": {"left": 3}, "blend": {}}


@pytest.mark.parametrize("job", JOBS)
def test_alpha_profile_and_text_stay(run, noise, job):
    others = [noise(12, 8, seed=1)] * (job in ("match_colors", "blend"))
    picture = noise(12, 8, bands=4)
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    picture.info = {"icc_profile": profile, "parameters": "a cat\nSteps: 20, Sampler: Euler, Seed: 1, Size: 12x8"}
    result = run(job, picture, *others, **JOBS[job])
    assert result.value.mode == "RGBA" and result.value.info == {"icc_profile": profile}
    assert result.facts["infotext"].startswith("a cat\nSteps: 20, Sampler: Euler, Seed: 1, Size: 12x8, Postprocess ")
    picture.info["icc_profile"] = b" " * 16 + b"CMYK"
    assert run(job, picture, *others, **JOBS[job]).value.info == {}


def test_a_colour_that_stands_for_transparent_is_seen_as_that(run):
    picture = PIL.Image.new("RGB", (4, 4), "red")
    picture.putpixel((1, 2), (0, 0, 255))
    picture.info["transparency"] = (255, 0, 0)
    assert run("crop", run("equalize", picture).value, mode="border").facts["box"] == [1, 2, 2, 3]
    assert run("crop", picture, left=1).value.getextrema()[3] == (0, 255)
    assert run("make_mask", picture, source="alpha").getextrema() == (0, 255)


def test_strips_make_no_difference_and_listen(run, noise, monkeypatch, context):
    below, above, mask = noise(30, 20, bands=4), noise(30, 20, seed=1, bands=4), noise(30, 20, seed=2, bands=1)
    asked = [("blend", (below, above), {"mask": mask}), ("equalize", (below,), {"method": "adaptive"})]
    asked += [("equalize", (below,), {}), ("crop", (below,), {"mode": "border"})]
    for job, given, named in asked:
        whole = run(job, *given, **named).value.tobytes()
        with monkeypatch.context() as small:
            small.setattr(pictures, "STRIP", 70)
            context.told.clear()
            result = run(job, *given, **named).value.tobytes()
        assert len([event for event, _ in context.told if event == "progress"]) >= 10
        assert numpy.abs(numpy.frombuffer(result, "u1").astype(int) - numpy.frombuffer(whole, "u1")).max() <= 1
        context._cancelled.set()
        with pytest.raises(Cancelled):
            run(job, *given, **named)
        context._cancelled.clear()
