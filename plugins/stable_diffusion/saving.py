"""How a model is written: as one file in the original layout, which is there when all of it is."""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from core.errors import Conflict

from . import original
from .model_files import CONFIG, Source, clip_vocabulary
from .original import UNTOLD


def save(
    path: Path,
    source: Source,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
    tensor: Callable[[str, str], torch.Tensor] | None = None,
) -> None:
    """Write a model as one .safetensors file in the original layout, tensor by tensor. `tensor(part, name)` gives each
    weight by its name in the module, by default the source's own.

    The file is there when all of it is. Raises Conflict if one is there already."""
    tensor = tensor or source.tensor
    made_of: dict[str, tuple[str, list[str]]] = {}  # by the name in the file: the part, and ours that go into it
    header: dict[str, Any] = {"__metadata__": {**metadata, CONFIG: json.dumps(_told(source))}}
    end = 0
    for part in source.parts:
        prefix, kind = original.PLACES[source.architecture][part]
        empty = source.empty(part).state_dict()
        for ours, theirs in original.names(part, empty, kind).items():
            made_of.setdefault(prefix + theirs, (part, []))[1].append(ours)
        for name in [name for name, (of, _) in made_of.items() if of == part]:
            shape = original.put(name, {ours: empty[ours] for ours in made_of[name][1]}).shape
            start, end = end, end + shape.numel() * dtype.itemsize
            kinds = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
            header[name] = {"dtype": kinds[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    with created(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, (part, ours) in made_of.items():
            whole = original.put(name, {each: tensor(part, each) for each in ours})
            file.write(whole.to(dtype).contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _told(source: Source) -> dict[str, Any]:
    """What is written under CONFIG: what shapes do not tell, and tokenizers if they are not CLIP's."""
    own = {}
    for part in source.parts:
        tokenizer = source.tokenizer(part) if part.startswith("text_encoder") else None
        if tokenizer and len(tokenizer) != len(clip_vocabulary("")["vocab"]):
            words = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
            ends = {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
            found = {"vocab": words["vocab"], "merges": words["merges"]} | ends
            own[part.replace("text_encoder", "tokenizer")] = found
    configs = {"scheduler": source.configs["scheduler"]}
    for part in source.parts:
        config = source.configs[part]
        configs[part] = {key: config[key] for key in UNTOLD[part] if key in config}
    return configs | own


@contextlib.contextmanager
def created(path: Path) -> Iterator[BinaryIO]:
    """A new file to write into, which is at `path` only when all is written; never instead of another.

    Raises Conflict if there is one. What a process that was killed has left has the ending .unfinished; it is deleted
    when the next file is written, if nobody has written to it for an hour."""
    if path.exists():
        raise taken_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".*.unfinished"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink()
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)  # in contrast to a rename, this fails if there is one
        except FileExistsError as error:
            raise taken_name(path) from error
        except OSError:  # the file system has no links
            if path.exists():
                raise taken_name(path) from None
            unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def taken_name(path: Path) -> Conflict:
    return Conflict(f"there is {path} already, and it stays as it is.", field="name", hint="Choose another name.")
