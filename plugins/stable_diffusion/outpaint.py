"""What is around a picture, drawn."""

import PIL.Image

from core.plugin import Result

from .inpaint import painted
from .options import Outpaint
from .outpainting import canvases
from .resizing import flattened
from .shot import Shot


def draw(shot: Shot, image: PIL.Image.Image) -> Result:
    params: Outpaint = shot.params
    grown = canvases(
        flattened(image), params.directions, params.pixels, params.method, params.mask_blur,
        params.width, params.height, params.noise_q, params.color_variation,
    )  # fmt: skip
    for canvas in grown:
        fill = params.fill if params.method == "poor man's" else "original"
        canvas.painted = painted(shot, canvas.picture, canvas.latent_mask, fill)
        if shot.partial:  # the other sides are not begun
            break
    return shot.result(canvas.result)


def passes(params: Outpaint) -> int:
    """How many runs of a sampler it takes."""
    return len({*params.directions}) if params.method == "mk2" else 1
