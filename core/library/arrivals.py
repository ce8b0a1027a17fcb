"""Notices that model files have come or gone, and tells everybody: the event `models`."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.jobs import Store
from core.library.catalogue import Catalogue

SETTLED_SECONDS = 2  # a folder that changed later may change again without another time


class Arrivals:
    """`look` is called every few seconds. Only folders whose time has changed are read."""

    def __init__(self, folder: Path, store: Store, catalogue: Catalogue, run_blocking: Callable[..., Any]):
        self._folder, self._store, self._catalogue, self._run_blocking = folder, store, catalogue, run_blocking
        self._read: dict[str, tuple[int, list[str], list[str]]] = {}  # by folder: its time, its names, its folders
        self._known: dict[str, set[str]] | None = None  # all names, by kind

    def look(self) -> None:
        found, before = self._run_blocking(self._kinds), self._known
        self._known = found
        if before is None or before == found:
            return
        kinds = sorted(kind for kind in found.keys() | before.keys() if found.get(kind) != before.get(kind))
        self._store.write(lambda tx: tx.event("models", {"kinds": kinds}, {}))
        self._catalogue.renew()

    def _kinds(self) -> dict[str, set[str]]:
        _, kinds = self._inside(str(self._folder))
        found = {os.path.basename(kind): {*self._names(kind, set())} for kind in kinds}
        for extra in self._catalogue.extra_models:
            found[extra["kind"]] = found.get(extra["kind"], set()) | {*self._names(extra["path"], set())}
        return found

    def _names(self, folder: str, seen: set[str]) -> Iterator[str]:
        if (real := os.path.realpath(folder)) in seen:  # links may lead in a circle
            return
        seen.add(real)
        names, folders = self._inside(folder)
        yield from (os.path.join(folder, name) for name in names)
        for each in folders:
            yield from self._names(each, seen)

    def _inside(self, folder: str) -> tuple[list[str], list[str]]:
        """What is in a folder, and the folders among it; names that begin with a dot do not count."""
        try:
            changed = os.stat(folder).st_mtime_ns
            if folder not in self._read or self._read[folder][0] != changed:
                with os.scandir(folder) as found:
                    entries = [entry for entry in found if not entry.name.startswith(".")]
                inside = [entry.name for entry in entries], [entry.path for entry in entries if entry.is_dir()]
                settled = changed < (time.time() - SETTLED_SECONDS) * 1e9
                self._read[folder] = (changed if settled else 0, *inside)
            return self._read[folder][1:]
        except OSError:  # it goes just now, or is not for us to read
            self._read.pop(folder, None)
            return [], []
