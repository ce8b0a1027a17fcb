"""What is around a picture, drawn."""

import PIL.Image

from core.plugin import Cancelled, Result

from .inpaint import painted
from .options import Outpaint
from .outpainting import canvases, grown
from .resizing import flattened
from .shot import Shot


def draw(shot: Shot, image: PIL.Image.Image) -> Result:
    params: Outpaint = shot.params
    growth = params.growth or grown(image.size, params.directions, params.pixels)
    steps = canvases(
        flattened(image), growth, params.method, params.mask_blur,
        params.width, params.height, params.noise_q, params.color_variation,
    )  # fmt: skip
    fill, picture = params.fill if params.method == "poor man's" else "original", None
    for canvas in steps:
        try:
            canvas.painted = painted(shot, canvas.picture, canvas.latent_mask, fill)
        except Cancelled:
            if picture is None or not shot.keeps:
                raise
            shot.partial = True
        else:
            picture = canvas.result
        if shot.partial:  # the other sides are not begun
            break
    return shot.result(picture)


def passes(params: Outpaint) -> int:
    """How many runs of a sampler it takes."""
    sides = [side for side, new in params.growth.items() if new] or {*params.directions}
    return len(sides) if params.method == "mk2" else 1
