"""How large a picture becomes, in how many passes of a network, and how rows become exactly that size."""

import math

import numpy
import PIL.Image

from core.plugin import InvalidParams

LARGEST = 150_000_000  # pixels; no job takes a picture that is larger
OVERSAMPLED = 2  # times wider than wanted the last pass may make a picture, if it needs more than one
CONTEXT = 32  # pixels beside what is cut out of a picture that the network sees, too
LANCZOS_SUPPORT = 3  # pixels to each side, as many times more as it makes a side smaller
AT_ONCE = 4_000_000  # pixels are resampled at once

Size = tuple[int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom


def framed(size: Size, scale: float, width: int, height: int, crop: bool) -> tuple[Size, Box]:
    """The size of the result, and what of a picture of `size` it shows.

    `scale` times the picture; or as large as covers width x height (0: as the other says), where `crop` leaves out what
    is beyond. Raises InvalidParams if that is too large."""
    field = "width" if width else "height" if height else "scale"
    if field != "scale":
        scale = max(width / size[0], height / size[1])
    made = max(width, round(size[0] * scale), 1), max(height, round(size[1] * scale), 1)
    left = top = 0.0
    if crop and width and height:
        left, top = (max(0.0, (side - to / scale) / 2) for side, to in zip(size, (width, height), strict=True))
        made = width, height
    if made[0] * made[1] > LARGEST:
        raise InvalidParams(
            f"{field}: {size[0]}x{size[1]} would become {made[0]}x{made[1]}, the limit is {LARGEST:,} pixels.",
            field=field,
            hint=f"Up to {math.floor(scale * math.sqrt(LARGEST / made[0] / made[1]) * 100) / 100:g} times is possible.",
        )
    return made, (left, top, size[0] - left, size[1] - top)


def outside(size: Size, box: Box) -> tuple[int, int, int, int]:
    """The whole pixels around a box, and some more for the network to see."""
    left, top = (max(0, math.floor(at) - CONTEXT) for at in box[:2])
    right, bottom = (min(side, math.ceil(at) + CONTEXT) for side, at in zip(size, box[2:], strict=True))
    return left, top, right, bottom


def passes(size: Size, target: Size, scale: int) -> list[Size]:
    """The sizes of the pictures that are given to a network, one after the other, until `target` is reached.

    What comes out of a pass is made smaller where that is more than is needed for the next."""
    given = [size]
    while scale > 1 and any(side * scale < to for side, to in zip(size, target, strict=True)):
        factor = max(OVERSAMPLED * to / side / scale for side, to in zip(size, target, strict=True))
        size = tuple(math.ceil(side * min(scale, factor)) for side in size)
        given.append(size)
    return given


class Canvas:
    """A picture to be filled from top to bottom with the `box` of a larger or smaller one of `source` pixels: some rows
    of that come at a time, and become what Lanczos makes of the whole.

    `share` of what comes is mixed into what was there. Rows are made as wide as they have to be first, always: as
    Pillow cuts off what overshoots in between, the order can be seen, and it takes the cheaper one."""

    def __init__(self, picture: PIL.Image.Image, source: Size, box: Box | None = None, share: float = 1):
        self.picture, self._share, self._source = picture, share, source
        self._box = box or (0, 0, *source)
        self._ratio = (self._box[3] - self._box[1]) / picture.height
        self._support = LANCZOS_SUPPORT * max(self._ratio, 1) + 1
        self.done = 0  # rows
        self._rows: PIL.Image.Image | None = None  # what is kept of the source
        self._top = 0  # the row of the source that comes first in it

    def add(self, rows: numpy.ndarray) -> None:
        """The next rows of the source, uint8 (h, W, C)."""
        new = PIL.Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows)
        self._rows = _stacked(self._rows, self._widened(new, PIL.Image.Resampling.LANCZOS, self._box))
        there, height = self._top + self._rows.height, self.picture.height
        ready = math.floor((there - self._support - self._box[1]) / self._ratio)
        ready = height if there >= self._source[1] else min(height, ready)
        if ready <= self.done:
            return
        first, last = (self._box[1] + at * self._ratio - self._top for at in (self.done, ready))
        self._put(_part(self._rows, first, last, ready - self.done, PIL.Image.Resampling.LANCZOS))
        if (past := math.floor(last - self._support)) > 0:
            self._rows, self._top = self._rows.crop((0, past, *self._rows.size)), self._top + past

    def fill(self, picture: PIL.Image.Image, box: Box, method: PIL.Image.Resampling) -> None:
        """What has not come yet is made of the `box` of another picture of the same."""
        wide, height = self._widened(picture, method, box), self.picture.height
        ratio = (box[3] - box[1]) / height
        while self.done < height:
            end = min(height, self.done + max(1, AT_ONCE // wide.width))
            self._put(_part(wide, box[1] + self.done * ratio, box[1] + end * ratio, end - self.done, method))

    def _widened(self, rows: PIL.Image.Image, method: PIL.Image.Resampling, box: Box) -> PIL.Image.Image:
        return rows.resize((self.picture.width, rows.height), method, (box[0], 0, box[2], rows.height))

    def _put(self, rows: PIL.Image.Image) -> None:
        rows = rows if rows.mode == self.picture.mode else rows.convert(self.picture.mode)
        place = 0, self.done, rows.width, self.done + rows.height
        if self._share < 1:
            rows = PIL.Image.blend(self.picture.crop(place), rows, self._share)
        self.picture.paste(rows, place)
        self.done += rows.height


def _part(
    rows: PIL.Image.Image, first: float, last: float, height: int, method: PIL.Image.Resampling
) -> PIL.Image.Image:
    """`height` rows, made of those from `first` to `last`."""
    return rows.resize((rows.width, height), method, (0, max(first, 0), rows.width, min(last, rows.height)))


def _stacked(upper: PIL.Image.Image | None, lower: PIL.Image.Image) -> PIL.Image.Image:
    if not upper:
        return lower
    both = PIL.Image.new(lower.mode, (lower.width, upper.height + lower.height))
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both
