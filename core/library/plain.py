"""What may come in over a socket: plain, finite, not too deep data that can be stored and sent on."""

import json
import math
from typing import Any

import pydantic

from core.errors import InvalidParams

MAX_DEPTH = 64
MAX_ERRORS = 50  # told at once


class Json:
    """What Socket.IO reads and writes with. A message that cannot be read becomes an event that nobody knows: it is
    answered like one, where the library would leave the sender without an answer."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str, **options: Any) -> Any:
        try:
            return json.loads(text, **options)
        except (ValueError, RecursionError):
            return ["(a message that is not JSON)"]


def check(value: Any) -> None:
    """Raises InvalidParams if `value` is nested too deep or holds bytes, NaN, infinity, integers over 64 bits or text
    that is not Unicode. Does not recurse: deep data would end the check before it is done."""
    layer, depth = [value], 0
    while layer:
        below: list[Any] = []
        for item in layer:
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


def invalid(error: pydantic.ValidationError) -> InvalidParams:
    """All bad fields of a request at once."""
    items = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]
    errors = [{"field": ".".join(map(str, item["loc"]))[:100], "message": item["msg"]} for item in items]
    text = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors)
    return InvalidParams(f"{text}.", field=errors[0]["field"], errors=errors)
