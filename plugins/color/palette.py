"""The colours that a picture has. What changes colour by colour is computed for these, not for each of its pixels.

A photo of 100 megapixels has a few million colours, so that its histograms in floats stay exact and fit the memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import PIL.Image

from core.plugin import Context

from .pictures import picture, rgb_and_alpha, strips

CODES = 1 << 24
COUNTED_ONE_BY_ONE = 1 << 22  # pixels; for more, a table of all codes is quicker than sorting


@dataclass(frozen=True)
class Palette:
    """uint8 (K, 3) RGB, and int64 (K,): how many of the visible pixels have each."""

    colors: numpy.ndarray
    counts: numpy.ndarray


Change = Callable[[Palette], numpy.ndarray]


def palette_of(image: PIL.Image.Image, ctx: Context) -> Palette:
    rgb, alpha = rgb_and_alpha(image)
    height, width = rgb.shape[:2]
    if height * width <= COUNTED_ONE_BY_ONE:
        codes, counts = numpy.unique(_visible(rgb, alpha), return_counts=True)
    else:
        table = numpy.zeros(CODES, numpy.int64)
        for rows in strips(height, width, ctx, "count colours"):
            table += numpy.bincount(_visible(rgb[rows], None if alpha is None else alpha[rows]), minlength=CODES)
        codes = numpy.flatnonzero(table)
        counts = table[codes]
    return Palette(numpy.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1).astype(numpy.uint8), counts)


def recolored(image: PIL.Image.Image, ctx: Context, change: Change) -> PIL.Image.Image:
    """The picture in RGB, with alpha if it had one, each of its colours changed to that in the same place of
    `change(palette)`, uint8 (K, 3). Pixels of which nothing is to be seen keep theirs."""
    palette = palette_of(image, ctx)
    if not len(palette.counts):
        return image
    ctx.raise_if_cancelled()
    table = numpy.zeros((CODES, 3), numpy.uint8)
    table[_codes(palette.colors)] = change(palette)
    rgb, alpha = rgb_and_alpha(image)
    result = rgb.copy()
    for rows in strips(*rgb.shape[:2], ctx, "recolour"):
        seen = slice(None) if alpha is None else alpha[rows] > 0
        result[rows][seen] = table[_codes(rgb[rows][seen])]
    return picture(result, alpha, image)


def _visible(rgb: numpy.ndarray, alpha: numpy.ndarray | None) -> numpy.ndarray:
    return _codes(rgb if alpha is None else rgb[alpha > 0]).ravel()


def _codes(rgb: numpy.ndarray) -> numpy.ndarray:
    """uint32 (...): 0xRRGGBB."""
    wide = rgb.astype(numpy.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
