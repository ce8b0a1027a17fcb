"""Makes the job of a folder: a function whose signature is the form, which runs the pipeline."""

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from core.plugin import Audio, Context, Image, Mask, Video, job

from . import folders
from .docstrings import first_paragraph
from .signatures import Form, Input, form_of

TYPES = {"image": Image, "mask": Mask, "audio": Audio, "video": Video}


@functools.lru_cache(maxsize=500)
def job_of(name: str, path: Path, stamp: Any) -> Callable:
    """The function of a folder; `stamp` changes when the folder does. Raises InvalidParams if it cannot be used."""
    folder = folders.read(name, path)
    pipeline = folders.pipeline_class(folder)
    form = form_of(pipeline, folder)

    @job(reuse=form.seeded)
    def run(self: Any, params: Any, ctx: Context, **inputs: Any) -> Iterator[Any]:
        from .running import run

        return run(self.pipelines, folder, stamp, pipeline, form, params, inputs, ctx)

    run.__doc__ = f"{name}: {first_paragraph(pipeline.__doc__) or pipeline.__name__}"
    return _with_signature(run, form)


def _with_signature(function: Callable, form: Form) -> Callable:
    hints = {name: _annotation(each) for name, each in form.inputs.items()}
    hints |= {"params": form.params, "ctx": Context}
    names = ["self", *hints]
    parameters = [inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY) for each in names]
    function.__signature__ = inspect.Signature(parameters)
    function.__annotations__ = hints | {"return": Iterator[TYPES[form.kind]]}
    return function


def _annotation(each: Input) -> Any:
    wanted = list[TYPES[each.kind]] if each.many else TYPES[each.kind]
    wanted = Annotated[wanted, each.help] if each.help else wanted
    return wanted | None if each.optional else wanted
