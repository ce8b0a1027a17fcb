"""How two or three models become one: weight by weight, into a new file."""

import json
from typing import Any

import torch
from torch import Tensor

from core.plugin import Context, InvalidParams

from .hashes import sha256, short_hash, stamped
from .model_files import Source, opened
from .options import Merge
from .saving import save

DTYPES = {"float16": torch.float16, "float32": torch.float32}


def merge(params: Merge, ctx: Context) -> dict[str, Any]:
    """Write the merged model into models/checkpoint/, and tell its name and hashes. A few weights are in memory at a
    time. What model A has and B has not stays as it is in A.

    Raises ModelNotFound, InvalidParams for models that do not fit, Conflict if there is a file of that name, or
    Cancelled; then there is no new file."""
    names = [params.model_a, params.model_b] + ([params.model_c] if params.method == "add difference" else [])
    if not names[-1]:
        raise InvalidParams(
            "'add difference' adds what B has more than C, and there is no model_c.",
            field="model_c",
            hint="Choose the model that B was trained from as model_c, or merge by 'weighted sum'.",
        )
    sources = [opened(name, ctx.models.path("checkpoint", name)) for name in names]
    for field, other in zip(("model_b", "model_c"), sources[1:], strict=False):
        if other.architecture != sources[0].architecture:
            raise InvalidParams(
                f"model {other.name!r} is of architecture {other.architecture}, and model {sources[0].name!r} of "
                f"{sources[0].architecture}.",
                field=field,
                hint="Only models of one architecture can be merged.",
            )
    path = ctx.models.folder / "checkpoint" / f"{params.name.removesuffix('.safetensors')}.safetensors"
    total, done = sum(len(sources[0].names(part)) for part in sources[0].parts), 0

    def tensor(part: str, name: str) -> Tensor:
        nonlocal done
        ctx.raise_if_cancelled()
        ctx.progress(done, total, "merge")
        done += 1
        of = [source.tensor(part, name).float() for source in sources if fits(source, sources[0], part, name)]
        if len(of) < len(sources):
            return of[0]
        return added(*of, params.multiplier, name) if len(of) == 3 else summed(*of, params.multiplier, name)

    save(path, sources[0], DTYPES[params.dtype], {"sd_merge_recipe": json.dumps(recipe(params, sources, ctx))}, tensor)
    files = stamped([path])
    return {
        "model": path.name,
        "sha256": sha256(files, ctx.models.folder),
        "model_hash": short_hash(files, ctx.models.folder),
        "architecture": sources[0].architecture,
        "bytes": path.stat().st_size,
    }


def fits(source: Source, first: Source, part: str, name: str) -> bool:
    """Whether a model has a part that the first one has; raises InvalidParams if it has it without this weight."""
    if part not in source.parts:
        return False
    if name not in source.names(part):
        raise misfit(f"model {source.name!r} has no {part} {name}, which model {first.name!r} has")
    return True


def summed(a: Tensor, b: Tensor, multiplier: float, name: str) -> Tensor:
    """A * (1 - multiplier) + B * multiplier, over the channels that both take."""
    return over_common(a, b, name, lambda a: a * (1 - multiplier) + b * multiplier)


def added(a: Tensor, b: Tensor, c: Tensor, multiplier: float, name: str) -> Tensor:
    """A + (B - C) * multiplier, over the channels that all take."""
    if b.shape != c.shape:
        raise misfit(f"{name} is {list(b.shape)} in B and {list(c.shape)} in C")
    return over_common(a, b, name, lambda a: a + (b - c) * multiplier)


def over_common(a: Tensor, b: Tensor, name: str, merged: Any) -> Tensor:
    """As A1111: an inpainting or InstructPix2Pix model A, whose UNet is shown more than the latents, takes from others
    for the latents, which come first, and stays what it is. All other shapes have to be the same."""
    if a.shape == b.shape:
        return merged(a)
    if name != "conv_in.weight" or a.shape[1] <= 4 or b.shape[1] != 4 or a[:, :4].shape != b.shape:
        raise misfit(f"{name} is {list(a.shape)} in A and {list(b.shape)} in B")
    return torch.cat([merged(a[:, :4]), a[:, 4:]], 1)


def recipe(params: Merge, sources: list[Source], ctx: Context) -> dict[str, Any]:
    """What the file says of how it was made, under the names that A1111 has for it."""
    of = dict(zip(("primary", "secondary", "tertiary"), sources, strict=False))
    hashes = {
        f"{which}_model_hash": sha256(stamped(each.files), ctx.models.folder, ctx.raise_if_cancelled)
        for which, each in of.items()
    }
    names = {f"{which}_model_name": each.name for which, each in of.items()}
    made = {"type": "stable-core", "interp_method": params.method, "multiplier": params.multiplier}
    return made | hashes | names | {"save_as_half": params.dtype == "float16", "custom_name": params.name}


def misfit(why: str) -> InvalidParams:
    return InvalidParams(
        f"the models do not fit: {why}.",
        field="model_b",
        hint="Merge models of one architecture and one structure; an inpainting model has to be model_a.",
    )
