"""A1111's scripts: what each takes, in its order, and what it becomes: a job of its own kind, or many ordinary ones."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pydantic
from fastapi import APIRouter, HTTPException, Request
from fastapi.exceptions import RequestValidationError

from clients.bridges import finding
from clients.bridges.a1111 import cells, drawing, fields
from clients.bridges.a1111.drawing import Translated
from clients.bridges.a1111.requests import KINDS, Asked, ImageToImage
from clients.python import AsyncClient

TEXT, IMAGE = "txt2img", "img2img"
router = APIRouter(prefix="/sdapi/v1")
DIRECTIONS = ("left", "right", "up", "down")


@dataclass(frozen=True)
class Argument:
    """One of `script_args`: A1111's label and default, and the parameter it stands for, if it does for one.

    Where A1111 says a choice by its number, `numbered` is true. `switch` are parameters that it sets if it is on."""

    label: str
    value: Any = None
    parameter: str = ""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] | None = None
    numbered: bool = False
    switch: Callable[[dict[str, Any]], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Script:
    """Becomes the job that takes all its arguments' parameters, with `fixed` ones beside; or, with `expand`, cells."""

    title: str
    arguments: tuple[Argument, ...]
    kinds: tuple[str, ...] = (TEXT, IMAGE)
    fixed: dict[str, Any] = field(default_factory=dict)
    expand: Callable[[Asked, dict[str, Any]], cells.Cells] | None = None


def _axis(name: str, number: int) -> tuple[Argument, ...]:
    return (
        Argument(f"{name} type", number),
        Argument(f"{name} values", ""),
        Argument(f"{name} values dropdown", []),
    )


MARGIN = Argument("Grid margins (px)", 0, minimum=0, maximum=500, step=2)
NOTE = Argument("", "")  # a text that A1111's page shows there
SCRIPTS = (
    Script(
        "Prompt matrix",
        (
            Argument("Put variable parts at start of prompt", False),
            Argument("Use different seed for each picture", False),
            Argument("Select prompt", "positive", choices=("positive", "negative")),
            Argument("Select joining char", "comma", choices=("comma", "space")),
            MARGIN,
        ),
        expand=cells.matrix,
    ),
    Script(
        "Prompts from file or textbox",
        (
            Argument("Iterate seed every line", False),
            Argument("Use same random seed for all lines", False),
            Argument("Insert prompts at the", "start", choices=("start", "end")),
            Argument("List of prompt inputs", ""),
        ),
        expand=cells.lines,
    ),
    Script(
        "X/Y/Z plot",
        (
            *_axis("X", 1),
            *_axis("Y", 0),
            *_axis("Z", 0),
            Argument("Draw legend", True),
            Argument("Include Sub Images", False),
            Argument("Include Sub Grids", False),
            Argument("Keep -1 for seeds", False),
            *(Argument(f"Vary seeds for {name}", False) for name in "XYZ"),
            MARGIN,
            Argument("Use text inputs instead of dropdowns", False),
        ),
        expand=cells.plot,
    ),
    Script(
        "img2img alternative test",
        (
            NOTE,
            Argument("Override `Sampling method` to Euler?", True, switch=lambda args: {"sampler": "Euler"}),
            Argument(
                "Override `prompt` to the same value as `original prompt`?", True,
                switch=lambda args: {
                    "prompt": args["Original prompt"], "negative_prompt": args["Original negative prompt"]
                },
            ),
            Argument("Original prompt", "", "original_prompt"),
            Argument("Original negative prompt", "", "original_negative_prompt"),
            Argument(
                "Override `Sampling Steps` to the same value as `Decode steps`?", True,
                switch=lambda args: {"steps": args["Decode steps"]},
            ),
            Argument("Decode steps", 50, "decode_steps", minimum=1, maximum=150, step=1),
            Argument("Override `Denoising strength` to 1?", True, switch=lambda args: {"denoising_strength": 1}),
            Argument("Decode CFG scale", 1.0, "decode_cfg_scale", minimum=0, maximum=15, step=0.1),
            Argument("Randomness", 0.0, "randomness", minimum=0, maximum=1, step=0.01),
            Argument("Sigma adjustment for finding noise for image", False),
        ),
        (IMAGE,),
    ),
    Script(
        "Loopback",
        (
            Argument("Loops", 4, "loops", minimum=1, maximum=32, step=1),
            Argument("Final denoising strength", 0.5, "final_denoising_strength", minimum=0, maximum=1, step=0.01),
            Argument("Denoising strength curve", "Linear", "curve", choices=("Aggressive", "Linear", "Lazy")),
            Argument(
                "Append interrogated prompt at each iteration", "None", choices=("None", "CLIP", "DeepBooru")
            ),
        ),
        (IMAGE,),
    ),
    Script(
        "Outpainting mk2",
        (
            NOTE,
            Argument("Pixels to expand", 128, "pixels", minimum=8, maximum=256, step=8),
            Argument("Mask blur", 8, "mask_blur", minimum=0, maximum=64, step=1),
            Argument("Outpainting direction", [*DIRECTIONS], "directions", choices=DIRECTIONS),
            Argument("Fall-off exponent (lower=higher detail)", 1.0, "noise_q", minimum=0, maximum=4, step=0.01),
            Argument("Color variation", 0.05, "color_variation", minimum=0, maximum=1, step=0.01),
        ),
        (IMAGE,),
        {"method": "mk2"},
    ),
    Script(
        "Poor man's outpainting",
        (
            Argument("Pixels to expand", 128, "pixels", minimum=8, maximum=256, step=8),
            Argument("Mask blur", 4, "mask_blur", minimum=0, maximum=64, step=1),
            Argument("Masked content", 0, "fill", choices=fields.FILLS, numbered=True),
            Argument("Outpainting direction", [*DIRECTIONS], "directions", choices=DIRECTIONS),
        ),
        (IMAGE,),
        {"method": "poor man's"},
    ),
    Script(
        "SD upscale",
        (
            NOTE,
            Argument("Tile overlap", 64, "overlap", minimum=0, maximum=256, step=16),
            Argument("Upscaler", 0, "upscaler", choices=("Lanczos", "Lanczos", "Nearest"), numbered=True),
            Argument("Scale Factor", 2.0, "scale", minimum=1, maximum=4, step=0.05),
        ),
        (IMAGE,),
    ),
)  # fmt: skip


def of_kind(kind: str) -> list[Script]:
    """The scripts that txt2img or img2img have."""
    return [script for script in SCRIPTS if kind in script.kinds]


@router.get("/scripts")
async def listed(request: Request) -> dict[str, list[str]]:
    found = await finding.jobs(request.state.client)
    guided = ["controlnet"] if any("controlnets" in finding.parameters(about) for about in found) else []
    return {
        kind: [*guided, *(each.title.casefold() for each in of_kind(kind) if each.expand or _able(each, found))]
        for kind in (TEXT, IMAGE)
    }


@router.get("/script-info")
async def described(request: Request) -> list[dict[str, Any]]:
    there = await listed(request)
    return [
        {
            "name": script.title.casefold(),
            "is_alwayson": False,
            "is_img2img": kind == IMAGE,
            "args": [_told(argument, kind) for argument in script.arguments],
        }
        for kind in (TEXT, IMAGE)
        for script in of_kind(kind)
        if script.title.casefold() in there[kind]
    ]


def _told(argument: Argument, kind: str) -> dict[str, Any]:
    choices = argument.choices
    if argument.label.endswith(" type"):
        choices = [axis.label for axis in cells.axes(KINDS[kind])]
    told = {name: getattr(argument, name) for name in ("label", "value", "minimum", "maximum", "step")}
    return told | {"choices": choices}


async def translate(asked: Asked, client: AsyncClient) -> Translated:
    """As drawing.translate, with the script that is asked for."""
    if not asked.script_name or asked.script_name == "None":
        return await drawing.translate(asked, client)
    kind = IMAGE if isinstance(asked, ImageToImage) else TEXT
    named = {script.title.casefold(): script for script in of_kind(kind)}
    script = named.get(asked.script_name.casefold())
    if script is None:
        raise HTTPException(422, f"Script '{asked.script_name[:200]}' not found")
    args = {argument.label: argument.value for argument in script.arguments}
    labels = [argument.label for argument in script.arguments]
    args |= {label: value for label, value in zip(labels, asked.script_args, strict=False) if value is not None}
    return await (_many if script.expand else _one)(asked, script, args, client)


async def _one(asked: Asked, script: Script, args: dict[str, Any], client: AsyncClient) -> Translated:
    able = _able(script, await finding.jobs(client))
    needs = ", ".join(sorted(_needed(script)))
    finding.first(able, f"run the script {script.title}", f"an image, and the parameters {needs}")
    about = drawing.best(able, asked)
    also, ignored = {**script.fixed}, []
    for argument in script.arguments:
        value = args[argument.label]
        if argument.parameter:
            also[argument.parameter] = _in_our_words(value, argument, finding.parameters(about)[argument.parameter])
        elif argument.switch:
            also |= argument.switch(args) if value else {}
        elif value != argument.value and argument.label:
            ignored.append(f"{script.title}: {argument.label}")
    translated = await drawing.translate(asked, client, [about], also)
    translated.ignored += ignored
    return translated


def _needed(script: Script) -> set[str]:
    return {argument.parameter for argument in script.arguments if argument.parameter} | script.fixed.keys()


def _able(script: Script, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [about for about in finding.from_picture(found) if _needed(script) <= finding.parameters(about).keys()]


def _in_our_words(value: Any, argument: Argument, schema: dict[str, Any]) -> Any:
    if argument.numbered and isinstance(value, int) and 0 <= value < len(argument.choices):
        value = argument.choices[value]
    return (drawing.spelled(value, schema) or value) if isinstance(value, str) else value


async def _many(asked: Asked, script: Script, args: dict[str, Any], client: AsyncClient) -> Translated:
    made = script.expand(asked, args)
    try:
        requests = [type(asked).model_validate(body) for body in made.bodies]
    except pydantic.ValidationError as error:
        raise RequestValidationError([each | {"loc": ("body", *each["loc"])} for each in error.errors()]) from error
    if sum(each.pictures for each in requests) > cells.MOST_DRAWN:
        raise cells.refused(f"{script.title}: these are more than {cells.MOST_DRAWN:,} pictures. Take fewer at once.")
    given = await drawing.uploaded(asked, client)
    parts = await asyncio.gather(*(drawing.translate(each, client, given=given) for each in requests))
    return Translated(
        [job for part in parts for job in part.jobs],
        [*dict.fromkeys(name for part in parts for name in part.ignored)],
        [len(part.jobs) for part in parts],
        made,
    )
