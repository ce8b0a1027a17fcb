"""Outpainting: the canvases grow as in A1111, the old picture survives, and the new noise is of its kind."""

import numpy
import PIL.Image
import pytest
from sd.outpainting import DIRECTIONS, METHODS, canvases, grown, shaped_noise

from core.plugin import InvalidParams

GREEN = (0, 255, 0)


def random_picture(width, height):
    return PIL.Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (height, width, 3), numpy.uint8))


def landscape(width, height):
    """A picture with large shapes, so with a spectrum that falls off."""
    y, x = numpy.mgrid[:height, :width] / 40
    channels = [numpy.sin(x + k) * numpy.cos(y * (k + 1)) for k in range(3)]
    return PIL.Image.fromarray((numpy.stack(channels, -1) * 100 + 128).astype(numpy.uint8))


def outpaint(picture, directions=DIRECTIONS, pixels=64, method="mk2", mask_blur=4, **options):
    """The result where every pass paints all green, and the canvases."""
    passes = []
    for canvas in canvases(picture, grown(picture.size, directions, pixels), method, mask_blur, **options):
        canvas.painted = PIL.Image.new("RGB", canvas.picture.size, GREEN)
        passes.append(canvas)
    return passes[-1].result, passes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (512, 8), (64, 64), (100, 130)])
@pytest.mark.parametrize("mask_blur", [0, 4, 64])
def test_the_old_picture_is_kept_and_the_new_area_is_painted(method, size, mask_blur):
    picture = random_picture(*size)
    result, passes = outpaint(picture, method=method, mask_blur=mask_blur)
    growth = grown(size, DIRECTIONS, 64)
    left, top = growth["left"], growth["up"]
    blend = 2 * min(mask_blur, min(size) // 8)
    x1, y1, x2, y2 = blend, blend, size[0] - blend, size[1] - blend
    inside = result.crop((left + x1, top + y1, left + x2, top + y2))
    assert inside.tobytes() == picture.crop((x1, y1, x2, y2)).tobytes()
    outside = numpy.ones(result.size[::-1], bool)
    outside[top : top + size[1], left : left + size[0]] = False
    assert (numpy.asarray(result)[outside] == GREEN).all()
    assert all(side % 8 == 0 for canvas in passes for side in canvas.picture.size)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", DIRECTIONS)
def test_one_direction_grows_at_that_side_only(method, side):
    picture = random_picture(100, 90)
    result, passes = outpaint(picture, [side], method=method, mask_blur=0)
    new = 92 if side in ("left", "right") else 102  # up to 192, a multiple of 64
    corner = {"left": (new, 0), "up": (0, new)}.get(side, (0, 0))
    assert len(passes) == 1
    assert result.size == ((192, 90) if side in ("left", "right") else (100, 192))
    assert result.crop((*corner, corner[0] + 100, corner[1] + 90)).tobytes() == picture.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_sides_grow_by_just_what_they_are_told(method):
    picture, growth = random_picture(101, 90), {"left": 8, "right": 24, "up": 0, "down": 16}
    for canvas in canvases(picture, growth, method, 0):
        canvas.painted = PIL.Image.new("RGB", canvas.picture.size, GREEN)
    expected = PIL.Image.new("RGB", (101 + 8 + 24, 90 + 16), GREEN)
    expected.paste(picture, (8, 0))
    assert canvas.result.tobytes() == expected.tobytes()


def test_sides_grow_to_multiples_of_64():
    assert grown((512, 512), DIRECTIONS, 128) == {"left": 128, "right": 128, "up": 128, "down": 128}
    assert grown((500, 300), ["left", "right"], 128) == {"left": 134, "right": 134, "up": 0, "down": 0}
    assert grown((500, 300), ["right", "up", "down"], 1) == {"left": 0, "right": 12, "up": 10, "down": 10}
    assert grown((511, 1), ["left", "right"], 8) == {"left": 32, "right": 33, "up": 0, "down": 0}


def test_poor_mans_canvas_is_the_whole_and_mk2_goes_side_by_side():
    picture = random_picture(64, 64)
    _, passes = outpaint(picture, pixels=64, method="poor man's")
    assert [canvas.picture.size for canvas in passes] == [(192, 192)]
    _, passes = outpaint(picture, {"down", "right", "up", "left"}, pixels=64)
    assert [canvas.picture.size for canvas in passes] == [(128, 64), (192, 64), (192, 128), (192, 192)]


def test_a_pass_sees_only_as_much_as_it_is_told():
    options = {"width": 140, "height": 192}
    _, passes = outpaint(random_picture(256, 256), pixels=64, **options)
    assert [canvas.picture.size for canvas in passes] == [(144, 256), (144, 256), (384, 192), (384, 192)]
    _, passes = outpaint(random_picture(256, 256), pixels=64, width=8, height=8)
    assert [canvas.picture.size for canvas in passes] == [(136, 256), (136, 256), (384, 136), (384, 136)]


@pytest.mark.parametrize("side", DIRECTIONS)
def test_a_part_is_painted_where_it_was_taken_from(side):
    for size, pixels, mask_blur in ((256, 64, 2), (250, 6, 16)):
        picture = random_picture(size, size)
        whole, _ = outpaint(picture, [side], pixels, mask_blur=mask_blur)
        part, _ = outpaint(picture, [side], pixels, mask_blur=mask_blur, width=8, height=8)
        assert part.tobytes() == whole.tobytes()


def test_the_blend_falls_from_the_seam_to_twice_the_blur():
    canvas = next(canvases(random_picture(128, 128), grown((128, 128), ["left"], 64), "poor man's", 8))
    row = numpy.asarray(canvas.mask)[64]
    assert (row[:64] == 255).all() and (numpy.diff(row.astype(int)) <= 0).all()
    assert row[64 + 15] > 0 and (row[64 + 16 :] == 0).all()
    assert numpy.asarray(canvas.latent_mask)[64].tolist() == [255] * 80 + [0] * 112


def test_latents_are_repainted_whole():
    growth = {"left": 46, "right": 46, "up": 0, "down": 0}
    canvas = next(canvases(random_picture(100, 64), growth, "poor man's", 0))
    assert numpy.asarray(canvas.latent_mask)[0].tolist() == [255] * 48 + [0] * 96 + [255] * 48


def test_a_canvas_begins_with_repeated_pixels_or_with_noise():
    picture = landscape(128, 64)
    poor, mk2 = (next(canvases(picture, grown((128, 64), ["right"], 64), method, 0)).picture for method in METHODS)
    for canvas in (poor, mk2):
        assert canvas.crop((0, 0, 128, 64)).tobytes() == picture.tobytes()
    assert (numpy.asarray(poor)[:, 128:] == numpy.asarray(picture)[:, -1:]).all()
    assert numpy.diff(numpy.asarray(mk2)[:, 128:].astype(int), axis=1).std() > 5


def test_the_blend_is_with_the_old_picture_and_not_with_noise():
    picture = landscape(128, 64)
    poor, mk2 = (next(canvases(picture, grown((128, 64), ["right"], 64), method, 8)) for method in METHODS)
    mk2.painted = poor.picture  # has the old picture where that was
    assert mk2.result.crop((0, 0, 128, 64)).tobytes() == picture.tobytes()


def test_the_next_canvas_needs_the_painting():
    passes = canvases(random_picture(64, 64), grown((64, 64), DIRECTIONS, 64), "mk2", 4)
    next(passes)
    with pytest.raises(RuntimeError, match="set canvas.painted"):
        next(passes)


@pytest.mark.parametrize("directions", [[], ["top"], ["left", "nowhere"]])
def test_wrong_directions_are_refused(directions):
    with pytest.raises(InvalidParams, match="not directions to grow in") as refusal:
        grown((8, 8), directions, 8)
    assert refusal.value.wire()["hint"] == "Choose at least one of left, right, up, down."


def test_an_unknown_method_is_refused():
    with pytest.raises(InvalidParams, match="method 'mk3' does not exist"):
        next(canvases(random_picture(8, 8), grown((8, 8), ["left"], 8), "mk3", 4))


def slow_noise(picture, mask, noise_q, colour_variation):
    """The same by the book: full complex transforms in doubles, magnitude and phase apart, ranks by sorting."""
    new, (height, width, _) = mask > 0, picture.shape
    source = picture / 255 * ~new[..., None]
    mean = source.mean()
    source = source / source.max()
    source[new] = mean
    random = numpy.random.default_rng(0).random(picture.shape)
    random = colour_variation * random + (1 - colour_variation) * random.mean(2)[..., None]
    fy = (numpy.arange(height) / height * 2 - 1) * height / min(width, height)
    fx = (numpy.arange(width) / width * 2 - 1) * width / min(width, height)
    window = numpy.fft.ifftshift(1 / ((fy[:, None] ** 2 + 1) * (fx**2 + 1)))
    result = picture.copy()
    for channel in range(3):
        spectrum = numpy.fft.fft2(source[..., channel], norm="ortho")
        noise = numpy.fft.fft2(random[..., channel], norm="ortho") * window
        phase = numpy.exp(1j * numpy.angle(spectrum))
        shaped = numpy.fft.ifft2(numpy.abs(noise) ** 2 * numpy.abs(spectrum) ** noise_q * phase).real[new]
        reference = numpy.sort(picture[..., channel][~new])
        places = (shaped.argsort().argsort() + 0.5) / len(shaped) * len(reference)
        result[..., channel][new] = reference[places.astype(int)]
    return result


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 128)])
@pytest.mark.parametrize(("noise_q", "colour_variation"), [(1.0, 0.05), (0.5, 1.0), (2.0, 0.0)])
def test_noise_is_shaped_as_by_the_book(size, noise_q, colour_variation):
    picture, mask = numpy.array(landscape(*size)) // 3, numpy.zeros(size[::-1], numpy.uint8)
    picture += numpy.random.default_rng(3).integers(0, 20, picture.shape, numpy.uint8)
    mask[:, :24] = 255
    noise = shaped_noise(picture, mask, noise_q, colour_variation)
    difference = noise.astype(int) - slow_noise(picture, mask, noise_q, colour_variation)
    assert numpy.abs(difference).mean() < 0.5
    assert (difference[:, 24:] == 0).all()


def test_noise_has_the_histogram_of_what_is_kept():
    picture, mask = numpy.array(landscape(128, 128)), numpy.zeros((128, 128), numpy.uint8)
    mask[:40] = 255
    noise = shaped_noise(picture, mask)
    for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
        old, new = (numpy.quantile(part.reshape(-1, 3), quantile, axis=0) for part in (picture[40:], noise[:40]))
        assert numpy.abs(old - new).max() <= 3


def test_noise_depends_on_its_seed_and_the_colours_on_their_variation():
    picture, mask = numpy.array(landscape(64, 64)), numpy.zeros((64, 64), numpy.uint8)
    mask[:, :32] = 255
    first, again, other = (shaped_noise(picture, mask, seed=seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert (shaped_noise(picture, mask, colour_variation=1.0) != first).any()


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (512, 8)])
@pytest.mark.parametrize("noise_q", [0.0, 1.0, 4.0])
def test_noise_for_empty_full_and_flat(size, noise_q):
    picture, full = numpy.array(random_picture(*size)), numpy.full(size[::-1], 255, numpy.uint8)
    assert (shaped_noise(picture, 0 * full, noise_q) == picture).all()
    assert shaped_noise(picture, full, noise_q).shape == picture.shape
    half = full.copy()
    half[0, 0] = 0
    for grey in (0, 90, 255):
        flat = numpy.full_like(picture, grey)
        assert (shaped_noise(flat, half, noise_q) == grey).all()
