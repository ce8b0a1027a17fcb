"""How a large picture is redrawn piece by piece: cut into overlapping tiles, and put together without seams."""

from dataclasses import dataclass

import numpy
import PIL.Image

from core.plugin import InvalidParams

from .resizing import bordered

MOST = 36_000  # tiles of up to 128 x 128, and less of larger ones: they are all in memory


@dataclass
class Grid:
    """A picture in tiles, row by row: tile number row * len(xs) + column lies at (xs[column], ys[row]).

    Redraw them with `dataclasses.replace(grid, tiles=[...])`; all have the size tile_width x tile_height."""

    width: int
    height: int
    overlap: int
    xs: list[int]
    ys: list[int]
    tiles: list[PIL.Image.Image]

    def cut(self, picture: PIL.Image.Image, k: int) -> PIL.Image.Image:
        """What tile k shows of another picture of this size."""
        row, column = divmod(k, len(self.xs))
        x, y, (width, height) = self.xs[column], self.ys[row], self.tiles[k].size
        whole = bordered(picture, 0, 0, max(width - picture.width, 0), max(height - picture.height, 0))
        return whole.crop((x, y, x + width, y + height))


def split(picture: PIL.Image.Image, tile_width: int, tile_height: int, overlap: int) -> Grid:
    """Tiles that cover the picture (RGB) evenly and share at least `overlap` pixels with their neighbours.

    Their number is A1111's: ceil((width - overlap) / (tile_width - overlap)) in a row, the same in a column. A picture
    smaller than a tile is enlarged to it at the right and at the bottom, where its outermost pixels are repeated."""
    if not 0 <= overlap < min(tile_width, tile_height):
        raise InvalidParams(
            f"tiles of {tile_width} x {tile_height} cannot overlap by {overlap} pixels.",
            field="overlap",
            hint=f"Allowed is 0 to {min(tile_width, tile_height) - 1}.",
        )
    missing = max(tile_width - picture.width, 0), max(tile_height - picture.height, 0)
    whole = bordered(picture, 0, 0, *missing)
    xs, ys = starts(whole.width, tile_width, overlap), starts(whole.height, tile_height, overlap)
    most = MOST * 128 * 128 // max(128 * 128, tile_width * tile_height)
    if len(xs) * len(ys) > max(most, 1):
        raise InvalidParams(
            f"{whole.width} x {whole.height} would be cut into {len(xs) * len(ys):,} tiles of {tile_width} x "
            f"{tile_height}, the limit is {most:,}.",
            field="overlap",
            hint="Use larger tiles (width and height), or a smaller overlap or scale.",
        )
    tiles = [whole.crop((x, y, x + tile_width, y + tile_height)) for y in ys for x in xs]
    return Grid(*picture.size, overlap, xs, ys, tiles)


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin, evenly: as many as it takes to cover the length with at least this overlap."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [(length - tile) * k // (count - 1) for k in range(count)]


def combined(grid: Grid) -> PIL.Image.Image:
    """The picture again, RGB: in the first `overlap` pixels of a tile it takes over from its neighbour, linearly."""
    columns = len(grid.xs)
    rows = [grid.tiles[k : k + columns] for k in range(0, len(grid.tiles), columns)]
    strips = [_joined(row, grid.xs, grid.overlap) for row in rows]
    # A column is a row lying on its side.
    lying = _joined([strip.transpose(PIL.Image.Transpose.TRANSPOSE) for strip in strips], grid.ys, grid.overlap)
    return lying.transpose(PIL.Image.Transpose.TRANSPOSE).crop((0, 0, grid.width, grid.height))


def _joined(pictures: list[PIL.Image.Image], xs: list[int], overlap: int) -> PIL.Image.Image:
    """Pictures of one height side by side, each with its left edge at its x."""
    width, height = pictures[0].size
    overlap = min(overlap, width)  # one that is narrower stands alone
    ramp = numpy.full((height, width), 255, numpy.uint8)
    ramp[:, :overlap] = (numpy.arange(overlap) * 255 / max(overlap, 1)).round()
    mask = PIL.Image.fromarray(ramp)
    whole = PIL.Image.new("RGB", (xs[-1] + width, height))
    for x, picture in zip(xs, pictures, strict=True):
        whole.paste(picture, (x, 0), mask=mask if x else None)
    return whole
