"""How a file of weights is read without running code that it may hold. Light at import."""

import json
import zipfile
from pathlib import Path
from typing import Any

from core.plugin import InvalidParams


def read(path: Path) -> Any:
    """What the file holds, on the CPU: of .safetensors a dict of tensors, of others what was pickled, if it is nothing
    but tensors, numbers, texts and containers. Raises InvalidParams if it cannot be read or would run code."""
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path) if path.suffix.lower() == ".safetensors" else unpickled(path)
    except Exception as error:  # torch.load answers damage with nearly any
        raise bad_file(path, f"it cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}") from error


class Inert:
    """Stands for a class that is only named in a file."""


def unpickled(path: Path) -> Any:
    """What was pickled, if nothing of it is code; nearly any exception if not. Tensors are read where they are used,
    if the file is of torch 1.6 or later."""
    import torch

    # What old torch.nn.Modules pickle their parameters in; holds tensors and no code.
    torch.serialization.add_safe_globals([torch.nn.ParameterDict])
    # Published models name them among what their training left.
    for name in ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping"):
        torch.serialization.add_safe_globals([(Inert, f"pytorch_lightning.callbacks.{name}")])
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def bad_file(path: Path, why: str, hint: str | None = None) -> InvalidParams:
    return InvalidParams(
        f"{path.name} cannot be used: {why}.",
        field="prompt",
        hint=hint or "Fetch the file again, if possible as .safetensors, or leave it out of the prompt.",
    )


def header(path: Path) -> dict[str, Any]:
    """What a .safetensors file says of its tensors, by name: dtype, shape, data_offsets; and, as __metadata__, what
    else its maker told, texts by name. Any exception if it is damaged. Reads no tensors and needs no torch."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(min(size, 100_000_000)))
