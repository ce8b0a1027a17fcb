"""Put the trained parts together as a half-precision folder in diffusers' layout, and say how large it is."""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .models import new_scheduler


def assemble(out: Path, vae: Path, unet: Path, text_encoder: Path, tokenizer: Path) -> int:
    """Write the folder, keeping its README.md and samples/, and return its size in bytes without these."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(vae),
        text_encoder=CLIPTextModel.from_pretrained(text_encoder),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        unet=UNet2DConditionModel.from_pretrained(unet),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.float16)
    pipeline.save_pretrained(out, safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):  # transformers 5 writes tokenizer.json only; other programs want these
        if not (out / "tokenizer" / name).exists():
            shutil.copy(tokenizer / name, out / "tokenizer" / name)
    for config in out.glob("*/config.json"):
        _forget_origin(config)
    files = [path for path in out.rglob("*") if path.is_file() and path != out / "README.md"]
    return sum(path.stat().st_size for path in files if "samples" not in path.parts)


def _forget_origin(config: Path) -> None:
    """Remove the name of the folder that a part was loaded from."""
    values = json.loads(config.read_text())
    if values.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    for part in ("vae", "unet", "text-encoder", "tokenizer"):
        parser.add_argument(f"--{part}", type=Path, required=True)
    options = parser.parse_args()
    print(f"wrote {options.out}: {assemble(**vars(options)) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
