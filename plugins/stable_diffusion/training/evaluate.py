"""Score an assembled model over samplers and guidance scales, and make picture grids to look at."""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from PIL import Image, ImageDraw

from .drawing import POSITIONS, Scene, Thing, draw
from .score import Prompt, Score, position_prompts, prompts, score

SAMPLERS = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_a": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
}
SHOWCASE = [
    "a red circle on a blue background",
    "a yellow star at night",
    "a green tree at sunset",
    "a large pink heart on a white background",
    "a blue square and a yellow triangle on a white background",
    "a small orange smiley face at the top, black background",
    "a striped purple circle on a yellow background",
    "a dotted green heart on a pink background",
    "an outlined white star on a red background",
    "a cyan ring on a red to yellow gradient background",
    "a red square left of a green circle on a gray background",
    "a blue flower above a red ring on a yellow background",
    "a purple house in the bottom left corner on a green background",
    "house",
    "red circle",
    "masterpiece, best quality, a white moon in the night sky",
]


class Painter:
    """The model as a pipeline, with one seed per picture so that a picture does not depend on its batch."""

    def __init__(self, model: Path):
        self.pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)
        self.noise_schedule = self.pipeline.scheduler.config

    def paint(
        self,
        texts: list[str],
        sampler: str = "euler_a",
        guidance: float = 6.0,
        steps: int = 20,
        size: tuple[int, int] = (128, 128),
        seed: int = 0,
        negative: str = "",
        batch: int = 20,
    ) -> list[Image.Image]:
        """One RGB picture per text."""
        self.pipeline.scheduler = SAMPLERS[sampler].from_config(self.noise_schedule)
        pictures = []
        for start in range(0, len(texts), batch):
            part = texts[start : start + batch]
            pictures += self.pipeline(
                part,
                negative_prompt=[negative] * len(part),
                num_inference_steps=steps,
                guidance_scale=guidance,
                width=size[0],
                height=size[1],
                generator=[torch.Generator().manual_seed(seed + start + i) for i in range(len(part))],
            ).images
        return pictures

    def repaint(self, picture: Image.Image, text: str, strength: float, seed: int = 0) -> Image.Image:
        """Image to image with Euler a, guidance 6, 20 steps times `strength`."""
        pipeline = StableDiffusionImg2ImgPipeline(**self.pipeline.components, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = SAMPLERS["euler_a"].from_config(self.noise_schedule)
        generator = torch.Generator().manual_seed(seed)
        return pipeline(
            text, picture, strength, num_inference_steps=20, guidance_scale=6.0, generator=generator
        ).images[0]


def grid(pictures: list[Image.Image], labels: list[str], columns: int) -> Image.Image:
    """The pictures in rows, each under its label, in two lines where it is long."""
    width, height = max(p.width for p in pictures) + 2, max(p.height for p in pictures) + 24
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height), (70, 70, 70))
    pen = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = i % columns * width, i // columns * height
        sheet.paste(picture, (x, y + 22))
        pen.text((x + 1, y), label[:22], fill="white")
        pen.text((x + 1, y + 10), label[22:44], fill="white")
    return sheet


def summary(scores: list[Score]) -> str:
    """Shares of pictures that are right, in words of the score's fields."""
    names = ("background", "colour", "shape", "position", "right")
    shares = [f"{name} {np.mean([getattr(one, name) for one in scores]):.2f}" for name in names]
    overlaps = [one.overlap for one in scores]
    return "  ".join([*shares, f"overlap {np.mean(overlaps):.3f} (worst {min(overlaps):.2f})"])


def reference_scores(asked: list[Prompt]) -> list[Score]:
    """The scores of the drawings themselves: what is missing to 1 is the score's own error."""
    scores = []
    for prompt in asked:
        x, y = POSITIONS[prompt.position or "center"]
        thing = Thing(prompt.shape, prompt.colour, x=x, y=y, radius=0.2 if prompt.position else 0.26)
        scores.append(score(draw(Scene(("solid", prompt.background), (thing,))), prompt))
    return scores


def score_all(painter: Painter, runs: list[str], out: Path) -> None:
    """Score each run, "SAMPLER:GUIDANCE:STEPS", on all prompts; keep a grid of the first."""
    asked = prompts() + position_prompts()
    print(f"drawn reference      {summary(reference_scores(asked))}", flush=True)
    for run in runs:
        sampler, guidance, steps = run.split(":")
        start = time.monotonic()
        pictures = painter.paint([prompt.text for prompt in asked], sampler, float(guidance), int(steps))
        seconds = (time.monotonic() - start) / len(asked)
        scores = [score(picture, prompt) for picture, prompt in zip(pictures, asked, strict=True)]
        print(f"{run:20} {summary(scores[:100])}  {seconds:.2f} s a picture", flush=True)
        print(f"{'  with a position':20} {summary(scores[100:])}", flush=True)
        for prompt, one in zip(asked, scores, strict=True):
            if not one.right:
                print(f"  wrong: {prompt.text}: {one}", flush=True)
        labels = [prompt.text for prompt in asked]
        grid(pictures[:48], labels[:48], 8).save(out / f"score_{run.replace(':', '_')}.png")
        grid(pictures[100:], labels[100:], 8).save(out / f"position_{run.replace(':', '_')}.png")


def show(painter: Painter, out: Path) -> None:
    """Grids of prompts, sizes, negative prompts and image to image."""
    pictures = painter.paint(SHOWCASE * 2)
    grid(pictures, SHOWCASE * 2, 8).save(out / "prompts.png")
    for size in ((192, 128), (128, 192), (256, 256)):
        texts = SHOWCASE[:6]
        grid(painter.paint(texts, size=size), texts, 6).save(out / f"size_{size[0]}x{size[1]}.png")
    texts, negatives = ["a circle on a blue background", "a red heart"], ["", "red", "yellow, green", "blue background"]
    pictures = [painter.paint([text], negative=negative)[0] for text in texts for negative in negatives]
    grid(pictures, [f"{text} -{negative}" for text in texts for negative in negatives], 4).save(out / "negative.png")
    scenes = {
        "a green heart on a blue background": Scene(("solid", "blue"), (Thing("circle", "red"),)),
        "a red house on a white background": Scene(("solid", "white"), (Thing("house", "green"),)),
        "a white star at night": Scene(("solid", "purple"), (Thing("star", "yellow"),)),
    }
    pictures, labels = [], []
    for text, scene in scenes.items():
        source = draw(scene)
        pictures += [source] + [painter.repaint(source, text, strength / 10) for strength in range(3, 10)]
        labels += ["source"] + [f"{strength / 10} {text}" for strength in range(3, 10)]
    grid(pictures, labels, 8).save(out / "img2img.png")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path, help="folder for the grids")
    parser.add_argument("--runs", nargs="*", default=["euler_a:6:20"], help="SAMPLER:GUIDANCE:STEPS")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-grids", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    painter = Painter(options.model)
    if not options.no_grids:
        show(painter, options.out)
    score_all(painter, options.runs, options.out)


if __name__ == "__main__":
    main()
