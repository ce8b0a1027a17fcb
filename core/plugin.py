"""The plugin API, version 1: all that a plugin may import from stable-core.

A plugin is a class whose methods marked with @job are announced as name, function, input types, output type
and parameter class. The annotations of the method say all five; core/ops/describe.py turns them into JSON."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from core.errors import BadImage, Cancelled, InvalidParams, ModelNotFound, OutOfMemory, TypeMismatch
from core.types import Audio, Image, Json, Mask, Text, Video

__all__ = [
    "Plugin", "job", "Params", "param", "Context", "Result", "Image", "Mask", "Text", "Json", "Audio", "Video",
    "BadImage", "Cancelled", "InvalidParams", "ModelNotFound", "OutOfMemory", "TypeMismatch",
]  # fmt: skip
PROGRESS_SECONDS, PREVIEW_SECONDS = 0.05, 0.25  # more often than this is not sent


class Params(pydantic.BaseModel):
    """Base of every parameter class: unknown names, NaN and infinity are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


def param(default: Any = ..., *, help: str, **hints: Any) -> Any:
    """One parameter: its default (`...` means required), its help, bounds and hints for forms.

    Bounds (ge, gt, le, lt, multiple_of, min_length, max_length, pattern) are enforced. The others are hints that
    clients find in the schema under "ui": widget ("textarea", "seed", "slider" ...), group, order, advanced, unit,
    step, visible_if ({"other_parameter": value}), choices_from ("models/checkpoint": entries by reference)."""
    bounds = {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"} & hints.keys()
    ui = {key: value for key, value in hints.items() if key not in bounds}
    if unknown := ui.keys() - {"widget", "group", "order", "advanced", "unit", "step", "visible_if", "choices_from"}:
        raise TypeError(f"param() does not know {', '.join(sorted(unknown))}.")
    extra = {"ui": ui} if ui else None
    return pydantic.Field(
        default, description=help, json_schema_extra=extra, **{bound: hints[bound] for bound in bounds}
    )


class Plugin:
    """Base of a plugin: one instance lives in each worker process, on one device.

    `folder` is the plugin's own folder. `load` runs before the first job, `unload` before the process ends."""

    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, device: str) -> None:
        """Prepare the device ("cpu", "cuda:0", "mps" ...). Import heavy packages here or later, not at the top."""

    def unload(self) -> None:
        """Give back what `load` and the jobs took."""


def job(
    *, affinity: str | None = None, concurrency: int | None = None, light: bool = False, program: bool = False,
    memory: int = 0,
) -> Callable[[Callable], Callable]:  # fmt: skip
    """Mark a method as an announced job.

    `affinity` names the parameter that decides which model is warm: jobs with equal values are preferred on the
    worker that has it. `concurrency` jobs may run inside one worker at once, each on its own thread (1, programs 8).
    `light` jobs take less than a second of CPU and return Text or Json: they are answered at once, without queue or
    record. A `program` submits other jobs with `ctx.submit` and waits for them with `ctx.gather`. Both run in a
    process of the plugin's own on the CPU, without `load`. `memory`: bytes that the device should have free; what
    was measured counts more."""

    def mark(function: Callable) -> Callable:
        jobs_at_once = concurrency or (8 if program else 1)
        options = {"affinity": affinity, "concurrency": jobs_at_once, "light": light, "program": program}
        function.__job__ = options | {"memory": memory}
        return function

    return mark


@dataclass
class Result:
    """An output together with facts about it: {"seed": 7, "infotext": "..."} are kept with the artifact.

    The fact "infotext" of an image is also written into the PNG as A1111's `parameters`."""

    value: Any
    facts: dict[str, Any] = field(default_factory=dict)


class Context:
    """What a running job may ask of the core. Safe to use from several threads.

    `scratch` is a folder that is deleted after the job, `models` finds model files (`models.path(kind, name)`)."""

    def __init__(self, job_id: str, scratch: Path, models: Any, send: Callable[[str, dict[str, Any]], None]):
        self.job_id, self.models, self._scratch = job_id, models, scratch
        self.keep_partial = False
        self._send = send
        self._cancelled = threading.Event()
        self._progress_at = self._preview_at = self._phase_at = 0.0
        self._phase: str | None = None

    @property
    def scratch(self) -> Path:
        """A folder for this job alone, made when first asked for."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch

    @property
    def cancelled(self) -> bool:
        """True once somebody asked to stop. With `keep_partial`, return what there is; else raise_if_cancelled()."""
        return self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise Cancelled("the job was cancelled.")

    def progress(self, step: float, total: float, phase: str = "") -> None:
        """Tell that `step` of `total` is done, in `phase`; cheap, call it as often as you like."""
        if not (math.isfinite(step) and math.isfinite(total)):
            raise InvalidParams(f"ctx.progress needs finite numbers, got {step} of {total}.")
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_at, self._progress_at = phase, now, 0.0
        if step >= total or now - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = now
            eta = round((now - self._phase_at) * (total - step) / step, 2) if step > 0 else None
            self._send("progress", {"step": step, "total": total, "phase": phase, "eta_seconds": eta})

    @property
    def wants_preview(self) -> bool:
        """Whether a preview would be sent now: ask before you compute one."""
        return time.monotonic() - self._preview_at >= PREVIEW_SECONDS

    def preview(self, image: Image) -> None:
        """Show an unfinished picture; sent as JPEG, not stored."""
        if self.wants_preview:
            self._preview_at = time.monotonic()
            self._send("preview", {"image": image})

    def log(self, text: str) -> None:
        self._send("log", {"text": str(text)[:10_000]})
