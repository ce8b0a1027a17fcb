"""Pre-train the text encoder to name what a caption says: colours, shapes, places.

Without this the UNet learns to ignore the text: most of the 77 positions are padding, all alike at first. So the
answers are read off the end mark and the padding, both their mean and any single one of them."""

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTokenizer

from .captions import caption
from .drawing import COLOURS, POSITIONS, SHAPES, SIZES, STYLES, Scene, random_scene
from .models import TOKENS, bf16, new_text_encoder, save, training_clock, use_fast_cpu_kernels

NOTHING = "nothing"
QUESTIONS = {
    "background": ["solid", "gradient", "night", "sunset"],
    "first background colour": [*COLOURS, NOTHING],
    "second background colour": [*COLOURS, NOTHING],
    "layout": [*POSITIONS, "beside", "stacked"],
    "style": ["solid", *STYLES],
    "first shape": list(SHAPES),
    "first colour": COLOURS,
    "first size": list(SIZES),
    "second shape": [*SHAPES, NOTHING],
    "second colour": [*COLOURS, NOTHING],
    "second size": [*SIZES, NOTHING],
}
SIZES_OF_ANSWERS = [len(answers) for answers in QUESTIONS.values()]


def answers(scene: Scene) -> list[int]:
    """The number of the right answer to each question."""
    kind, first_colour, second_colour = (*scene.background, NOTHING, NOTHING)[:3]
    words = [kind, first_colour, second_colour, scene.layout, scene.things[0].style]
    for thing in scene.things:
        words += [thing.shape, thing.colour, thing.size]
    words += [NOTHING] * (len(QUESTIONS) - len(words))
    return [known.index(word) for known, word in zip(QUESTIONS.values(), words, strict=True)]


def train(tokenizer_folder: Path, out: Path, minutes: float, rate: float, batch: int) -> None:
    """Train a text encoder from zero; the layer that reads the answers is thrown away."""
    rng = random.Random(0)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    text_encoder = new_text_encoder().train()
    reader = nn.Linear(text_encoder.config.hidden_size, sum(SIZES_OF_ANSWERS))
    trained = [*text_encoder.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW([{"params": trained, "peak": rate}], betas=(0.9, 0.98), fused=True)
    for step, seconds in training_clock(minutes, optimizer):
        scenes = [random_scene(rng) for _ in range(batch)]
        wanted = torch.tensor([answers(scene) for scene in scenes])
        tokens = tokenizer(
            [caption(scene, rng) for scene in scenes],
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        with bf16():
            hidden = text_encoder(input_ids=tokens).last_hidden_state.float()
        ends = (tokens == tokenizer.eos_token_id).float()
        mean = (hidden * ends[..., None]).sum(1) / ends.sum(1, keepdim=True)
        one = hidden[torch.arange(batch), torch.multinomial(ends, 1)[:, 0]]
        loss, right = 0.0, []
        for read in (reader(mean), reader(one)):
            for number, scores in enumerate(read.split(SIZES_OF_ANSWERS, 1)):
                loss = loss + F.cross_entropy(scores, wanted[:, number]) / (2 * len(QUESTIONS))
                right.append((scores.argmax(1) == wanted[:, number]).float().mean().item())
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            share = sum(right) / len(right)
            print(f"{step:6} {seconds:5.0f} s  loss {loss.item():.3f}  {share:.2f} of the answers right", flush=True)
            save(text_encoder, out)
    save(text_encoder, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=Path, help="folder written by tokenizer.py")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=48)
    options = parser.parse_args()
    use_fast_cpu_kernels()
    torch.manual_seed(0)
    train(options.tokenizer, options.out, options.minutes, options.rate, options.batch)


if __name__ == "__main__":
    main()
