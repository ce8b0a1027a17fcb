"""Which lines a wildcard stands for: the files in models/wildcards/, and those that are shipped.

animals/cats.txt                one line each; # begins a comment     __animals/cats__
animals/more.yaml, more.json    {"dogs": {"big": ["wolfhound"]}}      __animals/dogs/big__
                                ["frog", "3::toad"]                   __animals/more__
"""

import fnmatch
import functools
import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Lines = dict[str, float]  # each with its weight, which is above 0
SHIPPED = Path(__file__).resolve().parent / "wildcards"
SUFFIXES = (".txt", ".yaml", ".yml", ".json")
MAX_FILES, MAX_BYTES, MAX_LINES, MAX_DEPTH = 20_000, 20_000_000, 1_000_000, 50  # the last three of one file
WEIGHT = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::", re.ASCII)


class Wildcards:
    """What is in the user's models `folder`, read when first asked for. `problems` tells which files are damaged.

    Names are only compared with those of files that were found, so none leads out of the folder."""

    def __init__(self, folder: Path):
        self._folder = folder / "wildcards"
        self.problems: list[str] = []

    def lines(self, name: str) -> Lines:
        """The lines of all files whose name matches, * standing for anything; where none does, of those in subfolders.
        Empty if there is nothing. Not to be changed."""
        names = [name] if name in self._files else fnmatch.filter(self._sorted, name)
        names = names or fnmatch.filter(self._sorted, f"*/{name}")
        found = [self._read(self._files[each]).get(each, {}) for each in names]
        return found[0] if len(found) == 1 else {line: weight for lines in found for line, weight in lines.items()}

    @functools.cached_property
    def _files(self) -> dict[str, tuple[Path, str]]:
        """The file of each name, with the folder it is in. The user's files come last, and win."""
        files = {}
        for root in (SHIPPED, self._folder):
            for path, inside in paths(root):
                names = [f"{inside}{path.stem}"] if path.suffix == ".txt" else self._read((path, inside))
                files |= dict.fromkeys(names, (path, inside))
        return files

    @functools.cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._files)

    def _read(self, file: tuple[Path, str]) -> dict[str, Lines]:
        path, inside = file
        try:
            about = path.stat()
            lines, problem = _read(path, inside, about.st_mtime_ns, about.st_size)
        except OSError as error:
            lines, problem = {}, str(error)
        if problem:
            text = f"models/wildcards/{inside}{path.name} cannot be read: {' '.join(problem.split())[:200]}."
            self.problems += [] if text in self.problems else [text]
        return lines


def paths(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[tuple[Path, str]]:
    """The files below `root` in order, each with its folder as a name begins with it: "animals/". What a link in it
    leads to outside is left out."""
    real, count = root.resolve(), 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(folder).relative_to(root).as_posix() + "/"
        for name in sorted(names):
            path = Path(folder, name)
            within = not path.is_symlink() or path.resolve().is_relative_to(real)
            if path.suffix in suffixes and name[0] != "." and within:
                count += 1
                if count > MAX_FILES:
                    return
                yield path, "" if inside == "./" else inside


@functools.lru_cache(maxsize=1_000)
def _read(path: Path, inside: str, changed_ns: int, size: int) -> tuple[dict[str, Lines], str]:
    """The lines by name, or what is wrong with the file; read again when it has changed. Raises OSError."""
    try:
        if size > MAX_BYTES:
            raise ValueError(f"it has over {MAX_BYTES:,} bytes")
        return _parsed(path, inside), ""
    except (ValueError, RecursionError, ImportError) as error:
        return {}, str(error)


def _parsed(path: Path, inside: str) -> dict[str, Lines]:
    text = path.read_bytes().decode("utf-8-sig", "replace")
    if path.suffix == ".txt":
        lines = (line.strip() for line in text.splitlines())
        return {f"{inside}{path.stem}": {line: 1.0 for line in lines if line and not line.startswith("#")}}
    data = json.loads(text) if path.suffix == ".json" else _yaml(text)
    name = inside[:-1] if isinstance(data, dict) else f"{inside}{path.stem}"
    found: dict[str, Lines] = {}
    for each, line, weight in _walk(data, name, itertools.count(1)):
        if weight > 0:
            found.setdefault(each, {})[line] = weight
    return found


def _yaml(text: str) -> Any:
    import yaml

    loader, depth = getattr(yaml, "CSafeLoader", yaml.SafeLoader), 0
    try:
        for event in yaml.parse(text, loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:  # a few ten thousand would crash the loader
                raise ValueError(f"it is nested over {MAX_DEPTH} deep")
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _walk(data: Any, name: str, seen: Iterator[int]) -> Iterator[tuple[str, str, float]]:
    """Name, line and weight of all lines. In YAML one list can be in many places, so the steps are counted."""
    if next(seen) > MAX_LINES:
        raise ValueError(f"it has over {MAX_LINES:,} entries")
    if isinstance(data, dict) and not {"text", "content"} & data.keys():
        for key, value in data.items():
            yield from _walk(value, f"{name}/{key}".lstrip("/"), seen)
    elif isinstance(data, list):
        for item in data:
            yield from _walk(item, name, seen)
    elif isinstance(data, dict):
        yield name, str(data.get("text") or data.get("content")), _weight(data.get("weight"))
    elif isinstance(data, str) and (found := WEIGHT.match(data)):
        yield name, data[found.end() :], _weight(found[1])
    elif isinstance(data, (str, int, float)) and str(data).strip():
        yield name, str(data), 1.0


def _weight(value: Any) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return 1.0
    return min(weight, 1e9) if math.isfinite(weight) and weight >= 0 else 1.0
