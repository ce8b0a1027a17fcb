"""Pictures to latents and back."""

from contextlib import AbstractContextManager

import numpy
import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from .placement import Mode, Placement


class Autoencoder:
    """`factor` pixels are one latent, in each direction. Latents are (mean - shift) * scale, which has a standard
    deviation of about 1. Models work on each other's latents if their `space` is the same. `frugal` is the dtype that
    is computed in when memory is low; otherwise it is the VAE's.

    Several published VAEs overflow in half precision; what is not a number then raises FloatingPointError. Both ways
    can be gone in float32, too."""

    def __init__(self, vae: AutoencoderKL, placement: Placement, frugal: torch.dtype | None = None):
        self._vae, self._placement, self._frugal, self._own = vae, placement, frugal, vae.dtype
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = vae.config.latent_channels
        config = vae.config
        self.space = self.factor, self.channels, config.scaling_factor, config.shift_factor, str(config.latents_mean)
        self.shift, self.scale = config.shift_factor or 0.0, config.scaling_factor
        if config.latents_mean and config.latents_std:  # in place of a shift
            there = {"device": placement.device}
            self.shift = torch.tensor(config.latents_mean, **there)[:, None, None]
            self.scale = config.scaling_factor / torch.tensor(config.latents_std, **there)[:, None, None]

    @property
    def dtype(self) -> torch.dtype:
        """That is computed in."""
        return self._frugal if self._frugal and self._placement.mode is Mode.LOW else self._own

    def encode(self, pictures: list[PIL.Image.Image | numpy.ndarray]) -> list[Tensor]:
        """Latents of RGB pictures, or of arrays (H, W, 3) from 0 to 255, each float32 (1, C, H / factor, W / factor),
        with a standard deviation of about 1.

        The mean of the posterior, not a sample as in A1111: without noise of its own, img2img depends on the seed only
        through the noise of the sampler."""
        return self._encode(pictures, self.dtype)

    def encode_in_float32(self, pictures: list[PIL.Image.Image | numpy.ndarray]) -> list[Tensor]:
        return self._encode(pictures, torch.float32)

    def _encode(self, pictures: list[PIL.Image.Image | numpy.ndarray], dtype: torch.dtype) -> list[Tensor]:
        latents = []
        with self._here(dtype) as (vae,):
            for picture in pictures:
                rgb = torch.from_numpy(numpy.array(picture)).to(self._placement.device, dtype)
                x = rgb.permute(2, 0, 1)[None] / 127.5 - 1
                latents.append(number(vae.encode(x).latent_dist.mean.float()).sub(self.shift) * self.scale)
        return latents

    def decode(self, latents: list[Tensor]) -> list[PIL.Image.Image]:
        """RGB pictures of latents (1, C, h, w) of one shape."""
        return self._decode(latents, self.dtype)

    def decode_in_float32(self, latents: list[Tensor]) -> list[PIL.Image.Image]:
        return self._decode(latents, torch.float32)

    def _decode(self, latents: list[Tensor], dtype: torch.dtype) -> list[PIL.Image.Image]:
        z = torch.cat(latents) / self.scale + self.shift
        with self._here(dtype) as (vae,):
            return [to_picture(x) for x in number(vae.decode(z.to(dtype)).sample)]

    def _here(self, dtype: torch.dtype) -> AbstractContextManager[tuple[AutoencoderKL]]:
        return self._placement.present(self._vae, dtype=dtype if dtype is not self._own else None)


def number(x: Tensor) -> Tensor:
    """x itself. Raises FloatingPointError if any of it is not a number."""
    if not x.isfinite().all():
        raise FloatingPointError("the VAE's answer is not a number")
    return x


def to_picture(x: Tensor) -> PIL.Image.Image:
    """The RGB picture of (3, H, W), -1 to 1."""
    rgb = (x.float() * 127.5 + 127.5).clamp(0, 255).round().byte()
    return PIL.Image.fromarray(rgb.permute(1, 2, 0).cpu().numpy())
