"""What a loaded model is made of."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from core.plugin import Context

from .autoencoder import Autoencoder
from .cache import Cache
from .conditioning import TextEncoder, sizes
from .denoiser import Denoiser
from .hashes import short_hash, stamped
from .model_files import PARTS, Source, files_of, has_vae, missing_part, opened, opened_vae
from .networks import Network, apply, places
from .previews import Previewer, TinyPreviewer, previewer
from .recall import Recall
from .variants import tiling as tiled

transformers_logging.disable_progress_bar()


@dataclass(eq=False)
class Checkpoint:
    """A loaded model. `architecture` is that of its `Source`; `hash` A1111's short form, 10 hex digits; `clips` its
    text encoders and `tokenizers` theirs; `size` the side that it draws best, in pixels; `networks` the hashes, by
    name, of what was added to it; `other_vae` name and hash of its VAE if that is not its own."""

    name: str
    architecture: str
    hash: str
    clips: tuple[CLIPTextModel, ...]
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    tokenizers: tuple[CLIPTokenizer, ...]
    noise: DDIMScheduler
    previewer: Previewer | TinyPreviewer | None = None
    networks: dict[str, str] = field(default_factory=dict)
    other_vae: tuple[str, str] | None = None
    recall: Recall = field(default_factory=Recall)  # of what the text encoders have read

    def __post_init__(self):
        self.text = TextEncoder(self.tokenizers, self.clips)
        self.denoiser = Denoiser(self.unet, self.noise.alphas_cumprod, self.noise.config.prediction_type)
        self.autoencoder = Autoencoder(self.vae)
        self.size = self.unet.config.sample_size * self.autoencoder.factor
        self.channels_shown = self.unet.config.in_channels - self.autoencoder.channels
        self.distilled = self.unet.config.time_cond_proj_dim is not None  # with guidance, which then takes one row
        self._sizes = sizes_of(self.unet, self.clips)

    def sizes(self, width: int, height: int, negative: bool) -> Tensor | None:
        """What a `Condition` says of the size that is drawn; None if this model is not told."""
        return sizes(self._sizes, width, height, negative).to(self.unet.device) if self._sizes else None

    def modules(self) -> Iterator[torch.nn.Module]:
        """Of all its networks, each with all modules in it."""
        for network in (*self.clips, self.unet, self.vae, *self.previewer.modules()):
            yield from network.modules()


class Checkpoints:
    """The models that are loaded on one device."""

    def __init__(self, device: str, cache: Cache):
        self._device, self._cache = device, cache

    def get(self, name: str, ctx: Context, vae: str = "") -> Checkpoint:
        """The model of that name, by default with its own VAE, loaded if need be. Its files are looked at each time:
        changed ones are loaded anew.

        Raises ModelNotFound, InvalidParams naming the file that is wrong, or Cancelled."""
        path = ctx.models.path("checkpoint", name)
        if vae and has_vae(name, path):
            return self._with_vae(self.get(name, ctx), path, vae, ctx)
        ctx.progress(0, len(PARTS) + 1, "load")
        vae_path = ctx.models.path("vae", vae) if vae else None
        files = stamped(files_of(path) + (files_of(vae_path) if vae_path else []))
        size = sum(size for _, _, size in files)

        def loaded() -> Checkpoint:
            source = opened(name, path)
            self._cache.unload(name)  # as it was before its files changed
            other = opened_vae(vae, vae_path, source.architecture) if vae_path else None
            return load(source, self._device, ctx, other)

        return self._cache.get(("checkpoint", name, files), loaded, name, size, ctx.raise_if_cancelled)

    def _with_vae(self, base: Checkpoint, path: Path, name: str, ctx: Context) -> Checkpoint:
        """The model at `path` with the VAE of that name; it shares all else."""
        vae_path = ctx.models.path("vae", name)
        key = "variant", weakref.ref(base), name, stamped(files_of(vae_path))

        def made() -> Checkpoint:
            source = opened_vae(name, vae_path, opened(base.name, path).architecture)
            vae = source.module("vae", base.vae.dtype).to(base.vae.device)
            found = name, short_hash(stamped(source.files), ctx.models.folder)
            return shown(replace(base, vae=vae, other_vae=found), self._device, ctx)

        return self._cache.get(key, made, base.name, check=ctx.raise_if_cancelled)

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


def load(source: Source, device: str, ctx: Context, other: Source | None = None) -> Checkpoint:
    """Load a model in float32 on a CPU and float16 elsewhere, with the VAE of another source if one is given; looks at
    ctx for a cancel between its parts."""
    dtype = torch.float32 if device in ("cpu", "mps") else torch.float16
    # Tensor cores like their channels last; on a CPU in float32 that made the UNet 1.2 times slower.
    memory_format = torch.channels_last if device.startswith("cuda") else torch.contiguous_format
    parts = [part for part in PARTS if part in source.parts or part == "vae"]
    if "vae" not in (other or source).parts:
        raise missing_part(source.name, source.path, "vae")

    def part(name: str, dtype: torch.dtype = dtype, source: Source = source) -> torch.nn.Module:
        ctx.raise_if_cancelled()
        ctx.progress(parts.index(name), len(parts) + 1, "load")
        return source.module(name, dtype, ctx.raise_if_cancelled).to(device, memory_format=memory_format)

    encoders = [name for name in parts if name.startswith("text_encoder")]
    clips = tuple(part(name) for name in encoders)
    tokenizers = tuple(source.tokenizer(name) for name in encoders)
    unet = part("unet")
    source.settle(unet)
    vae = part("vae", torch.float32, other or source)  # several published VAEs overflow in float16
    # Of the scheduler only the table of alphas is used, which all of diffusers' schedulers make of the same keys.
    try:
        noise = DDIMScheduler.from_config(source.configs["scheduler"])
    except Exception as error:  # of values that do not fit, nearly any
        raise source.bad(f"{source.path}: its scheduler's configuration cannot be used: {error}") from error
    ctx.raise_if_cancelled()
    ctx.progress(len(parts), len(parts) + 1, "load")
    found = short_hash(stamped(source.files), ctx.models.folder, ctx.raise_if_cancelled)
    checkpoint = Checkpoint(source.name, source.architecture, found, clips, unet, vae, tokenizers, noise)
    if other:
        checkpoint.other_vae = other.name, short_hash(stamped(other.files), ctx.models.folder)
    return shown(checkpoint, device, ctx)


def shown(checkpoint: Checkpoint, device: str, ctx: Context) -> Checkpoint:
    """The same with what shows its latents."""
    with torch.inference_mode():
        checkpoint.previewer = previewer(checkpoint.autoencoder, ctx, device)
    return checkpoint


def sizes_of(unet: UNet2DConditionModel, clips: tuple[CLIPTextModel, ...]) -> int:
    """How many sizes the UNet is told: 6 in Stable Diffusion XL, 5 in its refiner, otherwise 0."""
    if unet.config.addition_embed_type != "text_time":
        return 0
    all_numbers = unet.config.projection_class_embeddings_input_dim - clips[-1].config.projection_dim
    return all_numbers // unet.config.addition_time_embed_dim


def made_variant(base: Checkpoint, networks: tuple[Network, ...], tiling: bool, ctx: Context) -> Checkpoint:
    unet, clips, hashes, warnings = apply(base.unet, base.clips, networks, ctx.models, ctx.raise_if_cancelled)
    for warning in warnings:
        ctx.log(warning)
    vae = tiled(base.vae) if tiling else base.vae
    recall = base.recall if clips == base.clips else Recall()
    return replace(base, unet=tiled(unet) if tiling else unet, clips=clips, vae=vae, networks=hashes, recall=recall)
