"""LDSR: super-resolution by latent diffusion (Rombach et al. 2022, section 4.4), from a folder in diffusers' layout.

Each tile is drawn anew in some tens of steps, from noise and with the tile before its eyes. So that neighbours agree on
what they draw where they overlap, the noise repeats itself every MULTIPLE pixels: tiles begin at multiples of it, and
each place of the picture has the same noise in any tile. DDIM adds no other noise on its way (eta is 0)."""

from __future__ import annotations

import functools
import types
from pathlib import Path

import torch
from torch import nn

from core.library import weights

from . import networks

MULTIPLE = 64  # pixels
STEPS = 100


class Diffusion(nn.Module):
    """Tiles (B, 3, H, W) in 0..1 to such that are `scale` times as large, in `steps` steps.

    `before(step, steps)` is called before each step; what it raises ends it."""

    def __init__(self, vqvae: nn.Module, unet: nn.Module, scheduler):
        super().__init__()
        self.vqvae, self.unet, self.scheduler = vqvae, unet, scheduler
        self.steps, self.before = STEPS, lambda step, steps: None
        self.scale = 2 ** (len(vqvae.config.block_out_channels) - 1)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        small = tiles * 2 - 1
        channels, (height, width) = self.vqvae.config.latent_channels, tiles.shape[-2:]
        noise = torch.randn(channels, MULTIPLE, MULTIPLE, generator=torch.Generator().manual_seed(0))
        noise = noise.repeat(1, -(-height // MULTIPLE), -(-width // MULTIPLE))[:, :height, :width].to(tiles)
        self.scheduler.set_timesteps(self.steps, device=tiles.device)
        latents = (noise * self.scheduler.init_noise_sigma).expand(len(tiles), *noise.shape)
        for step, t in enumerate(self.scheduler.timesteps):
            self.before(step, self.steps)
            given = self.scheduler.scale_model_input(torch.cat([latents, small], 1), t)
            latents = self.scheduler.step(self.unet(given, t).sample, t, latents).prev_sample
        return self.vqvae.decode(latents).sample.clamp(-1, 1) / 2 + 0.5


class Ldsr(networks.Network):
    """As other networks; `diffusion.steps` may be set, and `diffusion.before` to hear of each step."""

    def __init__(self, path: Path, diffusion: Diffusion, device: str, dtype: str):
        from spandrel import ImageModelDescriptor, SizeRequirements

        descriptor = ImageModelDescriptor(
            diffusion, diffusion.state_dict(), types.SimpleNamespace(name="LDSR", id="LDSR"), "SR", [],
            supports_half=True, supports_bfloat16=True, scale=diffusion.scale, input_channels=3, output_channels=3,
            size_requirements=SizeRequirements(multiple_of=MULTIPLE),
        )  # fmt: skip
        diffusion.eval().requires_grad_(False)
        super().__init__(path, descriptor.to(device, networks.dtype_of(descriptor, device, dtype)))
        self.diffusion = diffusion

    @functools.cached_property
    def _probed(self) -> tuple[float, int]:
        """A single step tells what it costs; it sees all of a tile."""
        steps, before = self.diffusion.steps, self.diffusion.before
        self.diffusion.steps, self.diffusion.before = 1, lambda step, steps: None
        try:
            with torch.inference_mode(), networks.measured(self.diffusion, self.device) as most:
                self(torch.zeros(1, 3, MULTIPLE, MULTIPLE))
        finally:
            self.diffusion.steps, self.diffusion.before = steps, before
        return most() / MULTIPLE**2, networks.PROBE[1]


def load(folder: Path, device: str, dtype: str) -> Ldsr:
    """Raises InvalidParams, naming the folder and what is wrong with it. Nothing but these three parts is read, and
    nothing is fetched."""
    from diffusers import DDIMScheduler, UNet2DModel, VQModel

    parts = {"vqvae": VQModel, "unet": UNet2DModel, "scheduler": DDIMScheduler}
    if missing := [name for name in parts if not (folder / name).is_dir()]:
        hint = "Folders are for LDSR alone; other networks are files, .safetensors or .pth."
        raise bad_folder(folder, f"it has no {' and no '.join(missing)}, which LDSR in diffusers' layout has", hint)
    loaded = {}
    for name, part in parts.items():
        given = {} if name == "scheduler" else {"use_safetensors": any((folder / name).glob("*.safetensors"))}
        try:
            with weights.bounded(folder / name):
                loaded[name] = part.from_pretrained(folder / name, local_files_only=True, **given)
        except Exception as error:  # damage is told in many ways
            raise bad_folder(folder, f"{name} cannot be read: {weights.first_line(error)[:200].rstrip('.')}") from error
    vqvae, unet = loaded["vqvae"].config, loaded["unet"].config
    if (unet.in_channels, unet.out_channels) != (vqvae.latent_channels + 3, vqvae.latent_channels):
        channels = f"unet takes {unet.in_channels} channels and makes {unet.out_channels}"
        raise bad_folder(
            folder, f"{channels}, which does not fit the {vqvae.latent_channels} of vqvae and a picture of 3"
        )
    return Ldsr(folder, Diffusion(**loaded), device, dtype)


def bad_folder(folder: Path, why: str, hint: str | None = None):
    return weights.bad_file(folder, why, hint or "Fetch the folder again, or choose another.", networks.FIELD)
