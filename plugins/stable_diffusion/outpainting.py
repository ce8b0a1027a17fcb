"""How a picture grows beyond its edges: the canvases that img2img gets to paint on, and what becomes of its paintings.

A caller:

    for canvas in canvases(picture, grown(picture.size, {"left", "up"}, 128), "mk2", mask_blur=8):
        canvas.painted = img2img(canvas.picture, canvas.latent_mask)
    picture = canvas.result
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy
import PIL.Image
import scipy.fft
from skimage import exposure

from core.plugin import InvalidParams

from .masks import Region, blurred, composite
from .resizing import bordered, round_up

DIRECTIONS = "left", "right", "up", "down"
METHODS = "poor man's", "mk2"
Growth = dict[str, int]  # new pixels for each of DIRECTIONS


@dataclass(eq=False)
class Canvas:
    """What one pass of img2img is to paint, and the larger picture that it makes.

    picture       RGB, sides multiples of 8: what the pass begins with
    latent_mask   L, 255 = repaint: the new area and 2 * mask_blur pixels of the old, up to whole latents
    mask          L, soft: falls over those 2 * mask_blur pixels; what `result` blends with, for previews
    painted       set it to what img2img made of `picture`, in the same size"""

    picture: PIL.Image.Image
    latent_mask: PIL.Image.Image
    mask: PIL.Image.Image
    _whole: PIL.Image.Image  # the grown picture, before painting
    _region: Region  # where in it `picture` lies
    _size: tuple[int, int]  # of the result: `_whole` without what was added for a multiple of 8
    painted: PIL.Image.Image | None = None

    @property
    def result(self) -> PIL.Image.Image:
        """The grown picture with the painting in it. What it had before, beyond the soft edge, is there to the byte."""
        if self.painted is None:
            raise RuntimeError("set canvas.painted before canvas.result, and before the next canvas")
        whole = self._whole.copy()
        whole.paste(composite(whole.crop(self._region), self.painted, self.mask), self._region[:2])
        return whole.crop((0, 0, *self._size))


def canvases(
    picture: PIL.Image.Image,
    growth: Growth,
    method: str,
    mask_blur: int,
    width: int = 0,
    height: int = 0,
    noise_q: float = 1.0,
    colour_variation: float = 0.05,
) -> Iterator[Canvas]:
    """The canvases of an outpainting of an RGB picture, one after the other; each needs its `painted` before the next.

    poor man's: one canvas with all the new sides, which repeat the picture's outermost pixels: begin with `filled`, or
    as it is. mk2: one for each direction, in the order of DIRECTIONS, with `shaped_noise` at the new side; if width
    (for left and right) or height (for up and down) is given, the pass sees only that much of the picture from there.

    2 * mask_blur pixels of the old picture are blended with the new at each seam, and at most a quarter of its shorter
    side. (In A1111 the blend reaches several times as far.) The rest is the old picture, to the byte."""
    if method not in METHODS:
        raise InvalidParams(f"method {method!r} does not exist.", field="method", hint=f"There are: {METHODS}.")
    blur = min(mask_blur, min(picture.size) // 8)
    if method == "poor man's":
        yield _canvas(picture, growth, blur)
        return
    for side in (side for side in DIRECTIONS if growth[side]):
        only = dict.fromkeys(DIRECTIONS, 0) | {side: growth[side]}
        canvas = _canvas(picture, only, blur, width, height, (noise_q, colour_variation))
        yield canvas
        picture = canvas.result


def grown(size: tuple[int, int], directions: Collection[str], pixels: int) -> Growth:
    """How many pixels each side gets: `pixels` and what is missing to a multiple of 64, as in A1111.

    Here only for a width or height that grows; the other one stays as it is."""
    if not directions or not set(directions) <= set(DIRECTIONS):
        hint = f"Choose at least one of {', '.join(DIRECTIONS)}."
        raise InvalidParams(f"{list(directions)} are not directions to grow in.", field="directions", hint=hint)
    growth = dict.fromkeys(DIRECTIONS, 0)
    for length, sides in zip(size, (DIRECTIONS[:2], DIRECTIONS[2:]), strict=True):
        if growing := [side for side in sides if side in directions]:
            new = round_up(length + len(growing) * pixels, 64) - length
            first = new // len(growing)
            growth[growing[0]], growth[growing[-1]] = first, new - first * (len(growing) - 1)
    return growth


def _canvas(
    picture: PIL.Image.Image,
    growth: Growth,
    blur: int,
    width: int = 0,
    height: int = 0,
    noise: tuple[float, float] | None = None,
) -> Canvas:
    left, right, up, down = (growth[side] for side in DIRECTIONS)
    size = picture.width + left + right, picture.height + up + down
    missing = round_up(size[0]) - size[0], round_up(size[1]) - size[1]
    whole = bordered(picture, left, up, right + missing[0], down + missing[1])
    growth = growth | {"right": right and right + missing[0], "down": down and down + missing[1]}  # painted, too
    start = whole
    if noise:
        pixels, new = numpy.asarray(whole), numpy.asarray(_outside(whole.size, growth, blur))
        start = PIL.Image.fromarray(shaped_noise(pixels, new, *noise))
    region = _seen(whole.size, growth, blur, width, height)
    latents = _outside(whole.size, growth, 2 * blur, step=8)
    mask = blurred(_outside(whole.size, growth, blur), blur / 2.5)  # the kernel reaches `blur` pixels in each direction
    return Canvas(start.crop(region), latents.crop(region), mask.crop(region), whole, region, size)


def _outside(size: tuple[int, int], growth: Growth, overlap: int, step: int = 1) -> PIL.Image.Image:
    """255 in the new area and `overlap` pixels of the old, rounded up to multiples of `step` pixels of the canvas."""
    depth = {side: round_up(new + overlap, step) if new else 0 for side, new in growth.items()}
    mask = numpy.full(size[::-1], 255, numpy.uint8)
    mask[depth["up"] : size[1] - depth["down"], depth["left"] : size[0] - depth["right"]] = 0
    return PIL.Image.fromarray(mask)


def _seen(size: tuple[int, int], growth: Growth, blur: int, width: int, height: int) -> Region:
    """The part of the canvas that one pass paints: all, or `width` or `height` of it, as seen from its new side.

    It is enlarged where the blend would not fit, or nothing old were beside the new."""
    least = 2 * (max(growth.values()) + blur)
    wide, high = size
    if width and (growth["left"] or growth["right"]):
        wide = min(wide, round_up(max(width, least)))
    if height and (growth["up"] or growth["down"]):
        high = min(high, round_up(max(height, least)))
    left = size[0] - wide if growth["right"] else 0
    top = size[1] - high if growth["down"] else 0
    return left, top, left + wide, top + high


def shaped_noise(
    picture: numpy.ndarray,
    mask: numpy.ndarray,
    noise_q: float = 1.0,
    colour_variation: float = 0.05,
    seed: int = 0,
) -> numpy.ndarray:
    """The picture with noise of its own kind where the mask is: uint8 (H, W, 3), as `picture`; mask (H, W), 0 is keep.

    The noise has the picture's spectrum (its amplitude to the power of noise_q, and its phase), times the power of
    random noise that falls off to high frequencies; its histogram is that of the pixels that are kept. So A1111's
    "Outpainting mk2" does it. colour_variation 0 begins with grey noise, 1 with noise of all colours. An empty mask
    gives the picture, under a full one the noise is like all of the picture."""
    new = mask > 0
    if not new.any():
        return picture.copy()
    known = ~new if not new.all() else new
    noise = _noise(picture.shape, colour_variation, seed)
    spectrum = scipy.fft.rfft2(_windowed(picture, known), axes=(0, 1))
    amplitude = numpy.maximum(numpy.abs(spectrum), numpy.float32(1e-9))
    shaped = numpy.abs(noise) ** 2 * amplitude ** (noise_q - 1) * spectrum
    shaped[0, 0] = 0  # the mean does not matter to ranks, and would take most of the precision
    values = scipy.fft.irfft2(shaped, picture.shape[:2], axes=(0, 1))[new]
    values -= values.min(0)
    values /= numpy.maximum(values.max(0), numpy.float32(1e-30))
    # As 16-bit integers, because then histograms are counted instead of sorted.
    ranks, reference = (values * 65535).astype(numpy.uint16), picture[known].astype(numpy.uint16) * 257
    result = picture.copy()
    result[new] = exposure.match_histograms(ranks, reference, channel_axis=1) // 257
    return result


def _windowed(picture: numpy.ndarray, known: numpy.ndarray) -> numpy.ndarray:
    """The known pixels, the brightest 1; the others have the mean of a picture that is black there."""
    values = picture * known[..., None].astype(numpy.float32) / 255
    mean = values.mean()
    values /= values.max() or 1
    values[~known] = mean
    return values


def _noise(shape: tuple[int, int, int], colour_variation: float, seed: int) -> numpy.ndarray:
    """The spectrum of noise, evenly distributed in 0 to 1, that falls off as 1 / ((fx^2 + 1) (fy^2 + 1)).

    A frequency of 1 is the highest along the shorter side."""
    noise = numpy.random.default_rng(seed).random(shape).astype(numpy.float32)
    grey = noise.mean(2, keepdims=True)
    height, width, _ = shape
    fy = scipy.fft.fftfreq(height, min(shape[:2]) / height / 2)[:, None, None]
    fx = scipy.fft.rfftfreq(width, min(shape[:2]) / width / 2)[:, None]
    window = 1 / ((fx**2 + 1) * (fy**2 + 1))
    return scipy.fft.rfft2(grey + colour_variation * (noise - grey), axes=(0, 1)) * window.astype(numpy.float32)
