"""Rough pictures straight from latents: colour is close to linear in them, so a 4x3 matrix replaces the decoder."""

import PIL.Image
import torch
from torch import Tensor

from .autoencoder import Autoencoder

BLOCK, BLOCKS = 32, 8  # the matrix is fitted on one picture of 8 x 8 blocks of 32 x 32 pixels


class Previewer:
    def __init__(self, autoencoder: Autoencoder):
        """Fit rgb = latents @ matrix + bias by least squares on what the encoder makes of random colours."""
        self._factor = autoencoder.factor
        colours = torch.randint(0, 256, (BLOCKS, BLOCKS, 3), generator=torch.Generator().manual_seed(0))
        colours[0, :, :] = torch.arange(BLOCKS)[:, None] * 255 // (BLOCKS - 1)  # greys too
        blocks = PIL.Image.fromarray(colours.byte().numpy())
        picture = blocks.resize((BLOCK * BLOCKS, BLOCK * BLOCKS), PIL.Image.Resampling.NEAREST)
        latents = autoencoder.encode([picture])[0][0].permute(1, 2, 0).cpu()
        per_block = BLOCK // self._factor
        wanted = colours.repeat_interleave(per_block, 0).repeat_interleave(per_block, 1)
        self._matrix = torch.linalg.lstsq(_with_one(latents).flatten(0, 1), wanted.flatten(0, 1).float()).solution

    def picture(self, latents: Tensor) -> PIL.Image.Image:
        """An RGB picture of latents (1, C, h, w), in the size of the decoded one."""
        pixels = latents[0].permute(1, 2, 0).float().cpu()
        rgb = (_with_one(pixels) @ self._matrix).clamp(0, 255).byte().numpy()
        height, width = rgb.shape[:2]
        size = (width * self._factor, height * self._factor)
        return PIL.Image.fromarray(rgb).resize(size, PIL.Image.Resampling.BILINEAR)


def _with_one(latents: Tensor) -> Tensor:
    return torch.cat([latents, torch.ones(*latents.shape[:-1], 1)], -1)
