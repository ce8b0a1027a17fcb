"""How a picture was drawn, as parameters that draw it again: read from A1111's text inside it."""

import re
from typing import Any

from core.library.infotext import parts, split

LORA = re.compile(r"<(lora|lyco|locon):([^:<>]+)((?::[^:<>]*)*)>", re.IGNORECASE)
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
# What is taken over from a picture; the rest is what the drawing job has as defaults.
FIELDS: dict[str, tuple[str, Any]] = {
    "Steps": ("steps", int), "Sampler": ("sampler", str), "Schedule type": ("schedule", str),
    "CFG scale": ("cfg_scale", float), "Seed": ("seed", int), "Model": ("model", str), "VAE": ("vae", str),
    "Clip skip": ("clip_skip", int),
}  # fmt: skip


def recipe(text: str) -> dict[str, Any]:
    """The parameters that an infotext tells, as far as all drawing jobs have them. A text that tells nothing else is a
    prompt. Choices in prompts were made when it was written: braces are text."""
    prompt, negative_prompt, line = split(text)
    fields = {key: value for key, value, _ in parts(line) if value is not None}
    found: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative_prompt, "dynamic_prompts": False}
    for key, (name, kind) in FIELDS.items():
        try:
            found |= {name: kind(fields[key])} if key in fields else {}
        except ValueError:
            continue  # it stays what the job takes by itself
    width, _, height = fields.get("Size", "").partition("x")
    if width.isdigit() and height.isdigit():
        found |= {"width": int(width), "height": int(height)}
    return found


def scale_networks(prompt: str, factor: float) -> str:
    """The prompt with the weights of its LoRAs multiplied: <lora:name:0.8> becomes <lora:name:0.4>; without a weight
    it is 1."""

    def scaled(found: re.Match[str]) -> str:
        weights = found[3].split(":")[1:] or ["1"]
        return f"<{found[1]}:{found[2]}:{':'.join(_times(each, factor) for each in weights)}>"

    return LORA.sub(scaled, prompt)


def _times(weight: str, factor: float) -> str:
    """A weight, or one with its name (te=0.8); what is no number stays."""
    name, equals, number = weight.rpartition("=")
    if not NUMBER.fullmatch(number.strip()) or name in ("dyn", "lbw"):
        return weight
    return f"{name}{equals}{round(float(number) * factor, 4):g}"
