"""Which part of a picture is repainted, and how the painting gets back into it.

The way of an inpainting: the mask is `blurred`. If only the masked part is to be painted, picture and mask are cropped
to `expanded(crop_region(...))` and resized ("resize and fill"). The picture is `filled` where the mask is, encoded, and
painted with the `latent_mask`. `composite` puts the result into the original.

Masks are L, 255 = repaint. Regions are (left, top, right, bottom), as PIL's `crop` takes them."""

import numpy
import PIL.Image
import PIL.ImageFilter
import PIL.ImageOps
from scipy import ndimage

from .resizing import resized

Region = tuple[int, int, int, int]
PYRAMID = {256: 1, 64: 1, 16: 2, 4: 4, 2: 2, 0: 1}  # radius: how many times, from coarse to fine


def blurred(mask: PIL.Image.Image, blur: float) -> PIL.Image.Image:
    """The mask with soft edges: a Gaussian of standard deviation `blur`, cut off at int(2.5 * blur + 0.5) pixels.

    The kernel is A1111's. So is the edge of the picture: mirrored, hence a mask that touches it stays 255 there."""
    radius = int(2.5 * blur + 0.5)
    if not radius:
        return mask
    pixels = numpy.asarray(mask, numpy.float32)
    return PIL.Image.fromarray(ndimage.gaussian_filter(pixels, blur, mode="mirror", radius=radius).round().astype("u1"))


def inverted(mask: PIL.Image.Image) -> PIL.Image.Image:
    return PIL.ImageOps.invert(mask)


def crop_region(mask: PIL.Image.Image, padding: int) -> Region:
    """The smallest region with all of the mask, and `padding` pixels around it as far as the picture goes.

    For an empty mask it is the whole picture."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    right, bottom = min(right + padding, mask.width), min(bottom + padding, mask.height)
    return max(left - padding, 0), max(top - padding, 0), right, bottom


def expanded(region: Region, width: int, height: int, size: tuple[int, int]) -> Region:
    """The region, grown at two opposite sides to the shape of width x height, inside a picture of `size`.

    It grows evenly, but where the picture ends, at the other side. If the picture is too small it has another shape."""
    left, top, right, bottom = region
    wide, high = right - left, bottom - top
    left, right = _grown(left, right, high * width // height, size[0])
    top, bottom = _grown(top, bottom, wide * height // width, size[1])
    return left, top, right, bottom


def _grown(start: int, end: int, wanted: int, limit: int) -> tuple[int, int]:
    length = min(max(wanted, end - start), limit)
    start -= (length - (end - start)) // 2
    start = min(max(start, 0), limit - length)
    return start, start + length


def filled(picture: PIL.Image.Image, mask: PIL.Image.Image) -> PIL.Image.Image:
    """The picture (RGB) with the colours from around the mask in place of what is under it.

    A pyramid as in A1111: blurred copies without the masked pixels, finer ones over coarser ones. What is not masked
    stays as it is. Further than about 750 pixels inside a mask, and everywhere under a full one, it is black."""
    known = picture.convert("RGB")
    known.putalpha(inverted(mask))
    known = known.convert("RGBa")  # colours times alpha: only so can they be averaged
    result = PIL.Image.new("RGBA", picture.size)
    for radius, times in PYRAMID.items():
        layer = known.filter(PIL.ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            result.alpha_composite(layer)
    return result.convert("RGB")


def latent_mask(mask: PIL.Image.Image, width: int, height: int) -> numpy.ndarray:
    """1 where latents are repainted, 0 where they are kept: float32 (height, width), both in latents.

    Reduced (bicubic) and rounded, as in A1111 1.8: what covers less than half of a latent does not count."""
    small = mask.resize((width, height), PIL.Image.Resampling.BICUBIC)
    return (numpy.asarray(small) >= 128).astype(numpy.float32)


def composite(
    original: PIL.Image.Image,
    painted: PIL.Image.Image,
    blurred_mask: PIL.Image.Image,
    region: Region | None = None,
) -> PIL.Image.Image:
    """The original with `painted` where the mask is. Where it is 0, every pixel stays as it is, to the byte.

    The mask has the size of the original. `painted` (RGB) is the region, in any size, or without one the whole picture;
    then the soft edge of the mask counts twice, as in A1111: what was half masked was repainted, and is to be seen.
    RGBA keeps its alpha; other modes give RGB."""
    if region is None:
        blurred_mask = blurred_mask.point(lambda value: min(2 * value, 255))
        region = (0, 0, *original.size)
    left, top, right, bottom = region
    result = original.convert("RGB")
    painting = result.copy()
    painting.paste(resized(painted, right - left, bottom - top, "crop and resize"), (left, top))
    result.paste(painting, mask=blurred_mask)
    if original.mode == "RGBA":
        result.putalpha(original.getchannel("A"))
    return result
