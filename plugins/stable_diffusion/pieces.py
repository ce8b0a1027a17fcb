"""How a picture that is too large for the VAE goes through it: piece by piece, put together without seams."""

from collections.abc import Callable

import PIL.Image
import torch
from torch import Tensor

from .tiles import Grid, combined, starts

PIECE, OVERLAP = 64, 16  # latents each side
WHOLE = 192 * 192  # latents of the largest picture that is not cut, if the memory suffices


def decoded(decode: Callable[[Tensor], PIL.Image.Image], z: Tensor, factor: int, wrap: bool) -> PIL.Image.Image:
    """The RGB picture of latents (1, C, h, w) by `decode` of pieces; `factor` pixels are one latent each side. `wrap`:
    its left edge is seen right of its right edge, and its top below its bottom.

    Not quite the picture that is decoded at once: the decoder's norms see a piece only, and its middle all of it."""
    margin = min(OVERLAP, *z.shape[2:]) if wrap else 0
    z = torch.nn.functional.pad(z, [margin] * 4, mode="circular") if wrap else z
    height, width = z.shape[2:]
    xs, ys = starts(width, min(PIECE, width), OVERLAP), starts(height, min(PIECE, height), OVERLAP)
    tiles = [decode(z[:, :, y : y + PIECE, x : x + PIECE]) for y in ys for x in xs]
    xs, ys = ([factor * start for start in each] for each in (xs, ys))
    whole = combined(Grid(factor * width, factor * height, factor * OVERLAP, xs, ys, tiles))
    edge = factor * margin
    return whole.crop((edge, edge, whole.width - edge, whole.height - edge))


def encoded(encode: Callable[[Tensor], Tensor], rgb: Tensor, factor: int, wrap: bool) -> Tensor:
    """The latents (1, C, h, w) of a picture (H, W, 3), 0 to 255, by `encode` of pieces; the rest as for `decoded`."""
    x = rgb.permute(2, 0, 1)[None]
    margin = min(OVERLAP, *(side // factor for side in x.shape[2:])) if wrap else 0
    x = torch.nn.functional.pad(x, [factor * margin] * 4, mode="circular") if wrap else x
    height, width = (side // factor for side in x.shape[2:])
    xs, ys = starts(width, min(PIECE, width), OVERLAP), starts(height, min(PIECE, height), OVERLAP)

    def piece(top: int, left: int) -> Tensor:
        of = (slice(factor * start, factor * (start + PIECE)) for start in (top, left))
        return encode(x[(..., *of)][0].permute(1, 2, 0))

    rows = [joined([piece(y, x) for x in xs], xs, 3) for y in ys]
    z = joined(rows, ys, 2)
    return z[:, :, margin : height - margin, margin : width - margin]


def joined(parts: list[Tensor], places: list[int], axis: int) -> Tensor:
    """Parts (1, C, h, w) put together along an axis, each beginning at its place: in its first OVERLAP numbers it takes
    over from the one before it, linearly."""
    whole = parts[0]
    for part, place in zip(parts[1:], places[1:], strict=True):
        shared = whole.shape[axis] - place
        share = torch.arange(shared, device=part.device).div(OVERLAP).clamp(max=1)
        share = share.reshape([-1 if k == axis else 1 for k in range(4)])
        before, begin = whole.narrow(axis, place, shared), part.narrow(axis, 0, shared)
        rest = part.narrow(axis, shared, part.shape[axis] - shared)
        whole = torch.cat([whole.narrow(axis, 0, place), before.lerp(begin, share), rest], axis)
    return whole
