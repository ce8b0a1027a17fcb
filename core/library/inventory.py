"""Which models there are, by kind, with size and source, and which can be fetched."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from core.jobs import Row
from core.library.catalogue import Catalogue
from core.library.declared import DeclaredModel, fetchable
from core.library.models import Models

LISTS = {".txt", ".csv", ".yaml"}  # files that are no models, but are chosen from: wildcards, styles


def inventory(folder: Path, catalogue: Catalogue) -> list[Row]:
    """All kinds, by name. Reads folders: for a thread of its own."""
    plugins, models = list(catalogue.plugins.values()), Models(folder, catalogue.shipped_models())
    wanted = _wanted(catalogue)
    kinds = {model.kind for _, model in wanted} | {model["kind"] for model in models.shipped if "name" in model}
    with contextlib.suppress(OSError):
        kinds |= {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")}
    kinds |= {each["kind"] for each in catalogue.extra_models if os.path.isdir(each["path"])}
    shipped = {Path(model["path"]): info.name for info in plugins for model in info.models()}
    return [_kind(kind, models, shipped, wanted, catalogue) for kind in sorted(kinds)]


def of_kind(folder: Path, catalogue: Catalogue, kind: str) -> tuple[list[str], list[Row]]:
    """The names of all models of one kind, and what can be fetched and is not there."""
    found = Models(folder, catalogue.shipped_models()).entries(kind)
    offers = [_offer(plugin, each, found, folder, catalogue) for plugin, each in _wanted(catalogue, kind)]
    return [*found], [offer for offer in offers if not offer["there"]]


def _wanted(catalogue: Catalogue, kind: str | None = None) -> list[tuple[str, DeclaredModel]]:
    """What plugins name to be fetched: all, or of one kind."""
    named = [(info.name, model) for info in catalogue.plugins.values() for model in fetchable(info.manifest)]
    return [(plugin, model) for plugin, model in named if kind in (None, model.kind)]


def _kind(
    kind: str, models: Models, shipped: dict[Path, str], wanted: list[tuple[str, DeclaredModel]], catalogue: Catalogue
) -> Row:
    def source(path: Path) -> str:
        if path in shipped or path.is_relative_to(models.folder):
            return shipped.get(path, "folder")
        return next((each["source"] for each in catalogue.extra_models if path.is_relative_to(each["path"])), "folder")

    found = models.entries(kind)
    lists = dict(_lists(models.folder / kind, {*found.values()}))
    files = [about for name, path in (found | lists).items() for about in _about(name, path, source(path))]
    offers = [_offer(plugin, each, found, models.folder, catalogue) for plugin, each in wanted if each.kind == kind]
    return {"kind": kind, "files": sorted(files, key=lambda each: each["name"].lower()), "fetchable": offers}


def _offer(plugin: str, model: DeclaredModel, found: dict[str, Path], folder: Path, catalogue: Catalogue) -> Row:
    target = folder / model.id
    part = [*_about("", target.with_name(f".{target.name}.part"), "")]
    return {
        "id": model.id, "plugin": plugin, "url": model.address, "repo": model.repo, "size_bytes": model.size_bytes,
        "licence": model.licence, "sha256": model.sha256, "there": model.name in found or target.exists(),
        "part_bytes": part[0]["size_bytes"] if part else 0,
        "fetch": catalogue.fetches.get(model.id),
    }  # fmt: skip


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
