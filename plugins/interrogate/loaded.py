"""Which models stay loaded: the one used last of each kind, as long as there is memory."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from core.plugin import Context, InvalidParams

Model = TypeVar("Model")


class Loaded:
    def __init__(self, device: str):
        self._device = device
        self._kept: dict[str, tuple[Any, Any]] = {}

    def get(self, kind: str, name: str, load: Callable[[str, Path, str], Model], ctx: Context) -> Model:
        """The model of that name, by `load(name, path, device)` if it is another one than last time, or was changed."""
        path = ctx.models.path(kind, name)
        key = path, _stamps(path)
        if ctx.low_memory:
            self.clear(but=kind)
        if self._kept.get(kind, (None,))[0] != key:
            self.clear(kind)
            ctx.raise_if_cancelled()
            self._kept[kind] = key, load(name, path, self._device)
        return self._kept[kind][1]

    def clear(self, kind: str | None = None, but: str | None = None) -> None:
        """Forget the model of a kind, or all, `but` the one of a kind."""
        leaving = [each for each in self._kept if each != but and kind in (None, each)]
        for each in leaving:
            del self._kept[each]
        if not leaving:
            return
        gc.collect()
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()]


def bad_model(kind: str, name: str, why: str, hint: str = "") -> InvalidParams:
    return InvalidParams(
        f"models/{kind}/{name} cannot be used: {why}.",
        field="model" if kind == "tagger" else kind,
        hint=hint or "Fetch it again, or choose another one. What can be fetched: python3 server.py plugins models",
    )
