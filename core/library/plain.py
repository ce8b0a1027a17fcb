"""What may come in over a socket: plain, finite, not too deep data that can be stored and sent on; and what is
answered."""

import json
import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any

import pydantic

from core.errors import CoreError, Internal, InvalidParams, TooLarge
from core.library.fair import Pause, fairly

log = logging.getLogger(__name__)
MAX_VALUES = 300_000  # in one message: reading more at once would stop the others for over 50 ms
ENVELOPE = 1_000  # bytes, and more than the values, that are around what is sent
LARGE = 1_000_000  # characters of a message
compact = json.JSONEncoder(separators=(",", ":")).encode  # made once: json.dumps makes one for each call
SMALL = 10_000  # bytes of JSON are written in less than a millisecond
LONG = 4  # a list that is written piece by piece
MAX_DEPTH = 64
MAX_ERRORS = 50  # told at once
NAMESPACE = "/worker"  # of Socket.IO: where the workers connect


class Json:
    """What Socket.IO reads and writes with. A message that cannot be read becomes an event that nobody knows: it is
    answered like one, where the library would leave the sender without an answer."""

    @staticmethod
    def dumps(data: Any, **options: Any) -> str:
        """As json.dumps, but an answer with long lists is written in pieces."""
        answer = data[-1] if isinstance(data, list) and data else None
        if not isinstance(answer, dict) or not _long(answer):
            return compact(data)
        return "[" + "".join(json.dumps(item, **options) + "," for item in data[:-1]) + _pieces(answer, options) + "]"

    @staticmethod
    def loads(text: str, **options: Any) -> Any:
        if len(text) > LARGE:
            time.sleep(0)
        if _values(text) > MAX_VALUES:
            name = re.match(r'\s*\[\s*"(\w{1,100})"', text)
            return [name[1] if name else "(a message with too many values)", Oversized()]
        try:
            return json.loads(text, **options)
        except (ValueError, RecursionError):
            return ["(a message that is not JSON)"]


def _long(value: Any, depth: int = 2) -> bool:
    if isinstance(value, dict):
        return depth > 0 and any(_long(each, depth - 1) for each in value.values() if isinstance(each, list | dict))
    return isinstance(value, list) and len(value) >= LONG


def _pieces(value: Any, options: dict[str, Any], depth: int = 2) -> str:
    """JSON of what has long lists, an item at a time."""
    if not _long(value, depth):
        return json.dumps(value, **options)
    if isinstance(value, list):
        return "[" + ",".join([json.dumps(item, **options) for item in fairly(value)]) + "]"
    return "{" + ",".join(f"{json.dumps(key)}:{_pieces(each, options, depth - 1)}" for key, each in value.items()) + "}"


def mapping(message: Any) -> dict[str, Any]:
    """What a worker sends, which should be an object."""
    return message if isinstance(message, dict) else {}


def _values(text: str) -> int:
    """About how many values a message holds; rather too many."""
    return text.count(",") + text.count(":")


def too_large(message: dict[str, Any], limit: int) -> str | None:
    """Why the server would not take a message of this JSON data, None if it does."""
    text = json.dumps(message)
    if len(text) > limit - ENVELOPE:
        return f"{len(text):,} bytes are over the limit of {limit:,} for a message (max_message_bytes)."
    return str(too_many_values()) if _values(text) > MAX_VALUES - ENVELOPE else None


def too_many_values() -> TooLarge:
    return TooLarge(f"the message holds more than {MAX_VALUES:,} values. Send several, or upload large data.")


def json_size(value: Any, most: int) -> int:
    """Bytes of its JSON, found without stopping the others; some number over `most` if it has more. Raises ValueError
    for NaN and infinity, TypeError and RecursionError as json.dumps does."""
    layer, least, pause = [value], 0, Pause()
    while layer and least <= most:
        below: list[Any] = []
        for item in layer:
            pause()
            least += 1 + (len(item) if isinstance(item, str) else 0)
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple):
                below += item
        layer = below
    if least > most:
        return least
    if least <= SMALL:
        return len(json.dumps(value, allow_nan=False))
    return sum(map(len, fairly(json.JSONEncoder(allow_nan=False).iterencode(value))))


class Oversized(dict):
    """Stands for what was not read because it holds too many values."""


def check(value: Any) -> None:
    """Raises InvalidParams if `value` is nested too deep or holds bytes, NaN, infinity, integers over 64 bits or text
    that is not Unicode, TooLarge if it was not read. Does not recurse: deep data would end the check too early."""
    layer, depth, pause = [value], 0, Pause()
    while layer:
        below: list[Any] = []
        for item in layer:
            pause()
            if isinstance(item, Oversized):
                raise too_many_values()
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple):
                below += item
            elif problem := _problem(item):
                raise InvalidParams(f"the data holds {problem}. Send JSON.")
        layer, depth = below, depth + 1
        if depth > MAX_DEPTH:
            raise InvalidParams(f"the data is nested deeper than {MAX_DEPTH} levels.")


def _problem(item: Any) -> str | None:
    if isinstance(item, float):
        return None if math.isfinite(item) else "NaN or infinity"
    if isinstance(item, int):
        return None if abs(item) < 1 << 63 else "an integer over 64 bits"
    if isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError:
            return "half a surrogate pair"
        return None
    return None if item is None else f"{type(item).__name__}"


def each(field: str, model: type[pydantic.BaseModel], values: list[Any]) -> list[dict[str, Any]]:
    """The values of a long list, each checked by `model`, without stopping the others. Raises InvalidParams."""
    checked, errors = [], []
    for index, value in enumerate(fairly(values)):
        try:
            checked.append(model.model_validate(value).model_dump())
        except pydantic.ValidationError as error:
            errors += [{**item, "loc": (field, index, *item["loc"])} for item in _items(error)]
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        raise _invalid(errors)
    return checked


def answer(what: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `act` returns, or what goes wrong in it, as the answer to a call."""
    problem: CoreError
    try:
        return {"ok": True, **act()}
    except pydantic.ValidationError as error:
        problem = invalid(error)
    except CoreError as error:
        problem = error
    except Exception:
        log.exception("%s failed", what)
        problem = Internal("this failed by our own mistake; the server's log says why.")
    return {"ok": False, "error": problem.wire()}


def invalid(error: pydantic.ValidationError) -> InvalidParams:
    """All bad fields of a request at once."""
    return _invalid(_items(error))


def _items(error: pydantic.ValidationError) -> list[Any]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _invalid(items: list[Any]) -> InvalidParams:
    items = items[:MAX_ERRORS]
    errors = [{"field": ".".join(map(str, item["loc"]))[:100], "message": item["msg"]} for item in items]
    text = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors)
    return InvalidParams(f"{text}.", field=errors[0]["field"], errors=errors)
