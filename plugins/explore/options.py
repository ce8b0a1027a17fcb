"""What can be asked of each job, and what the admin may set. Light at import."""

import re
from typing import Annotated, Any, Literal

from core.plugin import InvalidParams, Params, param

from .transforms import LOOPS, MOST_LOOPS, MOST_STEPS, Step, Transform

SEEDS = 2**32
LARGEST_SEED = 10**9  # of those that are drawn, as in the original
MAX_TEXT = 100_000
SAMPLERS = ["Euler a", "Euler", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "UniPC", "PLMS"]  # that forms offer
OWN = "own"
ASPECT = re.compile(r"([\w-]+) (\d+)x(\d+)")
RESTS_AFTER = (1, 3, 9)  # pictures


class Settings(Params):
    aspects: list[Annotated[str, param(..., pattern=rf"^{ASPECT.pattern}$", help="A name and a size.")]] = param(
        ["portrait 448x768", "landscape 768x448", "square 576x576", "optimal 512x512"],
        help='Shapes of pictures to choose from, each as "name WIDTHxHEIGHT".',
    )


class Drawing(Params):
    """What all that draw have in common."""

    prompt: str = param(
        "", widget="textarea", max_length=MAX_TEXT, order=1, examples=["a red circle on a blue background"],
        help="What the pictures show.",
    )  # fmt: skip
    negative_prompt: str = param("", widget="textarea", max_length=MAX_TEXT, order=2, help="What to keep away from.")
    add: str = param(
        "", max_length=MAX_TEXT, order=3, help="Words that are added to the prompt; what is made goes into a folder of "
        "its own, that of the longer prompt."
    )  # fmt: skip
    model: str = param(
        "", choices_from="models/checkpoint", order=10, help="Which checkpoint draws. Empty: what draws by itself."
    )
    seed: int = param(
        -1, ge=-1, le=SEEDS - 1, widget="seed", order=40, help="Where the random numbers begin. -1: anywhere."
    )
    schedule: str = param(
        "", max_length=100, order=60, group="sampling", advanced=True, help="Noise levels. Empty: the usual ones."
    )
    more: dict[str, Any] = param(
        {}, order=61, group="sampling", advanced=True,
        help='Further parameters of the jobs that draw, as JSON: {"clip_skip": 2}.',
    )  # fmt: skip
    cooling: str = param(
        "", pattern=r"^ *(\d+(\.\d+)?( *, *\d+(\.\d+)?){0,2})? *$", order=62, advanced=True, group="rests",
        examples=["3, 3, 3", "1, 2, 4"], help="Seconds that the machine rests after each picture, besides after every "
        "third, and besides after every ninth, with commas between them. Empty: it does not.",
    )  # fmt: skip
    names: Literal["stable-core", "original"] = param(
        "stable-core", order=63, advanced=True, group="names",
        help="How files are called: with numbers, or as in the original, strenght and all.",
    )  # fmt: skip


class ExploreParams(Drawing):
    count: int = param(12, ge=1, le=10_000, order=20, help="How many pictures, each with a seed of its own.")
    cfg_scale: float = param(
        6, ge=0, le=30, step=0.5, widget="slider", order=30, group="sampling",
        help="How strictly the prompt is followed. It decides how many steps are taken, too.",
    )  # fmt: skip
    steps: int = param(0, ge=0, le=150, order=31, group="sampling", help="0: as `version` has it.")
    version: Literal["seed", "head"] = param(
        "seed", order=32, group="sampling",
        help="How steps are counted. seed, as the original scripts began: PLMS, 10 steps and 5 for each point of the "
        "scale. head, as they are now: DDIM, 20 and 7. At most 150.",
    )  # fmt: skip
    sampler: str = param(
        "", max_length=100, choices=SAMPLERS, order=33, group="sampling",
        help="How a step is computed. Empty: as `version` has it.",
    )  # fmt: skip
    aspect: str = param(
        OWN, choices_from="call/aspects", order=50, group="size",
        help="Shape of the pictures, of those in the settings. own: what the model draws best.",
    )  # fmt: skip
    width: int = param(
        0, ge=0, le=4096, multiple_of=8, unit="pixels", pairs_with="height", order=51, group="size",
        help="Width in place of the aspect's. 0: that of the aspect.",
    )  # fmt: skip
    height: int = param(
        0, ge=0, le=4096, multiple_of=8, unit="pixels", order=52, group="size",
        help="Height in place of the aspect's. 0: that of the aspect.",
    )  # fmt: skip
    scratch: bool = param(
        False, order=64, advanced=True, group="names", help="Put the pictures into the folder for trying out."
    )


class ContinueParams(ExploreParams):
    cfg_scale: float = param(
        0, ge=0, le=30, step=0.5, widget="slider", order=30, group="sampling",
        help="How strictly the prompt is followed. 0: as strictly as the picture was, else 6.",
    )  # fmt: skip


class VaryParams(Drawing):
    transform: str = param(
        "normal", max_length=60, choices_from="call/transforms", reads="transform", saves="save_transform",
        deletes="delete_transform", order=20,
        help="How the picture is redrawn. normal, shake, focus, unstuck, unfocus: in several ways, each time from the "
        "picture. beast, god, enhance, finalize, snake, video: step by step. Or one of your own.",
    )  # fmt: skip
    program: list[Step] = param(
        [], max_length=MOST_STEPS, order=21, group="own transform", help="Steps in place of the transform's."
    )
    chain: Literal["its own", "single-step", "multi-step"] = param(
        "its own", order=22, group="own transform",
        help="single-step: each step begins with the picture. multi-step: with the result of the step before.",
    )  # fmt: skip
    loop_to_loop: Literal["its own", "on", "off"] = param(
        "its own", order=23, group="own transform",
        help="Whether each loop begins with the last result of the loop before.",
    )  # fmt: skip
    save_middle: Literal["its own", "on", "off"] = param(
        "its own", order=24, group="own transform", help="Whether the results of all steps are kept."
    )
    loops: int = param(
        0, ge=0, le=MOST_LOOPS, order=25,
        help=f"How often, each time with another seed. 0: as the transform has it, mostly {LOOPS}; once "
        "for a seed that is given.",
    )  # fmt: skip
    version: Literal["seed", "head"] = param(
        "seed", order=26,
        help="Which transforms: as the original scripts began (seed), or as they are now (head), where focus has the "
        "scales 7, 8, 9 and shake two loops.",
    )  # fmt: skip
    steps: int = param(
        50, ge=1, le=150, order=31, group="sampling", help="Of which a part is done, as the strength says."
    )
    sampler: str = param(
        "DDIM", max_length=100, choices=SAMPLERS, order=33, group="sampling", help="How a step is computed."
    )
    correction: Literal["every step", "head", "seed", "none"] = param(
        "every step", order=50, group="colours",
        help="When colours are drawn back to those of the picture. every step: always, and the next step goes on with "
        "that. head: where a result is kept. seed: there, too, but the next step goes on without. none: never.",
    )  # fmt: skip
    blend: float | None = param(
        None, ge=0, le=1, step=0.05, order=51, group="colours",
        help="How much results keep of their own colours. Empty: as much as the step redraws, or with seed nothing.",
    )  # fmt: skip
    lightness: float | None = param(
        None, ge=-100, le=100, step=1, order=52, group="colours",
        help="How much lighter they get, of 100. Empty: 1 for each redrawing since the last time, or with seed 10.",
    )  # fmt: skip
    drift: bool = param(
        False, order=53, group="colours", help="Plot how lightness and colours go from picture to picture, at the end."
    )


class Named(Params):
    name: str = param(..., max_length=100, help="The name of a transform.")


class Saved(Transform):
    name: str = param(..., max_length=100, order=1, help="What the transform is called.")


class PromptText(Params):
    text: str = param("", widget="textarea", max_length=2 * MAX_TEXT + 1, help="The prompt.")


def aspects(settings: Settings) -> dict[str, tuple[int, int]]:
    """Width and height by name; 0 and 0 leave them to the model."""
    found = {OWN: (0, 0)}
    for text in settings.aspects:
        name, width, height = ASPECT.fullmatch(text).groups()
        found[name] = int(width), int(height)
    return found


def size_of(params: ExploreParams, settings: Settings) -> dict[str, int]:
    """Width and height as the jobs that draw take them; nothing where the model decides."""
    known = aspects(settings)
    if params.aspect not in known:
        text = f"there is no aspect {params.aspect!r}."
        raise InvalidParams(text, field="aspect", hint=f"There are {', '.join(known)}; the admin sets them.")
    width, height = known[params.aspect]
    sides = {"width": params.width or width, "height": params.height or height}
    return {name: side for name, side in sides.items() if side}


def steps_of(scale: float, version: str) -> int:
    """In how many steps a prompt is drawn: the stricter, the more."""
    return min(150, 10 + int(scale * 5) if version == "seed" else 20 + int(scale * 7))


def rests(cooling: str, drawn: int) -> float:
    """Seconds to rest after the picture number `drawn`, counted from 1."""
    seconds = [float(part) for part in cooling.split(",") if part.strip()]
    return sum(each for each, every in zip(seconds, RESTS_AFTER, strict=False) if drawn % every == 0)
