"""Sandboxes for the processes of plugins: whether there can be one here, and the command that runs something in one.

bubblewrap makes them; what is inside and what is not, core/ops/jail.py says."""

import functools
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.library.catalogue import PluginInfo
from core.ops import jail

DOOR = "/run/stable-core.sock"  # where the server is, inside
WRITTEN = ".sandboxes"  # in the folder of models
MISSING = "bubblewrap is not installed; on Debian and Ubuntu: apt-get install bubblewrap"


@functools.cache
def problem() -> str | None:
    """Why there can be no sandbox on this machine, None if there can. It is tried once."""
    if sys.platform != "linux":
        return "bubblewrap, which makes it, is for Linux"
    if not shutil.which("bwrap"):
        return MISSING
    words = [os.path.realpath(sys.executable), "-I", "-S", "-c", ""]
    try:
        tried = subprocess.run(command(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not work here: {error}"
    said = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
    return f"bubblewrap does not work here: {said[0][:300]}" if tried.returncode else None


def command(
    words: list[str], read: Iterable[Path | str] = (), models: Iterable[Path | str] = (), write: Iterable[Path] = (),
    at: dict[str, str] | None = None, device: str = "cpu", file_bytes: int | None = None,
) -> list[str]:  # fmt: skip
    """`words`, run in a sandbox. What is there sees core/, the folders and files of `read`, those of `models` with what
    links in them lead to, and `at`, {path inside: path outside}; it can change what is in `write`, but write no file of
    more than `file_bytes`."""
    read, models, write = ([os.path.abspath(path) for path in paths] for paths in (read, models, write))
    strange = [str(folder) for path in models for folder in written(Path(path))]
    spec = {
        "words": words, "read": read, "models": models, "write": write, "at": at or {}, "strange": strange,
        "card": device.startswith(("cuda", "xpu")), "file_bytes": file_bytes,
    }  # fmt: skip
    return [sys.executable, "-I", "-S", jail.__file__, json.dumps(spec)]


def socket_of(data: Path) -> Path:
    """Where the server listens for those inside; core/rest/door.py answers."""
    return data / "workers.sock"


def written(models: Path) -> list[Path]:
    """The folders of models that a plugin in a sandbox could ever write to. Links in them lead nobody anywhere."""
    try:
        return [models / kind for kind in (models / WRITTEN).read_text("utf-8").split()]
    except OSError:
        return []


def note_written(models: Path, kinds: list[str]) -> None:
    """It stays noted when the plugin is another one by then, or gone: what it has left there is not."""
    known = {folder.name for folder in written(models)}
    if not known.issuperset(kinds):
        models.mkdir(parents=True, exist_ok=True)
        new = models / f"{WRITTEN}.{uuid.uuid4().hex}"
        new.write_text("\n".join(sorted(known.union(kinds))), "utf-8")
        new.replace(models / WRITTEN)


def about(data: Path, plugin: PluginInfo) -> dict[str, Any] | None:
    """What `of_worker` has to know of a plugin that is to be in a sandbox."""
    writes = plugin.manifest.get("writes", [])
    return {"socket": str(socket_of(data)), "writes": writes} if plugin.sandbox else None


def of_worker(python: Path, module: str, settings: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The command of a worker in a sandbox, and what it is told instead of `settings`."""
    sandbox = settings["sandbox"]
    write = [Path(settings["models"], kind) for kind in sandbox["writes"]]
    for folder in write:
        folder.mkdir(parents=True, exist_ok=True)
    models = [settings["models"], *(each["path"] for each in settings["shipped_models"])]
    words, read = [str(python), "-m", module], [python.parents[1], settings["folder"]]
    note_written(Path(settings["models"]), sandbox["writes"])
    made = command(words, read, models, write, {DOOR: sandbox["socket"]}, settings["device"])
    return made, settings | {"scratch": "/tmp/scratch", "blobs": "/tmp/blobs", "door": DOOR}
