"""What a UNet that looks at more than noisy latents is shown: a picture with a hole, or a picture to edit."""

from typing import TYPE_CHECKING

import numpy
import PIL.Image
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .shot import Shot

# By how many channels it has beyond those of the latents.
EDITS, FILLS = 4, 5
NOTHING = 127.5  # of 255: grey, which is 0 for a VAE


def shown(shot: "Shot", picture: PIL.Image.Image, mask: PIL.Image.Image | None = None) -> Tensor | None:
    """Channels (1, C', h, w) beside the latents of a picture (RGB) that is redrawn where `mask` (L) is more than half,
    by default everywhere; None for a model that looks at nothing else.

    InstructPix2Pix (Brooks et al. 2023, section 3.2): the picture's latents, not scaled to a variance of 1. Stable
    Diffusion's inpainting models: where the hole is, and the latents of the picture with grey in its hole."""
    beyond = shot.checkpoint.channels_shown
    if beyond == EDITS:
        return shot.encode(picture) / shot.checkpoint.autoencoder.scale + shot.checkpoint.autoencoder.shift
    if beyond != FILLS:
        return None
    hole = numpy.full((picture.height, picture.width, 1), 1.0, numpy.float32)
    if mask is not None:
        hole = (numpy.asarray(mask)[:, :, None] >= 128).astype(numpy.float32)
    latents = shot.encode(numpy.asarray(picture) * (1 - hole) + NOTHING * hole)
    small = torch.from_numpy(hole).permute(2, 0, 1)[None].to(latents)
    return torch.cat([torch.nn.functional.interpolate(small, latents.shape[2:]), latents], 1)


def nothing_shown(shot: "Shot", x: Tensor) -> Tensor | None:
    """The same for latents x (1, C, h, w) that are drawn from words alone: all of the picture is to be filled, and none
    is there to be edited."""
    if shot.checkpoint.channels_shown != FILLS:
        return torch.zeros_like(x) if shot.checkpoint.channels_shown else None
    factor = shot.checkpoint.autoencoder.factor
    return shown(shot, PIL.Image.new("RGB", (x.shape[3] * factor, x.shape[2] * factor)))
