"""Which part of a picture stays when it is cropped, and what comes around it when it is extended."""

import numpy
import PIL.Image

from core.plugin import Context, InvalidParams

from .pictures import MOST, color_of, picture, rgb_and_alpha, strips, with_alpha, with_profile

Box = tuple[int, int, int, int]  # left, top, right, bottom
PADDING = {"edge": "edge", "mirror": "symmetric", "wrap": "wrap"}  # names of ours: of numpy.pad


def box_inside(size: tuple[int, int], left: int, top: int, width: int, height: int) -> Box:
    """A width or height of 0 goes to the edge."""
    right, bottom = left + width if width else size[0], top + height if height else size[1]
    for field, end, start, most in (("left", right, left, size[0]), ("top", bottom, top, size[1])):
        if start >= most or end > most:
            raise InvalidParams(
                f"the box {left},{top} to {right},{bottom} is not inside of the picture of {size[0]}x{size[1]}.",
                field=field,
                hint="Take a smaller box, or extend the picture first.",
            )
    return left, top, right, bottom


def box_of_shape(size: tuple[int, int], wide: float, high: float, across: float, down: float) -> Box:
    """The largest box of that shape; `across` and `down` say where: 0 is left and top, 1 right and bottom."""
    width = max(1, min(size[0], round(size[1] * wide / high)))
    height = max(1, min(size[1], round(size[0] * high / wide)))
    left, top = round((size[0] - width) * across), round((size[1] - height) * down)
    return left, top, left + width, top + height


def box_without_border(image: PIL.Image.Image, tolerance: int, ctx: Context) -> Box | None:
    """What is left without the rows and columns at the sides that are of one colour, that of the pixel at the top left,
    or as transparent. None if nothing is."""
    rgb, alpha = rgb_and_alpha(image)
    height, width = rgb.shape[:2]
    border = rgb[0, 0].astype(numpy.int16)
    seen = numpy.zeros(height, bool), numpy.zeros(width, bool)
    for rows in strips(height, width, ctx, "look for the border"):
        differs = (abs(rgb[rows] - border) > tolerance).any(-1)
        if alpha is not None:  # two pixels that are not to be seen are alike
            more = abs(alpha[rows].astype(numpy.int16) - alpha[0, 0]) > tolerance
            differs = more | differs & (alpha[rows] > tolerance)
        seen[0][rows] = differs.any(1)
        seen[1][:] |= differs.any(0)
    if not seen[0].any():
        return None
    (top, bottom), (left, right) = ((int(line.argmax()), len(line) - int(line[::-1].argmax())) for line in seen)
    return left, top, right, bottom


def box_around(mask: PIL.Image.Image, padding: int) -> Box:
    """All of the mask, and `padding` pixels around it as far as the picture goes."""
    found = mask.getbbox()
    if found is None:
        raise InvalidParams("the mask is empty.", field="mask", hint="Make it white where the picture is to stay.")
    left, top, right, bottom = found
    return (
        max(left - padding, 0), max(top - padding, 0),
        min(right + padding, mask.width), min(bottom + padding, mask.height),
    )  # fmt: skip


def in_multiples(box: Box, step: int) -> Box:
    """The middle of the box whose sides are multiples of `step`."""
    left, top, right, bottom = box
    over_x, over_y = (right - left) % step, (bottom - top) % step
    if over_x == right - left or over_y == bottom - top:
        raise InvalidParams(
            f"nothing is left of {right - left}x{bottom - top} in multiples of {step}.", field="multiple_of",
            hint="Take a smaller multiple_of.",
        )  # fmt: skip
    left, top = left + over_x // 2, top + over_y // 2
    return left, top, left + (right - left) // step * step, top + (bottom - top) // step * step


def extended(
    image: PIL.Image.Image, left: int, right: int, up: int, down: int, fill: str, color: str
) -> PIL.Image.Image:
    width, height = image.width + left + right, image.height + up + down
    if width * height > MOST:
        raise InvalidParams(
            f"the extended picture would have {width}x{height} pixels.", hint=f"At most {MOST:,} are possible."
        )
    if fill in PADDING:
        rgb, alpha = rgb_and_alpha(image)
        sides = [(up, down), (left, right)]
        alpha = alpha if alpha is None else numpy.pad(alpha, sides, PADDING[fill])
        return picture(numpy.pad(rgb, [*sides, (0, 0)], PADDING[fill]), alpha, image)
    around = (0, 0, 0, 0) if fill == "transparent" else color_of(color)
    source = with_alpha(image)
    mode = "RGBA" if around[3] < 255 or "A" in source.getbands() else "RGB"
    result = PIL.Image.new(mode, (width, height), around[: len(mode)])
    result.paste(source.convert(mode), (left, up))
    return with_profile(result, image)
