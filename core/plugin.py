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

from core.artifacts import Blobs
from core.errors import BadImage, Cancelled, DependencyFailed, InvalidParams, ModelNotFound, OutOfMemory, TypeMismatch
from core.library.children import Artifact, Child, Children, Programming
from core.library.infotext import infotext_of, said_by
from core.library.models import Models
from core.types import KINDS, Audio, Image, Json, Mask, Text, Video

__all__ = [
    "Plugin", "job", "Params", "param", "Context", "Result", "Image", "Mask", "Text", "Json", "Audio", "Video",
    "Artifact", "Child", "infotext_of", "said_by",
    "BadImage", "Cancelled", "DependencyFailed", "InvalidParams", "ModelNotFound", "OutOfMemory", "TypeMismatch",
]  # fmt: skip
BOUNDS = {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern", "examples"}
HINTS = {
    "widget", "group", "order", "advanced", "unit", "step", "visible_if", "choices", "choices_from", "frame", "mask",
    "counts", "pairs_with", "reads", "saves", "deletes",
}  # fmt: skip
PROGRESS_SECONDS, PREVIEW_SECONDS = 0.1, 0.5  # more often than this is not sent
SLOWER = 5  # times at most, while as many jobs run beside each other: what they tell takes time from all of them


class Params(pydantic.BaseModel):
    """Base of every parameter class: unknown names, NaN and infinity are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


def param(default: Any = ..., *, help: str, **hints: Any) -> Any:
    """One parameter: its default (`...` means required), its help, bounds and hints for forms.

    Bounds (ge, gt, le, lt, multiple_of, min_length, max_length, pattern) are enforced; `examples` are values for forms
    to suggest. The others are hints that clients find in the schema under "ui": widget ("textarea", "seed", "slider"
    ...), group, order, advanced, unit, step, visible_if ({"other_parameter": value}; True stands for all but 0, "" and
    False; where it does not fit, the parameter does not count), choices (which of the allowed values to offer),
    choices_from ("models/checkpoint", or "call/JOB" for the names that a light job returns: entries by reference),
    reads, saves, deletes (of "call/JOB": the light jobs that tell, write and delete one entry), counts (the light job
    that counts a text's tokens), pairs_with (of a width: the parameter that is its height), frame ("left", "right",
    "up", "down": how many pixels the picture gets there), mask ("blur": how softly the mask is taken, as the standard
    deviation in pixels; "invert": whether it means what is not white; "crop": whether previews show no more than what
    is masked)."""
    bounds = {key: value for key, value in hints.items() if key in BOUNDS}
    ui = {key: value for key, value in hints.items() if key not in BOUNDS}
    if unknown := ui.keys() - HINTS:
        raise TypeError(f"param() does not know {', '.join(sorted(unknown))}.")
    extra = {"ui": ui} if ui else None
    return pydantic.Field(default, description=help, json_schema_extra=extra, **bounds)


class Plugin:
    """Base of a plugin: one instance lives in each worker process, on one device.

    `folder` is the plugin's own folder; `models` finds model files as `ctx.models` does; `settings` are what the admin
    has set in config.toml, of the Params class that a plugin annotates them with. Both are there before anything is
    called. `load` runs before the first job, `unload` before the process ends.

    Where the user's models decide which jobs there are (`jobs_from` in plugin.toml says which kinds), a classmethod
    `announce(models)` returns them, {name: function marked with @job}, and a list of notes for people."""

    models: Models
    settings: Params

    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, device: str) -> None:
        """Prepare the device ("cpu", "cuda:0", "mps" ...). Import heavy packages here or later, not at the top."""

    def unload(self) -> None:
        """Give back what `load` and the jobs took."""

    def plan(self, job: str, params: Params, inputs: dict[str, list[Artifact]]) -> dict[str, Any] | None:
        """What a submit would make, without making it: {"params": as they would be used, "outputs": [facts of each,
        {"seed": 7} ...]}. None if that is not known. Of a program, its jobs are found out by running it dry."""


def job(
    *, affinity: str | None = None, concurrency: int | None = None, light: bool = False, program: bool = False,
    memory: int = 0, reuse: bool = False, converts: bool = False,
) -> Callable[[Callable], Callable]:  # fmt: skip
    """Mark a method as an announced job.

    `affinity` names the parameter that decides which model is warm: jobs with equal values are preferred on the
    worker that has it. `concurrency` jobs may run inside one worker at once, each on its own thread (1, programs 8).
    `light` jobs take less than a second of CPU and return Text or Json: they are answered at once, without queue or
    record. A `program` submits other jobs with `ctx.submit` and waits for them with `ctx.gather`. Both run in a
    process of the plugin's own on the CPU, without `load`. `memory`: bytes that the device should have free; what
    was measured counts more. `reuse`: equal parameters, inputs and models give equal results, unless a
    parameter with the widget "seed" is -1; so a job that equals one that is done is given its results, and not run.
    `converts`: it turns one thing into the same thing of another type, cheaply and exactly; the server puts it between
    two jobs that would not fit. It has one input and defaults for all parameters, and `reuse` goes without saying."""

    def mark(function: Callable) -> Callable:
        jobs_at_once = concurrency or (8 if program else 1)
        options = {"affinity": affinity, "concurrency": jobs_at_once, "light": light, "program": program}
        function.__job__ = options | {"memory": memory, "reuse": reuse or converts, "converts": converts}
        return function

    return mark


@dataclass
class Result:
    """An output together with facts about it: {"seed": 7, "infotext": "..."} are kept with the artifact.

    The fact "infotext" of an image is also written into the PNG as A1111's `parameters`."""

    value: Any
    facts: dict[str, Any] = field(default_factory=dict)


class Context(Programming):
    """What a running job may ask of the core; for programs there is more, see Programming. Safe to use from several
    threads.

    `scratch` is a folder that is deleted after the job, `models` finds model files (`models.path(kind, name)`).
    `low_memory`: the device's memory did not suffice before; do it with less (smaller tiles, offloading).
    `skips`: how often somebody asked, since the job began, to leave the rest of a picture and go on with the next.
    `jobs()` tells the core how many jobs the worker has now."""

    def __init__(
        self, job_id: str, scratch: Path, models: Models, send: Callable[[str, dict[str, Any]], None],
        blobs: Blobs | None = None, ask: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
        jobs: Callable[[], int] = lambda: 1,
    ):  # fmt: skip
        self.job_id, self.models, self._scratch, self._blobs = job_id, models, scratch, blobs
        self.keep_partial = self.low_memory = False
        self.skips = 0
        self._send, self._children, self._jobs = send, Children(ask, job_id), jobs
        self._cancelled = threading.Event()
        self._progress_at = self._preview_at = self._phase_at = self._phase_step = 0.0
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

    def progress(self, step: float, total: float, phase: str = "", next_output: dict[str, Any] | None = None) -> None:
        """Tell that `step` of `total` is done, in `phase`; cheap, call it as often as you like. `next_output` may tell
        when the next one of several will be there: {"index": 3, "eta_seconds": 1.5}."""
        if not (math.isfinite(step) and math.isfinite(total)):
            raise InvalidParams(f"ctx.progress needs finite numbers, got {step} of {total}.")
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_at, self._phase_step, self._progress_at = phase, now, step, 0.0
        if step >= total or now - self._progress_at >= PROGRESS_SECONDS * min(self._jobs(), SLOWER):
            self._progress_at = now
            done = step - self._phase_step
            eta = round((now - self._phase_at) * (total - step) / done, 2) if done > 0 else None
            body = {"step": step, "total": total, "phase": str(phase)[:1000], "eta_seconds": eta}
            self._send("progress", body | ({"next_output": next_output} if next_output else {}))

    @property
    def wants_preview(self) -> bool:
        """Whether a preview would be sent now: ask before you compute one."""
        return self._children.goes_on and (self._preview_due or self._children.passed > 0)

    @property
    def _preview_due(self) -> bool:
        return time.monotonic() - self._preview_at >= PREVIEW_SECONDS * min(self._jobs(), SLOWER)

    def preview(self, image: Image) -> None:
        """Show an unfinished picture; sent as JPEG, not stored. Of a program, the last one before it waits is shown."""
        if not self.wants_preview:
            return
        self._children.unseen = None if self._preview_due else lambda: self._send("preview", {"image": image})
        if self._preview_due:
            self._preview_at = time.monotonic()
            self._send("preview", {"image": image})

    def log(self, text: str) -> None:
        self._send("log", {"text": str(text)[:10_000]})

    def read(self, artifact: Artifact) -> Any:
        """The value of a stored result: a picture, a text ..."""
        return KINDS[artifact.kind].decode(self._blobs.read(artifact.sha256))
