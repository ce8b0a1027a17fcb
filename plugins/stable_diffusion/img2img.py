"""Pictures redrawn as words say."""

import PIL.Image
import torch
from torch import Tensor

from core.plugin import Result

from .colours import corrected
from .guides import Scene
from .options import ImageToImage, Redrawing
from .resizing import flattened, resized
from .schedules import last_part, last_part_of
from .shot import Shot
from .shown import shown
from .sizes import own_size


def draw(shot: Shot, image: PIL.Image.Image) -> Result:
    params = shot.params
    width, height = own_size(image, params.width, params.height)
    return shot.result(redrawn(shot, *started(shot, image, width, height), width, height))


def started(shot: Shot, image: PIL.Image.Image, width: int, height: int) -> tuple[Tensor, PIL.Image.Image]:
    """The latents to begin with, before noise, and the picture that they are of."""
    mode = shot.params.resize_mode
    picture = resized(flattened(image), width, height, mode.partition(" (")[0])
    if "latent" not in mode:
        return shot.encode(picture), picture
    factor = shot.checkpoint.autoencoder.factor
    latents = shot.encode(resized(flattened(image), *own_size(image, 0, 0), "just resize"))
    size = (height // factor, width // factor)
    return torch.nn.functional.interpolate(latents, size, mode="bilinear"), picture


def redrawn(
    shot: Shot, latents: Tensor, source: PIL.Image.Image, width: int, height: int,
    mask: Tensor | None = None, hole: PIL.Image.Image | None = None,
) -> PIL.Image.Image:  # fmt: skip
    """`latents` covered with noise and drawn again, where `mask` (1, 1, h, w) is 1; `hole` (L) is that in pixels."""
    shot.scene = shot.scene or Scene(source)
    noise = shot.noise(width, height)
    sigmas = part_of(shot)
    x = latents + noise() * sigmas[0] * shot.params.noise_multiplier
    conditions = shot.conditions(shot.words, shot.way, width, height, shown=shown(shot, source, hole))
    end = shot.sample(shot.way, sigmas, conditions, x, noise, latents, mask)
    picture = shot.decode(end)
    return corrected(picture, source) if shot.params.color_correction else picture


def part_of(shot: Shot) -> Tensor:
    """The noise levels that a picture to start from is taken through."""
    params: Redrawing | ImageToImage = shot.params
    if params.fix_steps:
        return last_part_of(lambda n: shot.sigmas(shot.way, n), params.steps, params.denoising_strength)[1]
    return last_part(shot.sigmas(shot.way), params.denoising_strength)
