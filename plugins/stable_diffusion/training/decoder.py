"""Fine-tune the decoder alone on latents as the finished UNet makes them, which are never quite those of the encoder.

Some latents are those of a drawing, noised part of the way and denoised again; others are imagined from a caption alone
and paired with a drawing of what the caption says. The decoder must draw the clean picture in both cases. So
it learns to set straight what the UNet gets slightly wrong, and the latent space stays as it is."""

import argparse
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import caption
from .drawing import Scene, draw, random_scene
from .models import TOKENS, bf16, new_scheduler, save, to_tensor, training_clock, use_fast_cpu_kernels
from .vae import decode, draw_batch, encode, picture_loss, report


class Imagination:
    """The UNet as a source of latents, with or without a drawing to begin with."""

    def __init__(self, model: Path):
        self.tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").float().eval()
        self.unet = UNet2DConditionModel.from_pretrained(model / "unet").float().eval()
        self.unet.to(memory_format=torch.channels_last)
        self.alphas = new_scheduler().alphas_cumprod

    @torch.no_grad()
    def denoise(
        self, noisy: torch.Tensor, captions: list[str], start: int, steps: int, guidance: float, eta: float
    ) -> torch.Tensor:
        """Clean latents (B, 4, h, w) from noisy ones at timestep `start`, by DDIM (Song et al. 2021, eq. 12 and 16)."""
        tokens = self.tokenizer(
            [""] * len(captions) + captions,
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        times = [start * (steps - i) // steps for i in range(steps)]
        with bf16():
            text = self.text_encoder(input_ids=tokens).last_hidden_state
        for i, t in enumerate(times):
            alpha = self.alphas[t]
            with bf16():
                made = self.unet(torch.cat([noisy, noisy]), t, text, return_dict=False)[0].float()
            empty, captioned = made.chunk(2)
            epsilon = empty + guidance * (captioned - empty)
            clean = (noisy - (1 - alpha).sqrt() * epsilon) / alpha.sqrt()
            if i + 1 < steps:
                below = self.alphas[times[i + 1]]
                sigma = eta * ((1 - below) / (1 - alpha) * (1 - alpha / below)).sqrt()
                noisy = below.sqrt() * clean + (1 - below - sigma**2).sqrt() * epsilon
                noisy = noisy + sigma * torch.randn_like(noisy)
        return clean

    def redraw(self, latents: torch.Tensor, captions: list[str], rng: random.Random) -> torch.Tensor:
        """Noise latents of drawings to some level between t = 150 and 750 and denoise them in a few guided steps."""
        start = rng.randint(150, 750)
        alpha = self.alphas[start]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * torch.randn_like(latents)
        return self.denoise(noisy, captions, start, rng.randint(2, 4), rng.uniform(1, 7), 0.0)

    def imagine(self, captions: list[str], rng: random.Random) -> torch.Tensor:
        """Latents (B, 4, 16, 16) from captions alone."""
        noise = torch.randn(len(captions), 4, 16, 16)
        return self.denoise(noise, captions, 999, rng.randint(10, 18), rng.uniform(4, 7.5), rng.choice([0.0, 1.0]))


def imagined_pairs(
    imagination: Imagination, vae: AutoencoderKL, count: int, rng: random.Random, tolerance: float = 0.08
) -> list[tuple[torch.Tensor, Scene]]:
    """Up to `count` imagined latents with the scenes they should decode to; what is unlike its scene is left out."""
    pairs = []
    for _ in range(0, count, 24):
        scenes = [random_scene(rng) for _ in range(24)]
        scenes = [scene for scene in scenes if scene.background[0] != "night"]  # stars cannot be foretold
        latents = imagination.imagine([caption(scene, rng) for scene in scenes], rng)
        with torch.no_grad(), bf16():
            pictures = decode(vae, latents.contiguous(memory_format=torch.channels_last))
        drawings = to_tensor([draw(scene) for scene in scenes])
        differences = (pictures - drawings).abs().mean((1, 2, 3))
        pairs += [pair for *pair, unlike in zip(latents, scenes, differences, strict=True) if unlike < tolerance]
    return pairs


def train(model: Path, out: Path, minutes: float, imagined: int, noise: float, rate: float, batch: int) -> None:
    """In turn: imagined latents, redrawn ones twice, and the encoder's with some noise."""
    rng = random.Random()
    vae = AutoencoderKL.from_pretrained(model / "vae").float().to(memory_format=torch.channels_last)
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    imagination = Imagination(model)
    pairs = imagined_pairs(imagination, vae, imagined, rng)
    print(f"{len(pairs)} of {imagined} imagined pictures are near a drawing", flush=True)
    held_out = to_tensor([draw(random_scene(random.Random(i))) for i in range(48)])
    optimizer = torch.optim.AdamW([{"params": trained, "peak": rate}], betas=(0.9, 0.98), fused=True)
    for step, seconds in training_clock(minutes, optimizer):
        if step % 4 == 0 and len(pairs) >= batch:
            picked = rng.sample(pairs, batch)
            latents = torch.stack([latent for latent, _ in picked])
            images = to_tensor([draw(scene) for _, scene in picked])
        else:
            scenes = [random_scene(rng) for _ in range(batch)]
            images = draw_batch(rng, batch) if step % 4 == 3 else to_tensor([draw(scene) for scene in scenes])
            with torch.no_grad(), bf16():
                latents = encode(vae, images)
            if step % 4 != 3:
                latents = imagination.redraw(latents, [caption(scene, rng) for scene in scenes], rng)
        strength = noise if step % 4 == 3 else noise / 3
        latents = latents + strength * torch.rand(batch, 1, 1, 1) * torch.randn_like(latents)
        with bf16():
            loss = picture_loss(decode(vae, latents.contiguous(memory_format=torch.channels_last)), images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            report(vae, held_out, step, seconds, loss)
            save(vae, out)
    save(vae, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="assembled model")
    parser.add_argument("out", type=Path, help="folder to write the autoencoder to")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--imagined", type=int, default=400, help="pictures to imagine before training starts")
    parser.add_argument("--noise", type=float, default=0.12, help="largest deviation of the noise on the latents")
    parser.add_argument("--rate", type=float, default=5e-4, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=6)
    options = parser.parse_args()
    use_fast_cpu_kernels()
    train(**vars(options))


if __name__ == "__main__":
    main()
