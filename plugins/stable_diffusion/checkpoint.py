"""What a loaded model is made of, and how it is loaded: folders in diffusers layout, safetensors only."""

import functools
import hashlib
import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from core.plugin import Context, InvalidParams

from .autoencoder import Autoencoder
from .cache import Cache
from .conditioning import TextEncoder
from .denoiser import PREDICTIONS, Denoiser
from .networks import Network, apply, places
from .previews import Previewer, TinyPreviewer, previewer
from .variants import tiling as tiled

PARTS = ("text_encoder", "unet", "vae")
transformers_logging.disable_progress_bar()


@dataclass(eq=False)
class Checkpoint:
    """A loaded model. `hash` is A1111's short form, 10 hex digits; `clips` its text encoders; `size` the side that it
    draws best, in pixels; `networks` the hashes, by name, of what was added to it."""

    name: str
    hash: str
    clips: tuple[CLIPTextModel, ...]
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    noise: DDIMScheduler
    previewer: Previewer | TinyPreviewer | None = None
    networks: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.text = TextEncoder(self.tokenizer, self.clips)
        self.denoiser = Denoiser(self.unet, self.noise.alphas_cumprod, self.noise.config.prediction_type)
        self.autoencoder = Autoencoder(self.vae)
        self.size = self.unet.config.sample_size * self.autoencoder.factor
        self.channels_shown = self.unet.config.in_channels - self.autoencoder.channels
        self.distilled = self.unet.config.time_cond_proj_dim is not None  # with guidance, which then takes one row

    def modules(self) -> Iterator[torch.nn.Module]:
        """Of all its networks, each with all modules in it."""
        for network in (*self.clips, self.unet, self.vae, *self.previewer.modules()):
            yield from network.modules()


class Checkpoints:
    """The models that are loaded on one device."""

    def __init__(self, device: str, cache: Cache):
        self._device, self._cache = device, cache

    def get(self, name: str, ctx: Context) -> Checkpoint:
        """The model of that name, loaded if need be. Its files are looked at each time: changed ones are loaded anew.

        Raises ModelNotFound, InvalidParams naming the file that is wrong, or Cancelled."""
        folder = ctx.models.path("checkpoint", name)
        check(name, folder)
        ctx.progress(0, len(PARTS) + 1, "load")
        files = stamped(weight_files(name, folder))
        size = sum(size for _, _, size in files)

        def loaded() -> Checkpoint:
            self._cache.unload(name)  # as it was before its files changed
            return load(name, folder, self._device, ctx)

        return self._cache.get(("checkpoint", name, files), loaded, name, size, ctx.raise_if_cancelled)

    def variant(self, base: Checkpoint, networks: tuple[Network, ...], tiling: bool, ctx: Context) -> Checkpoint:
        """The model with these networks, and for pictures without seams if `tiling`; made if need be. It shares with
        its base what is not changed, and the base stays as it is.

        Raises ModelNotFound, or InvalidParams naming the network that does not fit."""
        if not networks and not tiling:
            return base
        key = "variant", weakref.ref(base), networks, stamped(places(networks, ctx.models)), tiling
        return self._cache.get(
            key, lambda: made_variant(base, networks, tiling, ctx), base.name, check=ctx.raise_if_cancelled
        )


def weight_files(name: str, folder: Path) -> list[Path]:
    """The files with weights that are loaded of a model folder: PARTS in order."""
    files = []
    for part in PARTS:
        found = sorted((folder / part).glob("*.safetensors"))
        plain = [path for path in found if path.name in ("model.safetensors", "diffusion_pytorch_model.safetensors")]
        if not (plain or found):
            raise bad_model(name, f"{folder / part} has no .safetensors file")
        files += plain or found
    return files


def stamped(files: list[Path]) -> tuple[tuple[Path, int, int], ...]:
    """The files with the time of their last change and their size: what they hold has changed when this has."""
    return tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


@functools.lru_cache
def short_hash(files: tuple[tuple[Path, int, int], ...]) -> str:
    """The first 10 hex digits of the sha256 of the bytes of `stamped` files, one file after the other."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:10]


def load(name: str, folder: Path, device: str, ctx: Context) -> Checkpoint:
    """Load a model in float32 on a CPU and float16 elsewhere; looks at ctx for a cancel between its parts."""
    dtype = torch.float32 if device in ("cpu", "mps") else torch.float16
    # Tensor cores like their channels last; on a CPU in float32 that made the UNet 1.2 times slower.
    memory_format = torch.channels_last if device.startswith("cuda") else torch.contiguous_format

    def read(cls: type, part: str, **options: Any) -> Any:
        path = folder / part
        try:
            return cls.from_pretrained(path, local_files_only=True, **options)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the libraries raise nearly anything for a damaged file
            raise bad_model(name, f"{path} cannot be loaded: {error}") from error

    def part(cls: type, index: int, **dtype: torch.dtype) -> torch.nn.Module:
        ctx.raise_if_cancelled()
        ctx.progress(index, len(PARTS) + 1, "load")
        model = read(cls, PARTS[index], use_safetensors=True, **dtype)
        return model.to(device, memory_format=memory_format).eval().requires_grad_(False)

    clip = part(CLIPTextModel, 0, dtype=dtype)
    unet = part(UNet2DConditionModel, 1, torch_dtype=dtype)
    vae = part(AutoencoderKL, 2, torch_dtype=torch.float32)  # several published VAEs overflow in float16
    tokenizer = read(CLIPTokenizer, "tokenizer")
    # Of the scheduler only the table of alphas is used, which all of diffusers' schedulers make of the same keys.
    noise = read(DDIMScheduler, "scheduler")
    ctx.raise_if_cancelled()
    ctx.progress(len(PARTS), len(PARTS) + 1, "load")
    checkpoint = Checkpoint(name, short_hash(stamped(weight_files(name, folder))), (clip,), unet, vae, tokenizer, noise)
    with torch.inference_mode():
        checkpoint.previewer = previewer(checkpoint.autoencoder, ctx, device)
    return checkpoint


def made_variant(base: Checkpoint, networks: tuple[Network, ...], tiling: bool, ctx: Context) -> Checkpoint:
    (clip,) = base.clips
    unet, clip, hashes, warnings = apply(base.unet, clip, networks, ctx.models, ctx.raise_if_cancelled)
    for warning in warnings:
        ctx.log(warning)
    vae = tiled(base.vae) if tiling else base.vae
    return replace(base, unet=tiled(unet) if tiling else unet, clips=(clip,), vae=vae, networks=hashes)


def check(name: str, folder: Path) -> None:
    """Raise InvalidParams, naming the file, if `folder` is not a Stable Diffusion 1 or 2 text-to-image model."""
    if not folder.is_dir():
        raise bad_model(name, f"{folder} is a single file")
    configs = {}
    for path in ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"):
        try:
            configs[path] = json.loads((folder / path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise bad_model(name, f"{folder / path} cannot be read: {error}") from error
    unet, scheduler = configs["unet/config.json"], configs["scheduler/scheduler_config.json"]
    if unet.get("_class_name") != "UNet2DConditionModel" or unet.get("in_channels") not in (4, 8, 9):
        raise bad_model(name, f"{folder / 'unet/config.json'} is no UNet2DConditionModel with 4, 8 or 9 input channels")
    if unet.get("addition_embed_type") or (folder / "text_encoder_2").exists():
        raise bad_model(name, f"{folder} is a Stable Diffusion XL model")
    if (kind := scheduler.get("prediction_type", "epsilon")) not in PREDICTIONS:
        raise bad_model(name, f"{folder / 'scheduler/scheduler_config.json'} has the prediction_type {kind!r}")
    if not (folder / "tokenizer").is_dir():
        raise bad_model(name, f"{folder / 'tokenizer'} is missing")


def bad_model(name: str, why: str) -> InvalidParams:
    return InvalidParams(
        f"model {name!r} cannot be used: {why}.",
        field="model",
        hint="Give a folder of a Stable Diffusion 1 or 2 model in diffusers layout, with safetensors weights.",
    )
