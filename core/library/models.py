"""Where model files are: the user's `models/KIND/` folders, what plugins ship, and folders of other apps."""

import contextlib
import difflib
import fnmatch
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.errors import ModelNotFound
from core.ops.bootstrap import size

WEIGHTS = {".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".onnx"}


class Models:
    """Model names are POSIX-style and the same on every system: `checkpoint` `portraits/v2.safetensors`.

    A folder with a model_index.json or config.json is one model. `shipped` is what is elsewhere, each with a `kind` and
    an absolute `path`: the [[models]] tables of all plugins, and whole folders, which have no `name` (apps.py). One
    with `suffixes` says which files in the user's own folder are models of that kind besides weights. Of several
    models of one name, that of the user's own folder counts, then a plugin's, then the first app's.
    `fetchable` is what plugins name to be fetched, each with `kind`, `name`, `size_bytes` and `licence`."""

    def __init__(self, folder: Path, shipped: list[dict[str, Any]], fetchable: Iterable[dict[str, Any]] = ()):
        self.folder, self.shipped, self.fetchable = folder, shipped, fetchable

    def entries(self, kind: str) -> dict[str, Path]:
        """Name to path of all models of one kind, read from disk now: new files need no restart."""
        elsewhere = [entry for entry in self.shipped if entry["kind"] == kind]
        found = {entry["name"]: Path(entry["path"]) for entry in elsewhere if "name" in entry}
        if re.fullmatch(r"\w[\w.-]*", kind):  # not a way out of the folder
            suffixes = WEIGHTS.union(*(entry.get("suffixes", ()) for entry in elsewhere))
            self._scan(self.folder / kind, self.folder / kind, found, set(), suffixes)
        for entry in (entry for entry in elsewhere if "name" not in entry):
            theirs: dict[str, Path] = {}
            self._scan(Path(entry["path"]), Path(entry["path"]), theirs, set(), WEIGHTS)
            found = {name: path for name, path in theirs.items() if _fits(path.name, entry)} | found
        return found

    def _scan(self, folder: Path, root: Path, found: dict[str, Path], seen: set[Path], suffixes: set[str]) -> None:
        """Links are followed, to a folder of another app for example; `seen` are the folders they led to."""
        if (real := folder.resolve()) in seen:
            return
        seen.add(real)
        for path in sorted(folder.glob("[!.]*")) if folder.is_dir() else []:  # what is being fetched has a dot
            # Only real files: reading a pipe or a device would never end.
            if (path.suffix.lower() in suffixes and os.path.isfile(path)) or any(
                (path / f"{stem}.json").is_file() for stem in ("model_index", "config")
            ):
                with contextlib.suppress(UnicodeEncodeError):  # a name that is no text can be sent to nobody
                    str(path).encode()
                    found[path.relative_to(root).as_posix()] = path
            elif path.is_dir():
                self._scan(path, root, found, seen, suffixes)

    def path(self, kind: str, name: str) -> Path:
        """The file or folder of a model. Raises ModelNotFound, which says how to fetch it, or names the nearest."""
        found = self.entries(kind)
        if name in found:
            return found[name]
        offers = {model["name"]: model for model in self.fetchable if model["kind"] == kind}
        place = self.folder / kind
        if name in offers:
            hint = f"Or put it at {place / name}; it is found without a restart."
            raise ModelNotFound(missing(offers[name]), hint=hint)
        near = difflib.get_close_matches(name, found | offers, n=3, cutoff=0.4) or sorted(found)[:5] or [*offers][:5]
        text = f"there is no {kind} model {name!r}." + (f" Did you mean {', '.join(near)}?" if near else "")
        raise ModelNotFound(
            " ".join([text, *(missing(offers[each]) for each in near if each not in found)]),
            hint=f"Put model files into {place}; they are found without a restart. "
            "What plugins name to be fetched: python3 server.py plugins models",
        )

    def all_there(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Raise one ModelNotFound of all those models, each a kind and a name, that are not there."""
        lacking = []
        for kind, name in wanted:
            try:
                self.path(kind, name)
            except ModelNotFound as error:
                lacking.append(error)
        if len(lacking) == 1:
            raise lacking[0]
        if lacking:
            hint = f"Or put them into {self.folder}, each below its kind; they are found without a restart."
            raise ModelNotFound("; ".join(map(str, lacking)), hint=hint)


def missing(model: dict[str, Any]) -> str:
    """What a person has to know of a model that is to be fetched."""
    large = size(model["size_bytes"]) if model["size_bytes"] else "size not told"
    command = f"python3 server.py plugins fetch {shlex.quote(model['kind'] + '/' + model['name'])}"
    about = f"{large}, licence {model['licence'] or 'not told'}"
    return f"the {model['kind']} model {model['name']!r} is not here yet: {about}. To fetch it: {command}"


def _fits(name: str, entry: dict[str, Any]) -> bool:
    """Whether a file is of the kind that the folder is looked into for."""
    name = name.lower()
    return fnmatch.fnmatchcase(name, entry.get("only", "*")) and not fnmatch.fnmatchcase(name, entry.get("but", ""))
