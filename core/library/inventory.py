"""Which models there are, by kind, with size and source, and which a plugin says where to fetch."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.jobs import Row
from core.library.catalogue import PluginInfo
from core.library.models import Models

LISTS = {".txt", ".csv", ".yaml"}  # files that are no models, but are chosen from: wildcards, styles


def inventory(folder: Path, plugins: Iterable[PluginInfo]) -> list[Row]:
    """All kinds, by name. Reads folders: for a thread of its own."""
    plugins = list(plugins)
    sources = {(model["kind"], model["name"]): info.name for info in plugins for model in info.models()}
    declared = [model for info in plugins for model in info.manifest.get("models", [])]
    fetchable = [model for model in declared if "url" in model and "path" not in model]
    models = Models(folder, [model for info in plugins for model in info.models()])
    kinds = {model["kind"] for model in declared}
    with contextlib.suppress(OSError):
        kinds |= {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")}
    return [_kind(kind, folder, models, sources, fetchable) for kind in sorted(kinds)]


def _kind(kind: str, folder: Path, models: Models, sources: dict[tuple[str, str], str], fetchable: list[Row]) -> Row:
    found = models.entries(kind)
    files = [about for name, path in found.items() for about in _about(name, path, sources.get((kind, name), "folder"))]
    files += [
        about for name, path in _lists(folder / kind, {*found.values()}) for about in _about(name, path, "folder")
    ]
    wanted = [
        {"id": f"{kind}/{model['name']}", "there": model["name"] in found}
        | {key: model.get(key) for key in ("url", "size_bytes", "licence")}
        for model in fetchable
        if model["kind"] == kind
    ]
    return {"kind": kind, "files": sorted(files, key=lambda each: each["name"].lower()), "fetchable": wanted}


def _about(name: str, path: Path, source: str) -> Iterator[Row]:
    """Of a model that is a folder, all of its files together. Nothing if it goes just now."""
    with contextlib.suppress(OSError):
        inside = [Path(place, each) for place, _, names in os.walk(path) for each in names] if path.is_dir() else [path]
        stats = [each.stat() for each in inside]
        size, modified = sum(each.st_size for each in stats), max((each.st_mtime for each in stats), default=0)
        yield {"name": name, "size_bytes": size, "modified": round(modified, 3), "source": source}


def _lists(root: Path, models: set[Path]) -> Iterator[tuple[str, Path]]:
    for place, folders, names in os.walk(root):
        folders[:] = [each for each in folders if not each.startswith(".") and Path(place, each) not in models]
        for path in (Path(place, each) for each in names if not each.startswith(".")):
            with contextlib.suppress(UnicodeEncodeError):  # a name that is no text can be sent to nobody
                if path.suffix.lower() in LISTS and path.is_file() and str(path).encode():
                    yield path.relative_to(root).as_posix(), path
