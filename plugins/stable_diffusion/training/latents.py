"""Draw the pictures the UNet learns from and keep their latents: encoding them once saves a third of its time."""

import argparse
import pickle
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from .drawing import Scene, draw, random_scene
from .models import bf16, to_tensor, use_fast_cpu_kernels
from .vae import encode

COUNTS = {(128, 128): 10000, (192, 128): 1000, (128, 192): 1000}


@dataclass
class Drawings:
    """Scenes of one picture size with their mean latents (N, 4, height / 8, width / 8) float16, deviation about 1."""

    width: int
    height: int
    scenes: list[Scene]
    latents: np.ndarray


def load(folder: Path) -> list[Drawings]:
    """All sizes that `main` wrote to `folder`."""
    return [Drawings(**pickle.loads(path.read_bytes())) for path in sorted(folder.glob("*.pkl"))]


def encode_scenes(vae: AutoencoderKL, scenes: list[Scene], width: int, height: int, batch: int = 16) -> np.ndarray:
    """Draw and encode: float16 (N, 4, height / 8, width / 8)."""
    latents = []
    for start in range(0, len(scenes), batch):
        images = to_tensor([draw(scene, width, height) for scene in scenes[start : start + batch]])
        with torch.no_grad(), bf16():
            latents.append(encode(vae, images).half().numpy())
    return np.concatenate(latents)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vae", type=Path, help="trained autoencoder")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--share", type=float, default=1.0, help="fraction of the usual number of pictures")
    options = parser.parse_args()
    use_fast_cpu_kernels()
    vae = AutoencoderKL.from_pretrained(options.vae).eval().to(memory_format=torch.channels_last)
    options.out.mkdir(parents=True, exist_ok=True)
    for (width, height), count in COUNTS.items():
        rng = random.Random(width * 1000 + height)
        scenes = [random_scene(rng) for _ in range(int(count * options.share))]
        latents = encode_scenes(vae, scenes, width, height)
        path = options.out / f"{width}x{height}.pkl"
        path.write_bytes(pickle.dumps(dict(width=width, height=height, scenes=scenes, latents=latents)))
        spread = latents.astype(np.float32).std((0, 2, 3)).round(2)
        print(f"wrote {path}: {len(scenes)} pictures, deviation of the latents {spread}", flush=True)


if __name__ == "__main__":
    main()
