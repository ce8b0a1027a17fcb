"""Colours and letters."""

import functools
from pathlib import Path

import PIL.ImageColor
import PIL.ImageFont

from core.plugin import InvalidParams

Color = tuple[int, int, int]
Font = PIL.ImageFont.FreeTypeFont


def color_of(text: str, field: str = "background") -> Color:
    try:
        return PIL.ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise InvalidParams(
            f"{field}: {text!r} is no colour.", field=field, hint="Send a name such as white, or #rrggbb."
        ) from error


def ink_on(background: Color) -> Color:
    """Black or white, whichever has more contrast there, as WCAG 2 measures it: at least 4.5 to 1."""
    levels = [value / 255 for value in background]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in levels]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (light + 0.05) ** 2 > 1.05 * 0.05 else (255, 255, 255)


def hex_of(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


@functools.lru_cache(64)
def font_of(points: int) -> Font:
    """DejaVu Sans, which comes with matplotlib and has more scripts than Pillow's own font."""
    import matplotlib

    return PIL.ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), points)
