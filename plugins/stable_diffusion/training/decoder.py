"""Fine-tune the decoder alone on latents as the finished UNet makes them, which are never quite those of the encoder.

Each drawing's latents are noised part of the way and denoised again with guidance; the decoder must then draw the
original. So it learns to set straight what the UNet gets slightly wrong, and the latent space stays as it is."""

import argparse
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import caption
from .drawing import draw, random_scene
from .models import TOKENS, bf16, new_scheduler, psnr, save, to_tensor, training_clock, use_fast_cpu_kernels
from .vae import decode, draw_batch, encode, picture_loss


class Redrawer:
    """Turns latents of drawings into what the UNet would have made of them."""

    def __init__(self, model: Path):
        self.tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").float().eval()
        self.unet = UNet2DConditionModel.from_pretrained(model / "unet").float().eval()
        self.unet.to(memory_format=torch.channels_last)
        self.scheduler = new_scheduler()

    @torch.no_grad()
    def __call__(self, latents: torch.Tensor, captions: list[str], rng: random.Random) -> torch.Tensor:
        """Noise (B, 4, h, w) to a random level and denoise it in two to five guided DDIM steps."""
        start, steps, guidance = rng.uniform(150, 750), rng.randint(2, 5), rng.uniform(1, 7)
        tokens = self.tokenizer(
            [""] * len(captions) + captions,
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        times = [int(start * (steps - i) / steps) for i in range(steps)] + [0]
        alphas = self.scheduler.alphas_cumprod[times]
        latents = alphas[0].sqrt() * latents + (1 - alphas[0]).sqrt() * torch.randn_like(latents)
        with bf16():
            text = self.text_encoder(input_ids=tokens).last_hidden_state
            for i in range(steps):
                made = self.unet(torch.cat([latents, latents]), times[i], text, return_dict=False)[0].float()
                empty, captioned = made.chunk(2)
                epsilon = empty + guidance * (captioned - empty)
                clean = (latents - (1 - alphas[i]).sqrt() * epsilon) / alphas[i].sqrt()
                if i == steps - 1:
                    return clean
                latents = alphas[i + 1].sqrt() * clean + (1 - alphas[i + 1]).sqrt() * epsilon
        raise AssertionError("steps is at least 2")


def train(model: Path, out: Path, minutes: float, noise: float, rate: float, batch: int) -> None:
    """Half of the batches are redrawn by the UNet, the others are the encoder's latents with some noise."""
    rng = random.Random()
    vae = AutoencoderKL.from_pretrained(model / "vae").float().to(memory_format=torch.channels_last)
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    redraw = Redrawer(model)
    held_out = to_tensor([draw(random_scene(random.Random(i))) for i in range(48)])
    optimizer = torch.optim.AdamW([{"params": trained, "peak": rate}], betas=(0.9, 0.98), fused=True)
    for step, seconds in training_clock(minutes, optimizer):
        if redrawn := step % 4 != 3:
            scenes = [random_scene(rng) for _ in range(batch)]
            images = to_tensor([draw(scene) for scene in scenes])
        else:
            images = draw_batch(rng, batch)
        with torch.no_grad(), bf16():
            latents = encode(vae, images)
        if redrawn and step % 4 != 2:
            latents = redraw(latents, [caption(scene, rng) for scene in scenes], rng)
        else:
            latents = latents + noise * torch.rand(batch, 1, 1, 1) * torch.randn_like(latents)
        with bf16():
            loss = picture_loss(decode(vae, latents.contiguous(memory_format=torch.channels_last)), images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            with torch.no_grad(), bf16():
                made = decode(vae, encode(vae, held_out))
            print(f"{step:6} {seconds:5.0f} s  loss {loss.item():.4f}  {psnr(made, held_out):.2f} dB", flush=True)
            save(vae, out)
    save(vae, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="assembled model")
    parser.add_argument("out", type=Path, help="folder to write the autoencoder to")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--noise", type=float, default=0.12, help="largest deviation of the noise on the latents")
    parser.add_argument("--rate", type=float, default=5e-4, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=6)
    options = parser.parse_args()
    use_fast_cpu_kernels()
    train(**vars(options))


if __name__ == "__main__":
    main()
