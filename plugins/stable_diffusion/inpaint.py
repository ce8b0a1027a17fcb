"""Parts of pictures redrawn, the rest left as it is."""

import PIL.Image
import torch

from core.plugin import Result

from .guides import Scene
from .img2img import redrawn
from .masks import blurred, composite, crop_region, expanded, filled, inverted, latent_mask
from .options import Inpaint
from .resizing import flattened, resized
from .shot import Shot
from .sizes import own_size


def draw(shot: Shot, image: PIL.Image.Image, mask: PIL.Image.Image) -> Result:
    params: Inpaint = shot.params
    mask = mask.resize(image.size) if mask.size != image.size else mask
    if (params.width or params.height) and not params.only_masked:
        size = own_size(image, params.width, params.height)
        image, mask = (resized(each, *size, params.resize_mode) for each in (image, mask))
    soft = blurred(inverted(mask) if params.invert_mask else mask, params.mask_blur)
    if not soft.getbbox():
        return shot.result(composite(image, flattened(image), soft))
    if not params.only_masked:
        return shot.result(composite(image, painted(shot, flattened(image), soft, params.fill), soft))
    width, height = params.width or shot.checkpoint.size, params.height or shot.checkpoint.size
    region = expanded(crop_region(soft, params.only_masked_padding), width, height, image.size)
    source, part = (resized(each.crop(region), width, height, "resize and fill") for each in (flattened(image), soft))
    scene = Scene(source, part, image.size, lambda each: resized(each.crop(region), width, height, "resize and fill"))
    return shot.result(composite(image, painted(shot, source, part, params.fill, scene), soft, region))


def painted(
    shot: Shot, picture: PIL.Image.Image, mask: PIL.Image.Image, fill: str, scene: Scene | None = None
) -> PIL.Image.Image:
    """The whole picture (RGB) drawn anew as latents where `mask` (L) is more than half, in sides that are multiples of
    8; what its latents show elsewhere is near to the picture, but not the same. `fill` is one of options.FILLS."""
    width, height = own_size(picture, 0, 0)
    source, mask = (resized(each, width, height, "just resize") for each in (picture, mask))
    shot.scene = scene or Scene(source, mask)
    factor = shot.checkpoint.autoencoder.factor
    begin = source if fill == "original" else filled(source, mask)
    part = torch.from_numpy(latent_mask(mask, width // factor, height // factor)).to(shot.job.device)[None, None]
    latents = shot.encode(begin)
    if fill.startswith("latent"):
        latents = latents * (1 - part)
    if fill == "latent noise":
        latents = latents + shot.noise(width, height)() * part
    return redrawn(shot, latents, source, width, height, part, mask)
