"""Train UNet and text encoder together: predict the noise on a drawing's latents, given its caption.

Two departures from the usual recipe make so small a model usable within an hour of one CPU core:

- The noisiest steps also see pure noise. SD's schedule never quite gets there, and a flat background shows through even
  at t = 999, so that the text would not be needed in training though it is in sampling.
- Where the picture already shows through the noise, the captioned and the empty prediction are trained on the same
  noisy latents and pulled together. Classifier-free guidance multiplies their difference, which there is nothing but
  error: at a scale of 6 it turned circles into octagons and drew out the corners of squares."""

import argparse
import copy
import random
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import caption
from .latents import Drawings, load
from .models import (
    TOKENS,
    bf16,
    new_scheduler,
    new_text_encoder,
    new_unet,
    save,
    training_clock,
    use_fast_cpu_kernels,
)
from .vae import POSTERIOR_STD

ALPHAS = new_scheduler().alphas_cumprod
SNR = ALPHAS / (1 - ALPHAS)
PAIRED_BELOW = 600
AGREE_BELOW = 300


def loss_weights(largest: float = 20.0) -> torch.Tensor:
    """Weight of the epsilon loss per timestep, (1000,): min-SNR-5 (Hang et al. 2023) times the factor epsilon to v.

    Without that factor the noisy steps, where the text decides colours and layout, get next to no gradient."""
    return SNR.clamp(max=5.0) / SNR * ((SNR + 1) / SNR).clamp(max=largest)


def agreement_weights(peak: float) -> torch.Tensor:
    """How much captioned and empty predictions are pulled together, (1000,): `peak`, then falling to 0."""
    t = torch.arange(1000)
    return peak * ((PAIRED_BELOW - t) / (PAIRED_BELOW - AGREE_BELOW)).clamp(0, 1)


def pick_timesteps(count: int) -> torch.Tensor:
    """(count,) int64: evenly spread over 0..999, and one in five moved to the noisiest, where all is decided."""
    t = ((torch.arange(count) + torch.rand(count)) * (1000 / count)).long().clamp(max=999)
    return torch.where(torch.rand(count) < 0.2, torch.randint(880, 1000, (count,)), t)


def add_noise(latents: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy latents and the epsilon to predict, both (B, 4, h, w).

    Half of the samples with t >= 880 become pure noise, with the epsilon that would lead to the right picture."""
    alpha = ALPHAS[t].view(-1, 1, 1, 1)
    epsilon = torch.randn_like(latents)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * epsilon
    pure = ((t >= 880) & (torch.rand(len(t)) < 0.5)).view(-1, 1, 1, 1)
    noise = torch.randn_like(latents)
    noisy = torch.where(pure, noise, noisy)
    epsilon = torch.where(pure, (noise - alpha.sqrt() * latents) / (1 - alpha).sqrt(), epsilon)
    return noisy.contiguous(memory_format=torch.channels_last), epsilon


class Trainer:
    """The two networks, their averaged copies, and one training step on a batch of drawings."""

    def __init__(self, tokenizer: Path, text_encoder: Path | None, unet: Path | None, agreement: float):
        self.tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
        self.text_encoder = CLIPTextModel.from_pretrained(text_encoder) if text_encoder else new_text_encoder()
        self.unet = UNet2DConditionModel.from_pretrained(unet) if unet else new_unet()
        self.text_encoder.float().train()
        self.unet.float().train().to(memory_format=torch.channels_last)
        self.parameters = [*self.text_encoder.parameters(), *self.unet.parameters()]
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.weights = loss_weights()
        self.agreement = agreement_weights(agreement)
        self.rng = random.Random()

    def embed(self, captions: list[str]) -> torch.Tensor:
        """(B, 77, 96) of the captions."""
        tokens = self.tokenizer(
            captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        return self.text_encoder(input_ids=tokens).last_hidden_state

    def loss(self, drawings: Drawings, count: int) -> torch.Tensor:
        """Loss of one batch of `count` drawings."""
        picked = [self.rng.randrange(len(drawings.scenes)) for _ in range(count)]
        latents = torch.from_numpy(drawings.latents[picked]).float()
        latents = latents + POSTERIOR_STD * torch.randn_like(latents)
        captions = [caption(drawings.scenes[i], self.rng) for i in picked]
        t = pick_timesteps(count)
        noisy, epsilon = add_noise(latents, t)
        paired = t < PAIRED_BELOW
        captions = [
            "" if not pair and self.rng.random() < 0.15 else words for words, pair in zip(captions, paired, strict=True)
        ]
        with bf16():
            text = self.embed([*captions, ""])
            text = torch.cat([text[:-1], text[-1:].expand(int(paired.sum()), -1, -1)])
            inputs = torch.cat([noisy, noisy[paired]]).contiguous(memory_format=torch.channels_last)
            made = self.unet(inputs, torch.cat([t, t[paired]]), text, return_dict=False)[0].float()
        captioned, empty = made[:count], made[count:]
        error = (captioned - epsilon).square().mean((1, 2, 3))
        empty_error = (empty - epsilon[paired]).square().mean((1, 2, 3))
        apart = (captioned[paired] - empty).square().mean((1, 2, 3))
        pairs = 0.5 * (empty_error - error[paired]) + self.agreement[t[paired]] * apart
        return ((self.weights[t] * error).sum() + (self.weights[t[paired]] * pairs).sum()) / count

    def average(self, step: int, decay: float) -> None:
        """Move the averaged copies towards the present weights."""
        decay = min(decay, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)

    def save(self, out: Path) -> None:
        """Write the averaged networks."""
        text_encoder, unet = copy.deepcopy(self.text_encoder), copy.deepcopy(self.unet)
        with torch.no_grad():
            for parameter, average in zip([*text_encoder.parameters(), *unet.parameters()], self.averages, strict=True):
                parameter.copy_(average)
        save(text_encoder, out / "text_encoder")
        save(unet, out / "unet")


def train(trainer: Trainer, drawings: list[Drawings], out: Path, minutes: float, rate: float, batch: int) -> None:
    """Train for so many minutes; four in five batches are of the most common size."""
    optimizer = torch.optim.AdamW(
        [
            {"params": list(trainer.text_encoder.parameters()), "peak": rate / 5},
            {"params": list(trainer.unet.parameters()), "peak": rate},
        ],
        betas=(0.9, 0.99),
        weight_decay=1e-2,
        fused=True,
    )
    shares = [len(sized.scenes) for sized in drawings]
    smallest = min(sized.width * sized.height for sized in drawings)
    running, seen = None, 0
    for step, seconds in training_clock(minutes, optimizer):
        sized = trainer.rng.choices(drawings, shares)[0]
        count = batch * smallest // (sized.width * sized.height)
        loss = trainer.loss(sized, count)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        trainer.average(step, decay=0.998)
        seen += count
        running = loss.item() if running is None else 0.99 * running + 0.01 * loss.item()
        if step % 100 == 0:
            print(f"{step:6} {seconds:5.0f} s  loss {running:.4f}  {seen} pictures", flush=True)
        if step % 300 == 299:
            trainer.save(out)
    trainer.save(out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drawings", type=Path, help="folder written by latents.py")
    parser.add_argument("out", type=Path, help="folder to write text_encoder/ and unet/ to")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--text-encoder", type=Path, help="pre-trained text encoder; see text_encoder.py")
    parser.add_argument("--unet", type=Path, help="UNet to resume from")
    parser.add_argument("--minutes", type=float, default=85)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--agreement", type=float, default=2.0, help="peak weight of caption and no caption agreeing")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    use_fast_cpu_kernels()
    torch.manual_seed(random.randrange(2**31))
    trainer = Trainer(options.tokenizer, options.text_encoder, options.unet, options.agreement)
    train(trainer, load(options.drawings), options.out, options.minutes, options.rate, options.batch)


if __name__ == "__main__":
    main()
