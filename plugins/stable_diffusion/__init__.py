"""What the plugin offers: the jobs txt2img and img2img, and their options. Light at import: no torch here."""

import os
import random
from collections.abc import Iterator
from typing import Any, Literal

from core.plugin import Artifact, Context, Image, Params, Plugin, job, param

SEEDS = 2**32


class TextToImage(Params):
    prompt: str = param(
        "",
        widget="textarea",
        order=1,
        max_length=20_000,
        help="What the picture shows. The first 75 tokens count (a token is a short word or a part of a long one); "
        "the job's log tells what was cut off.",
    )
    negative_prompt: str = param(
        "",
        widget="textarea",
        order=2,
        max_length=20_000,
        help="What to keep away from, for example: blurry, text. Has no effect at cfg_scale 1.",
    )
    model: str = param(
        "builtin",
        choices_from="models/checkpoint",
        order=3,
        help="Which checkpoint draws: a Stable Diffusion 1 or 2 model, as a folder in diffusers layout. "
        "'builtin' is small and knows coloured shapes.",
    )
    width: int = param(
        0,
        ge=0,
        le=2048,
        multiple_of=8,
        step=8,
        unit="pixels",
        group="size",
        order=4,
        help="Width of the picture, a multiple of 8. 0 means the size that the model was made for, "
        "which it also draws best.",
    )
    height: int = param(
        0,
        ge=0,
        le=2048,
        multiple_of=8,
        step=8,
        unit="pixels",
        group="size",
        order=5,
        help="Height of the picture, a multiple of 8. 0 means the size that the model was made for.",
    )
    batch_size: int = param(
        1,
        ge=1,
        le=64,
        widget="slider",
        group="size",
        order=6,
        help="How many pictures to draw. Picture k (from 0) has the seed seed + k and is the same as if drawn alone.",
    )
    steps: int = param(
        20,
        ge=1,
        le=150,
        widget="slider",
        group="sampling",
        order=7,
        help="In how many steps the noise is removed. More take longer; beyond 20 to 30 little changes.",
    )
    cfg_scale: float = param(
        7.0,
        ge=0,
        le=30,
        step=0.5,
        widget="slider",
        group="sampling",
        order=8,
        help="How strictly the picture follows the prompt (classifier-free guidance). 1 takes the prompt as it is and "
        "is twice as fast, 5 to 9 is usual, high values look harsh, 0 follows only the negative prompt.",
    )
    sampler: Literal["Euler", "Euler a", "DPM++ 2M"] = param(
        "Euler a",
        group="sampling",
        order=9,
        help="How a step is computed. Euler: plain and predictable. Euler a: adds fresh noise in each step, so the "
        "picture keeps changing with the number of steps. DPM++ 2M: more exact, good from 10 steps on.",
    )
    schedule: Literal["automatic", "karras"] = param(
        "automatic",
        group="sampling",
        order=10,
        advanced=True,
        help="How the noise is spread over the steps. automatic: evenly over the model's own noise levels. "
        "karras: more steps at low noise, often finer detail.",
    )
    seed: int = param(
        -1,
        ge=-1,
        le=2**32 - 1,
        widget="seed",
        group="sampling",
        order=11,
        help="Start of the random numbers: the same seed and options give the same picture. -1 takes a random seed, "
        "which is reported with the picture.",
    )


class ImageToImage(TextToImage):
    denoising_strength: float = param(
        0.75,
        ge=0,
        le=1,
        step=0.05,
        widget="slider",
        group="sampling",
        order=12,
        help="How much of the picture is redrawn: 0 leaves it almost as it is, 1 keeps next to nothing. Of the steps, "
        "the last int(strength * steps) + 1 are run.",
    )


class StableDiffusion(Plugin):
    def load(self, device: str) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported: they must not look for files online
        from .studio import Studio

        self._studio = Studio(device)

    def unload(self) -> None:
        self._studio.close()

    def plan(self, job: str, params: TextToImage, inputs: dict[str, list[Artifact]]) -> dict[str, Any]:
        """Picture k of each call has the seed seed + k; a random seed is chosen here."""
        seed = params.seed if params.seed >= 0 else random.randrange(SEEDS)
        calls = max(1, len(inputs.get("image", [])))
        outputs = [{"seed": (seed + k) % SEEDS} for _ in range(calls) for k in range(params.batch_size)]
        return {"params": params.model_dump() | {"seed": seed}, "outputs": outputs}

    @job(affinity="model", concurrency=8)
    def txt2img(self, params: TextToImage, ctx: Context) -> Iterator[Image]:
        """Draw pictures from a text."""
        return self._studio.draw(params, ctx)

    @job(affinity="model", concurrency=8)
    def img2img(self, image: Image, params: ImageToImage, ctx: Context) -> Iterator[Image]:
        """Redraw a picture as a text says. It is first stretched to width x height."""
        return self._studio.draw(params, ctx, image)
