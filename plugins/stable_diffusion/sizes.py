"""How large pictures become: always multiples of 8."""

import math
from dataclasses import dataclass

import PIL.Image

from core.plugin import InvalidParams

from .options import LARGEST, TextToImage


@dataclass(frozen=True)
class Size:
    """A picture of width x height is the middle of one that is `whole_width` x `whole_height`."""

    width: int
    height: int
    whole_width: int
    whole_height: int


def hires_size(params: TextToImage, width: int, height: int) -> Size:
    """The size of the second picture of hires fix, as in A1111: by scale, by one side, or so that both are covered."""
    wide, high = params.hires_width, params.hires_height
    if wide and high:
        scale = max(wide / width, high / height)
        size = Size(wide, high, max(wide, eights(width * scale)), max(high, eights(height * scale)))
    else:
        scale = wide / width if wide else high / height if high else params.hires_scale
        wide, high = wide or eights(width * scale), high or eights(height * scale)
        size = Size(wide, high, wide, high)
    if max(size.whole_width, size.whole_height) > LARGEST:
        raise InvalidParams(
            f"hires_scale: {width}x{height} would be enlarged to {size.whole_width}x{size.whole_height}, the limit is "
            f"{LARGEST} each side. Use a smaller hires_scale.",
            field="hires_scale",
        )
    return size


def own_size(picture: PIL.Image.Image, width: int, height: int) -> tuple[int, int]:
    """`width` x `height`, where 0 means the picture's own, made smaller if it is over the limit of a side."""
    shrink = min(1, LARGEST / max(picture.size))
    return width or eights(picture.width * shrink), height or eights(picture.height * shrink)


def eights(side: float) -> int:
    """The largest multiple of 8 that is not larger, but at least 8."""
    return max(8, math.floor(side + 1e-6) // 8 * 8)
