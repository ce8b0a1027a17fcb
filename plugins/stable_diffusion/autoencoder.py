"""Pictures to latents and back."""

import numpy
import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor


class Autoencoder:
    """`factor` pixels are one latent, in each direction. Latents are (mean - shift) * scale, which has a standard
    deviation of about 1. Models work on each other's latents if their `space` is the same."""

    def __init__(self, vae: AutoencoderKL):
        self._vae = vae
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = vae.config.latent_channels
        config = vae.config
        self.space = self.factor, self.channels, config.scaling_factor, config.shift_factor, str(config.latents_mean)
        self.shift, self.scale = config.shift_factor or 0.0, config.scaling_factor
        if config.latents_mean and config.latents_std:  # in place of a shift
            self.shift = torch.tensor(config.latents_mean, device=vae.device)[:, None, None]
            self.scale = config.scaling_factor / torch.tensor(config.latents_std, device=vae.device)[:, None, None]

    def encode(self, pictures: list[PIL.Image.Image | numpy.ndarray]) -> list[Tensor]:
        """Latents of RGB pictures, or of arrays (H, W, 3) from 0 to 255, each float32 (1, C, H / factor, W / factor),
        with a standard deviation of about 1.

        The mean of the posterior, not a sample as in A1111: without noise of its own, img2img depends on the seed only
        through the noise of the sampler."""
        return [self._encode(torch.from_numpy(numpy.array(picture))) for picture in pictures]

    def _encode(self, rgb: Tensor) -> Tensor:
        x = rgb.to(self._vae.device, self._vae.dtype).permute(2, 0, 1)[None] / 127.5 - 1
        return self._vae.encode(x).latent_dist.mean.float().sub(self.shift) * self.scale

    def decode(self, latents: list[Tensor]) -> list[PIL.Image.Image]:
        """RGB pictures of latents (1, C, h, w) of one shape."""
        z = torch.cat(latents) / self.scale + self.shift
        return [to_picture(x) for x in self._vae.decode(z.to(self._vae.dtype)).sample]


def to_picture(x: Tensor) -> PIL.Image.Image:
    """The RGB picture of (3, H, W), -1 to 1."""
    rgb = (x.float() * 127.5 + 127.5).clamp(0, 255).round().byte()
    return PIL.Image.fromarray(rgb.permute(1, 2, 0).cpu().numpy())
