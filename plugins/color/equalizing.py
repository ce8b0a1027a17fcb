"""How what is hard to see in a picture gets contrast: all levels of brightness are made to be equally frequent."""

import cv2
import numpy
import PIL.Image

from core.plugin import Context

from .lab import lab, lab_bytes, rgb
from .palette import Palette
from .pictures import picture, rgb_and_alpha, strips


def lightness_equalized(own: Palette, amount: float) -> numpy.ndarray:
    """L of CIELAB over its whole range; a and b stay. uint8 (K, 3)."""
    values = lab(own.colors)
    values[:, 0] += amount * (equalized(values[:, 0], own.counts, 100) - values[:, 0])
    return (255 * rgb(values)).round().astype(numpy.uint8)


def channels_equalized(own: Palette, amount: float) -> numpy.ndarray:
    """Red, green and blue each by itself, which changes hues. uint8 (K, 3)."""
    new = numpy.stack([equalized(own.colors[:, k], own.counts, 255) for k in range(3)], -1)
    return (own.colors + amount * (new - own.colors)).round().astype(numpy.uint8)


def equalized(values: numpy.ndarray, counts: numpy.ndarray, top: float) -> numpy.ndarray:
    """The lowest becomes 0, each other one the part of the pixels above the lowest that are not above it, times `top`.
    One level alone stays. float64 (K,)."""
    levels, place = numpy.unique(values, return_inverse=True)
    if len(levels) == 1:
        return values
    not_above = numpy.cumsum(numpy.bincount(place, counts))
    return (top * (not_above - not_above[0]) / (not_above[-1] - not_above[0]))[place]


def locally_equalized(
    image: PIL.Image.Image, amount: float, clip_limit: float, tiles: int, ctx: Context
) -> PIL.Image.Image:
    """Contrast-limited adaptive equalisation (CLAHE) of L in 8 bits; a and b stay as exact as they are."""
    pixels, alpha = rgb_and_alpha(image)
    height, width = pixels.shape[:2]
    before = numpy.empty((height, width), numpy.uint8)
    for rows in strips(height, width, ctx, "lightness"):
        before[rows] = lab_bytes(pixels[rows])[..., 0]
    after = cv2.createCLAHE(clip_limit, (min(tiles, width), min(tiles, height))).apply(before)
    result = numpy.empty_like(pixels)
    for rows in strips(height, width, ctx, "equalise"):
        values = lab(pixels[rows])
        values[..., 0] += amount / 2.55 * (after[rows] - before[rows].astype(numpy.float32))
        result[rows] = (255 * rgb(values)).round()
    return picture(result, alpha, image)
