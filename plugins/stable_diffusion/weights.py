"""How a file of weights is read without running code that it may hold."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from core.plugin import InvalidParams

# What old torch.nn.Modules pickle their parameters in; holds tensors and no code.
torch.serialization.add_safe_globals([torch.nn.ParameterDict])


def read(path: Path) -> Any:
    """What the file holds, on the CPU: of .safetensors a dict of tensors, of others what was pickled, if it is nothing
    but tensors, numbers, texts and containers. Raises InvalidParams if it cannot be read or would run code."""
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load answers damage with nearly any
        raise bad_file(path, f"it cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}") from error


def bad_file(path: Path, why: str, hint: str | None = None) -> InvalidParams:
    return InvalidParams(
        f"{path.name} cannot be used: {why}.",
        field="prompt",
        hint=hint or "Fetch the file again, if possible as .safetensors, or leave it out of the prompt.",
    )
