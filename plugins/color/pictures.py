"""A picture as bytes in numpy, and back again: its alpha and its colour profile stay with it."""

from collections.abc import Iterator

import numpy
import PIL.Image
import PIL.ImageColor

from core.plugin import Context, InvalidParams

STRIP = 1 << 22  # pixels that are worked on at once: what is computed in floats stays small, however large the picture
MOST = 150_000_000  # pixels of a result: what the server takes


def rgb_and_alpha(image: PIL.Image.Image) -> tuple[numpy.ndarray, numpy.ndarray | None]:
    """uint8 (H, W, 3), and uint8 (H, W) where the picture has alpha."""
    image = with_alpha(image)
    alpha = numpy.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    return numpy.asarray(image.convert("RGB")), alpha


def with_alpha(image: PIL.Image.Image) -> PIL.Image.Image:
    """RGBA where a colour of an RGB picture stands for transparent, as in some PNGs; else the picture itself."""
    return image.convert("RGBA") if "transparency" in image.info else image


def picture(rgb: numpy.ndarray, alpha: numpy.ndarray | None, like: PIL.Image.Image) -> PIL.Image.Image:
    """The other way round, with the profile of `like`."""
    result = PIL.Image.fromarray(rgb)
    if alpha is not None:
        result.putalpha(PIL.Image.fromarray(alpha))
    return with_profile(result, like)


def with_profile(result: PIL.Image.Image, like: PIL.Image.Image) -> PIL.Image.Image:
    profile = like.info.get("icc_profile")
    result.info = {"icc_profile": profile} if profile and profile[16:20] == b"RGB " else {}
    return result


def strips(height: int, width: int, ctx: Context, phase: str) -> Iterator[slice]:
    """Rows from top to bottom, some megapixels at a time; between them the job can be cancelled."""
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        ctx.raise_if_cancelled()
        yield slice(top, min(top + step, height))
        ctx.progress(min(top + step, height), height, phase)


def color_of(text: str, field: str = "color") -> tuple[int, int, int, int]:
    """Red, green, blue and alpha of a colour as people write them."""
    try:
        return PIL.ImageColor.getcolor(text.strip(), "RGBA")
    except ValueError as error:
        raise InvalidParams(
            f"{field}: {text[:50]!r} is no colour.", field=field, hint="Write #rrggbb, or a name such as white."
        ) from error
