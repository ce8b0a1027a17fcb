"""Grids of pictures, with words beside their rows and columns: for plugins and bridges that draw some."""

import math
from collections.abc import Callable, Iterable, Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from core.library.media import MAX_PIXELS

LABEL = 200  # characters of a longer text that are written
LINES = 8  # of a text, at most
LEGIBLE = 12  # pixels that letters are high, at least
GREY, INK, PAPER = (128, 128, 128), "black", "white"
Picture = PIL.Image.Image


def square(pictures: Sequence[Picture], margin: int = 0) -> Picture:
    """As near to a square as it goes."""
    return grid(pictures, math.ceil(len(pictures) / round(math.sqrt(len(pictures)))), margin=margin)


def grid(
    pictures: Iterable[Picture | None], columns: int, above: Sequence[str] = (), beside: Sequence[str] = (),
    margin: int = 0, *, captions: Sequence[str] = (), title: str = "", background: str = "",
    size: tuple[int, int] | None = None, count: int = 0, most_pixels: int = MAX_PIXELS, most_side: int = MAX_PIXELS,
    font: Callable[[int], PIL.ImageFont.FreeTypeFont] = PIL.ImageFont.load_default,
) -> Picture:  # fmt: skip
    """Row by row, `margin` pixels apart; what is larger than its cell is made smaller, what is smaller stands in its
    middle, None is an empty cell.

    `above` are the words for each column, `beside` those for each row, `captions` those below each picture, `title`
    those above all. The background is white where something is written, else black. A cell has the `size` of the
    largest picture; with `size` and `count` given, pictures are taken one by one, so that thousands need no memory.
    Everything is made smaller where the grid would have more than `most_pixels`, or a side over `most_side`, as far
    as that goes. `font` gives letters of that size."""
    if size is None:
        pictures = list(pictures)
        sides = [picture.size for picture in pictures if picture] or [(1, 1)]
        size, count = tuple(map(max, zip(*sides, strict=True))), len(pictures)
    rows = max(1, math.ceil(count / columns))
    scale = 1.0
    while True:  # letters do not shrink below what is legible, so what they take is not known before
        drawing = Drawing(size, scale, columns, rows, above, beside, captions, title, margin, font)
        pixels, side = drawing.width * drawing.height, max(drawing.width, drawing.height)
        if pixels <= most_pixels and side <= most_side or scale < 0.002:
            break
        scale *= min(0.97, math.sqrt(most_pixels / pixels), most_side / side)
    whole = PIL.Image.new("RGB", (drawing.width, drawing.height), background or (PAPER if drawing.written else "black"))
    drawing.fill(whole, pictures, count)
    return whole


class Drawing:
    """Where everything is in a grid whose cells are of `size`, made smaller by `scale`."""

    def __init__(
        self, size: tuple[int, int], scale: float, columns: int, rows: int, above: Sequence[str], beside: Sequence[str],
        captions: Sequence[str], title: str, margin: int, font: Callable[[int], PIL.ImageFont.FreeTypeFont],
    ):  # fmt: skip
        self.cell = tuple(max(1, round(side * scale)) for side in size)
        self.columns, self.margin = columns, round(margin * scale)
        width, height = self.cell
        self.font = font(max(LEGIBLE if scale == 1 else LEGIBLE - 2, sum(self.cell) // 25))
        self.line = round(self.font.size * 1.3)
        self.left = max(width * 3 // 4, self.font.size * 8) if any(beside) else 0
        self.above = [self._lines(text, width) for text in above]
        self.beside = [self._lines(text, self.left, max(1, height // self.line)) for text in beside]
        fitting = min(LINES, max(1, height // self.line))  # no higher than the picture
        self.captions = [self._lines(text, width, fitting) for text in captions]
        self.caption = (max(map(len, self.captions), default=0) + 0.5) * self.line if any(captions) else 0
        self.across, self.down = width + self.margin, round(height + self.caption) + self.margin
        inner = columns * self.across - self.margin
        self.title = self._lines(title, self.left + inner) if title else []
        self.heading = (len(self.title) + 1) * self.line if title else 0
        self.top = self.heading + ((max(map(len, self.above), default=0) + 1) * self.line if any(above) else 0)
        self.width, self.height = self.left + inner, self.top + rows * self.down - self.margin
        self.written = bool(self.left or self.top or self.caption)

    def _lines(self, text: str, width: int, most: int = LINES) -> list[str]:
        return wrapped(text, width - self.font.size // 2, self.font, most)

    def fill(self, whole: Picture, pictures: Iterable[Picture | None], count: int) -> None:
        draw, (width, height) = PIL.ImageDraw.Draw(whole), self.cell
        ink = INK if sum(whole.getpixel((0, 0))) > 3 * 128 else PAPER
        self._write(draw, self.title, self.width // 2, self.heading // 2, ink)
        for x, lines in enumerate(self.above[: self.columns]):
            middle = self.left + x * self.across + width // 2
            self._write(draw, lines, middle, (self.heading + self.top) // 2, ink)
        for y, lines in enumerate(self.beside):
            self._write(draw, lines, self.left // 2, self.top + y * self.down + height // 2, ink)
        for place, picture in zip(range(count), pictures, strict=False):
            x, y = self.left + place % self.columns * self.across, self.top + place // self.columns * self.down
            if picture is None:
                draw.rectangle((x, y, x + width - 1, y + height - 1), outline=GREY)
                draw.line((x, y, x + width - 1, y + height - 1), fill=GREY)
            else:
                small = fitted(picture, self.cell)
                whole.paste(small, (x + (width - small.width) // 2, y + (height - small.height) // 2))
            if place < len(self.captions):
                lines = self.captions[place]
                self._write(draw, lines, x + width // 2, round(y + height + (len(lines) + 0.5) * self.line / 2), ink)

    def _write(self, draw: PIL.ImageDraw.ImageDraw, lines: list[str], x: int, y: int, ink: str) -> None:
        """The lines around the point (x, y)."""
        for place, text in enumerate(lines):
            draw.text((x, y + (place - (len(lines) - 1) / 2) * self.line), text, ink, self.font, anchor="mm")


def fitted(picture: Picture, cell: tuple[int, int]) -> Picture:
    """RGB, no larger than the cell, its transparent parts white."""
    if picture.mode == "RGBA":
        white = PIL.Image.new("RGB", picture.size, PAPER)
        white.paste(picture, mask=picture.getchannel("A"))
        picture = white
    picture = picture.convert("RGB")
    if picture.width > cell[0] or picture.height > cell[1]:
        share = min(cell[0] / picture.width, cell[1] / picture.height)
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture = picture.resize(size, PIL.Image.Resampling.LANCZOS, reducing_gap=3)
    return picture


def wrapped(text: str, width: int, font: PIL.ImageFont.FreeTypeFont, most: int = LINES) -> list[str]:
    """Lines no wider than `width`; a word that is wider is broken, and what is too long ends in dots."""
    lines: list[str] = []
    cut = len(text) > LABEL
    for word in text[:LABEL].split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        while len(lines) <= most and font.getlength(word) > width and len(word) > 1:
            part = 1  # from the front: the few letters that fit are measured sooner than the many that do not
            while font.getlength(word[: part + 1]) <= width:
                part += 1
            lines.append(word[:part])
            word = word[part:]
        lines.append(word)
    if cut or len(lines) > most:
        lines = lines[:most]
        while lines and len(lines[-1]) > 1 and font.getlength(lines[-1] + "…") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1:] = [lines[-1] + "…"] if lines else []
    return lines
