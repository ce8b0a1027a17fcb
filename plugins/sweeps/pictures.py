"""How results become cells of a grid: small ones for a picture that grows while cells are drawn, and whole grids."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from core.library import grids
from core.library.media import MAX_PIXELS
from core.plugin import Artifact, Context

from .cells import Layout
from .options import Sheet

Picture = PIL.Image.Image
LIVE_PIXELS = 1_000_000  # of the picture that grows
LEAST = 24  # pixels of a cell beside which words can be read
KEPT_BYTES = 32_000_000  # of small pictures
PAGE = (256, 256)  # of a result that is no picture


class Thumbnails:
    """Small pictures of results, made once, for a program is run from the top again and again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, tuple[int, int]], Picture] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def small(self, artifact: Artifact, size: tuple[int, int], ctx: Context) -> Picture:
        name = artifact.sha256, size
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        picture = grids.fitted(shown(artifact, ctx), size)
        with self._lock:
            if name not in self._kept:
                self._kept[name] = picture
                self._bytes += 3 * picture.width * picture.height
            while self._bytes > KEPT_BYTES:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= 3 * gone.width * gone.height
        return picture


def shown(artifact: Artifact, ctx: Context) -> Picture:
    """A result as a picture; of one that is none, what it says."""
    value = ctx.read(artifact) if artifact.kind in ("image", "mask", "text", "json") else artifact.kind
    if isinstance(value, PIL.Image.Image):
        return value
    page, font = PIL.Image.new("RGB", PAGE, "white"), PIL.ImageFont.load_default(14)
    lines = grids.wrapped(str(value), PAGE[0] - 16, font, 12)
    PIL.ImageDraw.Draw(page).multiline_text((8, 8), "\n".join(lines), "black", font)
    return page


def size_of(results: Sequence[Artifact | None]) -> tuple[int, int]:
    """That of the largest."""
    sides = [(each.facts.get("width", PAGE[0]), each.facts.get("height", PAGE[1])) for each in results if each]
    return tuple(map(max, zip(*sides, strict=True))) if sides else PAGE


def live(results: Sequence[Artifact | None], layout: Layout, thumbnails: Thumbnails, ctx: Context) -> Picture:
    """All that is there, small."""
    width, height = size_of(results)
    share = min(1.0, (LIVE_PIXELS / (layout.plane * len(layout.titles) * width * height)) ** 0.5)
    size = max(2, round(width * share)), max(2, round(height * share))

    def take(artifact: Artifact) -> Picture:
        return thumbnails.small(artifact, size, ctx)

    some = layout if min(size) >= LEAST else layout.bare()
    return whole(results, some, take, size=size, margin=1, background="white", most_pixels=2 * LIVE_PIXELS)


def whole(
    results: Sequence[Artifact | None], layout: Layout, take: Callable[[Artifact], Picture],
    size: tuple[int, int] | None = None, title: str = "", **look: Any,
) -> Picture:  # fmt: skip
    """The grids of all titles in one."""
    size = size or size_of(results)
    planes = [
        plane(results[start : start + layout.plane], layout, take, size, text, **look)
        for start, text in zip(range(0, len(results), layout.plane), layout.titles, strict=False)
    ]
    if len(planes) == 1 and not title:
        return planes[0]
    return grids.grid(planes, columns(len(planes)), title=title, **look)


def plane(
    results: Sequence[Artifact | None], layout: Layout, take: Callable[[Artifact], Picture], size: tuple[int, int],
    title: str, **look: Any,
) -> Picture:  # fmt: skip
    pictures, words = (each and take(each) for each in results), {"captions": layout.captions, "title": title}
    more = words | {"size": size, "count": len(results)} | look
    return grids.grid(pictures, layout.wide, layout.above, layout.beside, **more)


def columns(count: int) -> int:
    """Grids beside each other: a few in a row, as in A1111, more in a square."""
    return count if count <= 4 else round(count**0.5 + 0.499)


def infotext(found: Sequence[Artifact | None]) -> dict[str, str]:
    """That of the first, as in A1111."""
    texts = [each.facts["infotext"] for each in found if each and "infotext" in each.facts]
    return {"infotext": texts[0]} if texts else {}


def most(params: Sheet) -> int:
    """Pixels of a grid, which has to be opened again."""
    return min(MAX_PIXELS, round(params.max_megapixels * 1_000_000))
