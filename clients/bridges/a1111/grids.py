"""Grids of pictures, with what their rows and columns are written beside them."""

import io
import math
from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from PIL.PngImagePlugin import PngInfo

MOST_PIXELS = 200_000_000  # of all pictures in one
LABEL = 200  # characters of a longer text that are written
Picture = PIL.Image.Image


def opened(data: bytes) -> Picture:
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


def png(picture: Picture, infotext: str) -> bytes:
    """The file, which tells how the picture was made."""
    out, texts = io.BytesIO(), PngInfo()
    texts.add_itxt("parameters", infotext)
    picture.save(out, "PNG", pnginfo=texts)
    return out.getvalue()


def square(pictures: Sequence[Picture]) -> Picture:
    """As near to a square as it goes."""
    return grid(pictures, math.ceil(len(pictures) / round(math.sqrt(len(pictures)))))


def grid(
    pictures: Sequence[Picture], columns: int, above: Sequence[str] = (), beside: Sequence[str] = (), margin: int = 0
) -> Picture:
    """Row by row, `margin` pixels apart. `above` are the words for each column, `beside` those for each row."""
    width, height = (max(getattr(picture, side) for picture in pictures) for side in ("width", "height"))
    font = PIL.ImageFont.load_default(max(10, (width + height) // 25))
    left = width * 3 // 4 if any(beside) else 0
    lines = [wrapped(text, width, font) for text in above]
    line = round(font.size * 1.3)
    top = (max(map(len, lines), default=0) + 1) * line if any(above) else 0
    rows = math.ceil(len(pictures) / columns)
    size = left + columns * (width + margin) - margin, top + rows * (height + margin) - margin
    whole = PIL.Image.new("RGB", size, "white" if left or top else "black")
    draw = PIL.ImageDraw.Draw(whole)
    for place, picture in enumerate(pictures):
        x, y = place % columns, place // columns
        whole.paste(picture, (left + x * (width + margin), top + y * (height + margin)))
    for x, text in enumerate(lines):
        write(draw, text, left + x * (width + margin) + width // 2, top // 2, line, font)
    for y, text in enumerate(beside):
        write(draw, wrapped(text, left, font), left // 2, top + y * (height + margin) + height // 2, line, font)
    return whole


def write(
    draw: PIL.ImageDraw.ImageDraw, lines: list[str], x: int, y: int, line: int, font: PIL.ImageFont.FreeTypeFont
) -> None:
    """The lines around the point (x, y)."""
    for place, text in enumerate(lines):
        draw.text((x, y + (place - (len(lines) - 1) / 2) * line), text, "black", font, anchor="mm")


def wrapped(text: str, width: int, font: PIL.ImageFont.FreeTypeFont) -> list[str]:
    """Lines no wider than `width`, where words are not."""
    lines: list[str] = []
    for word in text[:LABEL].split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
