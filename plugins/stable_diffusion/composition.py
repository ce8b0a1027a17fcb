"""How a prompt is put together of several: A1111's `a cat :1.2 AND a dog`, after Liu et al. (2022)."""

import math
import re

AND = re.compile(r"\bAND\b")
WEIGHT = re.compile(r"\s*[-+]?(?:\d+\.?|\d*\.\d+)\s*")


def parts(text: str) -> list[tuple[str, float]]:
    """The prompts between the ANDs, also empty ones, each with its weight, 1 unless the prompt ends with `:number`.

    As in A1111 this holds without any AND, too: `aspect ratio 16:9` has the weight 9."""
    return [_weighted(part.rstrip()) for part in AND.split(text)]


def _weighted(part: str) -> tuple[str, float]:
    prompt, colon, number = part.rpartition(":")
    if colon and WEIGHT.fullmatch(number) and math.isfinite(float(number)):
        return prompt.rstrip(), float(number)
    return part, 1.0
