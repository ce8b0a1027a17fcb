"""A1111's text about a picture, as it stands in the PNG's `parameters` chunk: written and read.

    a cat
    Negative prompt: blurry
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: "a, b", Version: v1.9.0

The format is ambiguous in three places, and nothing that A1111 could read would help: a line of the prompt that begins
with "Negative prompt:" begins the negative prompt; a prompt without fields whose last line looks like three fields is
read as these; and "\\r\\n" counts as "\\n". All other texts and values come back as they were."""

import re
from typing import Any

from core.library.infotext import LAST, VERSION, field, parts, split

__all__ = ["DEFAULTS", "ORDER", "VERSION", "infotext", "parse", "release"]
ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Face restoration", "Size",
    "Model hash", "Model", "FP8 weight", "Cache FP16 weight for LoRA", "VAE hash", "VAE",
    "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength", "Conditional mask weight",
    "Clip skip", "ENSD", "Token merging ratio", "Token merging ratio hr", "Init image hash", "RNG", "NGMS", "Tiling",
    "Hires upscale", "Hires resize", "Hires steps", "Hires upscaler", "Hires CFG Scale", "Hires checkpoint",
    "Hires sampler", "Hires schedule type", "Hires prompt", "Hires negative prompt",
    "Mask blur", "Mask mode", "Masked content", "Inpaint area", "Masked area padding", "Noise multiplier",
    "Eta", "Eta DDIM", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise",
    "Schedule max sigma", "Schedule min sigma", "Schedule rho", "Emphasis",
    "Lora hashes", "TI hashes", "Refiner", "Refiner switch at", "Wildcard prompt",
)  # fmt: skip
DEFAULTS = {
    "Schedule type": "Automatic", "Clip skip": "1", "RNG": "GPU", "Emphasis": "Original",
    "Schedule max sigma": "0", "Schedule min sigma": "0", "Schedule rho": "0",
    "Hires resize-1": "0", "Hires resize-2": "0", "Hires checkpoint": "Use same checkpoint",
    "Hires sampler": "Use same sampler", "Hires schedule type": "Use same scheduler",
    "Hires prompt": "", "Hires negative prompt": "",
    "Mask mode": "Inpaint masked", "Masked content": "original", "Inpaint area": "Whole picture",
    "Masked area padding": "32",
}  # fmt: skip
SIZES = {"Size", "Hires resize", "Seed resize from"}  # their values are WIDTHxHEIGHT
RELEASE = re.compile(r"(?:^|v)(\d{1,4})\.(\d{1,4})\.(\d{1,4})")  # Forge has it inside: f2.0.1v1.10.1
PLAIN = re.compile(r"\w[\w \-/]+")  # a key that is its own value
SIZE = re.compile(r"(\d+)x(\d+)")


def infotext(prompt: str, negative_prompt: str, fields: dict[str, Any]) -> str:
    """Prompt, negative prompt if there is one, and a line of `Key: value, ...` in A1111's order, without the fields
    that are None. A field whose value equals its key is written as the key alone."""
    rank = {key: place for place, key in enumerate(ORDER)} | {key: len(ORDER) + 1 for key in LAST}
    given = sorted(fields.items(), key=lambda item: rank.get(item[0], len(ORDER)))
    settings = (field(key, value) for key, value in given if value is not None)
    negative = f"Negative prompt: {negative_prompt}" if negative_prompt else ""
    return "\n".join(part for part in (prompt, negative, ", ".join(settings)) if part)


def parse(text: str) -> dict[str, str]:
    """What an infotext says: "Prompt", "Negative prompt", and its fields, by A1111's keys, all values as strings.

    Sizes are two fields, `Size-1` and `Size-2`. What an infotext leaves out has A1111's DEFAULTS. What its version of
    A1111 did differently is said in fields of their own. A text without a line of fields is a prompt. Never raises,
    and takes time in proportion to the text."""
    prompt, negative_prompt, line = split(text)
    fields = _fields(line)
    prompts = {"Prompt": prompt, "Negative prompt": negative_prompt}
    return (DEFAULTS | fields | _older(fields, prompt) if fields else {}) | prompts


def _fields(line: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for key, value, raw in parts(line):
        if value is not None or PLAIN.fullmatch(raw):
            fields |= _split(key, raw if value is None else value)
    return fields


def _split(key: str, value: str) -> dict[str, str]:
    size = SIZE.fullmatch(value) if key in SIZES else None
    return {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}


def release(fields: dict[str, str]) -> tuple[int, ...] | None:
    """The version of A1111 that wrote an infotext, or that Forge was made from; None if it was something else."""
    found = RELEASE.search(fields.get("Version", ""))
    return tuple(map(int, found.groups())) if found else None


def _older(fields: dict[str, str], prompt: str) -> dict[str, str]:
    """What that version of A1111 did otherwise than later ones."""
    version, older = release(fields), {}
    if version and version < (1, 6, 0) and "[" in prompt:
        older["Old prompt editing timelines"] = "True"
    if version and version < (1, 8, 0) and "Refiner" in fields:
        older["Refiner switch by sampling steps"] = "True"
    return older
