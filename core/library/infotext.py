"""A1111's text about a picture, as far as all plugins need it: the fields in its last line, read, written and added to.

a cat
Negative prompt: blurry
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: "a, b", Version: v1.9.0"""

import json
import re
from collections.abc import Iterator
from typing import Any

from core.types import Image

VERSION = "stable-core 0.1.0"
LAST = ("Version", "User")  # what is not listed at all stands before these
LEAST = 3  # fields with a value; a line with less is a line of the prompt
KEY = re.compile(r"\s*(\w[\w \-/]+)(:?)\s*")
NEGATIVE = re.compile(r"(?:^|\n)Negative prompt: ?")
QUOTED = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")\s*(?=,|$)')


def infotext_of(image: Image, facts: dict[str, Any]) -> str:
    """The text that `image` came with, and in it `facts`, such as {"Postprocess upscaler": "Lanczos"}: for the fact
    "infotext" of what is made from it. A field that is there gets the new value, and one that is None goes."""
    text = image.info.get("parameters")
    text = text.rstrip() if isinstance(text, str) else ""
    head, _, line = text.rpartition("\n")
    fields = [*parts(line)]
    if not facts:
        return text
    if sum(value is not None for _, value, _ in fields) < LEAST:  # a prompt alone: others see no line of fields in less
        head, fields = text, []
        facts = {"Size": f"{image.width}x{image.height}"} | facts | {"Version": VERSION}
    written = {key: raw for key, _, raw in fields if raw}
    written |= {key: "" if value is None else field(key, value) for key, value in facts.items()}
    ordered = sorted(written, key=LAST.__contains__)
    return "\n".join(filter(None, [head, ", ".join(written[key] for key in ordered if written[key])]))


def said_by(image: Image) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and fields of the text that `image` came with; nothing of what it does not say."""
    text = image.info.get("parameters")
    prompt, negative, line = split(text if isinstance(text, str) else "")
    return prompt, negative, {key: value for key, value, _ in parts(line) if value is not None}


def split(text: str) -> tuple[str, str, str]:
    """Prompt, negative prompt and the line of fields, which is empty if too few have a value: then it is a line of the
    prompt."""
    text = text.replace("\r\n", "\n")
    head, _, line = text.rstrip().rpartition("\n")
    if sum(value is not None for _, value, _ in parts(line)) < LEAST:
        head, line = text, ""
    negative = NEGATIVE.search(head)
    return (head[: negative.start()], head[negative.end() :], line) if negative else (head, "", line)


def parts(line: str) -> Iterator[tuple[str, str | None, str]]:
    """What stands between the commas: its key, its value, and how it is written. Without a value it is its own key.

    A scan from comma to comma: one pattern for all, as A1111 has it, takes time with the square of the length."""
    at = 0
    while at < len(line):
        key = KEY.match(line, at)
        quoted = key and key[2] and QUOTED.match(line, key.end())
        end = quoted.end() if quoted else _comma(line, key.end() if key else at)
        raw, value = line[at:end].strip(), None
        if key and key[2]:
            value = _unquoted(quoted[1]) if quoted else line[key.end() : end].strip()
        yield (raw if value is None else key[1]), value, raw
        at = end + 1


def field(key: str, value: Any) -> str:
    """As it stands in the line; one whose value equals its key is the key alone. What would not be read back otherwise
    is written as JSON; whole floats lose their .0."""
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    plain = text and text.isprintable() and text == text.strip() and not any(mark in text for mark in ',:"')
    return key if key == value else f"{key}: {text if plain else json.dumps(text, ensure_ascii=False)}"


def _comma(line: str, start: int) -> int:
    found = line.find(",", start)
    return len(line) if found < 0 else found


def _unquoted(text: str) -> str:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return text
