"""The code that a worker needs on another machine, as one zip file: core/, a plugin, what its environment is of."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

from core.errors import TooLarge
from core.ops import environments
from core.ops.bootstrap import ROOT

LEFT_OUT = {"__pycache__", "tests", "training", "node_modules"}
MOST_BYTES = 500_000_000
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # so that the same files are the same bytes


def pack(plugin: Path, shipped: list[dict[str, Any]]) -> tuple[str, bytes, list[dict[str, Any]]]:
    """(hash, zip file, `shipped` with other paths). In it the plugin is plugins/NAME; so are models that other plugins
    ship. Paths that begin with CODE/ are inside it. Raises TooLarge, or InstallError of the plugin's environment."""
    files = {f"core/{name}": path for name, path in files_of(ROOT / "core").items()}
    files |= {path.name: path for path in ROOT.glob("worker-requirements.*")}
    files |= {f"plugins/{plugin.name}/{name}": path for name, path in files_of(plugin).items()}
    made_from = environments.recipe_of(plugin).requirements.parent
    if made_from not in (plugin, ROOT):  # it shares the environment of another plugin
        shared = [made_from / "plugin.toml", *made_from.glob("*requirements*")]
        files |= {f"plugins/{made_from.name}/{path.name}": path for path in shared if path.is_file()}
    models = []
    for number, entry in enumerate(shipped):
        path = Path(entry["path"])
        if path.is_relative_to(plugin):
            entry = entry | {"path": f"CODE/plugins/{plugin.name}/{path.relative_to(plugin).as_posix()}"}
        elif "name" in entry:  # another plugin's; those of other apps are where they are, or not
            found = {path.name: path} if path.is_file() else files_of(path)
            files |= {f"shipped/{number}/{name}": each for name, each in found.items()}
            entry = entry | {"path": f"CODE/shipped/{number}" + (f"/{path.name}" if path.is_file() else "")}
        models.append(entry)
    size = sum(path.stat().st_size for path in files.values())
    if size > MOST_BYTES:
        text = f"{plugin.name} has {size:,} bytes, and at most {MOST_BYTES:,} are sent to the nodes of a cluster."
        raise TooLarge(text, hint="Put large models into the models folder, on a share that the nodes have, too.")
    return *_zipped(files), models


def files_of(folder: Path) -> dict[str, Path]:
    """By their names in it; without what begins with a dot, tests, and what Python makes."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each not in LEFT_OUT and not each.startswith(".")]
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        found |= {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}
    return found


def _zipped(files: dict[str, Path]) -> tuple[str, bytes]:
    made, hashed = io.BytesIO(), hashlib.sha256()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in sorted(files.items()):
            data = path.read_bytes()
            hashed.update(f"{name} {len(data)} ".encode() + data)
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), data, zipfile.ZIP_DEFLATED)
    return hashed.hexdigest()[:32], made.getvalue()
