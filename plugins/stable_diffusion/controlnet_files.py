"""How a file or folder becomes a ControlNet that fits a UNet."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from core.library import weights
from core.plugin import InvalidParams

from . import original
from .model_files import OF_WIDTH, check_layers

# What a ControlNet has of the UNet that it was made from and shapes do not tell.
SHARED = (
    "flip_sin_to_cos", "freq_shift", "downsample_padding", "mid_block_scale_factor", "act_fn", "norm_num_groups",
    "norm_eps", "attention_head_dim", "num_attention_heads", "upcast_attention", "resnet_time_scale_shift",
    "addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim",
)  # fmt: skip
# What has to be the same in both.
FITTING = ("block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type")
# What is no ControlNet but may lie among them: the beginning of a name in the file, and what it is.
OTHERS = {
    "lora_controlnet": "a Control-LoRA",
    "task_embedding": "a ControlNet Union",
    "control_add_embedding": "a ControlNet Union",
    "lllite_": "a ControlNet-LLLite",
    "adapter.": "a T2I-Adapter",
    "body.": "a T2I-Adapter",
    "image_proj": "an IP-Adapter",
    "ip_adapter": "an IP-Adapter",
    "difference": "the difference of a ControlNet to a model",
    "model.diffusion_model.": "a checkpoint",
    "lora_unet": "a LoRA",
    "double_blocks.": "a network for Flux",
}
LABELS = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}


def matters(unet: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a UNet's config that a ControlNet for it depends on."""
    return {key: unet[key] for key in (*SHARED, *FITTING) if key in unet}


def load(name: str, path: Path, unet: UNet2DConditionModel) -> ControlNetModel:
    """The ControlNet in a file (original names or those of diffusers; .safetensors, or others of which no code is run)
    or folder (diffusers layout), on the CPU, in the dtype of the UNet.

    Raises InvalidParams, naming the file, for what is damaged, no ControlNet, or made for another kind of model."""
    if path.is_dir():
        config = _config(name, path)
        tensors = {key: tensor for file in weights_of(name, path) for key, tensor in _read(name, file).items()}
        _check_kind(name, path, tensors)
    else:
        tensors = _converted(name, path, _read(name, path))
        try:
            config = inferred(tensors, unet.config)
        except (ValueError, IndexError) as error:
            raise bad_net(name, f"{path} does not have the weights of a ControlNet: {error}") from error
    _check_fit(name, path, config, unet.config)
    try:
        with torch.device("meta"):
            net = ControlNetModel.from_config(config)
        # Copies: the file may change afterwards.
        net.load_state_dict({key: tensor.to(unet.dtype, copy=True) for key, tensor in tensors.items()}, assign=True)
    except Exception as error:  # the libraries raise nearly anything for what does not fit
        why = re.sub(r"\s+", " ", str(error))[:300]
        raise bad_net(name, f"{path} does not have the weights of a ControlNet: {why}") from error
    return net.eval().requires_grad_(False)


def _config(name: str, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
        kind = config["_class_name"]
        check_layers(path, config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_net(name, f"{path} cannot be read: {error}") from error
    if kind != "ControlNetModel":
        raise bad_net(name, f"{folder} is a {str(kind)[:100]}, not a ControlNetModel")
    return config


def weights_of(name: str, path: Path) -> list[Path]:
    """The files with its weights; of a folder whole ones before parts, safetensors before others, full before half."""
    if not path.is_dir():
        return [path]
    for pattern in (
        "diffusion_pytorch_model.safetensors", "*-of-?????.safetensors", "*.safetensors",
        "diffusion_pytorch_model.bin", "*.bin",
    ):  # fmt: skip
        if found := sorted(path.glob(pattern)):
            return found if "-of-" in pattern else found[:1]
    raise bad_net(name, f"{path} has no file diffusion_pytorch_model.safetensors or .bin")


def _read(name: str, path: Path) -> dict[str, Tensor]:
    try:
        state = weights.read(path)
    except InvalidParams as error:
        raise bad_net(name, f"{path}: {error}") from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else {}
    return {key: tensor for key, tensor in state.items() if isinstance(tensor, Tensor)}


def _converted(name: str, path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by diffusers' names."""
    if any(key.startswith("control_model.") for key in state):  # beside it may be the checkpoint that it was made from
        pairs = [(key.removeprefix("control_model."), tensor) for key, tensor in state.items()]
        state = {key: tensor for key, tensor in pairs if key not in state}
    _check_kind(name, path, state)
    if "controlnet_mid_block.weight" in state:
        return state
    if not {"input_hint_block.0.weight", "time_embed.0.weight", "middle_block_out.0.weight"} <= state.keys():
        raise bad_net(name, f"{path} is not a ControlNet: it has no middle_block_out or controlnet_mid_block")
    layers = re.compile(r"input_blocks\.(\d+)\.0\.op\.weight")
    ends = sorted(int(found[1]) for found in map(layers.fullmatch, state) if found)  # of each block but the last
    converted = convert_controlnet_checkpoint(state, {"layers_per_block": ends[0] - 1 if ends else 2})
    for ours, theirs in LABELS.items():
        for part in ("weight", "bias"):
            if f"{theirs}.{part}" in state:
                converted[f"{ours}.{part}"] = state[f"{theirs}.{part}"]
    return {key: tensor for key, tensor in converted.items() if tensor is not None}


def _check_kind(name: str, path: Path, tensors: Mapping[str, Tensor]) -> None:
    for start, what in OTHERS.items():
        if any(key.startswith(start) for key in tensors):
            raise bad_net(name, f"{path} is {what}, not a ControlNet")


def inferred(tensors: Mapping[str, Tensor], unet: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a ControlNet with these weights, by their shapes; what these do not tell is as in the `unet`'s."""

    count = functools.partial(original.count, tensors)

    def width(key: str, axis: int = 0) -> int | None:
        return tensors[key].shape[axis] if key in tensors else None

    blocks = range(count(r"down_blocks\.(\d+)\."))
    attends = [f"down_blocks.{k}.attentions.0.proj_in.weight" in tensors for k in blocks]
    depths = [count(rf"down_blocks\.{k}\.attentions\.0\.transformer_blocks\.(\d+)\.") for k in blocks]
    hint = ["conv_in", *(f"blocks.{k}" for k in range(1, count(r"controlnet_cond_embedding\.blocks\.(\d+)\."), 2))]
    context = [key for key in tensors if key.endswith("attn2.to_k.weight")]
    mid = count(r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")
    linear = [tensors[key].ndim == 2 for key in tensors if key.endswith("attentions.0.proj_in.weight")]
    config = {key: unet[key] for key in SHARED if key in unet}
    return config | {
        "in_channels": width("conv_in.weight", 1),
        "conditioning_channels": width("controlnet_cond_embedding.conv_in.weight", 1),
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if mid else "UNetMidBlock2D",
        "block_out_channels": [width(f"down_blocks.{k}.resnets.0.conv2.weight") for k in blocks],
        "layers_per_block": count(r"down_blocks\.0\.resnets\.(\d+)\."),
        # The block in the middle has as many as the last one; those of a block that does not attend do not matter.
        "transformer_layers_per_block": [depth or 1 for depth in [*depths[:-1], depths[-1] or mid]] if depths else 1,
        "cross_attention_dim": width(context[0], 1) if context else unet["cross_attention_dim"],
        "use_linear_projection": any(linear),
        "conditioning_embedding_out_channels": [width(f"controlnet_cond_embedding.{each}.weight") for each in hint],
    }


def _check_fit(name: str, path: Path, net: Mapping[str, Any], unet: Mapping[str, Any]) -> None:
    for key in FITTING:
        theirs, ours = _plain(net.get(key)), _plain(unet.get(key))
        if theirs != ours:
            made_for, used_with = (OF_WIDTH.get(each["cross_attention_dim"]) for each in (net, unet))
            kinds = f" It is for {made_for}, the model is {used_with}." if made_for and made_for != used_with else ""
            raise InvalidParams(
                f"controlnet {name!r} is for another kind of model: {path} has the {key} {theirs}, the model has "
                f"{ours}.{kinds}",
                field="controlnets",
                hint="Choose one that was made for this kind of model, or another model.",
            )


def _plain(value: Any) -> Any:
    return [*value] if isinstance(value, (list, tuple)) else value


def bad_net(name: str, why: str) -> InvalidParams:
    return InvalidParams(
        f"controlnet {name!r} cannot be used: {why.rstrip('.')}.",
        field="controlnets",
        hint="Give a ControlNet for Stable Diffusion 1, 2 or XL: a .safetensors or .pth file, or a folder in diffusers "
        "layout.",
    )
