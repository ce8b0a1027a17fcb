"""A picture redrawn prompt after prompt, each from what the one before made: iterative prompts."""

from typing import Annotated, Any, Literal

from core.plugin import Context, Image, Json, Params, Plugin, job, param

from .drawing import drawn, recorded

POST = {"group": "afterwards"}
BEFORE = {"group": "the picture to begin with"}
SIZE = {"ge": 0, "le": 4096, "multiple_of": 8, "step": 8, "unit": "pixels", "group": "size"}


class IsiParams(Params):
    prompt: str = param(
        "", widget="textarea", max_length=20_000, order=1,
        examples=["{a red circle}on a blue background;on a green background;(on a yellow background:1.2)"],
        help="With a picture and a ; in it, each part is drawn from what the part before made: "
        "{what all show}first;second;(third, with 1.21 times the CFG scale:1.21). Else it is an ordinary prompt.",
    )  # fmt: skip
    negative_prompt: str = param("", widget="textarea", max_length=20_000, order=2, help="What to keep away from.")
    mode: Literal["auto", "txt2img", "img2img", "isi"] = param(
        "auto", order=3,
        help="auto: without a picture txt2img; with one and a ; in the prompt ISI; else img2img. ISI without a picture "
        "draws the first part from text.",
    )  # fmt: skip
    weights: Literal["cfg", "attention"] = param(
        "cfg", order=4, help="What (part:1.21) does: multiply the CFG scale of that drawing, or weigh its words."
    )
    weight_syntax: Literal["head", "seed_commit"] = param(
        "head", order=5, advanced=True,
        help="How weights are read. head: of each part. seed_commit, as the first version did: of shared text and part "
        "together, by the first colon or by the number of brackets, which are then drawn as text.",
    )  # fmt: skip
    model: str = param("", choices_from="models/checkpoint", order=10, help="Which checkpoint draws. Empty: the usual.")
    width: int = param(512, pairs_with="height", order=20, **SIZE, help="Width of what is drawn. 0: what fits.")
    height: int = param(512, order=21, **SIZE, help="Height of what is drawn. 0: what fits.")
    steps: int = param(80, ge=1, le=150, widget="slider", order=30, group="sampling", help="Steps of each drawing.")
    cfg_scale: float = param(
        7, ge=0, le=30, step=0.5, widget="slider", order=31, group="sampling",
        help="How strictly a drawing follows its prompt. Times the weight of a part, it may be 30 at most.",
    )  # fmt: skip
    denoising_strength: float = param(
        0.75, ge=0, le=1, step=0.05, widget="slider", order=32, group="sampling",
        help="How much each drawing changes what it begins with.",
    )  # fmt: skip
    sampler: str = param(
        "DDIM", max_length=100, order=33, group="sampling", choices=["DDIM", "Euler a", "DPM++ 2M", "UniPC", "PLMS"],
        help="How a step is computed, as img2img has it.",
    )  # fmt: skip
    schedule: str = param(
        "automatic", max_length=100, order=34, group="sampling", choices=["automatic", "karras", "exponential"],
        help="How the noise is spread over the steps, as img2img has it.",
    )  # fmt: skip
    seed: int = param(
        -1, ge=-1, le=2**32 - 1, widget="seed", order=40, group="sampling", help="Seed of the first drawing. -1: any."
    )
    seeds: Literal["counting", "same"] = param(
        "counting", order=41, group="sampling", advanced=True,
        help="counting: each drawing has the next seed. same: all have one, so that its noise is drawn into the "
        "picture again and again.",
    )  # fmt: skip
    count: int = param(1, ge=1, le=1_000, order=42, group="sampling", help="Pictures; with ISI it is always one chain.")
    fit: Literal["crop", "shape", "extend", "resize"] = param(
        "crop", order=50, **BEFORE,
        help="How it gets width and height. crop: the pixels in its middle. shape: the largest part that has the "
        "shape. extend: all of it, mirrored at its edges. resize: all of it, out of shape if need be.",
    )  # fmt: skip
    equalize: bool = param(
        False, order=60, **POST, help="Spread red, green and blue over their range: for models whose results are grey."
    )
    scale: float = param(
        1, ge=1, le=8, step=0.25, widget="slider", order=61, **POST, help="Enlarge the results. 1: do not."
    )
    upscaler: str = param(
        "builtin/compact-x4", choices_from="models/upscaler", order=62, **POST,
        help="What enlarges them.",
    )  # fmt: skip
    keep: Literal["all", "last"] = param("all", order=63, **POST, help="Which drawings of a chain are results.")
    sheet: bool = param(True, order=64, **POST, help="If there are several results, a sheet with all of them, too.")
    more: dict[str, Any] = param(
        {}, order=90, advanced=True, help='More parameters for all that draws, such as {"clip_skip": 2}.'
    )


class RecordParams(Params):
    run: dict[str, Any] = param({}, help="What was drawn.")


Start = Annotated[Image | None, "The picture to begin with."]


class Isi(Plugin):
    @job(program=True)
    def isi(self, params: IsiParams, ctx: Context, image: Start = None) -> list[Image]:
        """Draw a picture, redraw one, or redraw it prompt after prompt with memory."""
        return drawn(image, params, ctx)

    @job(program=True)
    def isi_record(self, params: RecordParams, ctx: Context) -> Json:
        """What a run of isi drew, with which prompts, weights and seeds: its history."""
        return recorded(params.run)
