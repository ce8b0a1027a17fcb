"""Runs a pipeline for a job: its arguments from the form, its steps as progress, its results as what flows on."""

import inspect
import random
from collections.abc import Iterator
from typing import Any

import numpy
import PIL.Image
import torch

from core.plugin import Context, InvalidParams, Result

from . import media
from .folders import PipelineFolder
from .pipelines import Pipelines
from .signatures import SEEDS, Form


class Skipped(Exception):
    """Somebody asked to leave the rest of a picture."""


def run(
    pipelines: Pipelines, folder: PipelineFolder, stamp: Any, pipeline: type, form: Form, params: Any,
    inputs: dict[str, Any], ctx: Context,
) -> Iterator[Result]:  # fmt: skip
    """The results, each as soon as it is there; picture k has the seed k after the first."""
    made = pipelines.get(pipeline, folder, stamp, ctx)
    given = params.model_dump()
    seed, count = given.pop("seed") if form.seeded else None, given.pop("pictures", 1)
    seed = random.randrange(SEEDS) if seed == -1 else seed
    fps = given["fps"] if "fps" in form.arguments else given.pop("fps", None)
    arguments = _arguments(given, form) | _inputs(inputs, form, made)
    if "output_type" in inspect.signature(pipeline.__call__).parameters and form.kind != "audio":
        arguments["output_type"] = "pil"
    for k in range(count):
        own = None if seed is None else (seed + k) % SEEDS
        seeded = {"generator": torch.Generator("cpu").manual_seed(own)} if form.seeded else {}
        try:
            found = _call(made, Steps(ctx, k, count), arguments | seeded, folder)
        except Skipped:
            continue
        facts = {} if own is None else {"seed": own}
        for value in _values(found, form, made, fps):
            yield Result(value, facts | _infotext(value, given, own, folder))


def _arguments(given: dict[str, Any], form: Form) -> dict[str, Any]:
    """The parameters as the pipeline has them."""
    arguments = {}
    for name, value in given.items():
        if name in form.texts and value == "":
            value = None
        elif name in form.tuples and isinstance(value, list):
            value = tuple(value)
        arguments[form.arguments[name]] = value
    if "negative_prompt" in form.texts and arguments.get("true_cfg_scale", 1) > 1 and not given["negative_prompt"]:
        arguments["negative_prompt"] = " "  # without any, these pipelines would leave the scale out
    return arguments


def _inputs(inputs: dict[str, Any], form: Form, pipeline: Any) -> dict[str, Any]:
    arguments = {}
    for name, value in inputs.items():
        about = form.inputs[name]
        if value is None or value == []:
            continue
        if about.kind == "video":
            value = media.read_film(value, name)
        elif about.kind == "audio":
            rate = _rate(pipeline)
            sound = torch.from_numpy(media.read_sound(value, rate, name))
            value = sound[None] if about.axes == 3 else sound
            arguments |= {form.rate_argument: rate} if form.rate_argument else {}
        elif about.kind == "image":
            value = [each.convert("RGB") for each in value] if about.many else value.convert("RGB")
        arguments[about.argument] = value
    return arguments


def _call(pipeline: Any, steps: "Steps", arguments: dict[str, Any], folder: PipelineFolder) -> Any:
    pipeline.progress_bar = steps.bar  # every pipeline of diffusers tells its steps to this
    try:
        return pipeline(**arguments)
    except ValueError as error:  # so they say what does not go together
        raise InvalidParams(f"{folder.name}: {error}", hint="Change what it names, and submit again.") from error
    finally:
        del pipeline.progress_bar
        if hasattr(pipeline, "maybe_free_model_hooks"):
            pipeline.maybe_free_model_hooks()  # a step that was cancelled has left a model on the device


class Steps:
    """Stands in for tqdm's bars: tells the steps as progress and ends the job between two of them, if asked to."""

    def __init__(self, ctx: Context, number: int, count: int):
        self._ctx, self._number, self._count, self._skips = ctx, number, count, ctx.skips
        self._iterable, self.total, self._done = None, 0, 0

    def bar(self, iterable: Any = None, total: int | None = None) -> "Steps":
        self._iterable, self._done = iterable, 0
        self.total = total or (len(iterable) if hasattr(iterable, "__len__") else 0)
        return self

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update()

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *error: Any) -> None: ...

    def update(self, steps: int = 1) -> None:
        self._done += steps
        phase = f"picture {self._number + 1} of {self._count}" if self._count > 1 else "steps"
        self._ctx.progress(self._number * self.total + self._done, self._count * max(self.total, self._done), phase)
        self._ctx.raise_if_cancelled()
        if self._ctx.skips > self._skips and self._count > 1:
            raise Skipped

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None  # set_postfix and what else such a bar has


def _values(found: Any, form: Form, pipeline: Any, fps: float | None) -> Iterator[Any]:
    """What the pipeline returned, one by one: pictures, or the bytes of files."""
    returned = getattr(found, form.output)
    if form.kind == "image":
        yield from _pictures(returned)
    elif form.kind == "video":
        films, sounds = [returned] if isinstance(returned[0], PIL.Image.Image) else returned, _sounds(found, "audio")
        for k, film in enumerate(films):
            yield media.write_film(film, fps, *((sounds[k], _rate(pipeline)) if sounds is not None else ()))
    else:
        for sound in _sounds(found, form.output):
            yield media.write_sound(sound, _rate(pipeline))


def _sounds(found: Any, field: str) -> numpy.ndarray | None:
    """Float (B, samples) or (B, channels, samples); None if the pipeline gives none."""
    sounds = getattr(found, field, None)
    if isinstance(sounds, torch.Tensor):
        return sounds.float().cpu().numpy()
    return None if sounds is None else numpy.asarray(sounds)


def _pictures(found: Any) -> Iterator[PIL.Image.Image]:
    """Also those of lists in lists, as of layers."""
    if isinstance(found, PIL.Image.Image):
        yield found
    elif isinstance(found, numpy.ndarray) and found.ndim == 3:
        yield PIL.Image.fromarray((found.clip(0, 1) * 255).round().astype(numpy.uint8).squeeze())
    else:
        for each in found:
            yield from _pictures(each)


def _rate(pipeline: Any) -> int:
    """Samples a second of the sounds that the pipeline makes."""
    parts = [pipeline, *(pipeline.components.get(name) for name in ("vae", "vocoder", "unet"))]
    holders = [holder for part in parts for holder in (part, getattr(part, "config", None))]
    for name in ("output_sampling_rate", "audio_sample_rate", "sampling_rate", "sample_rate"):
        for holder in holders:
            if isinstance(rate := getattr(holder, name, None), int):
                return rate
    raise InvalidParams(f"{type(pipeline).__name__} does not tell how many samples a second it makes.")


def _infotext(value: Any, given: dict[str, Any], seed: int | None, folder: PipelineFolder) -> dict[str, str]:
    """A1111's text for a picture."""
    if not isinstance(value, PIL.Image.Image):
        return {}
    names = {"steps": "Steps", "cfg_scale": "CFG scale", "guidance_scale": "Distilled CFG Scale"}
    names |= {"denoising_strength": "Denoising strength"}
    pairs = {said: given[name] for name, said in names.items() if given.get(name) is not None}
    pairs |= {"Seed": seed, "Size": f"{value.width}x{value.height}", "Model": folder.name}
    lines = [given.get("prompt") or ""]
    if given.get("negative_prompt"):
        lines.append(f"Negative prompt: {given['negative_prompt']}")
    lines.append(", ".join(f"{name}: {each}" for name, each in pairs.items() if each is not None))
    return {"infotext": "\n".join(lines)}
