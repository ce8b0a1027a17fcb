"""Which tensors of a LoRA file belong to which layer of a model, whatever its trainer called them."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from core.library.weights import bad_file, read
from core.plugin import InvalidParams

from . import lycoris, original
from .model_files import OF_WIDTH
from .variants import Delta

# kohya and LyCORIS: LAYER.lora_down.weight, LAYER.hada_w1_a, LAYER.diff, ...; PEFT: LAYER.lora_A.weight;
# diffusers: LAYER.lora.down.weight, LAYER_lora.down.weight, LAYER.lora_linear_layer.down.weight.
KEY = re.compile(
    r"(?P<layer>.+?)(?:"
    r"[._]lora(?:_linear_layer)?[._](?P<lora>down|up|mid|A|B|magnitude_vector)(?:\.default)?(?:\.weight)?"
    r"|(?:[._]lora)?\.(?P<other>alpha|dora_scale|hada_[wt]\d(?:_[ab])?|lokr_[wt]\d(?:_[ab])?|diff(?:_b)?|[wb]_norm"
    r"|weight|on_input))"
)
LAYER = re.compile(
    r"(?:base_model_model_|lora_|lycoris_)*"
    r"(?:(?P<unet>unet)_|(?P<text>te|text_encoder)_?(?P<number>1|2)?_)?(?P<name>.*)",
    re.DOTALL,
)
SAME = {"A": "down", "B": "up", "magnitude_vector": "dora_scale", "w_norm": "diff", "b_norm": "diff_b"}

Layers = dict[str, dict[str, Tensor]]  # names of modules, and their tensors by the names that lycoris.py uses


def load(
    path: Path, unet: UNet2DConditionModel, clips: Sequence[CLIPTextModel], warnings: list[str]
) -> list[dict[str, Delta]]:
    """What the file adds to the parameters of the UNet and of each text encoder, by their names, at full strength.

    A number of tensors that belong to no layer of the model is told in `warnings`. Raises InvalidParams, naming the
    first such tensors, if the file is damaged, of an unknown kind, or for another architecture."""
    data = read(path)
    if isinstance(data, dict) and isinstance(data.get("state_dict"), dict):
        data = data["state_dict"]
    items = data.items() if isinstance(data, dict) else ()
    tensors = {key: tensor for key, tensor in items if isinstance(key, str) and isinstance(tensor, Tensor)}
    layers, strays = by_layer(path, tensors, unet, clips)
    made_for = other_architecture(tensors, unet)
    if not any(layers):
        examples = f", for example {strays[0]!r}" if strays else ""
        why = f"none of its {len(tensors)} tensors belongs to this model{examples}{made_for}"
        raise bad_file(path, why, OTHER_MODEL)
    if strays:
        warnings.append(
            f"{path.name}: {len(strays)} of {len(tensors)} tensors were left out, as they belong to no layer of this "
            f"model, for example {strays[0]!r}"
        )
    return [deltas(path, module, of, made_for) for module, of in zip((unet, *clips), layers, strict=True)]


OTHER_MODEL = "It may be for another architecture (Stable Diffusion 1, 2, XL, ...) than the model: change either."
READS_TEXT = re.compile(r".*attn2[._]to_[kv].*(lora[._]down|lora_A|lora[._]linear_layer[._]down|hada_w1_b)\b.*")
OTHERS = re.compile(r".*(double_blocks|joint_blocks|single_transformer_blocks|^transformer[._])")


def other_architecture(tensors: dict[str, Tensor], unet: UNet2DConditionModel) -> str:
    """What of another architecture than the UNet's the file is for, as the end of a sentence; empty if it is for the
    same, or if that cannot be told."""
    if any(OTHERS.match(key) for key in tensors):
        theirs = "no Stable Diffusion 1, 2 or XL (but FLUX, Stable Diffusion 3 or the like)"
    else:
        widths = (tensor.shape[1] for key, tensor in tensors.items() if tensor.ndim > 1 and READS_TEXT.match(key))
        theirs = OF_WIDTH.get(next(widths, None))
    ours = OF_WIDTH.get(unet.config.cross_attention_dim, "another")
    return f"; it is for {theirs}, and the model is {ours}" if theirs not in (None, ours) else ""


def by_layer(
    path: Path, tensors: dict[str, Tensor], unet: nn.Module, clips: Sequence[nn.Module]
) -> tuple[list[Layers], list[str]]:
    """The tensors of the UNet and of each text encoder, and the keys of those that belong to none."""
    unet_names, clip_names = names_in_unet(unet), {number_of(clip): names_in_clip(clip) for clip in clips}
    of_unet, of_clips = defaultdict(dict), {number: defaultdict(dict) for number in clip_names}
    strays, unknown = [], []

    def place(text: str) -> tuple[Layers, str] | None:
        match = LAYER.fullmatch(text.replace(".processor", "").replace(".", "_"))
        name, number = match["name"], match["number"] or "1"
        if not match["text"] and name in unet_names:
            return of_unet, unet_names[name]
        names = {} if match["unet"] else clip_names.get(number, {})
        return (of_clips[number], names[name]) if name in names else None

    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        found = place(match["layer"]) if match else None
        if found:
            (of, name), part = found, match["lora"] or match["other"]
            of[name][SAME.get(part, part)] = tensor.flatten() if part == "magnitude_vector" else tensor
        elif any(place(key[: dot.start()]) for dot in re.finditer(r"(?<=.)\.", key)):
            unknown.append(key)
        else:
            strays.append(key)
    if unknown:
        raise unknown_kind(path, unknown)
    return [of_unet, *of_clips.values()], strays


def number_of(clip: nn.Module) -> str:
    """Which text encoder trainers call it: the second one of Stable Diffusion XL is also its refiner's only one."""
    return "2" if isinstance(clip, CLIPTextModelWithProjection) else "1"


def unknown_kind(path: Path, keys: list[str]) -> InvalidParams:
    return bad_file(
        path,
        f"it is of an unknown kind, with {', '.join(map(repr, keys[:3]))}{' and others' if keys[3:] else ''}",
        "Known are LoRA, LoCon, LoHa, LoKr, (IA)^3, full differences, and these with DoRA.",
    )


def deltas(path: Path, module: nn.Module, layers: Layers, made_for: str) -> dict[str, Delta]:
    """The deltas of a model's parameters by their names; all shapes are looked at, nothing is computed yet. `made_for`
    is what `other_architecture` says."""
    found: dict[str, Delta] = {}
    for name, tensors in layers.items():
        if "diff_b" in tensors:
            found[f"{name}.bias"] = bias_delta(tensors.pop("diff_b"))
        if tensors.keys() - {"alpha"}:
            if not lycoris.kind_of(tensors.keys()):
                raise unknown_kind(path, [f"{name}: {', '.join(sorted(tensors))}"])
            found[f"{name}.weight"] = layer_delta(tensors)
    parameters = dict(module.named_parameters())
    for name, delta in found.items():
        shape = parameters[name].shape if name in parameters else ()
        try:
            delta(torch.empty(shape, device="meta"))
        except (RuntimeError, ValueError, IndexError) as error:
            why = f"its {name} does not fit the model's, which is {tuple(shape)}{made_for}"
            raise bad_file(path, why, OTHER_MODEL) from error
    return found


def layer_delta(tensors: dict[str, Tensor]) -> Delta:
    return lambda W: lycoris.delta(tensors, W)


def bias_delta(diff: Tensor) -> Delta:
    return lambda b: diff.to(b).reshape(b.shape)


def names_in_unet(unet: nn.Module) -> dict[str, str]:
    """Names that files use, with underscores, and the layers' names: those of diffusers and those of the original."""
    layers = layers_of(unet)
    names = {name.replace(".", "_"): name for name in layers}
    names |= {name.replace(".", "_").removesuffix("_0"): name for name in layers if name.endswith(".to_out.0")}
    theirs = original.names("unet", [f"{name}.weight" for name in layers])
    names |= {theirs[f"{name}.weight"].removesuffix(".weight").replace(".", "_"): name for name in layers}
    return names


def layers_of(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_modules() if isinstance(getattr(part, "weight", None), nn.Parameter)]


def names_in_clip(clip: nn.Module) -> dict[str, str]:
    """As `names_in_unet`. Whether names begin with text_model depends on the version of transformers."""
    names = {}
    for name in layers_of(clip):
        bare = name.removeprefix("text_model.").replace(".", "_")
        # diffusers once wrote to_q_lora for the lora of q_proj
        for alias in (bare, re.sub(r"self_attn_(\w+)_proj$", r"self_attn_to_\1", bare)):
            names |= {alias: name, f"text_model_{alias}": name}
    return names
