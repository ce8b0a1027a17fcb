"""How NovelAI's record of a picture becomes A1111's text."""

import math
from typing import Any

from .forms import named
from .infotext import infotext

BRACKETS = {"{": ("}", "(", ":1.05)"), "[": ("]", "(", f":{1 / 1.05:.6f})")}  # its end, and both in A1111's words


def infotext_of(comment: dict[str, Any], description: str, size: tuple[int, int]) -> tuple[str, list[str]]:
    """A1111's text for the JSON in a picture's `Comment`, and notes on what could not be translated.

    Clip skip 2 and ENSD 31337 are what A1111 takes for NovelAI's."""
    prompt, negative = _text(comment, "prompt") or description, _text(comment, "uc")
    schedule, redrawn = comment.get("noise_schedule"), comment.get("request_type") == "Img2ImgRequest"
    fields = {
        "Steps": comment.get("steps"),
        **named(comment.get("sampler"), None if schedule == "native" else schedule),
        "CFG scale": comment.get("scale"),
        "Seed": comment.get("seed"),
        "Size": "x".join(str(comment.get(key, side)) for key, side in zip(("width", "height"), size, strict=True)),
        "Denoising strength": comment.get("strength") if redrawn else None,
        "Clip skip": 2,
        "ENSD": 31337,
        "CFG rescale": comment.get("cfg_rescale") or None,
        "Version": "NovelAI",
    }
    notes = ["NovelAI draws with models of its own: another one gives another picture."]
    if "::" in prompt + negative:
        notes.append("Weights in NovelAI's form 1.2::text:: were left as they stand.")
    plain = {key: value for key, value in fields.items() if isinstance(value, (str, int)) or _finite(value)}
    return infotext(weighted(prompt), weighted(negative), plain), notes


def weighted(prompt: str) -> str:
    """The same prompt with A1111's brackets: {more} is 1.05 times, [less] 1/1.05 times, round ones are plain text."""
    text, ends = [], []
    for mark in prompt:
        if mark in BRACKETS:
            end, opening, closing = BRACKETS[mark]
            ends.append((end, closing))
            text.append(opening)
        elif ends and mark == ends[-1][0]:
            text.append(ends.pop()[1])
        else:
            text.append("\\" + mark if mark in "()\\]" else mark)
    return "".join(text + [closing for _, closing in reversed(ends)])


def _text(comment: dict[str, Any], key: str) -> str:
    return comment[key] if isinstance(comment.get(key), str) else ""


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
