"""Train the autoencoder: pictures to latents of an eighth of the size and back.

What makes edges crisp is the loss: an absolute error draws an uncertain edge somewhere, a squared one draws it blurred.
What makes latents easy to generate is the noise on them: it forbids codes that only an exact copy could decode."""

import argparse
import random
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from .drawing import crowded_scene, draw, random_scene
from .models import LATENT_SCALE, bf16, new_vae, psnr, save, to_tensor, training_clock, use_fast_cpu_kernels

POSTERIOR_STD = 0.03


def draw_batch(rng: random.Random, count: int, side: int = 128) -> torch.Tensor:
    """Crowded, ordinary and bare scenes in shifted colours: the autoencoder also serves pictures it did not draw."""
    images = []
    for _ in range(count):
        scene = crowded_scene(rng) if rng.random() < 0.5 else random_scene(rng)
        if rng.random() < 0.25:
            scene = replace(scene, things=())
        image = draw(scene, side, side, jitter=rng.choice([0, 0, 12, 60]))
        if rng.random() < 0.03:
            image = image.resize((rng.randint(4, 12),) * 2).resize((side, side))
        images.append(image)
    return to_tensor(images)


def encode(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """The mean latents (B, 4, h, w) of images in -1..1, scaled to about unit deviation as the UNet sees them."""
    return vae.quant_conv(vae.encoder(images))[:, :4].float() * LATENT_SCALE


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Images (B, 3, 8h, 8w), about -1..1, of latents as the UNet makes them."""
    return vae.decoder(vae.post_quant_conv(latents / LATENT_SCALE)).float()


def report(vae: AutoencoderKL, held_out: torch.Tensor, step: int, seconds: float, loss: torch.Tensor) -> None:
    """Print how well drawings (N, 3, H, W) that are not trained on come back."""
    with torch.no_grad(), bf16():
        made = decode(vae, encode(vae, held_out))
    print(f"{step:6} {seconds:5.0f} s  loss {loss.item():.4f}  {psnr(made, held_out):.2f} dB", flush=True)


def picture_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Absolute error of values and of horizontal and vertical gradients."""
    error = made - wanted
    gradients = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return error.abs().mean() + 0.5 * gradients


def fix_posterior(vae: AutoencoderKL) -> None:
    """Make the posterior's deviation a small constant: sampling from the encoder then needs no training of its own."""
    with torch.no_grad():
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = 2 * torch.log(torch.tensor(POSTERIOR_STD / LATENT_SCALE))


def whiten(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Give every latent channel mean 0 and deviation 1 on `images` by folding both into the 1x1 convolutions."""
    with torch.no_grad(), bf16():
        latents = encode(vae, images)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    with torch.no_grad():
        vae.quant_conv.weight[:4] /= std[:, None, None, None]
        vae.quant_conv.bias[:4] = (vae.quant_conv.bias[:4] - mean / LATENT_SCALE) / std
        kernel = vae.post_quant_conv.weight
        vae.post_quant_conv.bias += kernel[:, :, 0, 0] @ (mean / LATENT_SCALE)
        kernel *= std[None, :, None, None]


def train(out: Path, minutes: float, init: Path | None, noise: float, anchor: float, rate: float, batch: int) -> None:
    """Train encoder and decoder together. With `init`, stay near its latents: a UNet trained on them remains usable."""
    rng = random.Random(0)
    vae = AutoencoderKL.from_pretrained(init) if init else new_vae()
    vae.to(memory_format=torch.channels_last)
    fix_posterior(vae)
    teacher = AutoencoderKL.from_pretrained(init).eval().to(memory_format=torch.channels_last) if init else None
    held_out = draw_batch(random.Random(12345), 48)
    optimizer = torch.optim.AdamW([{"params": list(vae.parameters()), "peak": rate}], betas=(0.9, 0.98), fused=True)
    for step, seconds in training_clock(minutes, optimizer):
        images = draw_batch(rng, batch)
        with bf16():
            latents = encode(vae, images)
            noisy = latents + noise * torch.rand(batch, 1, 1, 1) * torch.randn_like(latents)
            loss = picture_loss(decode(vae, noisy), images)
        if teacher:
            with torch.no_grad(), bf16():
                goal = encode(teacher, images)
            loss = loss + anchor * (latents - goal).square().mean()
        else:
            loss = loss + 1e-3 * (latents.square().mean() - 1).square()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        vae.quant_conv.weight.grad[4:] = 0
        vae.quant_conv.bias.grad[4:] = 0
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            report(vae, held_out, step, seconds, loss)
            save(vae, out)
    fix_posterior(vae)
    if not init:
        whiten(vae, draw_batch(rng, 256))
    save(vae, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--init", type=Path, help="autoencoder to start from and to stay near")
    parser.add_argument("--noise", type=float, default=0.12, help="largest deviation of the noise on the latents")
    parser.add_argument("--anchor", type=float, default=0.05, help="weight of staying near the latents of --init")
    parser.add_argument("--rate", type=float, default=6e-4, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    use_fast_cpu_kernels()
    torch.manual_seed(0)
    train(**vars(options))


if __name__ == "__main__":
    main()
