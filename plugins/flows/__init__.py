"""Flows: jobs made of jobs, as files. Each saved one is a job; `run` takes one that is not saved, `wait` waits."""

import inspect
import itertools
from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from core.plugin import Artifact, Context, Image, InvalidParams, Json, Params, Plugin, Text, job, param

from . import checking, forms, reading, saving
from .running import Running

AT_ONCE = 50  # equal for all: a process runs as many jobs as the least sociable in it allows
FILE = "A flow, as docs/flows.md tells: an object with jobs."


Images = Annotated[list[Image] | None, "For its inputs that take images or masks, in their order."]
Texts = Annotated[list[Text] | None, "For its other inputs, in their order."]
UNSAVED = dict.fromkeys(("image", "mask"), "flows.run") | {"text": "flows.run_texts", "json": "flows.run_values"}


class Wait(Params):
    seconds: float = param(5, ge=0, le=86_400, unit="seconds", help="How long.")


class Words(Params):
    text: str = param("", widget="textarea", max_length=1_000_000, help="The text.")


class Unsaved(Params):
    flow: dict[str, Any] = param(..., help=FILE)
    values: dict[str, Any] = param(
        {},
        help="Values of its parameters, by name; of inputs, ids of artifacts, or which of the images or texts, from 0.",
    )


class Saved(Params):
    name: str = param(..., choices_from="call/flows", help="Name of a saved flow.")


class Kept(Params):
    name: str = param(..., max_length=64, help="What it is to be called: letters, digits and _. So is its job.")
    flow: dict[str, Any] = param(..., help=FILE)


class Checked(Params):
    flow: dict[str, Any] = param(..., help=FILE)


class Flows(Plugin):
    @classmethod
    def announce(cls, models) -> tuple[dict[str, Callable], list[str]]:
        """A job for each saved flow, and why others are none."""
        return ANNOUNCED.jobs(models, RESERVED)

    @job(program=True, concurrency=AT_ONCE)
    def run(self, images: Images, texts: Texts, params: Unsaved, ctx: Context) -> list[Image]:
        """Run a flow that is not saved."""
        return _run_unsaved(images, texts, params, ctx, "image")

    @job(program=True, concurrency=AT_ONCE)
    def run_texts(self, images: Images, texts: Texts, params: Unsaved, ctx: Context) -> list[Text]:
        """Run a flow that is not saved and gives texts."""
        return _run_unsaved(images, texts, params, ctx, "text")

    @job(program=True, concurrency=AT_ONCE)
    def run_values(self, images: Images, texts: Texts, params: Unsaved, ctx: Context) -> list[Json]:
        """Run a flow that is not saved and gives JSON values."""
        return _run_unsaved(images, texts, params, ctx, "json")

    @job(program=True, concurrency=AT_ONCE)
    def wait(self, params: Wait, ctx: Context) -> Json:
        """Wait, and take no device meanwhile: a program that draws much lets a machine cool down with it."""
        ctx.wait(params.seconds)
        return {"seconds": params.seconds}

    @job(program=True, concurrency=AT_ONCE)
    def text(self, params: Words, ctx: Context) -> Text:
        """A text as a result, for the inputs of other jobs."""
        return params.text

    @job(light=True)
    def flows(self, ctx: Context) -> Json:
        """The names of the saved flows."""
        return [*self.announce(ctx.models)[0]]

    @job(light=True)
    def flow(self, params: Saved, ctx: Context) -> Json:
        """A saved flow, and whether it came with the plugin."""
        return saving.find(ctx.models, params.name)

    @job(light=True)
    def save_flow(self, params: Kept, ctx: Context) -> Json:
        """Save a flow, or change it. Its job is there a moment later, for all who use this server."""
        flow = saving.save(ctx.models.folder, params.name, params.flow, RESERVED)
        return {"name": params.name, "job": f"flows.{params.name}", "problems": checking.problems(flow, ctx)}

    @job(light=True)
    def delete_flow(self, params: Saved, ctx: Context) -> Json:
        """Delete a saved flow, and list the others."""
        saving.delete(ctx.models, params.name)
        return [*saving.files(ctx.models)]

    @job(light=True)
    def check_flow(self, params: Checked, ctx: Context) -> Json:
        """All that is wrong with a flow, each with its place; and the form that it would have."""
        try:
            flow = reading.read(params.flow, place="")
        except InvalidParams as error:
            return {"problems": error.extra["errors"]}
        return {
            "problems": checking.problems(flow, ctx), "params": flow.params.model_json_schema(), "gives": flow.gives,
            "help": flow.help,
            "inputs": {name: {"kind": port.kind, "list": port.list, "optional": port.optional, "help": port.help}
                       for name, port in flow.inputs.items()},
        }  # fmt: skip


RESERVED = {*dir(Flows), "folder", "models", "settings"}  # what a plugin has besides jobs


def job_of(name: str, data: Any) -> Callable:
    """The job of a saved flow. Raises InvalidParams."""
    flow = reading.read(data)

    def function(self, params, ctx, **inputs):
        begun = reading.read(ctx.once("flow", lambda: data))  # it goes on as it began, whatever the file says by then
        return Running(begun, params.model_dump() | inputs, ctx).outputs()

    types = {
        each: forms.input_type(port.kind, port.list, port.optional, port.help) for each, port in flow.inputs.items()
    }
    hints = types | {"params": flow.params, "ctx": Context}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    function.__signature__ = inspect.Signature(parameters + [inspect.Parameter(each, keyword) for each in hints])
    function.__annotations__ = hints | {"return": list[forms.KINDS[flow.gives]]}
    function.__name__ = function.__qualname__ = name
    function.__doc__ = flow.help
    return job(program=True, concurrency=AT_ONCE)(function)


ANNOUNCED = saving.Announced(job_of)


def _inputs(
    ports: dict[str, reading.Port], images: list[Artifact], texts: list[Artifact], values: dict[str, Any]
) -> dict[str, Any]:
    """What inputs are given: the artifacts that `values` names, else the next of the other images or texts."""
    given, sides = {}, {name: "image" if port.kind in ("image", "mask") else "text" for name, port in ports.items()}
    known = {"image": dict(enumerate(images)), "text": dict(enumerate(texts))}
    named = {name: reading.listed(values[name]) for name in ports.keys() & values.keys()}
    taken = {(sides[name], each) for name, found in named.items() for each in found if isinstance(each, int)}
    left = {side: iter([each[k] for k in each if (side, k) not in taken]) for side, each in known.items()}
    for name, port in ports.items():
        side = sides[name]
        if name in named:
            found = [known[side].get(each, each) if isinstance(each, int) else each for each in named[name]]
            if strange := [each for each in found if not isinstance(each, Artifact) and not reading.is_id(each)]:
                text = f"{name} is an artifact's id, or which of the {len(known[side])} {side}s given, from 0; not "
                raise InvalidParams(f"{text}{strange[0]!r}"[:300] + ".", field=f"values.{name}")
        else:
            found = [*(left[side] if port.list else itertools.islice(left[side], 1))]
        if found:
            given[name] = found if port.list else found[0]
    return given


def _run_unsaved(
    images: list[Artifact] | None, texts: list[Artifact] | None, params: Unsaved, ctx: Context, gives: str
) -> list[Artifact]:
    flow = reading.read(params.flow)
    if UNSAVED.get(flow.gives) != UNSAVED[gives]:
        hint = f"Run it with {UNSAVED.get(flow.gives, 'save_flow, and then as a job of its own')}."
        raise InvalidParams(f"this flow gives {flow.gives}.", field="flow.gives", hint=hint)
    given = _inputs(flow.inputs, images or [], texts or [], params.values)
    if lacking := [name for name, port in flow.inputs.items() if not port.optional and name not in given]:
        text = f"the flow needs {', '.join(lacking)}."
        raise InvalidParams(text, field=lacking[0], hint="Give images and texts, or ids of artifacts in values.")
    try:
        values = flow.params(**{name: params.values[name] for name in params.values.keys() - flow.inputs.keys()})
    except pydantic.ValidationError as error:
        errors = [
            {"field": ".".join(map(str, ["values", *each["loc"]])), "message": each["msg"]} for each in error.errors()
        ]
        told = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
        raise InvalidParams(
            f"the values do not fit the flow: {told}.", field=errors[0]["field"], errors=errors
        ) from error
    return Running(flow, values.model_dump() | dict.fromkeys(flow.inputs) | given, ctx).outputs()
