"""Scripts of many pictures: X/Y/Z plot, prompt matrix, prompts from a text. Each says which requests it becomes."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError

from clients.bridges.a1111 import grids
from clients.bridges.a1111.requests import Asked, ImageToImage, TextToImage
from core.library import sweeping

Body = dict[str, Any]
Args = dict[str, Any]
Picture = grids.Picture
SEEDS = 2**32
MOST = 1000  # requests that one may become
MOST_DRAWN = 10_000  # pictures of all these
MOST_SIDE = 10**6  # pixels that are counted: no arithmetic overflows with it


@dataclass
class Cells:
    """`bodies` are the fields of each request. `arrange` makes grids of the first picture of each; `alone` says whether
    the pictures themselves are sent, too."""

    bodies: list[Body]
    arrange: Callable[[Sequence[Picture]], list[Picture]] | None = None
    alone: bool = True


@dataclass(frozen=True)
class Axis:
    """What X, Y or Z may stand for: a field of the request, or one of `override_settings`."""

    label: str
    read: Callable[[Any], Any] = str
    field: str = ""
    setting: str = ""
    kind: type[Asked] = Asked


AXES = (  # in A1111's order: requests name them by their number, of those that their kind of request has
    Axis("Nothing"),
    Axis("Seed", int, "seed"),
    Axis("Var. seed", int, "subseed"),
    Axis("Var. strength", float, "subseed_strength"),
    Axis("Steps", int, "steps"),
    Axis("Hires steps", int, "hr_second_pass_steps", kind=TextToImage),
    Axis("CFG Scale", float, "cfg_scale"),
    Axis("Image CFG Scale", float, "image_cfg_scale", kind=ImageToImage),
    Axis("Prompt S/R"),
    Axis("Prompt order"),
    Axis("Sampler", str, "sampler_name", kind=TextToImage),
    Axis("Hires sampler", str, "hr_sampler_name", kind=TextToImage),
    Axis("Sampler", str, "sampler_name", kind=ImageToImage),
    Axis("Checkpoint name", setting="sd_model_checkpoint"),
    Axis("Negative Guidance minimum sigma", float, "s_min_uncond"),
    Axis("Sigma Churn", float, "s_churn"),
    Axis("Sigma min", float, "s_tmin"),
    Axis("Sigma max", float, "s_tmax"),
    Axis("Sigma noise", float, "s_noise"),
    Axis("Schedule type", str, "scheduler"),
    Axis("Schedule min sigma", float, setting="sigma_min"),
    Axis("Schedule max sigma", float, setting="sigma_max"),
    Axis("Schedule rho", float, setting="rho"),
    Axis("Eta", float, "eta"),
    Axis("Clip skip", int, setting="CLIP_stop_at_last_layers"),
    Axis("Denoising", float, "denoising_strength"),
    Axis("Initial noise multiplier", float, "initial_noise_multiplier"),
    Axis("Extra noise", float, setting="img2img_extra_noise"),
    Axis("Hires upscaler", str, "hr_upscaler", kind=TextToImage),
    Axis("Cond. Image Mask Weight", float, "inpainting_mask_weight", kind=ImageToImage),
    Axis("VAE", setting="sd_vae"),
    Axis("Styles"),
    Axis("UniPC Order", int, setting="uni_pc_order"),
    Axis("Face restore", str, "restore_faces"),
    Axis("Token merging ratio", float, setting="token_merging_ratio"),
    Axis("Token merging ratio high-res", float, setting="token_merging_ratio_hr"),
    Axis("Always discard next-to-last sigma", setting="always_discard_next_to_last_sigma"),
    Axis("SGM noise multiplier", setting="sgm_noise_multiplier"),
    Axis("Refiner checkpoint", str, "refiner_checkpoint"),
    Axis("Refiner switch at", float, "refiner_switch_at"),
    Axis("RNG source", setting="randn_source"),
    Axis("FP8 mode", setting="fp8_storage"),
)


def axes(kind: type[Asked]) -> list[Axis]:
    return [axis for axis in AXES if issubclass(kind, axis.kind)]


def plot(asked: Asked, args: Args) -> Cells:
    """X/Y/Z plot: a picture for each value of X beside each other, of Y below, a grid for each of Z."""
    offered, chosen, values = axes(type(asked)), [], []
    for name in "XYZ":
        number = args[f"{name} type"] or 0
        if not isinstance(number, int) or not 0 <= number < len(offered):
            raise refused(f"{name} type: there are axes 0 to {len(offered) - 1}, got {number!r}.")
        chosen.append(offered[number])
        found = axis_values(chosen[-1], args[f"{name} values"], args[f"{name} values dropdown"])
        if chosen[-1].field in ("seed", "subseed") and not args["Keep -1 for seeds"]:
            found = [random.randrange(SEEDS) if value < 0 else value for value in found]
        values.append(found)
    wide, high, deep = map(len, values)
    margin = margin_of(args)
    limit(asked, wide * high * deep, margin)
    whole = body_of(asked) | {"batch_size": 1, "n_iter": 1}
    if not args["Keep -1 for seeds"]:
        whole |= fixed_seeds(asked)
    steps = sweeping.strides([wide, high, deep], [bool(args[f"Vary seeds for {name}"]) for name in "XYZ"])
    bodies = []
    for places in itertools.product(*(range(len(each)) for each in reversed(values))):
        body = {**whole, "override_settings": {**asked.override_settings}}
        places = places[::-1]
        if further := sum(a * b for a, b in zip(places, steps, strict=True)):
            body["seed"] = (body.get("seed", -1) + further) % SEEDS
        for axis, place, each in zip(chosen, places, values, strict=True):
            put(axis, each[place], each, body)
        bodies.append(body)

    def arrange(pictures: Sequence[Picture]) -> list[Picture]:
        words = [[label(axis, value) for value in each] for axis, each in zip(chosen, values, strict=True)]
        words = words if args["Draw legend"] else [[], [], []]
        parts = [pictures[start : start + wide * high] for start in range(0, len(pictures), wide * high)]
        subs = [grids.grid(part, wide, words[0], words[1], margin) for part in parts]
        return [grids.grid(subs, len(subs), words[2])] + (subs if args["Include Sub Grids"] else [])

    return Cells(bodies, arrange, bool(args["Include Sub Images"]))


def limit(asked: Asked, count: int, margin: int) -> None:
    """Refuse more pictures than MOST, and a grid of more than MOST_PIXELS, which nobody could open."""
    sides = [min(asked.width, MOST_SIDE), min(asked.height, MOST_SIDE)]
    if isinstance(asked, TextToImage) and asked.enable_hr:
        sides = [side * asked.hr_scale for side in sides]
        sides = [max(side, wanted) for side, wanted in zip(sides, (asked.hr_resize_x, asked.hr_resize_y), strict=True)]
    width, height = (min(side, MOST_SIDE) + margin for side in sides)
    pixels = count * width * height
    if count > MOST or not pixels <= grids.MOST_PIXELS:  # it may be no number at all
        raise refused(
            f"{asked.script_name}: {count:,} pictures with {pixels:,.0f} pixels are more than {MOST:,} pictures or "
            f"{grids.MOST_PIXELS:,} pixels. Take fewer values or smaller pictures."
        )


def margin_of(args: Args) -> int:
    try:
        return min(max(0, int(args["Grid margins (px)"])), 500)
    except (TypeError, ValueError, OverflowError) as error:
        raise refused("Grid margins (px) have to be a number of pixels.") from error


def axis_values(axis: Axis, text: Any, chosen: Any) -> list[Any]:
    """What stands in a field of values: a list with commas and quotes; of numbers 1-5, 1-5 (+2) and 1-10 [4], too."""
    if axis.label == "Nothing":
        return [None]
    try:
        listed = sweeping.listed(str(text or ""))
        items = [str(item) for item in (isinstance(chosen, list) and chosen or listed) if item not in ("", None)]
        if not items:
            raise ValueError("there are no values. Send some, with commas between")
        if axis.label == "Prompt order":
            return sweeping.orders(items, MOST)
        return items if axis.read is str else sweeping.numbers(items, axis.read, MOST)
    except ValueError as error:
        raise refused(f"{axis.label}: {error}.") from error


def put(axis: Axis, value: Any, values: Sequence[Any], body: Body) -> None:
    """Let the request have this value of the axis."""
    if axis.field == "restore_faces":
        value = value.casefold() in ("true", "yes", "y", "1", "codeformer", "gfpgan")
    if axis.field:
        body[axis.field] = value
    elif axis.setting:
        body["override_settings"][axis.setting] = value
    elif axis.label == "Styles":
        body["styles"] = [*body.get("styles", []), *value.split(",")]
    elif axis.label == "Prompt S/R":
        texts = {name: body.get(name, "") for name in ("prompt", "negative_prompt")}
        try:
            body |= sweeping.replaced(texts, values[0], value)
        except ValueError as error:
            raise refused(f"Prompt S/R: {error}.") from error
    elif axis.label == "Prompt order":
        body["prompt"] = sweeping.in_order(body.get("prompt", ""), value)


def label(axis: Axis, value: Any) -> str:
    if axis.label == "Nothing":
        return ""
    if axis.label == "Prompt order":
        return ", ".join(value)
    value = round(value, 8) if isinstance(value, float) else value
    return str(value) if axis.label in ("Prompt S/R", "Sampler", "Checkpoint name") else f"{axis.label}: {value}"


def matrix(asked: Asked, args: Args) -> Cells:
    """Prompt matrix: the first part of a|b|c with each choice of the others."""
    name = "negative_prompt" if args["Select prompt"] == "negative" else "prompt"
    joint = ", " if args["Select joining char"] == "comma" else " "
    made = sweeping.Matrix(getattr(asked, name), joint, bool(args["Put variable parts at start of prompt"]))
    margin = margin_of(args)
    limit(asked, min(made.count, 2**30), margin)
    whole, bodies = body_of(asked) | fixed_seeds(asked) | {"batch_size": 1, "n_iter": 1}, []
    for place, prompt in enumerate(made.prompts()):
        seed = whole["seed"] + place * bool(args["Use different seed for each picture"])
        bodies.append(whole | {name: prompt, "seed": seed % SEEDS})

    def arrange(pictures: Sequence[Picture]) -> list[Picture]:
        above, beside = made.words()
        return [grids.grid(pictures, len(above), above, beside, margin)]

    return Cells(bodies, arrange)


def lines(asked: Asked, args: Args) -> Cells:
    """Prompts from a text: a request for each line, a prompt or options such as --prompt "a cat" --steps 10."""
    texts = [line.strip() for line in str(args["List of prompt inputs"] or "").splitlines() if line.strip()]
    if not 1 <= len(texts) <= MOST:
        raise refused(f"List of prompt inputs: there may be 1 to {MOST} lines, got {len(texts)}.")
    every, same = args["Iterate seed every line"], args["Use same random seed for all lines"]
    whole, bodies = body_of(asked) | (fixed_seeds(asked) if every or same else {}), []
    for place, text in enumerate(texts):
        body = whole | {"seed": (whole["seed"] + place * asked.pictures) % SEEDS} if every else {**whole}
        options = line_options(text)
        if "sd_model" in options:
            settings = asked.override_settings | {"sd_model_checkpoint": options.pop("sd_model")}
            body["override_settings"] = settings
        around = {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt}
        bodies.append(body | sweeping.inserted(options, around, args["Insert prompts at the"] == "start"))
    return Cells(bodies)


def line_options(text: str) -> Body:
    """What a line asks for; the line as a prompt if its options are none that there are."""
    try:
        said = sweeping.line_options(text, sweeping.LINE_OPTIONS)
    except ValueError:
        return {"prompt": text}
    options: Body = {name: value for name, value in said.items() if value}
    if "styles" in options:
        options["styles"] = options["styles"].split(",")
    return options


def body_of(asked: Asked) -> Body:
    """What was said, without the script."""
    said = asked.model_dump(exclude_unset=True)
    return {name: value for name, value in said.items() if name not in ("script_name", "script_args")}


def fixed_seeds(asked: Asked) -> Body:
    """Seeds for all cells, chosen here if that is left to chance."""
    return {
        name: random.randrange(SEEDS) if getattr(asked, name) < 0 else getattr(asked, name)
        for name in ("seed", "subseed")
    }


def refused(text: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", "script_args"), "msg": text}])
