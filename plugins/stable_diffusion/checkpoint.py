"""What a loaded model is made of."""

import importlib.util
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from core.plugin import Context, InvalidParams

from .autoencoder import Autoencoder
from .cache import Cache, bytes_of
from .compiling import Compiled
from .conditioning import TextEncoder, sizes
from .denoiser import Denoiser
from .hashes import short_hash, stamped
from .model_files import PARTS, Source, bad_model, files_of, has_vae, missing_part, opened, opened_vae
from .networks import Network, apply, places
from .pieces import PIECE, WHOLE
from .placement import DECODER_PEAK, UNET_PEAK, Need, Placement
from .previews import Previewer, TinyPreviewer, previewer
from .recall import Recall
from .settings import Settings
from .variants import tiling as tiled

ROWS = 2  # of the UNet that are there at least: with the prompt, and with the negative one
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
    placement: Placement
    frugal: torch.dtype | None = None  # in which the VAE computes when memory is low
    compiled: Compiled | None = None
    previewer: Previewer | TinyPreviewer | None = None
    networks: dict[str, str] = field(default_factory=dict)
    other_vae: tuple[str, str] | None = None
    recall: Recall = field(default_factory=Recall)  # of what the text encoders have read

    def __post_init__(self):
        place, noise = self.placement, self.noise
        self.text = TextEncoder(self.tokenizers, self.clips, place)
        self.denoiser = Denoiser(self.unet, noise.alphas_cumprod, noise.config.prediction_type, place, self.compiled)
        self.autoencoder = Autoencoder(self.vae, place, self.frugal)
        self.size = self.unet.config.sample_size * self.autoencoder.factor
        self.channels_shown = self.unet.config.in_channels - self.autoencoder.channels
        self.distilled = self.unet.config.time_cond_proj_dim is not None  # with guidance, which then takes one row
        self._sizes = sizes_of(self.unet, self.clips)

    def sizes(self, width: int, height: int, negative: bool) -> Tensor | None:
        """What a `Condition` says of the size that is drawn; None if this model is not told."""
        return sizes(self._sizes, width, height, negative).to(self.placement.device) if self._sizes else None

    def need(self, width: int, height: int, companions: Sequence[torch.nn.Module] = ()) -> Need:
        """What drawing pictures of this size takes, with ControlNets as companions of the UNet."""
        pixels, factor = width * height, self.autoencoder.factor
        row = self.unet.config.block_out_channels[0] * self.unet.dtype.itemsize * pixels // factor**2
        decoded = DECODER_PEAK * self.vae.config.block_out_channels[0]  # bytes of a pixel, but for the dtype
        return Need(
            id(self.noise),  # which variants have in common
            (bytes_of(self.clips), bytes_of([self.unet, *companions]), bytes_of([self.vae])),
            rows=int(UNET_PEAK * row * ROWS),
            decoding=int(decoded * self.vae.dtype.itemsize * min(pixels, WHOLE * factor**2)),
            tile=int(decoded * (self.frugal or self.vae.dtype).itemsize * min(pixels, (PIECE * factor) ** 2)),
        )

    def modules(self) -> Iterator[torch.nn.Module]:
        """Of all its networks, each with all modules in it."""
        for network in (*self.clips, self.unet, self.vae, *self.previewer.modules()):
            yield from network.modules()


class Checkpoints:
    """The models that are loaded on one device."""

    def __init__(self, placement: Placement, cache: Cache, settings: Settings):
        self._placement, self._cache, self._settings = placement, cache, settings

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
            return load(source, self._placement, self._settings, ctx, other)

        return self._cache.get(("checkpoint", name, files), loaded, name, size, ctx.raise_if_cancelled)

    def _with_vae(self, base: Checkpoint, path: Path, name: str, ctx: Context) -> Checkpoint:
        """The model at `path` with the VAE of that name; it shares all else."""
        vae_path = ctx.models.path("vae", name)
        key = "variant", weakref.ref(base), name, stamped(files_of(vae_path))

        def made() -> Checkpoint:
            source = opened_vae(name, vae_path, opened(base.name, path).architecture)
            vae = self._placement.settle(source.module("vae", base.vae.dtype))
            found = name, short_hash(stamped(source.files), ctx.models.folder)
            return shown(replace(base, vae=vae, other_vae=found), ctx)

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


def load(
    source: Source, placement: Placement, settings: Settings, ctx: Context, other: Source | None = None
) -> Checkpoint:
    """Load a model, with the VAE of another source if one is given; looks at ctx for a cancel between its parts."""
    half = placement.device.type not in ("cpu", "mps")
    dtype = getattr(torch, settings.dtype if settings.dtype != "auto" else "float16" if half else "float32")
    # Several published VAEs overflow in float16.
    vae_dtype = getattr(torch, settings.vae_dtype if settings.vae_dtype != "auto" else "float32")
    parts = [part for part in PARTS if part in source.parts or part == "vae"]
    if "vae" not in (other or source).parts:
        raise missing_part(source.name, source.path, "vae")

    def part(name: str, dtype: torch.dtype = dtype, source: Source = source) -> torch.nn.Module:
        ctx.raise_if_cancelled()
        ctx.progress(parts.index(name), len(parts) + 1, "load")
        return placement.settle(source.module(name, dtype, ctx.raise_if_cancelled))

    encoders = [name for name in parts if name.startswith("text_encoder")]
    clips = tuple(part(name) for name in encoders)
    tokenizers = tuple(source.tokenizer(name) for name in encoders)
    unet = part("unet")
    source.settle(unet, placement)
    vae = part("vae", vae_dtype, other or source)
    if settings.attention == "xformers":
        use_xformers(unet, vae)
    # Of the scheduler only the table of alphas is used, which all of diffusers' schedulers make of the same keys.
    try:
        noise = DDIMScheduler.from_config(source.configs["scheduler"])
        if noise.alphas_cumprod.shape != (noise.config.num_train_timesteps,):
            raise ValueError("its trained_betas are not a number for each of num_train_timesteps")
    except Exception as error:  # of values that do not fit, nearly any
        raise source.bad(f"{source.path}: its scheduler's configuration cannot be used: {error}") from error
    ctx.raise_if_cancelled()
    ctx.progress(len(parts), len(parts) + 1, "load")
    found = short_hash(stamped(source.files), ctx.models.folder, ctx.raise_if_cancelled)
    frugal = dtype if settings.vae_dtype == "auto" else None
    compiled = Compiled(placement.tell) if settings.compile else None
    checkpoint = Checkpoint(
        source.name, source.architecture, found, clips, unet, vae, tokenizers, noise, placement, frugal, compiled
    )
    if other:
        checkpoint.other_vae = other.name, short_hash(stamped(other.files), ctx.models.folder)
    return shown(checkpoint, ctx)


def shown(checkpoint: Checkpoint, ctx: Context) -> Checkpoint:
    """The same with what shows its latents."""
    try:
        with torch.inference_mode():
            checkpoint.previewer = previewer(checkpoint.autoencoder, ctx, str(checkpoint.placement.device))
    except FloatingPointError as error:
        raise bad_model(checkpoint.name, "its VAE answers with not-a-number, even in float32") from error
    return checkpoint


def use_xformers(*networks: torch.nn.Module) -> None:
    if importlib.util.find_spec("xformers") is None:
        raise InvalidParams(
            'attention = "xformers" is set for stable_diffusion, but xformers is not installed.',
            hint='Install it into the environment of the plugin, or set attention = "sdpa" in config.toml.',
        )
    for network in networks:
        network.enable_xformers_memory_efficient_attention()


def sizes_of(unet: UNet2DConditionModel, clips: tuple[CLIPTextModel, ...]) -> int:
    """How many sizes the UNet is told: 6 in Stable Diffusion XL, 5 in its refiner, otherwise 0."""
    if unet.config.addition_embed_type != "text_time":
        return 0
    all_numbers = unet.config.projection_class_embeddings_input_dim - clips[-1].config.projection_dim
    return all_numbers // unet.config.addition_time_embed_dim


def made_variant(base: Checkpoint, networks: tuple[Network, ...], tiling: bool, ctx: Context) -> Checkpoint:
    unet, clips, hashes, warnings = apply(
        base.unet, base.clips, networks, ctx.models, ctx.raise_if_cancelled, base.placement.device
    )
    for warning in warnings:
        ctx.log(warning)
    vae = tiled(base.vae) if tiling else base.vae
    recall = base.recall if clips == base.clips else Recall()
    return replace(base, unet=tiled(unet) if tiling else unet, clips=clips, vae=vae, networks=hashes, recall=recall)
