"""What can be asked of each program: names, defaults, bounds and help."""

import re
from typing import Any, Literal

from core.plugin import InvalidParams, Params, param

MAX_TEXT = 100_000
LARGEST = 4096  # pixels, each side, that are drawn
SAMPLERS = ["Euler a", "Euler", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "UniPC", "PLMS"]  # that forms offer
SCHEDULES = ["automatic", "karras", "exponential"]
KINDS = ("new seeds", "subseeds")
MAX_FOLDERS = 5  # inside each other
MOST = 10_000  # pictures that are drawn at once
OWN = {"batch_size": "count", "n_iter": "count"}  # what `more` may not say, and what says it here


def _text(**hints: Any) -> Any:
    return param("", widget="textarea", max_length=MAX_TEXT, **hints)


def _share(default: float, **hints: Any) -> Any:
    return param(default, ge=0, le=1, step=0.05, widget="slider", **hints)


class More(Params):
    more: dict[str, Any] = param(
        {}, advanced=True, order=90,
        help='Further parameters of each job that draws, as JSON, for example {"clip_skip": 2}.',
    )  # fmt: skip


class Asking(More):
    prompt: str = _text(
        order=1, examples=["a red circle on a blue background"],
        help="What to draw: a prompt on each line. {a|b} and __file__ choose at random, for each picture anew.",
    )  # fmt: skip
    negative_prompt: str = _text(order=2, help="What to keep away from, in all pictures.")
    count: int = param(4, ge=1, le=10_000, order=3, help="How many pictures of each prompt.")
    bang_tags: bool = param(
        True, order=4, help="Whether !tag:3 becomes the tag and a choice of three related ones, by the job expand_tags."
    )
    sizes: str = param(
        "", max_length=1000, group="size", order=10, choices=["512x512", "512x768, 768x512"],
        help="Sizes, of which each picture takes one at random: 512x768, 768x512. Empty: width and height.",
    )  # fmt: skip
    width: int = param(
        0, ge=0, le=LARGEST, multiple_of=8, unit="pixels", pairs_with="height", group="size", order=11,
        help="Width of the pictures. 0: the size that the model was made for.",
    )  # fmt: skip
    height: int = param(
        0, ge=0, le=LARGEST, multiple_of=8, unit="pixels", group="size", order=12, help="Height of the pictures."
    )
    steps: int = param(20, ge=1, le=150, widget="slider", group="sampling", order=20, help="Steps of each picture.")
    cfg_scale: float = param(
        7, ge=0, le=30, step=0.5, widget="slider", group="sampling", order=21,
        help="How strictly the pictures follow the prompt.",
    )  # fmt: skip
    sampler: str = param(
        "Euler a", max_length=100, choices=SAMPLERS, group="sampling", order=22, help="How a step is computed."
    )
    schedule: str = param(
        "automatic", max_length=100, choices=SCHEDULES, group="sampling", order=23,
        help="How the noise is spread over the steps: any of txt2img.",
    )  # fmt: skip
    model: str = param("", choices_from="models/checkpoint", order=5, help="Which checkpoint draws. Empty: the usual.")
    seed: int = param(
        -1, ge=-1, le=2**32 - 1, widget="seed", group="sampling", order=24,
        help="Of each prompt's first picture; the next one has the next seed. -1 gives each picture one at random.",
    )  # fmt: skip
    folder: str = param(
        "batch", max_length=200, advanced=True, order=91,
        help="Where in the outputs folder the pictures lie, named by their families: batch/<root>@0_2_1.png.",
    )  # fmt: skip


class Varying(Params):
    kind: Literal[KINDS] = param(
        "new seeds", group="variations", order=40,
        help="new seeds: the same prompt drawn anew. subseeds: the same picture, changed as variation_strength says.",
    )  # fmt: skip
    variations: int = param(3, ge=1, le=1000, group="variations", order=41, help="How many of each picture.")
    variation_strength: float = _share(
        0.2, group="variations", order=42, visible_if={"kind": "subseeds"},
        help="How far subseeds lead away from the picture: 0 not at all, 1 to another one.",
    )  # fmt: skip
    variation_cfg_scale: float = param(
        5, ge=0, le=30, step=0.5, group="variations", order=43, help="cfg_scale of variations. 0: the picture's own."
    )


class VariationsParams(Varying, More):
    prompt: str = _text(order=1, help="What they show. Empty: what each picture says itself.")
    folder: str = param("batch", max_length=200, advanced=True, order=91, help="Where in the outputs folder they lie.")


class FinishParams(More):
    prompt: str = _text(order=8, help="What the pictures show. Empty: what each says itself.")
    scale: float = param(2, ge=1, le=8, step=0.25, widget="slider", order=1, help="How many times larger each side is.")
    denoising_strength: float = _share(0.2, order=2, help="How much of the enlarged picture is redrawn.")
    steps: int = param(25, ge=1, le=150, widget="slider", order=3, help="Steps of which these are the last part.")
    sampler: str = param(
        "Euler a", max_length=100, choices=SAMPLERS, order=4, help="Any of img2img. Empty: the picture's own."
    )
    cfg_scale: float = param(
        7, ge=0, le=30, step=0.5, order=5, help="How strictly it follows the prompt. 0: as the picture did."
    )
    lora_factor: float = param(
        0.5, ge=0, le=2, step=0.05, order=6,
        help="What the weights of LoRAs in the prompt are multiplied by. 1: as they were.",
    )  # fmt: skip
    folder: str = param("batch", max_length=200, advanced=True, order=91, help="Where in the outputs folder they lie.")


class RoundsParams(Asking, Varying):
    forecast: int = param(
        0, ge=0, le=150, group="rounds", order=30,
        help="Draw cheap forecasts in so many steps first, and in full only those that you pick. 0: none.",
    )  # fmt: skip
    rounds: int = param(
        1, ge=0, le=20, group="rounds", order=31,
        help="How many rounds of variations: each of what you picked in the one before.",
    )  # fmt: skip
    parents: Literal["if none is picked", "always", "never"] = param(
        "if none is picked", group="rounds", order=32,
        help="When a picture goes on into the next round itself, beside its picked variations.",
    )  # fmt: skip
    finish: bool = param(True, group="finish", order=50, help="Enlarge and redraw what is left after the last round.")
    review_finished: bool = param(
        False, group="finish", order=51, visible_if={"finish": True}, help="Let me pick among these, too."
    )
    finish_scale: float = param(
        2, ge=1, le=8, step=0.25, widget="slider", group="finish", order=52, visible_if={"finish": True},
        help="How many times larger each side becomes.",
    )  # fmt: skip
    denoising_strength: float = _share(
        0.2, group="finish", order=53, visible_if={"finish": True}, help="How much of the enlarged picture is redrawn."
    )
    finish_steps: int = param(
        25, ge=1, le=150, group="finish", order=54, visible_if={"finish": True},
        help="Steps, of which the last part is run.",
    )  # fmt: skip
    finish_sampler: str = param(
        "Euler a", max_length=100, choices=SAMPLERS, group="finish", order=55, visible_if={"finish": True},
        help="Empty: the picture's own.",
    )  # fmt: skip
    finish_cfg_scale: float = param(
        7, ge=0, le=30, step=0.5, group="finish", order=56, visible_if={"finish": True}, help="0: the picture's own."
    )  # fmt: skip
    lora_factor: float = param(
        0.5, ge=0, le=2, step=0.05, group="finish", order=57, visible_if={"finish": True},
        help="What the weights of LoRAs in the prompt are multiplied by then.",
    )  # fmt: skip

    def finishing(self) -> FinishParams:
        named = {name: getattr(self, f"finish_{name}") for name in ("scale", "steps", "sampler", "cfg_scale")}
        same = {name: getattr(self, name) for name in ("denoising_strength", "lora_factor", "folder")}
        return FinishParams(**named, **same)


def prompts(params: Asking) -> list[str]:
    """The lines that say something, each once."""
    found = list(dict.fromkeys(filter(None, map(str.strip, params.prompt.splitlines()))))
    if not found:
        raise InvalidParams("prompt: there is nothing to draw. Write a prompt on each line.", field="prompt")
    return found


def sizes(params: Asking) -> list[tuple[int, int]]:
    """Of which each picture takes one."""
    found = []
    for word in filter(None, re.split(r"[\s,;]+", params.sizes)):
        size = re.fullmatch(r"(\d{1,5})[x×*](\d{1,5})", word)
        sides = tuple(map(int, size.groups())) if size else ()
        if not all(64 <= side <= LARGEST and side % 8 == 0 for side in sides) or not sides:
            raise InvalidParams(
                f"sizes: {word[:50]!r} is no size that can be drawn.", field="sizes",
                hint=f"Write WIDTHxHEIGHT, multiples of 8 from 64 to {LARGEST}, with commas between: 512x768, 768x512.",
            )  # fmt: skip
        found.append(sides)
    return found or [(params.width, params.height)]


def check_count(count: int, field: str) -> None:
    if count > MOST:
        text = f"{field}: these would be {count:,} pictures at once, the limit is {MOST:,}."
        raise InvalidParams(text, field=field, hint="Take fewer, and more of them later.")


def check(params: More) -> None:
    """What a field says, `more` does not say again, and the folder can be made. Raises InvalidParams."""
    if params.folder.count("/") > MAX_FOLDERS:
        text = f"folder: more than {MAX_FOLDERS + 1} folders inside each other."
        raise InvalidParams(text, field="folder", hint="Take fewer.")
    for name in params.more:
        if name in OWN or name in type(params).model_fields or name == "image":
            field = OWN.get(name, name)
            raise InvalidParams(
                f"more: {name} has no place here; {field} says it.", field="more", hint=f"Set {field} instead."
            )
