"""Masks: what is white in them, and how that grows, gets soft edges, and is combined.

Masks are L, 255 where something is to happen."""

from collections.abc import Callable

import cv2
import numpy
import PIL.Image

from core.plugin import Context

from .lab import lab
from .pictures import color_of, rgb_and_alpha, strips

Bytes = numpy.ndarray

COMBINE: dict[str, Callable[[Bytes, Bytes], Bytes]] = {
    "add": numpy.maximum,
    "intersect": numpy.minimum,
    "subtract": lambda mask, other: numpy.minimum(mask, 255 - other),
    "exclude": cv2.absdiff,
}


def from_alpha(image: PIL.Image.Image) -> Bytes:
    """White where the picture is opaque."""
    rgb, alpha = rgb_and_alpha(image)
    return numpy.full(rgb.shape[:2], 255, numpy.uint8) if alpha is None else alpha.copy()


def from_color(image: PIL.Image.Image, color: str, tolerance: float, softness: float, ctx: Context) -> Bytes:
    """White where the colour is no further than `tolerance` from that one, black where it is `softness` further still;
    distances in CIELAB (CIE 1976), where 2 can just be seen and black and white are 100 apart."""
    wanted = lab(numpy.array([color_of(color)[:3]], numpy.uint8))[0]

    def whiteness(rgb: numpy.ndarray) -> numpy.ndarray:
        return _falling(numpy.sqrt(((lab(rgb) - wanted) ** 2).sum(-1)), tolerance, softness)

    return _per_pixel(image, whiteness, ctx)


def from_lightness(image: PIL.Image.Image, low: float, high: float, softness: float, ctx: Context) -> Bytes:
    """White where L of CIELAB, 0 to 100, is from `low` to `high`, black where it is `softness` beside that."""
    middle, half = (low + high) / 2, (high - low) / 2
    return _per_pixel(image, lambda rgb: _falling(abs(lab(rgb)[..., 0] - middle), half, softness), ctx)


def _falling(distance: numpy.ndarray, near: float, softness: float) -> numpy.ndarray:
    """1 up to `near`, 0 from `softness` beyond it."""
    if not softness:
        return distance <= near
    return (1 - (distance - near) / softness).clip(0, 1)


def _per_pixel(image: PIL.Image.Image, whiteness: Callable[[numpy.ndarray], numpy.ndarray], ctx: Context) -> Bytes:
    rgb, alpha = rgb_and_alpha(image)
    mask = numpy.empty(rgb.shape[:2], numpy.uint8)
    for rows in strips(*mask.shape, ctx, "mask"):
        mask[rows] = (255 * whiteness(rgb[rows])).round()
    return mask if alpha is None else numpy.minimum(mask, alpha)


def grown(mask: Bytes, pixels: int) -> Bytes:
    """What is at least half white, larger by a disc of that radius, or smaller if it is below 0: exact, however large.

    Soft edges stay where they are whiter (blacker) than that. The edge of the picture is no edge of the mask."""
    if pixels < 0:
        return 255 - grown(255 - mask, -pixels)
    far = (mask < 128).astype(numpy.uint8)
    if not pixels or far.all():
        return mask
    distance = cv2.distanceTransform(far, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return numpy.where(distance <= pixels, numpy.uint8(255), mask)


def feathered(mask: Bytes, pixels: float, ctx: Context) -> Bytes:
    """Blurred as A1111 does it: a Gaussian of that standard deviation, cut off at int(2.5 * pixels + 0.5), mirrored at
    the edges of the picture."""
    radius = int(2.5 * pixels + 0.5)
    if not radius:
        return mask
    wide = mask.astype(numpy.float32)
    for _ in ("rows", "columns"):
        for rows in strips(*wide.shape, ctx, "feather"):
            wide[rows] = cv2.GaussianBlur(wide[rows], (2 * radius + 1, 1), pixels, borderType=cv2.BORDER_REFLECT_101)
        wide = numpy.ascontiguousarray(wide.T)
    return wide.round().clip(0, 255).astype(numpy.uint8)
