"""Pictures redrawn from the noise that they could have been drawn from, so that what the words keep stays the same."""

from dataclasses import replace

import PIL.Image
from torch import Tensor

from core.plugin import Result

from .colours import corrected
from .img2img import part_of, started
from .options import Alternative
from .shot import Run, Shot, Way
from .shown import shown
from .sizes import own_size


def draw(shot: Shot, image: PIL.Image.Image) -> Result:
    """A1111's "img2img alternative test": as there, the noise found is scaled to a standard deviation of 1, and
    `randomness` of it is replaced by that of the seed."""
    params: Alternative = shot.params
    width, height = own_size(image, params.width, params.height)
    latents, source = started(shot, image, width, height)
    sees = shown(shot, source)
    found = inverted(shot, latents, width, height, sees)
    noise, share = shot.noise(width, height), params.randomness
    found = ((1 - share) * found + share * noise()) / ((1 - share) ** 2 + share**2) ** 0.5
    whole, sigmas = shot.sigmas(shot.way), part_of(shot)
    x = latents + (found - latents / whole[0]) * sigmas[0] * params.noise_multiplier
    conditions = shot.conditions(shot.words, shot.way, width, height, shown=sees)
    picture = shot.decode(shot.sample(shot.way, sigmas, conditions, x, noise, latents))
    return shot.result(corrected(picture, source) if params.color_correction else picture)


def inverted(shot: Shot, latents: Tensor, width: int, height: int, sees: Tensor | None) -> Tensor:
    """The noise, (1, C, h, w) with a standard deviation of 1, from which Euler's method leads to the latents: its steps
    taken backwards, from no noise to the largest level.

    The probability flow dx/dsigma = (x - D(x; sigma)) / sigma (Karras et al. 2022, eq. 1). There is no slope at
    sigma 0, so the first step takes that at its end."""
    params: Alternative = shot.params
    way = Way("Euler", "automatic", params.decode_steps, params.decode_cfg_scale)
    levels = shot.sigmas(way).flip(0)
    words = shot.reads(params.original_prompt, params.original_negative_prompt, "original_prompt")
    conditions = replace(shot.conditions(words, way, width, height, shown=sees), refined=None)
    run = Run(shot, way, conditions, len(levels) - 1, None, None)
    x = latents
    for before, after in zip(levels, levels[1:], strict=False):
        sigma = before or after
        x = x + (x - run.denoise(x, sigma.expand(1))) / sigma * (after - before)
    shot.passes += 1
    return x / x.std()
