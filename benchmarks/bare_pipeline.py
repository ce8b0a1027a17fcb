"""The diffusers pipeline by itself, run by the plugin's own Python: what the whole stack is compared with.

Arguments: model folder, device. For each line {"batch", "steps", "seed"} on stdin it draws and prints the seconds."""

import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import torch
import transformers
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

PROMPT = "a red circle on a blue background"


def main(folder, device):
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    half = device not in ("cpu", "mps")  # as the plugin loads it
    dtype = torch.float16 if half else torch.float32
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, torch_dtype=dtype).to(device)
    pipeline.vae.to(torch.float32)
    if device.startswith("cuda"):
        pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config, timestep_spacing="linspace")
    pipeline.set_progress_bar_config(disable=True)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        draw(pipeline, half, **asked)
        print(time.perf_counter() - started, flush=True)


def draw(pipeline, half, batch, steps, seed):
    """The pictures, as PIL images. In half precision the VAE stays in float32, as in the plugin."""
    generators = [torch.Generator().manual_seed(seed + k) for k in range(batch)]
    options = {"num_inference_steps": steps, "guidance_scale": 7.0, "generator": generators}
    with torch.inference_mode():
        if not half:
            return pipeline([PROMPT] * batch, **options).images
        latents = pipeline([PROMPT] * batch, output_type="latent", **options).images
        pixels = pipeline.vae.decode(latents.float() / pipeline.vae.config.scaling_factor).sample
        return pipeline.image_processor.postprocess(pixels, output_type="pil")


if __name__ == "__main__":
    main(*sys.argv[1:])
