"""How a picture comes to a wanted size."""

from collections.abc import Callable

import numpy
import PIL.Image
import PIL.ImageOps

from core.plugin import InvalidParams

LANCZOS = PIL.Image.Resampling.LANCZOS


def resized(picture: PIL.Image.Image, width: int, height: int, mode: str) -> PIL.Image.Image:
    """The picture in width x height, by one of A1111's resize modes. RGB and masks (L) keep their mode.

    just resize: stretched. crop and resize: enlarged or reduced until it covers the size, the middle is kept.
    resize and fill: until it fits inside; beside it, its outermost pixels are repeated."""
    return _named(MODES, mode, "resize_mode")(picture, width, height)


def upscaled(picture: PIL.Image.Image, width: int, height: int, upscaler: str) -> PIL.Image.Image:
    """The picture stretched to width x height by an upscaler that works on pixels: a name in UPSCALERS."""
    return _named(UPSCALERS, upscaler, "upscaler")(picture, width, height)


def flattened(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The picture in RGB; what is transparent becomes white."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def round_up(pixels: int, step: int = 8) -> int:
    """The next multiple of `step`: latents need sides that are multiples of 8."""
    return -(-pixels // step) * step


def bordered(picture: PIL.Image.Image, left: int, top: int, right: int, bottom: int) -> PIL.Image.Image:
    """The picture with a border of so many pixels at each side, which repeats its outermost pixels."""
    around = [(top, bottom), (left, right)] + [(0, 0)] * (len(picture.getbands()) > 1)
    return PIL.Image.fromarray(numpy.pad(numpy.asarray(picture), around, mode="edge"))


def _stretch(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    return picture.resize((width, height), LANCZOS)


def _cover(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    return PIL.ImageOps.fit(picture, (width, height), LANCZOS)


def _fill(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    inner_width = min(width, max(1, picture.width * height // picture.height))
    inner_height = min(height, max(1, picture.height * width // picture.width))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    inner = picture.resize((inner_width, inner_height), LANCZOS)
    return bordered(inner, left, top, width - inner_width - left, height - inner_height - top)


def _nearest(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    return picture.resize((width, height), PIL.Image.Resampling.NEAREST)


Resize = Callable[[PIL.Image.Image, int, int], PIL.Image.Image]
MODES: dict[str, Resize] = {"just resize": _stretch, "crop and resize": _cover, "resize and fill": _fill}
UPSCALERS: dict[str, Resize] = {"Lanczos": _stretch, "Nearest": _nearest}


def _named(table: dict[str, Resize], name: str, field: str) -> Resize:
    if name not in table:
        names = ", ".join(table)
        raise InvalidParams(f"{field} {name!r} does not exist.", field=field, hint=f"There are: {names}.")
    return table[name]
