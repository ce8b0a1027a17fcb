"""Rough pictures straight from latents: by TAESD where its weights are there, else by a 4x3 matrix."""

from pathlib import Path

import numpy
import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor

from core.library.weights import read
from core.plugin import Context

from .autoencoder import Autoencoder, to_picture

BLOCK, BLOCKS = 32, 8  # the matrix is fitted on one picture of 8 x 8 blocks of 32 x 32 pixels


class Previewer:
    """Colour is close to linear in latents, so a matrix replaces the decoder; it is fitted to each model's own VAE."""

    def __init__(self, autoencoder: Autoencoder):
        """Fit rgb = latents @ matrix + bias by least squares on what the encoder makes of random colours."""
        self._factor, (picture, latents) = autoencoder.factor, sample(autoencoder)
        per_latent = picture.resize([side // self._factor for side in picture.size], PIL.Image.Resampling.NEAREST)
        wanted = torch.from_numpy(numpy.array(per_latent)).float()
        known = _with_one(latents[0].permute(1, 2, 0).float().cpu())
        self._matrix = torch.linalg.lstsq(known.flatten(0, 1), wanted.flatten(0, 1)).solution

    def modules(self) -> list[torch.nn.Module]:
        """The networks that it uses."""
        return []

    def picture(self, latents: Tensor) -> PIL.Image.Image:
        """An RGB picture of latents (1, C, h, w), in the size of the decoded one."""
        pixels = latents[0].permute(1, 2, 0).float().cpu()
        rgb = (_with_one(pixels) @ self._matrix).clamp(0, 255).byte().numpy()
        height, width = rgb.shape[:2]
        size = (width * self._factor, height * self._factor)
        return PIL.Image.fromarray(rgb).resize(size, PIL.Image.Resampling.BILINEAR)


class TinyPreviewer:
    """Ollin Boer Bohan's TAESD, a small decoder that was trained to do what the large one does."""

    def __init__(self, decoder: AutoencoderTiny):
        self._decoder = decoder

    def modules(self) -> list[torch.nn.Module]:
        """The networks that it uses."""
        return [self._decoder]

    def picture(self, latents: Tensor) -> PIL.Image.Image:
        return to_picture(self._decoder.decode(latents.to(self._decoder.dtype)).sample[0])


def previewer(autoencoder: Autoencoder, ctx: Context, device: str) -> Previewer | TinyPreviewer:
    """The one that shows best what this model's encoder makes of a picture: `models/taesd/` may hold a file or folder
    with a TAESD for some models and not for others. A damaged one is told of in the job's log."""
    linear = Previewer(autoencoder)
    candidates: list[Previewer | TinyPreviewer] = [linear]
    for name, path in ctx.models.entries("taesd").items():
        if "encoder" in name.lower():
            continue
        try:
            candidates.append(TinyPreviewer(tiny_decoder(path).to(device)))
        except Exception as error:  # the libraries raise nearly anything for a damaged file
            ctx.log(f"taesd/{name} cannot be loaded, so previews are rougher: {error}")
    if len(candidates) == 1:
        return linear
    picture, latents = sample(autoencoder)
    return min(candidates, key=lambda candidate: _difference(candidate.picture(latents), picture))


def tiny_decoder(path: Path) -> AutoencoderTiny:
    """Of a folder in diffusers layout, or of the decoder's weights in the original layout."""
    if path.is_dir():
        return AutoencoderTiny.from_pretrained(path, use_safetensors=True, local_files_only=True).eval()
    tiny = AutoencoderTiny()
    tiny.decoder.load_state_dict({_diffusers_name(key): weight for key, weight in read(path).items()})
    return tiny.eval().requires_grad_(False)


def sample(autoencoder: Autoencoder) -> tuple[PIL.Image.Image, Tensor]:
    """A picture of coloured blocks, and its latents."""
    colours = torch.randint(0, 256, (BLOCKS, BLOCKS, 3), generator=torch.Generator().manual_seed(0))
    colours[0, :, :] = torch.arange(BLOCKS)[:, None] * 255 // (BLOCKS - 1)  # greys too
    side = BLOCK * BLOCKS
    picture = PIL.Image.fromarray(colours.byte().numpy()).resize((side, side), PIL.Image.Resampling.NEAREST)
    return picture, autoencoder.encode_in_float32([picture])[0]


def _difference(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    return float(abs(numpy.asarray(one, numpy.float32) - numpy.asarray(other, numpy.float32)).mean())


def _diffusers_name(key: str) -> str:
    """The original is a Sequential with a clamp at its beginning, which diffusers does not count."""
    number, _, rest = key.removeprefix("decoder.").partition(".")
    return f"layers.{int(number) - 1}.{rest}"


def _with_one(latents: Tensor) -> Tensor:
    return torch.cat([latents, torch.ones(*latents.shape[:-1], 1)], -1)
