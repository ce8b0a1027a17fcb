"""How a file of weights is read without running code that it may hold. Light at import."""

import contextlib
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import InvalidParams

FILES = (".safetensors", ".bin")
MOST_SHARED = 4  # times as large as a pickled file, all tensors in it may be together
MORE_BYTES, MORE_TENSORS = 1_000_000_000, 5_000  # than in a file, a network may make for itself while it is built


def read(path: Path, field: str = "prompt") -> Any:
    """What the file holds, on the CPU: of .safetensors a dict of tensors, of others what was pickled, if it is nothing
    but tensors, numbers, texts and containers. Raises InvalidParams if it cannot be read or would run code; `field` is
    the parameter that names the file."""
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path) if path.suffix.lower() == ".safetensors" else unpickled(path)
    except Exception as error:  # torch.load answers damage with nearly any
        raise bad_file(path, f"it cannot be read: {damage(path, error)}", field=field) from error


def pickled_in(folder: Path, field: str) -> Any:
    """What is pickled in a folder in transformers' layout, to be given to `from_pretrained(None, state_dict=...)`; None
    where there are .safetensors, which the library may read. Raises InvalidParams as `read` does."""
    path = folder / "pytorch_model.bin"
    return read(path, field) if path.is_file() and not [*folder.glob("*.safetensors")] else None


def damage(path: Path, error: Exception) -> str:
    """What is wrong with a file that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return first_line(error)
    if not start:
        return "it is empty"
    if start.lstrip()[:1] == b"<":
        return "it is a web page, not weights; fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "it only says where Git LFS has the file; fetch it with 'git lfs pull'"
    if code := re.search(r"GLOBAL (\S+)", str(error)):  # of torch.load(weights_only=True)
        return f"reading it would run code ({code[1]}); take it as .safetensors"
    if re.search("Weights only load failed|pickle protocol", str(error)):  # and then advice to read it all the same
        return "it is damaged, or holds other things than weights; take it as .safetensors"
    if re.search(r"deserializing header|PytorchStreamReader|Ran out of input", str(error)):
        return f"it is damaged or not whole ({first_line(error).split('. ')[0]}); fetch it again"
    return first_line(error)


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


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
    if zipped := zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise ValueError("it is compressed, which files of weights are not")  # and would be read as it is
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    # Tensors may repeat one number or share their numbers: what is small here would then fill the memory when used.
    size, most = sum(map(_bytes, _tensors(found))), MOST_SHARED * path.stat().st_size
    if size > most:
        raise ValueError(f"its tensors are {size:,} bytes large, and the file has {path.stat().st_size:,}")
    return found


@contextlib.contextmanager
def bounded(found: Any) -> Iterator[None]:
    """While a network is built whose size is told by names and shapes in `found`, tensors or a folder: raises
    ValueError when it grows far beyond what is there. A few bytes can name a billion layers, or a layer of a
    terabyte."""
    from torch.utils._python_dispatch import TorchDispatchMode

    if isinstance(found, Path):
        numbers, tensors = sum(each.stat().st_size for each in found.glob("*") if each.suffix in FILES) // 2, 250
        there = f"its files hold {numbers:,} numbers at most"
    else:
        sizes = [each.numel() for each in _tensors(found)]
        numbers, tensors = sum(sizes), len(sizes)
        there = f"they are {tensors:,} with {numbers:,} numbers"
    bytes_left, tensors_left = 4 * 4 * numbers + MORE_BYTES, 20 * tensors + MORE_TENSORS

    class Bounded(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal bytes_left, tensors_left
            if args and isinstance(args[0], list | tuple) and all(isinstance(side, int) for side in args[0]):  # a shape
                bytes_left -= 4 * math.prod(args[0])
                tensors_left -= 1
                if min(bytes_left, tensors_left) < 0:
                    raise ValueError(f"{there}, and name far more")
            return func(*args, **(kwargs or {}))

    with Bounded():
        yield


def _tensors(found: Any) -> Iterator[Any]:
    """All tensors in containers in containers."""
    import torch

    waiting, seen = [found], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, Mapping | list | tuple | set) and id(each) not in seen:
            seen.add(id(each))  # it may be in itself
            waiting += each.values() if isinstance(each, Mapping) else each


def _bytes(tensor: Any) -> int:
    if tensor.is_meta or tensor.is_quantized or str(tensor.layout) != "torch.strided":
        raise ValueError("it holds tensors that are not plain numbers")
    return tensor.numel() * tensor.element_size()


def bad_file(path: Path, why: str, hint: str | None = None, field: str = "prompt") -> InvalidParams:
    instead = "leave it out of the prompt" if field == "prompt" else "choose another"
    hint = hint or f"Fetch the file again, if possible as .safetensors, or {instead}."
    return InvalidParams(f"{path.name} cannot be used: {why}.", field=field, hint=hint)


def header(path: Path) -> dict[str, Any]:
    """What a .safetensors file says of its tensors, by name: dtype, shape, data_offsets; and, as __metadata__, what
    else its maker told, texts by name. Any exception if it is damaged. Reads no tensors and needs no torch."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(min(size, 100_000_000)))
