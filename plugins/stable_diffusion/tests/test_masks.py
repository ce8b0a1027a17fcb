"""Masks: their edges, regions and latents are A1111's, and what is not masked survives to the byte."""

import math

import numpy
import PIL.Image
import pytest
from sd.masks import blurred, composite, crop_region, expanded, filled, inverted, latent_mask
from sd.resizing import resized

SIZES = [(1, 1), (7, 3), (3, 7), (512, 8), (33, 65)]


def mask_of(width, height, *boxes):
    mask = PIL.Image.new("L", (width, height))
    for box in boxes:
        mask.paste(255, box)
    return mask


def islands(width, height, share=0.02):
    noise = numpy.random.default_rng(1).random((height, width))
    return PIL.Image.fromarray((noise < share).astype(numpy.uint8) * 255)


def random_picture(width, height, channels=3, seed=0):
    rng = numpy.random.default_rng(seed)
    return PIL.Image.fromarray(rng.integers(0, 256, (height, width, channels), numpy.uint8))


def mirrored(index, length):
    """Where a pixel beyond the edge is taken from: the edge itself is not repeated."""
    period = max(2 * (length - 1), 1)
    index %= period
    return min(index, period - index)


def slowly_blurred(mask, blur):
    """One weighted sum after the other."""
    pixels, radius = numpy.asarray(mask, float), int(2.5 * blur + 0.5)
    weights = [math.exp(-(k**2) / (2 * blur**2)) for k in range(-radius, radius + 1)]
    for _ in range(2):  # rows, then columns
        length = pixels.shape[1]
        taken = [[mirrored(x + k, length) for k in range(-radius, radius + 1)] for x in range(length)]
        pixels = (pixels[:, taken] @ weights / sum(weights)).T
    return pixels


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("blur", [1, 1.5, 4])
def test_blur_is_the_gaussian_written_out(size, blur):
    mask = islands(*size, share=0.3)
    assert numpy.abs(numpy.asarray(blurred(mask, blur)) - slowly_blurred(mask, blur)).max() <= 0.501


def test_blur_reaches_as_far_as_its_kernel():
    row = numpy.asarray(blurred(mask_of(81, 1, (0, 0, 41, 1)), 4))[0]
    assert row[:31].min() == 255 and row[31] < 255  # 10 pixels: int(2.5 * 4 + 0.5)
    assert row[50] > 0 and row[51:].max() == 0


@pytest.mark.parametrize("blur", [0, 0.1, 4, 64])
def test_empty_and_full_masks_stay_so(blur):
    for size in SIZES:
        for value in (0, 255):
            assert set(blurred(PIL.Image.new("L", size, value), blur).tobytes()) == {value}


def test_no_blur_is_the_mask_itself():
    mask = islands(20, 30)
    assert blurred(mask, 0).tobytes() == mask.tobytes()


def test_inverted_twice_is_the_mask():
    mask = islands(20, 30)
    assert inverted(mask_of(2, 1, (0, 0, 1, 1))).tobytes() == b"\0\xff"
    assert inverted(inverted(mask)).tobytes() == mask.tobytes()


def test_the_region_holds_all_islands_and_the_padding():
    mask = mask_of(100, 50, (40, 20, 50, 25), (60, 30, 61, 31))
    assert crop_region(mask, 0) == (40, 20, 61, 31)
    assert crop_region(mask, 5) == (35, 15, 66, 36)
    assert crop_region(mask, 32) == (8, 0, 93, 50)


def test_the_region_of_an_empty_or_full_mask_is_the_whole_picture():
    for size in SIZES:
        assert crop_region(PIL.Image.new("L", size), 32) == (0, 0, *size)
        assert crop_region(PIL.Image.new("L", size, 255), 32) == (0, 0, *size)


@pytest.mark.parametrize(
    ("region", "wanted", "size", "expected"),
    [
        ((50, 40, 150, 60), (512, 512), (200, 200), (50, 0, 150, 100)),  # 40 more at each side
        ((50, 0, 150, 20), (512, 512), (200, 200), (50, 0, 150, 100)),  # at the top: all below
        ((50, 180, 150, 200), (512, 512), (200, 200), (50, 100, 150, 200)),  # at the bottom: all above
        ((90, 50, 110, 150), (512, 512), (200, 200), (50, 50, 150, 150)),
        ((10, 10, 20, 20), (768, 512), (200, 200), (8, 10, 23, 20)),  # an odd pixel goes to the right
        ((0, 0, 200, 100), (512, 512), (200, 100), (0, 0, 200, 100)),  # the picture is too low
        ((0, 0, 1, 1), (8, 512), (1, 1), (0, 0, 1, 1)),
    ],
)
def test_a_region_grows_to_the_shape_that_is_processed(region, wanted, size, expected):
    assert expanded(region, *wanted, size) == expected


def test_an_expanded_region_holds_the_region_inside_the_picture():
    rng = numpy.random.default_rng(2)
    for _ in range(500):
        width, height, wanted_width, wanted_height = (int(number) for number in rng.integers(1, 300, 4))
        left, right = sorted(int(x) for x in rng.choice(width + 1, 2, replace=False))
        top, bottom = sorted(int(y) for y in rng.choice(height + 1, 2, replace=False))
        x1, y1, x2, y2 = expanded((left, top, right, bottom), wanted_width, wanted_height, (width, height))
        assert 0 <= x1 <= left < right <= x2 <= width
        assert 0 <= y1 <= top < bottom <= y2 <= height
        if 0 < x2 - x1 < width and 0 < y2 - y1 < height:  # it had room
            assert abs((x2 - x1) * wanted_height - (y2 - y1) * wanted_width) <= max(wanted_width, wanted_height)


@pytest.mark.parametrize("size", SIZES)
def test_filling_keeps_what_is_not_masked(size):
    picture, mask = random_picture(*size), islands(*size, share=0.3)
    kept = numpy.asarray(mask) == 0
    assert (numpy.asarray(filled(picture, mask))[kept] == numpy.asarray(picture)[kept]).all()


def test_filling_takes_the_colours_from_around():
    picture = PIL.Image.new("RGB", (128, 64), (250, 0, 0))
    picture.paste((0, 0, 250), (64, 0, 128, 64))
    mask = mask_of(128, 64, (32, 0, 96, 64))
    hole = picture.copy()
    hole.paste((0, 255, 0), mask=mask)  # must not be seen
    row = numpy.asarray(filled(hole, mask)).astype(int)[32]
    assert row[:, 1].max() == 0
    assert (numpy.diff(row[32:96, 0]) <= 1).all()
    assert row[33, 0] > 200 and row[94, 2] > 200 and abs(row[64, 0] - row[64, 2]) < 20


def test_filling_under_an_empty_mask_is_the_picture_and_under_a_full_one_black():
    picture = random_picture(20, 10)
    assert filled(picture, PIL.Image.new("L", (20, 10))).tobytes() == picture.tobytes()
    assert set(filled(picture, PIL.Image.new("L", (20, 10), 255)).tobytes()) == {0}


def test_latents_are_masked_where_half_of_them_is():
    mask = mask_of(64, 32, (8, 8, 24, 16))
    expected = numpy.zeros((4, 8))
    expected[1, 1:3] = 1
    assert (latent_mask(mask, 8, 4) == expected).all()
    assert latent_mask(mask, 8, 4).dtype == numpy.float32
    wide = [latent_mask(mask_of(64, 32, (0, 0, 16 + more, 32)), 8, 4)[0].sum() for more in (0, 2, 6, 8)]
    assert wide == [2, 2, 3, 3]


def test_latents_of_empty_and_full_masks():
    assert latent_mask(PIL.Image.new("L", (8, 8)), 1, 1).tolist() == [[0]]
    assert latent_mask(PIL.Image.new("L", (8, 8), 255), 1, 1).tolist() == [[1]]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_masked_survives_to_the_byte(size, channels):
    original, painted = random_picture(*size, channels), random_picture(16, 24, seed=1)
    mask = blurred(islands(*size), 1)
    region = expanded(crop_region(mask, 3), 64, 64, size)
    kept = numpy.asarray(mask) == 0
    for where in (None, region):
        result = composite(original, painted, mask, where)
        assert (result.mode, result.size) == (original.mode, original.size)
        assert (numpy.asarray(result)[kept] == numpy.asarray(original)[kept]).all()


def test_the_masked_region_is_the_painting_resized_into_it():
    original, painted = random_picture(50, 40), random_picture(64, 64, seed=1)
    region = (10, 5, 30, 25)
    result = composite(original, painted, mask_of(50, 40, region), region)
    assert result.crop(region).tobytes() == resized(painted, 20, 20, "crop and resize").tobytes()


def test_soft_edges_mix_and_count_twice_in_the_whole_picture():
    original, painted = PIL.Image.new("RGB", (1, 1), (0, 0, 0)), PIL.Image.new("RGB", (1, 1), (200, 100, 50))
    mask = PIL.Image.new("L", (1, 1), 51)  # a fifth
    assert composite(original, painted, mask, (0, 0, 1, 1)).getpixel((0, 0)) == (40, 20, 10)
    assert composite(original, painted, mask).getpixel((0, 0)) == (80, 40, 20)
    assert composite(original, painted, PIL.Image.new("L", (1, 1), 128)).getpixel((0, 0)) == (200, 100, 50)


def test_nothing_is_pasted_beyond_the_region():
    original, painted = random_picture(20, 20), PIL.Image.new("RGB", (8, 8))
    result = composite(original, painted, PIL.Image.new("L", (20, 20), 255), (0, 0, 10, 20))
    assert result.crop((10, 0, 20, 20)).tobytes() == original.crop((10, 0, 20, 20)).tobytes()


@pytest.mark.parametrize("region", [None, (0, 0, 20, 10)])
def test_an_empty_mask_gives_the_original_and_a_full_one_the_painting(region):
    original, painted = random_picture(20, 10), random_picture(20, 10, seed=1)
    assert composite(original, painted, PIL.Image.new("L", (20, 10)), region).tobytes() == original.tobytes()
    assert composite(original, painted, PIL.Image.new("L", (20, 10), 255), region).tobytes() == painted.tobytes()


def test_alpha_is_kept():
    original = random_picture(20, 10, channels=4)
    result = composite(original, random_picture(20, 10, seed=1), PIL.Image.new("L", (20, 10), 255))
    assert result.getchannel("A").tobytes() == original.getchannel("A").tobytes()
