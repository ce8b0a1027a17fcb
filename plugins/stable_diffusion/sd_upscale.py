"""Pictures enlarged and redrawn in tiles that overlap."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace

import PIL.Image

from core.plugin import Cancelled, Context, InvalidParams, Result

from .guides import Scene
from .img2img import redrawn
from .options import LARGEST_TILED, SEEDS, SdUpscale
from .resizing import flattened, upscaled
from .seeds import Seeding, seeding, settled
from .shot import Shot
from .sizes import eights
from .studio import Pictures, Studio
from .tiles import Grid, combined, split


def draw(
    studio: Studio,
    params: SdUpscale,
    ctx: Context,
    image: PIL.Image.Image,
    control: Pictures = None,
    reference: Pictures = None,
) -> Iterator[Result]:
    """A1111's script of this name. Tile t of picture n has the seed seed + n + t. What is not redrawn because somebody
    wanted an end stays as it was enlarged."""
    params, size = settled(params), studio.checkpoints.get(params.model, ctx, params.vae).size
    wide, high = eights(image.width * params.scale), eights(image.height * params.scale)
    if max(wide, high) > LARGEST_TILED:
        raise InvalidParams(
            f"scale: {image.width}x{image.height} would be enlarged to {wide}x{high}, the limit is {LARGEST_TILED} "
            "each side.",
            field="scale",
            hint="Use a smaller scale.",
        )
    enlarged = upscaled(flattened(image), wide, high, params.upscaler)
    grid = split(enlarged, params.width or size, params.height or size, params.overlap)
    count = len(grid.tiles)
    drawn = studio.draw(
        params, ctx, functools.partial(_tile, grid), params.pictures * count,
        seeding=lambda k: _seeding(params, k // count, k % count), control=control, reference=reference,
    )  # fmt: skip
    for _, group in itertools.groupby(drawn, lambda result: result.value[0] // count):
        results = list(group)
        redrawn_tiles = {k % count: tile for k, tile in (result.value for result in results)}
        whole = len(results) == count and not any("partial" in result.facts for result in results)
        picture = combined(replace(grid, tiles=[redrawn_tiles.get(t, tile) for t, tile in enumerate(grid.tiles)]))
        facts = results[0].facts | {"width": picture.width, "height": picture.height}
        yield Result(picture, facts if whole else facts | {"partial": True})


def _seeding(params: SdUpscale, n: int, t: int) -> Seeding:
    first = seeding(params, n)
    return Seeding((first.seed + t) % SEEDS, first.variation, first.words)


def _tile(grid: Grid, shot: Shot) -> Result:
    """The number of the shot and its tile."""
    t = shot.k % len(grid.tiles)
    source = grid.tiles[t]
    shot.scene = Scene(source, whole=(grid.width, grid.height), cut=lambda picture: grid.cut(picture, t))
    try:
        tile = redrawn(shot, shot.encode(source), source, *source.size)
    except Cancelled:
        if not shot.skipped:
            raise
        tile, shot.partial = source, True
    result = shot.result(tile)
    return replace(result, value=(shot.k, tile))
