"""A1111's text about a picture, as it stands in the PNG's `parameters` chunk."""

import json
from typing import Any

VERSION = "stable-core 0.1.0"


def infotext(prompt: str, negative_prompt: str, fields: dict[str, Any]) -> str:
    """Prompt, negative prompt if there is one, and a line of `Key: value, ...` without the fields that are None."""
    negative = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
    settings = ", ".join(f"{key}: {_quoted(value)}" for key, value in fields.items() if value is not None)
    return f"{prompt}{negative}\n{settings}".strip()


def _quoted(value: Any) -> str:
    """As JSON if it holds a character that separates fields. Whole floats lose their .0."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
