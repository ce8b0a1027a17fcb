"""How one picture lies on another one: W3C's "Compositing and Blending Level 1", sections 5, 9 and 10, and two more.

Colours are float32 (..., 3) from 0 to 1, as they stand in the file: blended without undoing their gamma, as everybody
does. B(below, above) gives the colour where both are opaque."""

from collections.abc import Callable

import numpy
import PIL.Image
import PIL.ImageOps

from core.plugin import Context

from .pictures import picture, rgb_and_alpha, strips

LUMINOSITY = numpy.array([0.3, 0.59, 0.11], numpy.float32)
TINY = numpy.float32(1e-6)
LANCZOS = PIL.Image.Resampling.LANCZOS
Colors = numpy.ndarray


def _overlay(below: Colors, above: Colors) -> Colors:
    return _hard_light(above, below)


def _hard_light(below: Colors, above: Colors) -> Colors:
    return numpy.where(above <= 0.5, below * 2 * above, _screen(below, 2 * above - 1))


def _screen(below: Colors, above: Colors) -> Colors:
    return below + above - below * above


def _dodge(below: Colors, above: Colors) -> Colors:
    return (below / numpy.maximum(1 - above, TINY)).clip(0, 1)


def _burn(below: Colors, above: Colors) -> Colors:
    return 1 - ((1 - below) / numpy.maximum(above, TINY)).clip(0, 1)


def _soft_light(below: Colors, above: Colors) -> Colors:
    lifted = numpy.where(below <= 0.25, ((16 * below - 12) * below + 4) * below, numpy.sqrt(below))
    dark, light = below - (1 - 2 * above) * below * (1 - below), below + (2 * above - 1) * (lifted - below)
    return numpy.where(above <= 0.5, dark, light)


def luminosity(colors: Colors) -> numpy.ndarray:
    """(..., 1)"""
    return (colors @ LUMINOSITY)[..., None]


def with_luminosity(colors: Colors, like: Colors) -> Colors:
    """Hue and saturation of the one, luminosity of the other; drawn to grey where that is out of range, on one side."""
    wanted = luminosity(like)
    chroma = colors - luminosity(colors)
    down = wanted / numpy.maximum(-chroma.min(-1, keepdims=True), TINY)
    up = (1 - wanted) / numpy.maximum(chroma.max(-1, keepdims=True), TINY)
    return (wanted + chroma * numpy.minimum(numpy.minimum(down, up), 1)).clip(0, 1)


def _with_saturation(colors: Colors, like: Colors) -> Colors:
    lowest = colors.min(-1, keepdims=True)
    spread = colors.max(-1, keepdims=True) - lowest
    wanted = like.max(-1, keepdims=True) - like.min(-1, keepdims=True)
    return numpy.where(spread > 0, (colors - lowest) / numpy.maximum(spread, TINY) * wanted, 0)


MODES: dict[str, Callable[[Colors, Colors], Colors]] = {
    "normal": lambda below, above: above,
    "multiply": lambda below, above: below * above,
    "screen": _screen,
    "overlay": _overlay,
    "darken": numpy.minimum,
    "lighten": numpy.maximum,
    "color dodge": _dodge,
    "color burn": _burn,
    "hard light": _hard_light,
    "soft light": _soft_light,
    "difference": lambda below, above: abs(below - above),
    "exclusion": lambda below, above: below + above - 2 * below * above,
    "add": lambda below, above: (below + above).clip(0, 1),
    "subtract": lambda below, above: (below - above).clip(0, 1),
    "hue": lambda below, above: with_luminosity(_with_saturation(above, below), below),
    "saturation": lambda below, above: with_luminosity(_with_saturation(below, above), below),
    "color": lambda below, above: with_luminosity(above, below),
    "luminosity": lambda below, above: with_luminosity(below, above),
}


def placed(
    layer: PIL.Image.Image, size: tuple[int, int], fit: str, left: int, top: int
) -> tuple[PIL.Image.Image, tuple[int, int, int, int]]:
    """The layer as it lies on a picture of `size`, and where: left, top, right, bottom, inside of it."""
    if fit == "stretch":
        layer = layer.resize(size, LANCZOS)
    elif fit == "cover":
        layer = PIL.ImageOps.fit(layer, size, LANCZOS)
    elif fit == "inside":
        layer = PIL.ImageOps.contain(layer, size, LANCZOS)
        left, top = (size[0] - layer.width) // 2, (size[1] - layer.height) // 2
    box = max(left, 0), max(top, 0), min(left + layer.width, size[0]), min(top + layer.height, size[1])
    if box[0] >= box[2] or box[1] >= box[3]:
        return layer, (0, 0, 0, 0)
    return layer.crop((box[0] - left, box[1] - top, box[2] - left, box[3] - top)), box


def blended(
    image: PIL.Image.Image, layer: PIL.Image.Image, box: tuple[int, int, int, int], mask: PIL.Image.Image | None,
    mode: str, opacity: float, ctx: Context,
) -> PIL.Image.Image:  # fmt: skip
    """`layer` on the box of `image` that it covers, as much as `mask`, of the size of the whole, and `opacity` say.

    Where the layer does not show, every pixel stays as it is, to the byte."""
    below, alpha_below = rgb_and_alpha(image)
    above, alpha_above = rgb_and_alpha(layer)
    result, alpha = below.copy(), None if alpha_below is None else alpha_below.copy()
    left, top, right, bottom = box
    covered = None if mask is None else numpy.asarray(mask.crop(box))
    for rows in strips(bottom - top, max(right - left, 1), ctx, "blend"):
        place = slice(top + rows.start, top + rows.stop), slice(left, right)
        source, backdrop = above[rows] / numpy.float32(255), below[place] / numpy.float32(255)
        shown = numpy.full((*source.shape[:2], 1), opacity, numpy.float32)  # alpha of the source
        for part in (alpha_above, covered):
            if part is not None:
                shown *= part[rows][..., None] / numpy.float32(255)
        behind = numpy.float32(1) if alpha is None else alpha[place][..., None] / numpy.float32(255)
        mixed = (1 - behind) * source + behind * MODES[mode](backdrop, source)
        union = shown + behind * (1 - shown)
        color = (shown * mixed + (1 - shown) * behind * backdrop) / numpy.maximum(union, TINY)
        result[place] = numpy.where(shown > 0, (255 * color).round().clip(0, 255), below[place])
        if alpha is not None:
            alpha[place] = (255 * union[..., 0]).round()
    return picture(result, alpha, image)
