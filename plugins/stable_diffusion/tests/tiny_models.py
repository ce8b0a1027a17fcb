"""Model folders in diffusers layout with the structure of the published ones, few channels and random weights."""

import json
import shutil
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"
SIDE = 64  # pixels that they are made for
SD1 = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [32, 32, 64, 64],
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
}
XL = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 32, 64],
    "attention_head_dim": [2, 2, 4],
    "transformer_layers_per_block": [1, 1, 2],
    "cross_attention_dim": 32 + 64,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 48 + 6 * 8,
}
UNETS = {
    "sd1": SD1,
    "sd2-v": SD1 | {"attention_head_dim": [2, 2, 4, 4], "cross_attention_dim": 64, "use_linear_projection": True},
    "sdxl": XL,
    "refiner": XL
    | {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [32, 32, 64, 64],
        "attention_head_dim": [2, 2, 4, 4],
        "transformer_layers_per_block": 1,
        "cross_attention_dim": 64,
        "projection_class_embeddings_input_dim": 48 + 5 * 8,
    },
    "inpainting": SD1 | {"in_channels": 9},
    "pix2pix": SD1 | {"in_channels": 8},
}
PIPELINES = {
    "sd1": "StableDiffusionPipeline",
    "sd2-v": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "refiner": "StableDiffusionXLImg2ImgPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "pix2pix": "StableDiffusionInstructPix2PixPipeline",
}
PARTS = {"scheduler": "EulerDiscreteScheduler", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
CLIP_L = {"hidden_size": 32, "num_hidden_layers": 3, "hidden_act": "quick_gelu"}
OPENCLIP = {"hidden_size": 64, "num_hidden_layers": 4, "hidden_act": "gelu", "projection_dim": 48}
ENCODERS = {  # of each kind of model, by folder
    "sd2-v": {"text_encoder": OPENCLIP},
    "sdxl": {"text_encoder": CLIP_L, "text_encoder_2": OPENCLIP},
    "refiner": {"text_encoder_2": OPENCLIP},
}


def write(folder, kind, seed=0, **unet):
    """Write a model of a kind (a key of UNETS) into `folder`, which is returned; `unet` changes its UNet's config."""
    torch.manual_seed(seed)
    xl = kind in ("sdxl", "refiner")
    index = {"_class_name": PIPELINES[kind], "_diffusers_version": diffusers.__version__}
    index |= {part: ["diffusers", name] for part, name in PARTS.items()}
    if xl:
        index |= {"force_zeros_for_empty_prompt": kind == "sdxl"}
        index |= {"requires_aesthetics_score": True} if kind == "refiner" else {}
    else:
        index |= {"safety_checker": [None, None], "requires_safety_checker": False}
    config = {"sample_size": SIDE // 8, "layers_per_block": 1, "norm_num_groups": 8} | UNETS[kind] | unet
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    _vae(0.13025 if xl else 0.18215).save_pretrained(folder / "vae")
    for name, encoder in ENCODERS.get(kind, {"text_encoder": CLIP_L}).items():
        _clip(name, encoder).save_pretrained(folder / name)
        number = name.removeprefix("text_encoder")
        _tokenizer(folder / f"tokenizer{number}", pads_with_0=encoder is OPENCLIP)
        index[name] = ["transformers", "CLIPTextModelWithProjection" if number else "CLIPTextModel"]
        index[f"tokenizer{number}"] = ["transformers", "CLIPTokenizer"]
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(_noise(kind)))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _vae(scaling_factor):
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    sizes = {"block_out_channels": [16, 16, 32, 32], "layers_per_block": 1, "norm_num_groups": 8, "sample_size": SIDE}
    return AutoencoderKL.from_config(blocks | sizes | {"latent_channels": 4, "scaling_factor": scaling_factor})


def _clip(name, config):
    words = {"vocab_size": 1600, "bos_token_id": 1598, "eos_token_id": 1599, "pad_token_id": 1599}
    sizes = {"num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 77}
    of = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
    return of(CLIPTextConfig(**words | sizes | config)).eval()


def _tokenizer(folder, pads_with_0):
    shutil.copytree(BUILTIN / "tokenizer", folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"pad_token": "!"} if pads_with_0 else config))


def _noise(kind):
    return {
        "_class_name": "EulerDiscreteScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction" if kind == "sd2-v" else "epsilon",
        "timestep_spacing": "leading",
        "steps_offset": 1,
    }
