"""A picture through a network tile by tile, without seams and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from core.plugin import OutOfMemory

if TYPE_CHECKING:
    from .networks import Network

SMALL = 128 * 128  # pixels go through a network at once; to find out what fits would take longer
LEAST = 64  # pixels; in smaller tiles, nearly all is overlap
FURTHEST = 32  # pixels that a tile sees of its neighbours where the network looks further than NEAR
NEAR = 48
MOST_AT_ONCE = 16  # tiles


@dataclass(frozen=True)
class Axis:
    """How one side of a picture is cut: tiles of `side` pixels at `starts`, whose results meet at `cuts`, in the middle
    of what both have seen. Around a cut, over `blend` pixels to both sides, one fades into the other."""

    length: int
    side: int
    starts: list[int]
    cuts: list[int]
    blend: int

    def part(self, n: int) -> tuple[int, int]:
        """From where to where the result of tile n is used, in pixels of the picture."""
        first = self.cuts[n - 1] - self.blend if n else 0
        return first, self.cuts[n] + self.blend if n < len(self.cuts) else self.length


def axis(length: int, most: int, margin: int, multiple: int = 1, minimum: int = 1, blend: bool = False) -> Axis:
    """Tiles of equal size, `most` at most where that is possible, that overlap by twice the `margin` or more.

    Their sides and places are multiples of `multiple`, so that windows lie as in the whole picture; the last may look
    beyond its end."""
    whole = max(_up(length, multiple), _up(minimum, multiple))
    most = max(most // multiple * multiple, _up(minimum, multiple), _up(2 * margin + 1, multiple) + multiple)
    if whole <= most:
        return Axis(length, whole, [0], [], 0)
    inner = (most - 2 * margin) // multiple * multiple
    count = 1 + -(-(whole - most) // inner)
    side = max(_up(-(-(whole + 2 * margin * (count - 1)) // count), multiple), _up(minimum, multiple))
    while side - (step := _up(-(-(whole - side) // (count - 1)), multiple)) < 2 * margin:
        side += multiple
    starts = [min(n * step, whole - side) for n in range(count)]
    cuts = [(start + before + side) // 2 for before, start in zip(starts, starts[1:], strict=False)]
    return Axis(length, side, starts, cuts, margin // 2 if blend else 0)


def cut_up(
    network: Network, width: int, height: int, budget: float, tile: int = 0, overlap: int = 0
) -> tuple[Axis, Axis, int]:
    """How a picture is cut, across and down, and how many tiles go through at once, if they may take `budget` bytes.

    `tile` and `overlap` are what somebody wants, 0 if they do not care."""
    across = down = tile or max(width, height)
    if not tile and not network.whole and width * height > min(SMALL, budget):
        area = int(max(budget / network.cost, LEAST * LEAST))
        wide, high = (max(_up(side, network.multiple), network.minimum) for side in (width, height))
        if area < wide * high:
            across = down = math.isqrt(area)
            across, down = max(across, area // high), max(down, area // wide)
    margin, blend = margins(network, overlap) if across < width or down < height else (0, False)
    axes = [
        axis(length, most, margin, network.multiple, network.minimum, blend)
        for length, most in ((width, across), (height, down))
    ]
    if network.square:
        side = max(each.side for each in axes)
        axes = [axis(length, side, margin, network.multiple, side, blend) for length in (width, height)]
    batch = 1
    if tile and network.device.type != "cpu":
        batch = int(budget / (network.cost * axes[0].side * axes[1].side))
    return axes[0], axes[1], max(1, min(batch, MOST_AT_ONCE))


def margins(network: Network, overlap: int = 0) -> tuple[int, bool]:
    """How much of its surroundings a tile sees, and whether that is too little, so that tiles have to be blended."""
    margin = overlap or (network.reach + 1 if network.reach < NEAR else FURTHEST)
    return margin, margin < network.reach


def strips(
    network: Network, picture: numpy.ndarray, across: Axis, down: Axis, batch: int = 1,
    before: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[numpy.ndarray]:  # fmt: skip
    """`picture`, uint8 (H, W, network.channels), enlarged: from top to bottom in strips of uint8 (h, W * scale, C).

    `before(done, total)` is called before tiles are given to the network; what it raises ends it."""
    scale, total = network.scale, len(down.starts) * len(across.starts)
    waiting = None  # rows that fade into the next strip
    for n, top in enumerate(down.starts):
        first, last = down.part(n)
        strip = numpy.empty(((last - first) * scale, across.length * scale, picture.shape[2]), numpy.uint8)
        for at in range(0, len(across.starts), batch):
            before(n * len(across.starts) + at, total)
            group = range(at, min(at + batch, len(across.starts)))
            cut = numpy.stack([_cut(picture, top, down.side, across.starts[k], across.side) for k in group])
            for k, tile in zip(group, enlarged(network, cut), strict=True):
                left, right = across.part(k)
                x, y = across.starts[k], top
                part = tile[(first - y) * scale : (last - y) * scale, (left - x) * scale : (right - x) * scale]
                fade = 2 * across.blend * scale if k else 0
                target = strip[:, left * scale : right * scale]
                target[:, :fade] = faded(target[:, :fade], part[:, :fade], 1)
                target[:, fade:] = part[:, fade:]
        if waiting is not None:
            strip[: len(waiting)] = faded(waiting, strip[: len(waiting)], 0)
        keep = 2 * down.blend * scale if n < len(down.cuts) else 0
        waiting = strip[len(strip) - keep :].copy()
        yield strip[: len(strip) - keep]
    before(total, total)


def enlarged(network: Network, tiles: numpy.ndarray) -> numpy.ndarray:
    """uint8 (B, H, W, C) through the network at once; or in smaller tiles, where the memory does not suffice."""
    try:
        return _at_once(network, tiles)
    except Exception as error:
        if not out_of_memory(error):
            raise
        failure = error.with_traceback(None)  # which holds what is to be given back
    if len(tiles) > 1:
        return numpy.concatenate([enlarged(network, tile[None]) for tile in tiles])
    height, width = tiles.shape[1:3]
    margin, blend = margins(network)
    needs = max(height, width) // 2, margin, network.multiple, network.minimum, blend
    across, down = axis(width, *needs), axis(height, *needs)
    if across.side >= width and down.side >= height:
        raise OutOfMemory(f"the memory of the device did not suffice for {width}x{height} pixels.") from failure
    return numpy.concatenate([*strips(network, tiles[0], across, down)])[None]


def _at_once(network: Network, tiles: numpy.ndarray) -> numpy.ndarray:
    import torch

    with torch.inference_mode():
        given = torch.from_numpy(tiles).to(network.device).permute(0, 3, 1, 2)
        if network.channels == 1:  # each colour by itself
            given = given.flatten(0, 1)[:, None]
        result = network(given.to(network.dtype).div_(255)).mul_(255).round_().to(torch.uint8)
        if network.channels == 1:
            result = result.unflatten(0, (len(tiles), -1))[:, :, 0]
        return result.permute(0, 2, 3, 1).cpu().numpy()


def out_of_memory(error: Exception) -> bool:
    """Each kind of device says it in its own words."""
    import torch

    words = ("out of memory", "ALLOC_FAILED", "DefaultCPUAllocator")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def faded(old: numpy.ndarray, new: numpy.ndarray, direction: int) -> numpy.ndarray:
    """From `old` to `new` along an axis, uint8 (H, W, C) each."""
    length = old.shape[direction]
    share = (numpy.arange(length, dtype=numpy.float32) + 0.5) / max(length, 1)
    share = share[:, None, None] if direction == 0 else share[None, :, None]
    return (old + share * (new.astype(numpy.float32) - old)).round().astype(numpy.uint8)


def _cut(picture: numpy.ndarray, top: int, height: int, left: int, width: int) -> numpy.ndarray:
    """A tile; beyond the picture's end it is mirrored, as networks that pad for themselves do it."""
    rows, columns = _mirrored(picture.shape[0], top, height), _mirrored(picture.shape[1], left, width)
    return picture[rows][:, columns]


def _mirrored(length: int, start: int, side: int) -> slice | numpy.ndarray:
    if start + side <= length:
        return slice(start, start + side)
    at = numpy.arange(start, start + side)
    return numpy.where(at < length, at, 2 * (length - 1) - at).clip(0, length - 1)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
