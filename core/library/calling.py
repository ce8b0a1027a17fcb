"""How a worker calls a job's method, and how what it returns becomes blobs."""

import contextlib
import errno
import io
import json
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pydantic

from core.artifacts import Blobs
from core.errors import CoreError, Internal, OutOfMemory, PluginError, TooLarge, TypeMismatch
from core.library import plain
from core.library.children import MAX_PLANNED, Artifact, Children, Rehearsal, Waiting
from core.ops.describe import function_of, signature
from core.plugin import Context, Params, Plugin, Result
from core.types import KINDS, Image, fits

MAX_FACTS = 1_000_000  # bytes of JSON
MAX_MESSAGE = 2_000  # characters
PREVIEW_PIXELS = 1024  # each side


def call(
    plugin: Plugin, blobs: Blobs, message: dict[str, Any], context: Context, metrics: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """The outputs of the job in `message`, each as soon as it is there. The method is called once for each item of an
    input that takes one."""
    index, encoding = 0, 0.0
    calls, port = _calls(plugin, blobs, message, context)
    for number, arguments in enumerate(calls):
        context._children.begin(number)
        returned = _function(plugin, message)(plugin, **arguments)
        for value in returned if port["list"] else [returned]:
            started = time.monotonic()
            output = _encode(blobs, message, index, port["kind"], value)
            encoding += time.monotonic() - started
            metrics["encode_seconds"] = round(encoding, 4)
            yield output | {"streamed": port["list"] or len(calls) > 1}
            index += 1
    context._children.forget()


def call_light(plugin: Plugin, blobs: Blobs, message: dict[str, Any], context: Context) -> list[Any]:
    """What a light job returns: JSON values."""
    calls, port = _calls(plugin, blobs, message, context)
    values = []
    for arguments in calls:
        returned = _function(plugin, message)(plugin, **arguments)
        values += returned if port["list"] else [returned]
    return json.loads(KINDS["json"].encode(values, {}))


def plan(plugin: Plugin, message: dict[str, Any], context: Context) -> dict[str, Any]:
    """What the job in `message` would make; a program is run with nobody listening until it gathers."""
    _, _, _, _, params_class = signature(_function(plugin, message))
    items = {name: [Artifact(**item) for item in found] for name, found in message["inputs"].items()}
    planned = plugin.plan(message["name"].split(".")[1], _params(params_class, message), items) or {}
    if message["program"]:
        rehearsal = Rehearsal(context._children.ask)
        context._children = Children(rehearsal.ask)
        context._children.most = MAX_PLANNED
        try:
            for _ in call(plugin, context._blobs, message, context, {}):
                pass
        except Waiting:
            pass
        planned = {"jobs": rehearsal.requests} | planned
    return json.loads(KINDS["json"].encode(planned, {}))


def _params(params_class: type[Params], message: dict[str, Any]) -> Params:
    """Validators of a plugin's own, which no schema tells of, may refuse them: raises InvalidParams."""
    try:
        return params_class(**message["params"])
    except pydantic.ValidationError as error:
        raise plain.invalid(error) from error


def _function(plugin: Plugin, message: dict[str, Any]) -> Any:
    return function_of(plugin, message["name"].split(".")[1])


def _calls(
    plugin: Plugin, blobs: Blobs, message: dict[str, Any], context: Context
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The arguments of each call of the job's method, and the description of its output. A program gets its inputs as
    they are stored, to hand them on."""
    program = _function(plugin, message).__job__["program"]
    ports, port, params_name, context_name, params_class = signature(_function(plugin, message))
    arguments: dict[str, Any] = {}
    if params_name:
        arguments[params_name] = _params(params_class, message)
    if context_name:
        arguments[context_name] = context
    calls = [arguments]
    for name, items in message["inputs"].items():
        decode = KINDS[ports[name]["kind"]].decode
        values = [Artifact(**item) if program else decode(blobs.read(item["sha256"])) for item in items]
        choices = [values] if ports[name]["list"] else values or [None]
        calls = [arguments | {name: choice} for arguments in calls for choice in choices]
    return calls, port


def _encode(blobs: Blobs, message: dict[str, Any], index: int, kind_name: str, value: Any) -> dict[str, Any]:
    """Turn one returned value into a blob, with the metadata the submitter wants inside. What is stored already, a
    program hands on as it is."""
    if isinstance(value, Artifact):
        if not fits(value.kind, kind_name):
            raise TypeMismatch(f"the program returns {kind_name}, not {value.kind}.")
        about = {"index": index, "kind": value.kind, "sha256": value.sha256, "facts": value.facts, "source": value.id}
        return about | {"size_bytes": blobs.size(value.sha256)}
    result = value if isinstance(value, Result) else Result(value)
    kind, texts = KINDS[kind_name], {}
    record = {"artifact": f"{message['id']}.{index}"}
    if message["embed_metadata"] == "full":
        record |= {key: message[key] for key in ("name", "params", "inputs", "version")} | {"facts": result.facts}
        if "infotext" in result.facts:
            texts["parameters"] = result.facts["infotext"]
    if message["embed_metadata"] != "none":
        texts["stable-core"] = json.dumps(record)
    if len(json.dumps(result.facts, allow_nan=False)) > MAX_FACTS:
        raise PluginError(f"the facts of an output take more than {MAX_FACTS:,} bytes. Return large data as an output.")
    data = kind.encode(result.value, texts)
    facts = {"width": result.value.width, "height": result.value.height} if kind.mime == "image/png" else {}
    return {
        "index": index, "kind": kind.name, "sha256": blobs.write(data), "size_bytes": len(data),
        "facts": facts | result.facts,
    }  # fmt: skip


def explain(failure: BaseException, plugin: str, context: Context) -> CoreError:
    """What the client reads; the traceback goes to the job's log and the worker's."""
    text = "".join(traceback.format_exception(failure))
    with contextlib.suppress(OSError):  # the worker's log may be on the disk that is full
        print(text, file=sys.stderr, flush=True)
    context.log(text)
    if isinstance(failure, CoreError):
        failure.args = (str(failure)[:MAX_MESSAGE],)
        return failure
    if isinstance(failure, OSError) and failure.errno == errno.ENOSPC:
        of = f" of {failure.filename}" if failure.filename else ""
        return Internal(f"the disk{of} is full.", hint="Free some space and retry the job.")
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return OutOfMemory("the memory of the device did not suffice.", hint="Try a smaller size or batch.")
    return PluginError(f"{plugin}: {type(failure).__name__}: {str(failure)[:500]}")


def sendable(result: dict[str, Any], limit: int, blobs: Blobs) -> dict[str, Any]:
    """`result` as it can be sent: one that is too large for a message would be sent, and refused, again and again. What
    a light job or a plan answers goes as a blob then."""
    if result.get("value") is not None and plain.too_large(result, limit):
        result |= {"value": {"stored": blobs.write(json.dumps(result["value"]).encode())}}
    if problem := plain.too_large(result, limit):
        text = f"the result is too large to be told: {len(result['outputs']):,} outputs and their facts. {problem}"
        error = TooLarge(text, hint="Return fewer outputs, smaller facts, or one output of kind json.")
        result |= {"state": "failed", "outputs": [], "error": error.wire()}
        result |= {"value": None} if "value" in result else {}
    return result


def preview(picture: Image) -> dict[str, Any]:
    """An unfinished picture as it travels: a JPEG."""
    small, out = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    small.save(out, "JPEG", quality=80)
    return {"image": out.getvalue(), "width": small.width, "height": small.height}
