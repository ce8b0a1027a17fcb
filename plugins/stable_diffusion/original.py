"""How the original layout of one file names and shapes a model's tensors, and what its shapes tell. Light at import.

It is the layout of CompVis' and Stability's code, in which nearly all published files are. Names on our side are those
of diffusers' and transformers' modules; `names` leads from them to the file's, for reading and for writing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

UNET, EMA, VAE = "model.diffusion_model.", "model_ema.diffusion_model", "first_stage_model."
# Where text encoders are: in Stable Diffusion 1 and 2, and in SDXL, its refiner and SD-Turbo.
CONDITIONERS = ("cond_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1.")
HUGGING_FACE, OPEN_CLIP = "transformer.text_model.", "model."  # then follow the names of one of these
# Where a file is to have each part, by architecture: what its names begin with, and whose they are.
PLACES = {
    architecture: {"unet": (UNET, ""), "vae": (VAE, "")} | {part: (at + kind, kind) for part, at, kind in texts}
    for architecture, texts in {
        "sd1": [("text_encoder", CONDITIONERS[0], HUGGING_FACE)],
        "sd2": [("text_encoder", CONDITIONERS[0], OPEN_CLIP)],
        "sdxl": [
            ("text_encoder", CONDITIONERS[1], HUGGING_FACE),
            ("text_encoder_2", CONDITIONERS[2], OPEN_CLIP),
        ],
        "sdxl-refiner": [("text_encoder_2", CONDITIONERS[1], OPEN_CLIP)],
    }.items()
}
# By which latents are multiplied, so that they have a standard deviation of about 1.
SCALING = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025, "sdxl-refiner": 0.13025}
LAYERS = 200  # more than this in one place, no model has
# What shapes do not tell, of each part's configuration.
UNTOLD = {
    "unet": ("sample_size", "attention_head_dim", "num_attention_heads", "norm_num_groups", "norm_eps",
             "upcast_attention", "addition_time_embed_dim"),
    "vae": ("sample_size", "norm_num_groups", "scaling_factor"),
    "text_encoder": ("num_attention_heads", "hidden_act", "layer_norm_eps", "bos_token_id", "eos_token_id",
                     "pad_token_id"),
}  # fmt: skip
UNTOLD["text_encoder_2"] = UNTOLD["text_encoder"]
Shapes = Mapping[str, tuple[int, ...]]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_AROUND = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_OPEN_CLIP = (
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm.", "ln_final."),
    ("text_projection.weight", "text_projection"),
    ("encoder.layers.", "transformer.resblocks."),
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
    ("self_attn.out_proj.", "attn.out_proj."),
)
_VAE = (
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
    ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
    ("mid_block.attentions.0.to_q", "mid.attn_1.q"),
    ("mid_block.attentions.0.to_k", "mid.attn_1.k"),
    ("mid_block.attentions.0.to_v", "mid.attn_1.v"),
    ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
    ("mid_block.resnets.0", "mid.block_1"),
    ("mid_block.resnets.1", "mid.block_2"),
    ("downsamplers.0", "downsample"),
    ("upsamplers.0", "upsample"),
)


def names(part: str, ours: Iterable[str], kind: str = "") -> dict[str, str]:
    """Where in the file each tensor of a part is. Of OpenCLIP, three of ours are in one: query, key and value.

    `part`: unet, vae, text_encoder, text_encoder_2; `ours`: the names in the module; `kind`: HUGGING_FACE or OPEN_CLIP
    of text encoders. What the names of a part begin with is left out, see PLACES."""
    ours = list(ours)
    if part == "unet":
        name = _unet_names(ours)
    elif part == "vae":
        name = _vae_names(ours)
    else:
        name = _open_clip if kind == OPEN_CLIP else plain
    return {each: name(each) for each in ours}


def plain(name: str) -> str:
    """The name in a text encoder, of which those with a projection have one module more around the others."""
    return name.removeprefix("text_model.")


def _unet_names(ours: list[str]) -> Callable[[str], str]:
    blocks = [re.match(r"(\w+_blocks\.\d+)\.(resnets|attentions)\.(\d+)", name) for name in ours]
    layers = 1 + max(int(match[3]) for match in blocks if match and match[1] == "down_blocks.0")
    attending = {match[1] for match in blocks if match and match[2] == "attentions"}

    def name(ours: str) -> str:
        if match := re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", ours):
            way, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
            if kind == "downsamplers":
                return f"input_blocks.{(block + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
            if kind == "upsamplers":
                place = 2 if f"up_blocks.{block}" in attending else 1
                return f"output_blocks.{block * (layers + 1) + layers}.{place}.{rest}"
            at = block * (layers + 1) + index + (way == "down")
            kinds = {"resnets": 0, "attentions": 1}
            return f"{'in' if way == 'down' else 'out'}put_blocks.{at}.{kinds[kind]}.{_resnet(rest, kind)}"
        if match := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", ours):
            at = 1 if match[1] == "attentions" else 2 * int(match[2])
            return f"middle_block.{at}.{_resnet(match[3], match[1])}"
        module, _, last = ours.rpartition(".")
        return f"{_AROUND.get(module, module)}.{last}"

    return name


def _resnet(rest: str, kind: str) -> str:
    module, _, last = rest.rpartition(".")
    return f"{_RESNET.get(module, module)}.{last}" if kind == "resnets" else rest


def _vae_names(ours: list[str]) -> Callable[[str], str]:
    last = max(int(match[1]) for name in ours if (match := re.match(r"decoder\.up_blocks\.(\d+)", name)))

    def name(ours: str) -> str:
        for old, new in _VAE:
            ours = ours.replace(old, new)
        ours = re.sub(r"down_blocks\.(\d+)\.(resnets)?", lambda m: f"down.{m[1]}.{'block' if m[2] else ''}", ours)
        return re.sub(
            r"up_blocks\.(\d+)\.(resnets)?", lambda m: f"up.{last - int(m[1])}.{'block' if m[2] else ''}", ours
        )

    return name


def _open_clip(name: str) -> str:
    name = plain(name)
    for old, new in _OPEN_CLIP:
        name = name.replace(old, new)
    return re.sub(r"self_attn\.[qkv]_proj\.", "attn.in_proj_", name)


def taken(ours: str, theirs: str, tensor: Tensor) -> Tensor:
    """Our tensor, of the one that is in the file."""
    if re.search(r"attn\.in_proj_(weight|bias)$", theirs):
        return tensor.chunk(3)["qkv".index(re.search(r"([qkv])_proj\.\w+$", ours)[1])]
    if theirs.endswith("text_projection"):
        return tensor.T.contiguous()
    if re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight$", theirs):
        return tensor.reshape(tensor.shape[:2])  # there a convolution of one pixel, which is the same
    return tensor


def put(theirs: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """The tensor for the file, of those of ours that go into it, by our names."""
    import torch

    if re.search(r"attn\.in_proj_(weight|bias)$", theirs):
        by_letter = {re.search(r"([qkv])_proj\.\w+$", name)[1]: tensor for name, tensor in tensors.items()}
        return torch.cat([by_letter[letter] for letter in "qkv"])
    (tensor,) = tensors.values()
    if theirs.endswith("text_projection"):
        return tensor.T.contiguous()
    if re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight$", theirs):
        return tensor[:, :, None, None]
    return tensor


def dotted(name: str) -> str:
    """The name in the UNet of a moving average (EMA), which is kept without its dots. It takes all digits but the last
    as the number of an input or output block: the second number there is 0 to 2."""
    words = (
        r"(?<=put_blocks)\d+(?=\d)|(?<=transformer_blocks)\d+|\d|input_blocks|output_blocks|middle_block|time_embed|"
        r"label_emb|transformer_blocks|in_layers|out_layers|emb_layers|skip_connection|proj_in|proj_out|attn[12]|"
        r"to_q|to_k|to_v|to_out|ff|net|proj|norm[123]?|conv|op|out|weight|bias"
    )
    return ".".join(re.findall(words, name))


def unet_config(shapes: Shapes, architecture: str) -> dict[str, Any]:
    """What diffusers' UNet2DConditionModel is made with; `shapes` by the names in the file, without their prefix.

    Shapes do not tell the number of heads and of groups, or the size that was trained on; these are as published.
    Raises KeyError or ValueError if it is another network."""
    channels, depths, layers = [], [], []
    block = 1
    while f"input_blocks.{block}.0.in_layers.0.weight" in shapes or f"input_blocks.{block}.0.op.weight" in shapes:
        if f"input_blocks.{block - 1}.0.op.weight" in shapes or block == 1:
            channels, depths, layers = [*channels, 0], [*depths, 0], [*layers, 0]
        if f"input_blocks.{block}.0.op.weight" not in shapes:
            channels[-1] = shapes[f"input_blocks.{block}.0.in_layers.2.weight"][0]
            depths[-1] = _depth(shapes, f"input_blocks.{block}.1.")
            layers[-1] += 1
        block += 1
    if not layers or len({*layers}) > 1:
        raise ValueError(f"its blocks have {layers} layers")
    middle = _depth(shapes, "middle_block.1.")
    attention = next(name for name in sorted(shapes) if name.endswith("attn2.to_k.weight"))
    proj_in = attention.split("transformer_blocks")[0] + "proj_in.weight"
    config = {
        "sample_size": 128 if architecture.startswith("sdxl") else 64,
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers[0],
        "down_block_types": [f"{'CrossAttn' if depth else ''}DownBlock2D" for depth in depths],
        "up_block_types": [f"{'CrossAttn' if depth else ''}UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [depth or middle for depth in depths],
        "cross_attention_dim": shapes[attention][1],
        "use_linear_projection": len(shapes[proj_in]) == 2,
        # Called so in diffusers, but there it is the number of heads.
        "attention_head_dim": 8 if architecture == "sd1" else [max(1, each // 64) for each in channels],
        "upcast_attention": architecture == "sd2",
    }
    if "time_embed.cond_proj.weight" in shapes:  # of models distilled with guidance
        config["time_cond_proj_dim"] = shapes["time_embed.cond_proj.weight"][1]
    if "label_emb.0.0.weight" in shapes:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1],
        }
    return config


def _depth(shapes: Shapes, prefix: str) -> int:
    return count(shapes, re.escape(prefix) + r"transformer_blocks\.(\d+)\.")


def count(shapes: Iterable[str], pattern: str) -> int:
    """One more than the largest number that the group of the pattern finds in a name. Raises ValueError if that is
    more than any model has: names alone, without weights, could let us build for hours."""
    counted = 1 + max((int(match[1]) for name in shapes if (match := re.match(pattern, name))), default=-1)
    if counted > LAYERS:
        raise ValueError(f"it has {counted:,} layers in one place")
    return counted


def vae_config(shapes: Shapes, architecture: str) -> dict[str, Any]:
    """What diffusers' AutoencoderKL is made with. The scaling is as published for the architecture; see unet_config."""
    levels = count(shapes, r"encoder\.down\.(\d+)\.")
    return {
        "in_channels": 3,
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": [shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)],
        "layers_per_block": count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "sample_size": 1024 if architecture.startswith("sdxl") else 512,
        "scaling_factor": SCALING[architecture],
    }


def text_config(shapes: Shapes, kind: str, architecture: str) -> dict[str, Any]:
    """What transformers' CLIPTextModel is made with, of the names of `kind`, HUGGING_FACE or OPEN_CLIP; see
    unet_config."""
    theirs = kind == OPEN_CLIP
    vocabulary, width = shapes["token_embedding.weight" if theirs else "embeddings.token_embedding.weight"]
    layers = count(shapes, r"transformer\.resblocks\.(\d+)\." if theirs else r"encoder\.layers\.(\d+)\.")
    fc1 = "transformer.resblocks.0.mlp.c_fc.weight" if theirs else "encoder.layers.0.mlp.fc1.weight"
    positions = "positional_embedding" if theirs else "embeddings.position_embedding.weight"
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes[fc1][0],
        # Stable Diffusion 2 attends to the last layer but one of 24; diffusers leaves the last one out.
        "num_hidden_layers": min(layers, 23) if architecture == "sd2" else layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": shapes[positions][0],
        "hidden_act": "gelu" if theirs else "quick_gelu",
        "projection_dim": shapes["text_projection"][1] if "text_projection" in shapes else width,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": 0 if theirs else vocabulary - 1,
    }
