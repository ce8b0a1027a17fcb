"""Pictures from words; with hires fix drawn twice, the second time from the first one enlarged."""

import PIL.Image
import torch
from torch import Tensor

from core.plugin import Cancelled, Result

from .guidance import Conditions
from .options import LATENT_UPSCALERS
from .resizing import flattened, upscaled
from .schedules import last_part_of, start
from .shot import Shot, Way
from .sizes import Size, hires_size, own_size

# Of torch.nn.functional.interpolate, for each of A1111's latent upscalers.
LATENT_MODES = {
    "Latent": {"mode": "bilinear"},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic"},
    "Latent (bicubic antialiased)": {"mode": "bicubic", "antialias": True},
    "Latent (nearest)": {"mode": "nearest"},
    "Latent (nearest-exact)": {"mode": "nearest-exact"},
}


def draw(shot: Shot) -> Result:
    width, height = wanted_size(shot)
    latents = from_noise(shot, shot.conditions(shot.words, shot.way, width, height))
    if shot.params.hires and not shot.partial:
        try:
            size = hires_size(shot.params, *shot.size)
            latents = second_pass(shot, enlarge(shot, latents, size), size)
        except Cancelled:
            if not shot.keeps:
                raise
            shot.partial = True
    return shot.result(shot.decode(latents))


def draw_again(shot: Shot, image: PIL.Image.Image) -> Result:
    """The second pass alone, of a picture that need not be as large yet."""
    shot.size = own_size(image, shot.params.width, shot.params.height)
    size = hires_size(shot.params, *shot.size)
    picture = flattened(image)
    if picture.size != (size.whole_width, size.whole_height):
        upscaler = "Nearest" if shot.params.hires_upscaler == "Nearest" else "Lanczos"
        picture = upscaled(picture, size.whole_width, size.whole_height, upscaler)
    return shot.result(shot.decode(second_pass(shot, shot.encode(_middle(picture, size)), size)))


def wanted_size(shot: Shot) -> tuple[int, int]:
    """Width and height of the (first) picture."""
    return shot.params.width or shot.checkpoint.size, shot.params.height or shot.checkpoint.size


def from_noise(shot: Shot, conditions: Conditions) -> Tensor:
    """The latents of a picture of the wanted size, drawn from nothing but noise."""
    way = shot.way
    noise, sigmas = shot.noise(*wanted_size(shot)), shot.sigmas(way)
    return shot.sample(way, sigmas, conditions, noise() * start(way.sampler, sigmas), noise)


def second_pass(shot: Shot, enlarged: Tensor, size: Size) -> Tensor:
    """A1111's hires fix: the enlarged latents covered with noise of the same seed at the new size, and drawn again."""
    params = shot.params
    way = Way(
        shot.way.sampler if params.hires_sampler == "same" else params.hires_sampler,
        shot.way.schedule if params.hires_schedule == "same" else params.hires_schedule,
        params.hires_steps or params.steps,
        params.hires_cfg_scale or params.cfg_scale,
    )
    words, shot.checkpoint = shot.hires
    noise = shot.noise(size.width, size.height)
    _, sigmas = last_part_of(lambda steps: shot.sigmas(way, steps), way.steps, params.denoising_strength)
    conditions = shot.conditions(words, way, size.width, size.height, second=True)
    return shot.sample(way, sigmas, conditions, enlarged + noise() * sigmas[0], noise, enlarged)


def enlarge(shot: Shot, latents: Tensor, size: Size) -> Tensor:
    upscaler, factor = shot.params.hires_upscaler, shot.checkpoint.autoencoder.factor
    if upscaler not in LATENT_UPSCALERS:
        picture = upscaled(shot.decode(latents), size.whole_width, size.whole_height, upscaler)
        return shot.encode(_middle(picture, size))
    whole = (size.whole_height // factor, size.whole_width // factor)
    larger = torch.nn.functional.interpolate(latents, whole, **LATENT_MODES[upscaler])
    height, width = size.height // factor, size.width // factor
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    return larger[:, :, top : top + height, left : left + width]


def _middle(picture: PIL.Image.Image, size: Size) -> PIL.Image.Image:
    """Without what the wanted size has not."""
    left, top = (size.whole_width - size.width) // 2, (size.whole_height - size.height) // 2
    return picture.crop((left, top, left + size.width, top + size.height))
