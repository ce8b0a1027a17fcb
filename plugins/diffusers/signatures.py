"""From the signature of a pipeline to a form: which arguments are inputs, which are parameters, what comes out."""

import enum
import inspect
import math
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin

import pydantic

from core.plugin import Params, param

from .docstrings import arguments_of
from .folders import PipelineFolder, bad_folder

SEEDS = 2**32
MAX_TEXT = 20_000  # characters
LARGEST = 8192  # pixels, each side
NAMES = {  # ours, where they mean the same as the pipeline's
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "strength": "denoising_strength",
    "mask_image": "mask",
    "frame_rate": "fps",
    "initial_audio_waveforms": "audio",
}
TRUE_CFG = {"true_cfg_scale": "cfg_scale", "guidance_scale": "guidance_scale"}
OURS = {"output_type", "return_dict", "generator", "batch_size", "num_images_per_prompt", "num_videos_per_prompt"}
NEEDS_MORE = re.compile(r"^_|callback|_kwargs$|_embeds$|_latents$|^ip_adapter|^negative_ip_adapter|_sampling_rate$")
FIRST = (
    "prompt", "negative_prompt", "lyrics", "steps", "cfg_scale", "width", "height", "num_frames", "frames",
    "video_length", "fps", "seed", "pictures", "denoising_strength", "duration", "audio_length_in_s", "audio_end_in_s",
    "audio_duration",
)  # fmt: skip
OUTPUTS = {"images": "image", "image": "image", "frames": "video", "video": "video", "audios": "audio"}


@dataclass(frozen=True)
class Input:
    """An argument that takes pictures, sounds or films. `argument` is the pipeline's name for it."""

    argument: str
    kind: Literal["image", "mask", "audio", "video"]
    many: bool
    optional: bool
    axes: int = 3  # of a sound: 3 for (1, channels, samples), 2 for (channels, samples)
    help: str = ""


@dataclass(frozen=True)
class Form:
    """What a job takes and gives. `arguments`: the pipeline's name of each parameter; `texts`: parameters of which ""
    is None for the pipeline; `output`: the field of what the pipeline returns."""

    inputs: dict[str, Input]
    params: type[Params]
    arguments: dict[str, str]
    texts: frozenset[str]
    tuples: frozenset[str]
    kind: Literal["image", "video", "audio"]
    output: str
    seeded: bool
    rate_argument: str | None


def form_of(pipeline: type, folder: PipelineFolder) -> Form:
    """Raises InvalidParams if the pipeline gives something else than pictures, films or sounds."""
    call = pipeline.__call__
    arguments, told = _arguments(call), arguments_of(call)
    kind, output = _output(pipeline, folder)
    inputs, fields, named, texts, tuples = {}, {}, {}, set(), set()
    # Where there is a true CFG scale, `guidance_scale` is something else: what a distilled model was taught.
    names = NAMES | (TRUE_CFG if "true_cfg_scale" in arguments else {})
    rate = next((name for name in arguments if name.endswith("_sampling_rate")), None)
    for argument in arguments.values():
        if argument.name in OURS or NEEDS_MORE.search(argument.name):
            continue
        name, (declared, help) = names.get(argument.name, argument.name), told.get(argument.name, ("", ""))
        if found := _input(argument, declared, help, kind):
            inputs[name] = replace(found, help=_for_people(help))
        elif made := _field(argument, name, declared, help, pipeline, folder):
            fields[name], named[name] = made, argument.name
            if made[0] is str and argument.default is None and name != "prompt":  # which may be empty, not None
                texts.add(name)
            if isinstance(argument.default, tuple) or "tuple" in str(argument.annotation).lower():
                tuples.add(name)
    seeded = "generator" in arguments
    if kind == "video" and "fps" not in fields:
        fields["fps"] = (float, _fps(pipeline))
    if seeded:
        help, order = "Where the noise begins. -1 takes a random one and tells it.", FIRST.index("seed")
        fields["seed"] = (int, param(-1, ge=-1, le=SEEDS - 1, widget="seed", order=order, help=help))
    if kind == "image" and seeded:
        help = "How many pictures, each with the seed after the one before."
        fields["pictures"] = (int, param(1, ge=1, le=100, order=FIRST.index("pictures"), help=help))
    model = pydantic.create_model(f"{pipeline.__name__}Params", __base__=Params, **fields)
    return Form(inputs, model, named, frozenset(texts), frozenset(tuples), kind, output, seeded, rate)


def _arguments(call: Any) -> dict[str, inspect.Parameter]:
    """All but `self`; annotations that are texts, as some modules have them, are looked up where that is possible."""
    try:
        found = inspect.signature(call, eval_str=True).parameters
    except (NameError, TypeError, AttributeError):
        found = inspect.signature(call).parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: each for name, each in found.items() if name != "self" and each.kind in kinds}


def _output(pipeline: type, folder: PipelineFolder) -> tuple[str, str]:
    """(kind, field) of what the pipeline returns, as its own code says."""
    source = inspect.getsource(pipeline.__call__)
    found = re.search(r"return \w*Output\w*\(\s*(\w+)=", source)
    field = found[1] if found else "images" if "ImagePipelineOutput" in source else None
    if field not in OUTPUTS:
        what = f"{field}, which is" if field else "what is"
        raise bad_folder(
            folder.name, f"{pipeline.__name__} gives {what} no picture, film or sound", hint="Nothing can be done here."
        )
    return OUTPUTS[field], field


def _for_people(help: str) -> str:
    """What the help of an input says without its sentences for programmers."""
    return " ".join(each for each in re.split(r"(?<=\.)\s+", help) if not re.search(r"[Tt]ensor|array|PIL|shape", each))


def _input(argument: inspect.Parameter, declared: str, help: str, gives: str) -> Input | None:
    """The argument as an input, if it takes pictures, films or sounds; `declared` is its type in the docstring.

    Of a pipeline that `gives` a film, several masks are a film themselves."""
    parts, text = _alternatives(argument.annotation), f"{argument.annotation} {declared}"
    optional = argument.default is not argument.empty and (type(None) in parts or "*optional*" in declared)
    if re.search(r"audio|waveform", argument.name) and "Tensor" in text:
        return Input(argument.name, "audio", False, optional, 2 if "[channels, samples]" in help else 3)
    if "PIL.Image.Image" not in text:
        return None
    if re.search(r"video|frames", argument.name):
        return Input(argument.name, "video", False, optional)
    # Beside arrays, a list means several runs, as diffusers' PipelineImageInput; alone it means several pictures.
    arrays = any(each in str(argument.annotation) for each in ("ndarray", "Tensor"))
    lists = [part for part in parts if get_origin(part) is list]
    many = any(not arrays or len(_alternatives(get_args(part)[0])) > 1 for part in lists)
    many = many or re.search(r"one or more|list of (input|reference) images", help, re.IGNORECASE) is not None
    if "mask" not in argument.name:
        return Input(argument.name, "image", many, optional)
    film = many and gives == "video"
    return Input(argument.name, "video" if film else "mask", many and not film, optional)


def _field(
    argument: inspect.Parameter, name: str, declared: str, help: str, pipeline: type, folder: PipelineFolder
) -> Any:
    """(type, param) of an argument that can be written as JSON, else None."""
    default = None if argument.default is argument.empty else argument.default
    default = list(default) if isinstance(default, tuple) else default
    kind = _simple(argument.annotation, isinstance(default, list))
    if kind is None and (argument.annotation is argument.empty or isinstance(argument.annotation, str)):
        kind = next((each for each in (str, bool, int, float) if f"`{each.__name__}`" in declared), None)
        kind = type(default) if type(default) in (bool, int, float, str) else kind
    if kind is None or isinstance(default, enum.Enum) or not _is_json(default):
        return None
    if kind is int and isinstance(default, float):  # they say so here and there
        kind = float
    hints = _bounds(name, kind, default, pipeline, folder)
    hints |= {"order": FIRST.index(name)} if name in FIRST else {"advanced": True, "group": "advanced", "order": 100}
    if kind is str:
        hints |= {"max_length": MAX_TEXT} | ({"widget": "textarea"} if "prompt" in name or name == "lyrics" else {})
    if name in ("width", "height") and default is None:
        default = _own_side(pipeline, folder)
    needed = argument.default is argument.empty
    if needed and kind is not str:
        return kind, param(help=help or name, **hints)
    if kind is str:
        return str, param(default or "", help=help or name, **hints)
    return (kind if default is not None else kind | None), param(default, help=help or name, **hints)


def _bounds(name: str, kind: Any, default: Any, pipeline: type, folder: PipelineFolder) -> dict[str, Any]:
    """What is allowed, for what every pipeline means the same by."""
    if kind not in (int, float):
        return {}
    if name in ("width", "height"):
        return {"ge": 16, "le": LARGEST, "multiple_of": _multiple(pipeline, folder), "unit": "pixels"}
    if name == "steps" or name.endswith("_inference_steps"):
        return {"ge": 1, "le": max(1000, default or 0)}
    if name == "denoising_strength":
        return {"ge": 0, "le": 1, "step": 0.05, "widget": "slider"}
    if name in ("fps", "target_fps"):
        return {"ge": 1, "le": 240}
    if name == "cfg_scale":
        return {"ge": 0, "le": 100, "step": 0.5}
    if name in ("num_frames", "video_length", "max_sequence_length"):
        return {"ge": 1, "le": 10_000}
    if re.search(r"_in_s$|seconds|duration", name):
        return {"le": 3600, "unit": "seconds"}
    return {"ge": -(2**31), "le": 2**31 - 1} if kind is int else {}


def _multiple(pipeline: type, folder: PipelineFolder) -> int:
    """What a side has to be a multiple of: as the pipeline checks it, where that can be read."""
    source = "".join(
        inspect.getsource(getattr(pipeline, each)) for each in ("check_inputs", "__call__") if hasattr(pipeline, each)
    )
    if found := re.search(r"height % (\d+)", source):
        return int(found[1])
    if found := re.search(r"height % \(?self\.vae_scale_factor(?: \* (\d+))?", source):
        return folder.pixels_per_latent * int(found[1] or 1)
    return min(folder.pixels_per_latent, 8)


def _own_side(pipeline: type, folder: PipelineFolder) -> int | None:
    """The side that the pipeline would take by itself, if that is what the model in the folder was trained with."""
    source = inspect.getsource(pipeline.__call__)
    side = folder.latents_side
    if "self.default_sample_size * self.vae_scale_factor" in source:
        fixed = re.search(r"self\.default_sample_size = (\d+)$", inspect.getsource(pipeline.__init__), re.MULTILINE)
        side = int(fixed[1]) if fixed else side
    elif not re.search(r"self\.(unet|transformer)\.config\.sample_size \* self\.vae_scale_factor", source):
        return None
    return side * folder.pixels_per_latent if side else None


def _fps(pipeline: type) -> Any:
    """Frames per second of the file; by default as the pipeline's own example writes it."""
    module = inspect.getmodule(pipeline)
    found = re.search(r"export_to_video\(.*fps=(\d+)", getattr(module, "EXAMPLE_DOC_STRING", "") or "")
    return param(
        float(found[1]) if found else 16.0,
        ge=1,
        le=240,
        order=FIRST.index("fps"),
        help="Frames per second of the film.",
    )


def _alternatives(annotation: Any) -> list[Any]:
    return list(get_args(annotation)) if get_origin(annotation) in (Union, types.UnionType) else [annotation]


def _simple(annotation: Any, several: bool) -> Any:
    """The type that a form can ask for: of `str | list[str] | None` str (list[str] if `several`), of `Tensor` None."""
    found = []
    for part in _alternatives(annotation):
        origin, args = get_origin(part), get_args(part)
        if part in (bool, int, float, str):
            found.append(part)
        elif origin is Literal and all(isinstance(each, str | int | bool) for each in args):
            found.append(part)
        elif (
            origin in (list, tuple, Sequence)
            and args
            and all(each in (bool, int, float, str) for each in args if each is not ...)
        ):
            found.append(list[args[0]])
    lists = [each for each in found if get_origin(each) is list]
    alone = [] if several else [each for each in found if each not in lists]
    return float if float in alone else next(iter(alone or lists), None)


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_json(each) for each in value)
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
