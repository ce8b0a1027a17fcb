"""UNets of the sizes of Stable Diffusion 1.5 and XL with random weights: eager, compiled, and with CUDA graphs.

Run by the plugin's own Python. Arguments: device, scale (other than 1 makes them tiny). Prints a JSON line for each
number: metric, value, unit. Nothing is downloaded; the sizes are those of the published configurations."""

import json
import os
import statistics
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import UNet2DConditionModel

WARM, CALLS = 2, 10
SD15 = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
}  # fmt: skip
XL = {
    "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
WAYS = {"eager": None, "compiled": "default", "compiled, CUDA graphs": "reduce-overhead"}


def main(device, scale):
    tiny = float(scale) != 1
    dtype = torch.float32 if device == "cpu" else torch.float16
    for name, config in (("SD 1.5", SD15), ("SDXL", XL)):
        given = config | (shrunk(config) if tiny else {})
        with torch.device(device):
            unet = UNet2DConditionModel(**given).to(dtype, memory_format=torch.channels_last)
        unet = unet.eval().requires_grad_(False)
        for way, mode in WAYS.items():
            if device == "cpu" and mode:  # needs a C++ compiler, and there are no CUDA graphs
                continue
            called = torch.compile(unet, mode=mode) if mode else unet
            for pictures in (1, 8):
                calls = 1 if tiny else CALLS
                seconds, first = measured(called, inputs(unet, 2 * pictures, device, dtype), device, calls)
                yield f"{name}, {pictures} at once, {way}", pictures / seconds, "steps/s"
                if mode:
                    yield f"{name}, {pictures} at once, {way}: the first call", first, "s"
            torch.compiler.reset()
        if device.startswith("cuda"):
            yield f"{name}: memory, peak", torch.cuda.max_memory_allocated() / 1e6, "MB"
            torch.cuda.reset_peak_memory_stats()
        del unet, called


def shrunk(config):
    """The same structure with 8 channels for 80, for latents of 16 x 16."""
    channels = tuple(width // 10 for width in config["block_out_channels"])
    return {
        "block_out_channels": channels, "sample_size": 16, "attention_head_dim": 4, "norm_num_groups": 8,
        "transformer_layers_per_block": 1,
    }  # fmt: skip


def inputs(unet, rows, device, dtype):
    config = unet.config
    given = {
        "sample": torch.randn(rows, config.in_channels, config.sample_size, config.sample_size),
        "timestep": torch.full((rows,), 500.0),
        "encoder_hidden_states": torch.randn(rows, 77, config.cross_attention_dim),
    }
    if config.addition_embed_type:
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        given["added_cond_kwargs"] = {"text_embeds": torch.randn(rows, pooled), "time_ids": torch.ones(rows, 6)}

    def there(value):
        return {key: there(each) for key, each in value.items()} if isinstance(value, dict) else value.to(device, dtype)

    return there(given)


@torch.inference_mode()
def measured(unet, given, device, calls):
    """Seconds of a call, the median; and of the first one."""
    started = time.perf_counter()
    unet(**given)
    wait(device)
    first, times = time.perf_counter() - started, []
    for _ in range(WARM):
        unet(**given)
    for _ in range(calls):
        if device.startswith("cuda"):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            unet(**given)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000)
        else:
            started = time.perf_counter()
            unet(**given)
            wait(device)
            times.append(time.perf_counter() - started)
    return statistics.median(times), first


def wait(device):
    if device != "cpu":
        getattr(torch, device.split(":")[0]).synchronize()


if __name__ == "__main__":
    for row in main(*sys.argv[1:]):
        print(json.dumps(row), flush=True)
