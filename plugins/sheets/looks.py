"""Colours, and words that fit."""

import functools
from pathlib import Path

import PIL.ImageColor
import PIL.ImageFont

from core.plugin import InvalidParams

Color = tuple[int, int, int]
Font = PIL.ImageFont.FreeTypeFont
MOST = 500  # characters of a text that are looked at


def color_of(text: str, field: str = "background") -> Color:
    try:
        return PIL.ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise InvalidParams(
            f"{field}: {text!r} is no colour.", field=field, hint="Send a name such as white, or #rrggbb."
        ) from error


def ink_on(background: Color) -> Color:
    """Black or white, whichever has more contrast there, as WCAG 2 measures it: at least 4.5 to 1."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in _parts(background)]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (light + 0.05) ** 2 > 1.05 * 0.05 else (255, 255, 255)


def _parts(color: Color) -> list[float]:
    return [value / 255 for value in color]


@functools.lru_cache(64)
def font_of(points: int) -> Font:
    """DejaVu Sans, which comes with matplotlib and has more scripts than Pillow's own font."""
    import matplotlib

    return PIL.ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), points)


def lines_of(text: str, width: float, font: Font, most: int) -> list[str]:
    """At most `most` lines no wider than `width`; words that are wider are cut, and so is what is too much, by "…"."""
    words, lines = text[:MOST].split(), []
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line += f" {words.pop(0)}"
        if font.getlength(line) > width:
            fits = next((n for n in range(len(line), 1, -1) if font.getlength(line[:n]) <= width), 1)
            line, rest = line[:fits], line[fits:]
            words.insert(0, rest)
        lines.append(line)
    if words:
        line = lines[-1]
        while line and font.getlength(line + "…") > width:
            line = line[:-1]
        lines[-1] = line.rstrip() + "…"
    return lines
