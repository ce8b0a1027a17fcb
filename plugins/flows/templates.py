"""Names in braces, as flows have them in texts: `{prompt}` is filled in, `{{prompt}}` stands for `{prompt}`.

Braces around anything that is not a name, such as the choice `{red|blue}`, are text. Nothing is computed."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from core.plugin import InvalidParams

MAX_TEXT = 1_000_000  # characters of a text with what is filled in
PATH = r"[A-Za-z_]\w*(?:\.\w+)*"
PLACE = re.compile(rf"\{{\{{({PATH})\}}\}}|\{{({PATH})\}}")
WHOLE = re.compile(rf"\{{({PATH})\}}")


def paths(value: Any) -> Iterator[str]:
    """All that are named in a value, at any depth: "prompt", "scene.text"."""
    if isinstance(value, str):
        yield from (found[2] for found in PLACE.finditer(value) if found[2])
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from paths(each)


def fill(value: Any, look_up: Callable[[str], Any]) -> Any:
    """`value` with what `look_up` knows by name. A text that is one name only becomes its value, of whatever type."""
    if isinstance(value, list):
        return [fill(each, look_up) for each in value]
    if isinstance(value, dict):
        return {key: fill(each, look_up) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    if whole := WHOLE.fullmatch(value):
        return look_up(whole[1])
    left = MAX_TEXT

    def filled(found: re.Match[str]) -> str:
        nonlocal left
        text = "{" + found[1] + "}" if found[1] else said(look_up(found[2]))
        left -= len(text)
        if left < 0:
            raise InvalidParams(f"{value[:80]!r} with {found[0]} filled in has over {MAX_TEXT:,} characters.")
        return text

    return PLACE.sub(filled, value)


def said(value: Any) -> str:
    """A value inside a text."""
    if isinstance(value, list):
        return ", ".join(said(each) for each in value)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
