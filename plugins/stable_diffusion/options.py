"""What can be asked of each job: names, defaults, bounds and help of all options. Light at import: no torch here."""

from typing import Annotated, Any, Literal

import pydantic

from core.library.prompts import MAX_TEXT
from core.plugin import Params, param

from .names import (
    CLASSIFIER_FREE,
    CONDITIONINGS,
    EXTENSIONS,
    GUIDANCES,
    NONE,
    SAMPLERS,
    SCHEDULE_SPELLINGS,
    SCHEDULES,
    SPELLINGS,
    canonical,
    canonical_schedule,
)

SEEDS = 2**32
LARGEST = 4096  # pixels, each side
LARGEST_GROWTH = 1024  # pixels, at each side
LARGEST_TILED = 12_000  # of what is drawn in tiles; more pixels than its square could not be opened again
# What is submitted may have the spellings of A1111 and ComfyUI; what a job gets to see has ours.
Sampler = Annotated[Literal[SAMPLERS], pydantic.WithJsonSchema({"type": "string", "enum": [*SAMPLERS, *SPELLINGS]})]
Schedule = Annotated[
    Literal[SCHEDULES], pydantic.WithJsonSchema({"type": "string", "enum": [*SCHEDULES, *SCHEDULE_SPELLINGS]})
]
EMPHASES = ("original", "no norm", "ignore", "none", "comfyui")
RESIZE_MODES = ("just resize", "crop and resize", "resize and fill", "just resize (latent upscale)")
LATENT_UPSCALERS = (
    "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
    "Latent (nearest-exact)",
)  # fmt: skip
IMAGE_UPSCALERS = ("Lanczos", "Nearest")
SIDES = ("left", "right", "up", "down")
FILLS = ("fill", "original", "latent noise", "latent nothing")
PREPROCESSORS = ("none", "canny", "scribble", "tile", "mask", "inpaint", "invert")
CONTROL_MODES = ("balanced", "my prompt is more important", "controlnet is more important")


def _share(default: float, **hints: Any) -> Any:
    """A share from 0 to 1."""
    return param(default, ge=0, le=1, step=0.05, widget="slider", **hints)


def _side(default: int, **hints: Any) -> Any:
    """A side of a picture; 0 means something else for each."""
    return param(default, ge=0, le=LARGEST, multiple_of=8, unit="pixels", **hints)


def _seed(**hints: Any) -> Any:
    return param(-1, ge=-1, le=SEEDS - 1, widget="seed", **hints)


def _grows(side: str, **hints: Any) -> Any:
    """By how many pixels a picture grows at that side."""
    help = f"How far the picture grows {'at the ' + side if side in ('left', 'right') else side}. The four sides count "
    help += "instead of `pixels` and `directions` where one of them is not 0."
    bounds = {"ge": 0, "le": LARGEST_GROWTH, "multiple_of": 8, "step": 8}
    return param(0, frame=side, unit="pixels", group="canvas", advanced=True, help=help, **bounds, **hints)


def _text(**hints: Any) -> Any:
    return param("", widget="textarea", max_length=MAX_TEXT, **hints)


class Reading(Params):
    """How prompts are read, of all jobs and of the light ones that explain them."""

    model: str = param(
        "builtin",
        choices_from="models/checkpoint",
        order=10,
        help="Which checkpoint draws: a Stable Diffusion 1, 2 or XL model, as one file (.safetensors or .ckpt) or a "
        "folder in diffusers layout. 'builtin' is small and knows coloured shapes.",
    )
    emphasis: Literal[EMPHASES] = param(
        "original",
        group="prompt details",
        order=200,
        advanced=True,
        help="What (brackets:1.2) do. original: A1111's weights, scaled back to the mean of the unweighted text. "
        "no norm: without scaling back. comfyui: away from the empty prompt, and inner weights replace outer "
        "ones. ignore: brackets are read, but weigh nothing. none: brackets are text.",
    )
    clip_skip: int = param(
        1,
        ge=1,
        le=12,
        group="prompt details",
        order=201,
        advanced=True,
        help="From which layer of the text encoder the prompt is taken, counted from the end. 1 is the last one; some "
        "models for drawings want 2. Stable Diffusion XL always takes the last one but one, as in A1111.",
    )
    comma_backtrack: int = param(
        20,
        ge=0,
        le=74,
        unit="tokens",
        group="prompt details",
        order=202,
        advanced=True,
        help="A prompt is read in chunks of 75 tokens. If a comma is at most this many tokens before the end of a "
        "chunk, the rest after it moves to the next chunk, so that phrases stay whole. 0 cuts anywhere.",
    )


def _of_extensions() -> dict[str, Any]:
    """What is there to choose because of files in extensions/, see extending.py."""
    guidance = param(
        CLASSIFIER_FREE,
        group="extensions",
        order=300,
        advanced=True,
        help="How the estimates with the prompt and with the negative prompt become one, at a cfg_scale other than 1. "
        "adaptive projected: without the harsh colours of a high cfg_scale. Those of your own are here, too.",
    )
    conditioning = param(
        NONE,
        group="extensions",
        order=301,
        advanced=True,
        help="What is done, by an extension of yours, to what prompts become before a picture is drawn.",
    )
    offered = {"guidance": (Literal[GUIDANCES], guidance)} if len(GUIDANCES) > 1 else {}
    offered |= {"conditioning": (Literal[CONDITIONINGS], conditioning)} if len(CONDITIONINGS) > 1 else {}
    for extension in EXTENSIONS.values():
        offered |= extension.fields(order=302 + len(offered))
    return offered


Extended = pydantic.create_model("Extended", __base__=Reading, **_of_extensions())


class Drawing(Extended):
    """What all jobs that draw have in common."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _in_our_words(cls, given: Any) -> Any:
        """Samplers and schedules by our names; a schedule that is part of a sampler's name counts, if no other is."""
        if not isinstance(given, dict):
            return given
        ours = dict(given)
        for sampler, schedule, nothing in (
            ("sampler", "schedule", "automatic"),
            ("hires_sampler", "hires_schedule", "same"),
        ):
            if ours.get(sampler) in SPELLINGS:
                ours[sampler], within = canonical(ours[sampler])
                if within and ours.get(schedule, nothing) == nothing:
                    ours[schedule] = within
            if ours.get(schedule) in SCHEDULE_SPELLINGS:
                ours[schedule] = canonical_schedule(ours[schedule])
        return ours

    prompt: str = _text(
        counts="tokens",
        examples=["a red circle on a blue background", "a green star", "a yellow square on a white background"],
        order=1,
        help="What the picture shows, of any length. (word:1.2) weighs more, [word] less; [a:b:0.5] changes from a"
        " to b halfway, [a|b] alternates; AND combines prompts, BREAK begins a new chunk; {a|b} and __file__ "
        "choose at random; <lora:name:0.8> adds a network; the rest of a line after # is a comment.",
    )
    negative_prompt: str = _text(
        counts="tokens",
        order=2,
        help="What to keep away from, for example: blurry, text. Has no effect at cfg_scale 1.",
    )
    refiner: str = param(
        "",
        choices_from="models/checkpoint",
        group="refiner",
        order=12,
        advanced=True,
        help="A second model, which goes on where the first one stops: the refiner of Stable Diffusion XL, or any of "
        "the same family. It reads the same prompts; networks go into it if it is of the same architecture. Empty is "
        "without. With hires fix it refines the second pass, as in A1111.",
    )
    refiner_switch_at: float = _share(
        0.8,
        group="refiner",
        order=13,
        advanced=True,
        visible_if={"refiner": True},
        help="When the refiner takes over: as soon as this share of the noise levels that the model was trained on "
        "lies behind. 0 is at once, 1 never.",
    )
    styles: list[str] = param(
        [],
        choices_from="call/styles",
        reads="style",
        saves="save_style",
        deletes="delete_style",
        max_length=50,
        order=3,
        help="Names of saved styles, whose texts are added to both prompts in this order. A style with {prompt} in it "
        "takes the prompt there.",
    )
    vae: str = param(
        "",
        choices_from="models/vae",
        order=11,
        advanced=True,
        help="Another VAE than the model's own. It turns latents into pictures: colours and fine detail. Empty means "
        "the model's own.",
    )
    dynamic_prompts: bool = param(
        True,
        group="prompt details",
        order=203,
        advanced=True,
        help="Whether {a|b}, __wildcard__ and ${variable} choose texts at random, by the seed of each picture. "
        "Without, they are plain text.",
    )
    width: int = _side(
        0,
        pairs_with="height",
        step=8,
        group="size",
        order=20,
        help="Width of the picture, a multiple of 8. 0 means the size that the model was made for, "
        "which it also draws best; with a picture to start from, that picture's own.",
    )
    height: int = _side(
        0,
        step=8,
        group="size",
        order=21,
        help="Height of the picture, a multiple of 8. 0 means the size that the model was made for, or that of the "
        "picture to start from.",
    )
    steps: int = param(
        20,
        ge=1,
        le=150,
        widget="slider",
        group="sampling",
        order=30,
        help="In how many steps the noise is removed. More take longer; beyond 20 to 30 little changes.",
    )
    cfg_scale: float = param(
        7.0,
        ge=0,
        le=30,
        step=0.5,
        widget="slider",
        group="sampling",
        order=31,
        help="How strictly the picture follows the prompt (classifier-free guidance). 1 takes the prompt as it is and "
        "is twice as fast, 5 to 9 is usual, high values look harsh, 0 follows only the negative prompt.",
    )
    sampler: Sampler = param(
        "Euler a",
        choices=[*SAMPLERS],
        group="sampling",
        order=32,
        help="How a step is computed. Euler: plain and predictable. Those with 'a' or SDE add fresh noise in each "
        "step, so the picture keeps changing with the number of steps. DPM++ 2M: good from 10 steps on; UniPC "
        "and PLMS from 15. Heun, DPM2, DPM++ 2S a, DPM++ SDE and Restart look twice in each step and take twice as "
        "long. LCM: for LCM models, 4 steps.",
    )
    schedule: Schedule = param(
        "automatic",
        choices=[*SCHEDULES],
        group="sampling",
        order=33,
        help="How the noise is spread over the steps. automatic: evenly over the model's own noise levels. "
        "karras: more steps at low noise, often finer detail; exponential: still more. simple: for turbo, lightning "
        "and hyper models, with 1 to 8 steps.",
    )
    seed: int = _seed(
        group="sampling",
        order=40,
        help="Start of the random numbers: the same seed and options give the same picture. -1 takes a random seed, "
        "which is reported with the picture.",
    )
    seed_resize_width: int = _side(
        0,
        pairs_with="seed_resize_height",
        group="variations",
        order=43,
        advanced=True,
        help="Draw as the seed does at this width, so that a picture keeps its composition in another size. 0 is off.",
    )
    seed_resize_height: int = _side(
        0,
        group="variations",
        order=44,
        advanced=True,
        help="Draw as the seed does at this height, see seed_resize_width. 0 is off.",
    )
    tiling: bool = param(
        False,
        group="size",
        order=24,
        advanced=True,
        help="Draw a picture whose left fits its right and whose top fits its bottom, as a pattern to be repeated.",
    )
    eta: float = param(
        -1,
        ge=-1,
        le=2,
        step=0.05,
        group="sampler details",
        order=210,
        advanced=True,
        help="How much fresh noise samplers add that do: 0 none. -1 is what is usual for the sampler, which is 1, "
        "but 0 for DDIM.",
    )
    s_churn: float = param(
        0,
        ge=0,
        le=100,
        group="sampler details",
        order=211,
        advanced=True,
        help="How much noise Euler, Heun and DPM2 add before steps, to correct earlier errors. 0 is none.",
    )
    s_tmin: float = param(
        0, ge=0, group="sampler details", order=212, advanced=True, help="Lowest noise level at which s_churn acts."
    )
    s_tmax: float = param(
        0,
        ge=0,
        group="sampler details",
        order=213,
        advanced=True,
        help="Highest noise level at which s_churn acts. 0 means no limit.",
    )
    s_noise: float = param(
        1,
        ge=0,
        le=2,
        step=0.01,
        group="sampler details",
        order=214,
        advanced=True,
        help="Strength of the noise that samplers add. 1 is what the mathematics say; a little more gives more detail.",
    )
    sigma_min: float = param(
        0,
        ge=0,
        le=100,
        group="sampler details",
        order=215,
        advanced=True,
        help="Lowest noise level of the schedules karras, exponential, polyexponential, sgm uniform and beta, and of "
        "the samplers DPM fast and DPM adaptive. 0 takes the model's own.",
    )
    sigma_max: float = param(
        0,
        ge=0,
        le=1000,
        group="sampler details",
        order=216,
        advanced=True,
        help="Highest noise level of the schedules karras, exponential, polyexponential, sgm uniform and beta. 0 takes "
        "the model's own.",
    )
    rho: float = param(
        0,
        ge=0,
        le=50,
        group="sampler details",
        order=217,
        advanced=True,
        help="Bend of the schedules karras and polyexponential: higher spends more steps at low noise. 0 takes 7 for "
        "karras, 1 for polyexponential.",
    )
    ngms: float = param(
        0,
        ge=0,
        le=15,
        group="sampler details",
        order=218,
        advanced=True,
        help="Negative guidance minimum sigma: below this noise level every other step leaves out the negative prompt, "
        "which is faster. 0 never does.",
    )
    cfg_rescale: float = param(
        0,
        ge=0,
        le=1,
        step=0.05,
        group="sampler details",
        order=219,
        advanced=True,
        help="Takes back how much guidance raises the contrast: 0 not at all, 1 wholly. 0.7 is usual for models with "
        "v-prediction.",
    )
    ensd: int = param(
        0,
        ge=0,
        le=SEEDS - 1,
        group="noise",
        order=220,
        advanced=True,
        help="Eta noise seed delta: is added to the seed for the noise that samplers add, but for those with SDE. "
        "31337 gives NovelAI's pictures.",
    )
    noise_source: Literal["CPU", "GPU", "NV"] = param(
        "CPU",
        group="noise",
        order=221,
        advanced=True,
        help="Who makes the noise. CPU: the same on every machine. GPU: the device, as A1111 by default. NV: the "
        "numbers that an Nvidia GPU gives, on every machine.",
    )
    exact: bool = param(
        False,
        group="noise",
        order=222,
        advanced=True,
        help="Share no computation with other pictures, so that on the same machine the same seed gives the same "
        "bytes, whatever else runs. Slower; otherwise rounding may differ in the last digits.",
    )


class Several(Params):
    """Of jobs that draw several pictures at once."""

    batch_size: int = param(
        1,
        ge=1,
        le=64,
        widget="slider",
        group="size",
        order=22,
        help="How many pictures to draw. Picture k (from 0) has the seed seed + k and is the same as if drawn alone.",
    )
    n_iter: int = param(
        1,
        ge=1,
        le=1000,
        group="size",
        order=23,
        advanced=True,
        help="How many batches to draw: batch_size * n_iter pictures in all. They come one by one, in order.",
    )
    variation_strength: float = param(
        0.0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        group="variations",
        order=41,
        advanced=True,
        help="How far the noise goes from that of seed to that of variation_seed: 0 not at all, 1 all the way. "
        "Above 0, all pictures have the same seed, and picture k has the variation seed variation_seed + k.",
    )
    variation_seed: int = _seed(
        group="variations",
        order=42,
        advanced=True,
        visible_if={"variation_strength": True},
        help="The seed to go to, see variation_strength. -1 takes a random one, which is reported.",
    )

    @property
    def pictures(self) -> int:
        return self.batch_size * self.n_iter


class Preprocessing(Params):
    """What is made of a picture before a ControlNet sees it."""

    preprocessor: Literal[PREPROCESSORS] = param(
        "none",
        order=2,
        help="What the ControlNet sees of the picture. none: the picture itself. canny: its edges. scribble: its dark "
        "lines. tile: its colours. mask: where it is white, or transparent, or inpainted. inpaint: all but what is "
        "inpainted or transparent. invert: a negative, for black lines on white.",
    )
    low_threshold: int = param(
        100,
        ge=1,
        le=255,
        order=3,
        visible_if={"preprocessor": "canny"},
        help="How strong an edge must be that continues a stronger one.",
    )
    high_threshold: int = param(
        200,
        ge=1,
        le=255,
        order=4,
        visible_if={"preprocessor": "canny"},
        help="How strong an edge must be to be one.",
    )
    line_threshold: int = param(
        32,
        ge=1,
        le=64,
        order=5,
        visible_if={"preprocessor": "scribble"},
        help="How much darker than its surroundings a line must be.",
    )
    downsampling: float = param(
        1,
        ge=1,
        le=8,
        step=0.1,
        order=6,
        visible_if={"preprocessor": "tile"},
        help="How much detail is taken away: what is smaller than so many pixels is. 1 keeps all.",
    )


class ControlUnit(Preprocessing):
    """One ControlNet and how it is used."""

    model: str = param(
        choices_from="models/controlnet",
        order=1,
        help="Which ControlNet: a file or a folder in models/controlnet, made for the same kind of model as the "
        "checkpoint.",
    )
    weight: float = param(
        1.0,
        ge=0,
        le=2,
        step=0.05,
        widget="slider",
        order=7,
        help="How strongly the picture follows it. 0 not at all.",
    )
    start: float = _share(0.0, order=8, advanced=True, help="From which share of the steps on it acts.")
    end: float = _share(1.0, order=9, advanced=True, help="Until which share of the steps it acts.")
    control_mode: Literal[CONTROL_MODES] = param(
        "balanced",
        order=10,
        advanced=True,
        help="What counts more where both disagree. my prompt: the ControlNet says the large forms less firmly. "
        "controlnet: so, too, but it is not told to the negative prompt, so that cfg_scale strengthens it.",
    )
    resize_mode: Literal[RESIZE_MODES[:3]] = param(
        "crop and resize",
        order=11,
        advanced=True,
        help="How the control picture is brought to the size of the picture that is drawn.",
    )


class Controlled(Params):
    """Of jobs that ControlNets can guide."""

    controlnets: list[ControlUnit] = param(
        [],
        max_length=8,
        group="ControlNet",
        order=80,
        help="ControlNets that guide the drawing. Each takes its own picture of the input `control`, in this order, or "
        "all the only one there is; without any, the picture that is redrawn.",
    )


class Referring(Params):
    """Of jobs of which pictures can be a part of the prompt."""

    ip_adapter: str = param(
        "",
        choices_from="models/ip_adapter",
        group="reference",
        order=85,
        help="Which IP-Adapter tells the model of the pictures of the input `reference`, so that it draws things like "
        "them. It has to be made for the same kind of model as the checkpoint.",
    )
    ip_adapter_weight: float = param(
        1.0,
        ge=0,
        le=2,
        step=0.05,
        widget="slider",
        group="reference",
        order=86,
        visible_if={"ip_adapter": True},
        help="How much the reference pictures count beside the words. 0 not at all.",
    )
    ip_adapter_start: float = _share(
        0.0,
        group="reference",
        order=87,
        advanced=True,
        visible_if={"ip_adapter": True},
        help="From which share of the steps on they count.",
    )
    ip_adapter_end: float = _share(
        1.0,
        group="reference",
        order=88,
        advanced=True,
        visible_if={"ip_adapter": True},
        help="Until which share of the steps they count.",
    )


class TextToImage(Drawing, Several, Controlled, Referring):
    hires: bool = param(
        False,
        group="hires fix",
        order=60,
        help="Draw twice: first in width x height, then enlarged and redrawn with more detail. Large pictures "
        "without it often show things twice.",
    )
    hires_scale: float = param(
        2.0,
        ge=1,
        le=8,
        step=0.05,
        widget="slider",
        group="hires fix",
        order=61,
        visible_if={"hires": True},
        help="How many times larger the second picture is, each side.",
    )
    hires_width: int = _side(
        0,
        pairs_with="hires_height",
        group="hires fix",
        order=62,
        advanced=True,
        visible_if={"hires": True},
        help="Width of the second picture, instead of hires_scale. If only one side is given, the other follows; "
        "if both are, what sticks out is cropped.",
    )
    hires_height: int = _side(
        0,
        group="hires fix",
        order=63,
        advanced=True,
        visible_if={"hires": True},
        help="Height of the second picture, instead of hires_scale, see hires_width.",
    )
    hires_upscaler: Literal[LATENT_UPSCALERS + IMAGE_UPSCALERS] = param(
        "Latent",
        group="hires fix",
        order=64,
        visible_if={"hires": True},
        help="What enlarges the first picture. The Latent ones blur and need a denoising_strength above 0.5; "
        "Lanczos and Nearest enlarge the finished picture.",
    )
    hires_steps: int = param(
        0,
        ge=0,
        le=150,
        group="hires fix",
        order=65,
        visible_if={"hires": True},
        help="Steps of the second pass; all of them are run. 0 takes as many as the first.",
    )
    denoising_strength: float = _share(
        0.7,
        group="hires fix",
        order=66,
        visible_if={"hires": True},
        help="How much of the enlarged picture is redrawn: 0 next to nothing, 1 all.",
    )
    hires_sampler: Annotated[
        Literal[("same", *SAMPLERS)],
        pydantic.WithJsonSchema({"type": "string", "enum": ["same", *SAMPLERS, *SPELLINGS]}),
    ] = param(
        "same",
        choices=["same", *SAMPLERS],
        group="hires fix",
        order=67,
        advanced=True,
        visible_if={"hires": True},
        help="Sampler of the second pass. same: that of the first.",
    )
    hires_schedule: Annotated[
        Literal[("same", *SCHEDULES)],
        pydantic.WithJsonSchema({"type": "string", "enum": ["same", *SCHEDULES, *SCHEDULE_SPELLINGS]}),
    ] = param(
        "same",
        choices=["same", *SCHEDULES],
        group="hires fix",
        order=68,
        advanced=True,
        visible_if={"hires": True},
        help="Schedule of the second pass. same: that of the first.",
    )
    hires_cfg_scale: float = param(
        0,
        ge=0,
        le=30,
        group="hires fix",
        order=69,
        advanced=True,
        visible_if={"hires": True},
        help="cfg_scale of the second pass. 0 takes that of the first.",
    )
    hires_prompt: str = _text(
        group="hires fix",
        order=70,
        advanced=True,
        visible_if={"hires": True},
        help="Prompt of the second pass. Empty takes that of the first.",
    )
    hires_negative_prompt: str = _text(
        group="hires fix",
        order=71,
        advanced=True,
        visible_if={"hires": True},
        help="Negative prompt of the second pass. Empty takes that of the first.",
    )


class HiresFix(TextToImage):
    width: int = _side(
        0,
        pairs_with="height",
        step=8,
        group="size",
        order=20,
        help="Width before it is or was enlarged. 0 means that of the picture, as it comes.",
    )
    height: int = _side(
        0,
        step=8,
        group="size",
        order=21,
        help="Height before it is or was enlarged. 0 means that of the picture, as it comes.",
    )
    hires: Literal[True] = param(
        True, group="hires fix", order=60, advanced=True, help="The second pass is all that this job does."
    )
    hires_upscaler: str = param(
        "Lanczos",
        max_length=1000,
        choices=IMAGE_UPSCALERS,
        group="hires fix",
        order=64,
        help="Lanczos or Nearest enlarge the picture, if it is not as large yet. Any other name tells what has.",
    )


class Redrawing(Drawing):
    """What all jobs that start from a picture have in common."""

    denoising_strength: float = _share(
        0.75,
        group="sampling",
        order=34,
        help="How much of the picture is redrawn: 0 leaves it almost as it is, 1 keeps next to nothing. Of the steps, "
        "the last int(strength * steps) + 1 are run.",
    )
    fix_steps: bool = param(
        False,
        group="sampling",
        order=35,
        advanced=True,
        help="Run all steps whatever the denoising_strength: a finer schedule is made, of which they are the last "
        "part.",
    )
    image_cfg_scale: float = param(
        1.5,
        ge=0,
        le=30,
        step=0.05,
        group="sampling",
        order=36,
        advanced=True,
        help="How strictly models that edit pictures (InstructPix2Pix) keep to the picture: 1 to 2 is usual, higher "
        "keeps more of it. They want a denoising_strength of 1. Other models do without.",
    )
    noise_multiplier: float = param(
        1.0,
        ge=0,
        le=1.5,
        step=0.01,
        group="noise",
        order=223,
        advanced=True,
        help="Strength of the noise that the picture is covered with at the start. Less than 1 gives smoother results.",
    )
    color_correction: bool = param(
        False,
        group="picture",
        order=53,
        advanced=True,
        help="Give the result the colours of the picture it was made from.",
    )


class ResizeMode(Params):
    resize_mode: Literal[RESIZE_MODES] = param(
        "just resize",
        group="picture",
        order=50,
        help="How the picture is brought to width x height. just resize: stretched. crop and resize: what sticks "
        "out is cut. resize and fill: its edges fill the rest. latent upscale: stretched as latents, which "
        "blurs.",
    )


class ImageToImage(Redrawing, ResizeMode, Several, Controlled, Referring):
    pass


class Inpaint(Redrawing, Several, Controlled, Referring):
    resize_mode: Literal[RESIZE_MODES[:3]] = param(
        "just resize",
        group="picture",
        order=50,
        help="How picture and mask are brought to width x height. just resize: stretched. crop and resize: what sticks "
        "out is cut. resize and fill: its edges fill the rest.",
    )
    mask_blur: int = param(
        4,
        ge=0,
        le=64,
        unit="pixels",
        mask="blur",
        group="mask",
        order=54,
        help="How softly the new part goes over into the old one. 0 is a hard edge.",
    )
    fill: Literal[FILLS] = param(
        "original",
        group="mask",
        order=55,
        help="What the masked part starts from. original: what is there. fill: the colours around it. latent noise: "
        "noise, for something wholly new. latent nothing: flat grey.",
    )
    invert_mask: bool = param(
        False, mask="invert", group="mask", order=56, help="Redraw what is not masked, and leave what is masked."
    )
    only_masked: bool = param(
        False,
        mask="crop",
        group="mask",
        order=57,
        help="Draw only the masked part, in width x height or the size that the model was made for, and fit it into "
        "the picture: more detail for small parts of large pictures.",
    )
    only_masked_padding: int = param(
        32,
        ge=0,
        le=256,
        unit="pixels",
        group="mask",
        order=58,
        visible_if={"only_masked": True},
        help="How much around the masked part is looked at, so that the new part fits in.",
    )


class Outpaint(Redrawing, Several, Controlled):
    width: int = _side(
        0,
        step=8,
        group="size",
        order=20,
        advanced=True,
        help="For mk2 at the left and right: how much of the picture, from its new edge, is looked at while that "
        "is drawn. 0 looks at all.",
    )  # fmt: skip
    height: int = _side(
        0,
        step=8,
        group="size",
        order=21,
        advanced=True,
        help="For mk2 above and below: how much of the picture is looked at, see width. 0 looks at all.",
    )  # fmt: skip
    method: Literal["mk2", "poor man's"] = param(
        "mk2",
        group="canvas",
        order=60,
        help="What the new area starts from. mk2: noise with the colours and textures of the picture, one side "
        "after the other. poor man's: what `fill` says, all sides at once.",
    )
    pixels: int = param(
        128, ge=8, le=512, multiple_of=8, step=8, unit="pixels", group="canvas", order=61,
        visible_if=dict.fromkeys(SIDES, 0),
        help="How far the picture grows at each of the sides, and so far that its new size is a multiple of 64.",
    )  # fmt: skip
    directions: list[Literal[SIDES]] = param(
        [*SIDES], min_length=1, max_length=4, group="canvas", order=62, visible_if=dict.fromkeys(SIDES, 0),
        help="At which sides it grows.",
    )  # fmt: skip
    left: int = _grows("left", order=67)
    right: int = _grows("right", order=68)
    up: int = _grows("up", order=69)
    down: int = _grows("down", order=70)
    mask_blur: int = param(
        8, ge=0, le=64, unit="pixels", group="canvas", order=63,
        help="How softly the new area goes over into the old one.",
    )  # fmt: skip
    fill: Literal[FILLS] = param(
        "fill",
        group="canvas",
        order=64,
        visible_if={"method": "poor man's"},
        help="What the new area starts from. fill: the colours at the edge. original: the outermost pixels, repeated. "
        "latent noise: noise. latent nothing: flat grey.",
    )
    noise_q: float = param(
        1.0,
        ge=0,
        le=4,
        step=0.01,
        group="canvas",
        order=65,
        visible_if={"method": "mk2"},
        help="Falloff of the noise's spectrum: lower gives more small detail, higher larger forms.",
    )
    color_variation: float = param(
        0.05,
        ge=0,
        le=1,
        step=0.01,
        group="canvas",
        order=66,
        visible_if={"method": "mk2"},
        help="How much the colours of the new area may differ from those of the picture.",
    )
    denoising_strength: float = _share(
        0.8,
        group="sampling",
        order=34,
        help="How much of the new area is redrawn: at low values you see what it started from.",
    )

    @property
    def growth(self) -> dict[str, int]:
        """How far it grows at each side; empty where `pixels` and `directions` say it."""
        sides = {side: getattr(self, side) for side in SIDES}
        return sides if any(sides.values()) else {}


class Loopback(Redrawing, ResizeMode, Controlled):
    loops: int = param(
        4,
        ge=1,
        le=100,
        group="loopback",
        order=58,
        help="How many times the picture is redrawn, each time from the result before, with the next seed.",
    )
    final_denoising_strength: float = _share(
        0.5,
        group="loopback",
        order=59,
        help="denoising_strength of the last loop; it goes there from that of the first.",
    )
    curve: Literal["linear", "aggressive", "lazy"] = param(
        "linear",
        group="loopback",
        order=60,
        help="How the strength goes from first to last: linear: evenly, aggressive: soon, lazy: late.",
    )


class SdUpscale(Redrawing, Several, Controlled, Referring):
    width: int = _side(
        0,
        pairs_with="height",
        step=8,
        group="size",
        order=20,
        help="Width of a tile, a multiple of 8. 0 means the size that the model was made for.",
    )  # fmt: skip
    height: int = _side(
        0,
        step=8,
        group="size",
        order=21,
        help="Height of a tile, a multiple of 8. 0 means the size that the model was made for.",
    )  # fmt: skip
    denoising_strength: float = _share(
        0.3,
        group="sampling",
        order=34,
        help="How much of the enlarged picture is redrawn: 0.2 to 0.4 adds detail, more changes what each tile shows.",
    )
    scale: float = param(
        2.0, ge=1, le=8, step=0.05, widget="slider", group="picture", order=50,
        help="How many times larger the result is, each side.",
    )  # fmt: skip
    upscaler: Literal[IMAGE_UPSCALERS] = param(
        "Lanczos", group="picture", order=51, help="What enlarges the picture before it is redrawn in tiles."
    )
    overlap: int = param(
        64,
        ge=0,
        le=256,
        multiple_of=8,
        step=8,
        unit="pixels",
        group="picture",
        order=52,
        help="How much neighbouring tiles of width x height share; there they are blended.",
    )


class Alternative(Redrawing, ResizeMode, Several):
    sampler: Sampler = param(
        "Euler",
        choices=[*SAMPLERS],
        group="sampling",
        order=32,
        help="How a step is computed. Euler fits the inversion best.",
    )
    denoising_strength: float = _share(
        1.0,
        group="sampling",
        order=34,
        help="How much of the picture is redrawn from the noise that was found for it.",
    )
    original_prompt: str = _text(
        group="inversion",
        order=60,
        help="What the picture shows now. Redrawn with the same prompt it comes back; with another one, what "
        "differs changes. Networks are those of the prompt.",
    )
    original_negative_prompt: str = _text(
        group="inversion",
        order=61,
        help="Negative prompt for finding the noise.",
    )
    decode_steps: int = param(
        50, ge=1, le=150, group="inversion", order=62, help="In how many steps the noise is found."
    )
    decode_cfg_scale: float = param(
        1.0,
        ge=0,
        le=15,
        step=0.1,
        group="inversion",
        order=63,
        help="cfg_scale for finding the noise. Near 1 is usual.",
    )
    randomness: float = param(
        0.0,
        ge=0,
        le=1,
        step=0.01,
        group="inversion",
        order=64,
        help="How much of the noise found is replaced by that of the seed.",
    )


class Interpolate(Drawing, Controlled, Referring):
    to_prompts: str = _text(
        order=4,
        help="Where the walk goes: one prompt a line. Empty keeps the prompt. Networks are those of the prompt.",
    )
    to_seed: int = param(
        -1,
        ge=-1,
        le=SEEDS - 1,
        group="walk",
        order=50,
        help="The seed at the end of the walk. -1 keeps the seed.",
    )
    frames: int = param(
        8, ge=2, le=1000, group="walk", order=51, help="How many pictures the walk has, first and last one included."
    )

    @property
    def pictures(self) -> int:
        return self.frames


class Explain(Reading):
    prompt: str = _text(
        order=1,
        help="The prompt to explain. Choices like {a|b} are read as they stand.",
    )
    steps: int = param(20, ge=1, le=150, order=30, help="In how many steps the picture would be drawn.")
    hires_steps: int = param(
        0, ge=0, le=150, order=31, help="Steps of a second pass, whose schedule is then told, too. 0 is without."
    )


class Count(Reading):
    prompt: str = _text(
        order=1,
        help="The prompt whose tokens are counted.",
    )
    steps: int = param(
        20,
        ge=1,
        le=150,
        order=30,
        help="In how many steps the picture would be drawn, as prompts may change on the way.",
    )


class Unload(Params):
    model: str = param("", choices_from="models/checkpoint", order=1, help="Which model; empty: all.")


class Info(Params):
    model: str = param("builtin", choices_from="models/checkpoint", order=1, help="Which model.")


class Merge(Params):
    model_a: str = param(
        choices_from="models/checkpoint",
        order=1,
        help="The first model. What it is stays: what it estimates, inpainting, and what the others do not have.",
    )
    model_b: str = param(choices_from="models/checkpoint", order=2, help="The second model, of the same architecture.")
    method: Literal["weighted sum", "add difference"] = param(
        "weighted sum",
        order=3,
        help="weighted sum: A * (1 - multiplier) + B * multiplier. add difference: A + (B - C) * multiplier, what B "
        "has learned beyond C.",
    )
    model_c: str = param(
        "",
        choices_from="models/checkpoint",
        order=4,
        visible_if={"method": "add difference"},
        help="The model that B was trained from.",
    )
    multiplier: float = param(
        0.5,
        ge=0,
        le=1,
        step=0.05,
        order=5,
        help="How much of B, or of the difference: 0 is model A as it is.",
    )
    dtype: Literal["float16", "float32"] = param(
        "float16",
        order=6,
        help="How exactly weights are written. float16 takes half the room, and most models are published in it.",
    )
    name: str = param(
        order=7,
        min_length=1,
        max_length=100,
        pattern=r"^\w[\w.() +-]*$",
        help="Name of the new file in models/checkpoint, without .safetensors. Nothing is overwritten.",
    )


class Preprocess(Preprocessing):
    pass


class Style(Params):
    name: str = param(min_length=1, max_length=200, order=1, help="Name of the style, as it is chosen by.")


class StyleTexts(Style):
    prompt: str = _text(
        order=2,
        help="Text that is added to the prompt; {prompt} in it stands for the prompt.",
    )
    negative_prompt: str = _text(
        order=3,
        help="Text that is added to the negative prompt.",
    )
