"""How large the parts are, and what all scripts share: the noise schedule, CPU speed-ups, a clock for training."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_SCALE = 0.18215
VOCABULARY = 1600
TOKENS = 77


def new_vae() -> AutoencoderKL:
    """RGB (B, 3, 8h, 8w) in -1..1 to latents (B, 4, h, w); 1.03 M parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        scaling_factor=LATENT_SCALE,
    )


def new_text_encoder() -> CLIPTextModel:
    """Token ids (B, 77) to (B, 77, 96); 0.50 M parameters."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            projection_dim=96,
            bos_token_id=VOCABULARY - 2,
            eos_token_id=VOCABULARY - 1,
            pad_token_id=VOCABULARY - 1,
            attn_implementation="sdpa",
        )
    )


def new_unet() -> UNet2DConditionModel:
    """Noise prediction on latents (B, 4, h, w); 4.07 M parameters. No attention at full size: that would cost 1.75x."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=96,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1's noise schedule: "scaled linear" betas, epsilon prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def use_fast_cpu_kernels() -> None:
    """One thread, and fp32 for the two operations whose bf16 backward is 3 to 5 times slower on CPUs."""
    torch.set_num_threads(1)
    attention, group_norm = F.scaled_dot_product_attention, F.group_norm

    def attention_in_fp32(query, key, value, attn_mask=None, **options):
        with torch.autocast("cpu", enabled=False):
            if attn_mask is not None and attn_mask.is_floating_point():
                attn_mask = attn_mask.float()
            out = attention(query.float(), key.float(), value.float(), attn_mask=attn_mask, **options)
        return out.to(query.dtype)

    def group_norm_in_fp32(x, *args, **options):
        with torch.autocast("cpu", enabled=False):
            return group_norm(x.float(), *args, **options)

    F.scaled_dot_product_attention = attention_in_fp32
    F.group_norm = group_norm_in_fp32


def bf16() -> torch.autocast:
    """Mixed precision for everything but the two operations above."""
    return torch.autocast("cpu", torch.bfloat16)


def to_tensor(images: list) -> torch.Tensor:
    """RGB images of one size, PIL or (H, W, 3) uint8, as float32 (B, 3, H, W) in -1..1, channels last."""
    batch = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    return (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def training_clock(minutes: float, optimizer: torch.optim.Optimizer, warmup: int = 50, floor: float = 0.03) -> Iterator:
    """Yield (step, seconds) until the time is up, with each group's `peak` learning rate on a cosine over elapsed time.

    A budget in time rather than steps ends on the minute however busy the machine is."""
    start = time.monotonic()
    step = 0
    while (seconds := time.monotonic() - start) < minutes * 60:
        cosine = 0.5 * (1 + math.cos(math.pi * seconds / (minutes * 60)))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * cosine)
        yield step, seconds
        step += 1


def psnr(made: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of images (B, 3, H, W) in -1..1."""
    error = (made.clamp(-1, 1) - wanted).square().mean((1, 2, 3)) / 4
    return (-10 * torch.log10(error)).mean().item()


def save(part: torch.nn.Module, folder: Path) -> None:
    """Write one part in diffusers' layout, so that an interrupted training leaves something to resume from."""
    folder.mkdir(parents=True, exist_ok=True)
    part.save_pretrained(folder)
