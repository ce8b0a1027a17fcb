"""Train the network on drawn pictures: python3 -m plugins.upscale.training.train FOLDER [--steps N] [--seed N].

The pictures (pool.npz) and the state after every 500 steps (state.pt) are kept in the folder; the same command goes on
where it was stopped. In the end there is compact-x4.safetensors. The same seed and steps give the same weights on the
same machine with the same number of threads."""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from .network import SCALE, Compact
from .pictures import pool, soften

CROP, BATCH = 24, 16  # a crop is so many pixels wide before it is enlarged
FLOOR = 1e-5  # mean squared error below which a crop is good enough: 50 dB
SAVE_EVERY = 500


def pictures(file: Path, count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What `pool` draws, from the file if it is there."""
    if not file.exists():
        started = time.monotonic()
        np.savez(file, **dict(zip(("large", "small"), pool(count, size, seed), strict=True)))
        print(f"drew {count} pictures in {time.monotonic() - started:.0f} s", flush=True)
    kept = np.load(file)
    return kept["large"], kept["small"]


def crops(large: np.ndarray, small: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch, float 0..1: of three random places the one with the most in it, turned and mirrored at random."""
    pairs = []
    for _ in range(BATCH):
        places = [rng.integers(0, [len(small), *(side - CROP + 1 for side in small.shape[1:3])]) for _ in range(3)]
        k, y, x = max(places, key=lambda at: small[at[0], at[1] : at[1] + CROP, at[2] : at[2] + CROP].std())
        turns, mirrored, colours = rng.integers(4), rng.integers(2), rng.permutation(3)
        pair = []
        for picture, scale in ((small[k], 1), (large[k], SCALE)):
            piece = picture[y * scale : (y + CROP) * scale, x * scale : (x + CROP) * scale, colours]
            piece = np.rot90(piece, turns)
            pair.append((piece[:, ::-1] if mirrored else piece).transpose(2, 0, 1))
        pairs.append(pair)
    return tuple(torch.from_numpy(np.stack(side)).float() / 255 for side in zip(*pairs, strict=True))


def loss_of(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Minus the mean PSNR, up to a factor: it is what is measured, and flat crops weigh as much as busy ones."""
    return ((made - wanted).square().mean((1, 2, 3)) + FLOOR).log().mean()


def rate_at(step: int, steps: int, peak: float) -> float:
    """Up for 200 steps, then down to nothing along half a cosine."""
    return peak * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def train(
    folder: Path, steps: int, seed: int, count: int, size: int, rate: float, init: Path | None, soft: float
) -> Path:
    """In bfloat16, the last fifth in float32; returns the file of the weights (float16)."""
    folder.mkdir(parents=True, exist_ok=True)
    large, small = pictures(folder / "pool.npz", count, size, seed)
    soften(large, small, soft, seed)
    torch.manual_seed(seed)
    network = Compact().to(memory_format=torch.channels_last)
    if init:
        network.load_state_dict({key: value.float() for key, value in load_file(init).items()})
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.99), weight_decay=0)
    first, state = 0, folder / "state.pt"
    if state.exists():
        kept = torch.load(state, weights_only=True)
        first = kept["step"]
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
    started, told = time.process_time(), []
    for step in range(first, steps):
        optimizer.param_groups[0]["lr"] = rate_at(step, steps, rate)
        given, wanted = crops(large, small, np.random.default_rng([seed, step]))
        with torch.autocast("cpu", torch.bfloat16, enabled=step < 0.8 * steps):
            made = network(given.to(memory_format=torch.channels_last))
        loss = loss_of(made.float(), wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        told.append(loss.item())
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            spent = time.process_time() - started
            print(
                f"{step + 1} steps, {spent:.0f} s of CPU, PSNR of crops {-10 * np.mean(told) / math.log(10):.2f}",
                flush=True,
            )
            told = []
            partial = state.with_suffix(".part")
            torch.save(
                {"step": step + 1, "network": network.state_dict(), "optimizer": optimizer.state_dict()}, partial
            )
            os.replace(partial, state)
            save(network, folder / "compact-x4.safetensors")
    return folder / "compact-x4.safetensors"


def save(network: Compact, file: Path) -> None:
    """As spandrel reads it: body.0.weight, body.0.bias, body.1.weight ..."""
    save_file({key: value.half().contiguous() for key, value in network.state_dict().items()}, file)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the pictures, the state and the weights")
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=700, help="pictures to draw")
    parser.add_argument("--size", type=int, default=256, help="their width and height")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--init", type=Path, help="weights to begin with")
    parser.add_argument("--soft", type=float, default=0, help="share of the pictures that is blurred")
    parser.add_argument("--threads", type=int, default=1)
    options = vars(parser.parse_args())
    torch.set_num_threads(options.pop("threads"))
    train(**options)


if __name__ == "__main__":
    main()
