"""How pictures become a part of the prompt: IP-Adapters, and the networks that read pictures for them."""

import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0, IPAdapterXFormersAttnProcessor
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from core.library import weights
from core.plugin import Context, InvalidParams, ModelNotFound

from .cache import Cache
from .checkpoint import Checkpoint
from .hashes import short_hash, stamped
from .model_files import check_layers
from .options import Referring
from .resizing import flattened
from .variants import variant

FOLDER, READERS = "ip_adapter", "clip_vision"  # of models


class Reference:
    """The pictures of a job that are a part of its prompt, and the IP-Adapter that tells the UNet of them.

    Ye et al. (2023), IP-Adapter. The adapter of a model is a variant of it: pictures of jobs with the same adapter and
    weight are drawn together, with different pictures too."""

    def __init__(
        self, params: Referring, pictures: Sequence[PIL.Image.Image], base: Checkpoint, cache: Cache, ctx: Context
    ):
        name = params.ip_adapter
        if bool(name) != bool(pictures):
            raise InvalidParams(
                "reference: an IP-Adapter needs a picture, and a picture an IP-Adapter; only one of both is given.",
                field="reference" if name else "ip_adapter",
                hint="Give pictures as reference and choose their ip_adapter, or neither.",
            )
        self.name, self._params, self._cache, self._ctx = name, params, cache, ctx
        self._path = ctx.models.path(FOLDER, name)
        self.hash = short_hash(stamped([self._path]), ctx.models.folder)
        self._pictures = [flattened(picture) for picture in pictures]
        adapted = self.adapted(base).unet
        self._whole = isinstance(adapted.encoder_hid_proj.image_projection_layers[0], ImageProjection)
        self._placement = base.placement
        self._reader = base.placement.settle(reader(name, adapted, self._whole, cache, ctx))
        self._read: tuple[Tensor, Tensor] | None = None

    def acts(self, share: float) -> bool:
        return self._params.ip_adapter_start <= share <= self._params.ip_adapter_end

    def adapted(self, base: Checkpoint) -> Checkpoint:
        """A model with the adapter, which shares all else with it. Raises InvalidParams if it does not fit."""
        key = "variant", weakref.ref(base), FOLDER, stamped([self._path])
        check = self._ctx.raise_if_cancelled
        with_it = self._cache.get(
            key, lambda: replace(base, unet=attached(self.name, self._path, base.unet)), base.name, check=check
        )
        key = "variant", weakref.ref(base), FOLDER, weakref.ref(with_it), self._params.ip_adapter_weight
        return self._cache.get(
            key,
            lambda: replace(with_it, unet=scaled(with_it.unet, self._params.ip_adapter_weight)),
            base.name,
            check=check,
        )

    def told(self, negative: bool) -> Tensor:
        """What a `Condition` says of the pictures, (1, pictures, ...); of none for the negative prompt. To be called
        where the device may be used."""
        if self._read is None:
            self._read = self._seen()
        return self._read[negative]

    def _seen(self) -> tuple[Tensor, Tensor]:
        side = self._reader.config.image_size
        prepare = CLIPImageProcessor(size=side, crop_size=side)
        pixels = prepare(self._pictures, return_tensors="pt").pixel_values
        pixels = pixels.to(self._placement.device, self._reader.dtype)
        with self._placement.present(self._reader) as (reader,):
            if self._whole:
                read = reader(pixels).image_embeds[None]
                return read, torch.zeros_like(read)
            both = torch.cat([pixels, torch.zeros_like(pixels)])
            read, nothing = reader(both, output_hidden_states=True).hidden_states[-2].chunk(2)
            return read[None], nothing[None]


def attached(name: str, path: Path, unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy of a UNet, sharing all tensors, with an IP-Adapter: its attentions see pictures beside the text.

    Raises InvalidParams, naming the file, for what is damaged, no IP-Adapter, or made for another kind of model."""
    state = _state(name, path)
    ours, theirs = (
        unet.config.cross_attention_dim,
        {
            tensor.shape[1] if isinstance(tensor, Tensor) and tensor.ndim == 2 else 0
            for key, tensor in state["ip_adapter"].items()
            if str(key).endswith("to_k_ip.weight")
        },
    )
    if theirs != {ours}:
        raise bad_adapter(name, f"{path} is for contexts of width {', '.join(map(str, theirs))}, this model has {ours}")
    unet = variant(unet, {})
    try:
        processors = unet._convert_ip_adapter_attn_to_diffusers([state], low_cpu_mem_usage=False)
        projection = unet._convert_ip_adapter_image_proj_to_diffusers(state["image_proj"], low_cpu_mem_usage=False)
    except Exception as error:  # diffusers raises nearly anything for what does not fit
        raise bad_adapter(name, f"{path} does not fit this model: {' '.join(str(error).split())[:300]}") from error
    unet.set_attn_processor(processors)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([projection])
    unet.config.encoder_hid_dim_type = "ip_image_proj"
    for module in (*unet.attn_processors.values(), unet.encoder_hid_proj):  # `processors` is empty by now
        if isinstance(module, nn.Module):
            module.to(unet.device, unet.dtype).eval().requires_grad_(False)
    return unet


def scaled(unet: UNet2DConditionModel, weight: float) -> UNet2DConditionModel:
    """The same UNet, in which the pictures count `weight` times as much."""
    unet = variant(unet, {})
    for processor in unet.attn_processors.values():
        if isinstance(processor, (IPAdapterAttnProcessor2_0, IPAdapterXFormersAttnProcessor)):
            processor.scale = [weight]
    return unet


def _state(name: str, path: Path) -> dict[str, dict[str, Tensor]]:
    """{"image_proj": ..., "ip_adapter": ...}, as the published files have it."""
    try:
        found = weights.read(path)
    except InvalidParams as error:
        raise bad_adapter(name, f"{path}: {error}") from error
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in found.items() if isinstance(found, Mapping) else ():
        part, _, rest = str(key).partition(".")
        if part in state:
            state[part] |= value if isinstance(value, Mapping) else {rest: value}
    if not (state["image_proj"] and state["ip_adapter"]):
        raise bad_adapter(name, f"{path} is no IP-Adapter: it has no image_proj and ip_adapter")
    faces = (
        "perceiver_resampler.proj_in.weight" in state["image_proj"]
        or "norm.weight" in state["image_proj"]
        and ("latents" not in state["image_proj"] and "proj.weight" not in state["image_proj"])
    )
    if faces or any("_lora." in key for key in state["ip_adapter"]):
        raise bad_adapter(name, f"{path} is a FaceID adapter, which needs InsightFace to recognise faces")
    return state


def reader(
    name: str, unet: UNet2DConditionModel, whole: bool, cache: Cache, ctx: Context
) -> CLIPVisionModelWithProjection:
    """The network that reads pictures for the adapter of `unet`: the first one in models/clip_vision that says of the
    `whole` picture, or of its parts, as many numbers as the adapter takes. Raises ModelNotFound if there is none."""
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    width = next(part.in_features for part in projection.modules() if isinstance(part, nn.Linear))
    wanted = "projection_dim" if whole else "hidden_size"
    fits = (
        (entry, path)
        for entry, path in sorted(ctx.models.entries(READERS).items())
        if path.is_dir() and _config(path).get(wanted) == width
    )
    if found := next(fits, None):
        files = stamped(sorted(each for each in found[1].iterdir() if each.is_file()))
        key = READERS, files, unet.dtype
        kept_as, check = f"{READERS}/{found[0]}", ctx.raise_if_cancelled
        return cache.get(key, lambda: _loaded(found[1], unet), kept_as, check=check)
    raise ModelNotFound(
        f"ip_adapter {name!r} needs a network that reads pictures, with the {wanted} {width}, and there is none in "
        f"{ctx.models.folder / READERS}.",
        field="ip_adapter",
        hint="Put the folder image_encoder that is published beside the adapter there, under any name: its config.json "
        "and model.safetensors.",
    )


def _config(folder: Path) -> dict[str, Any]:
    """Empty for what is not a reader of pictures."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config = config.get("vision_config") or config if "clip" in config.get("model_type", "") else {}
        check_layers(folder, config)
        return config
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _loaded(path: Path, unet: UNet2DConditionModel) -> CLIPVisionModelWithProjection:
    try:
        model = CLIPVisionModelWithProjection.from_pretrained(path, local_files_only=True, dtype=unet.dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # transformers raises nearly anything for a damaged file
        raise InvalidParams(
            f"{path} cannot be loaded as a network that reads pictures: {' '.join(str(error).split())[:300]}",
            field="ip_adapter",
            hint="Fetch the folder image_encoder of the IP-Adapter again.",
        ) from error
    return model.eval().requires_grad_(False)


def bad_adapter(name: str, why: str) -> InvalidParams:
    return InvalidParams(
        f"ip_adapter {name!r} cannot be used: {why.rstrip('.')}.",
        field="ip_adapter",
        hint="Give an IP-Adapter (plain, plus or full face) for this kind of model, as .safetensors or .bin.",
    )
