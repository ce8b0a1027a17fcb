"""What the sha256 of files of weights is, which is computed once for each. Light at import."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

Stamps = tuple[tuple[Path, int, int], ...]
KEPT = ".hashes.json"  # in the folder with the models; the dot says that no picture depends on it
LARGE = 32 << 20  # bytes, above which what was computed is kept on the disk
_known: dict[Stamps, str] = {}


def stamped(files: list[Path]) -> Stamps:
    """The files with the time of their last change and their size: what they hold has changed when this has."""
    return tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def short_hash(files: Stamps, models: Path, check: Callable[[], None] = lambda: None) -> str:
    """A1111's short form, the first 10 hex digits of `sha256`."""
    return sha256(files, models, check)[:10]


def sha256(files: Stamps, models: Path, check: Callable[[], None] = lambda: None) -> str:
    """That of the bytes of `stamped` files, one file after the other; `models` is the folder of all models. `check` is
    called again and again meanwhile, and may raise to give up."""
    if found := known(files, models):
        return found
    digest = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                check()
                digest.update(block)
    _known[files] = digest.hexdigest()
    if sum(size for _, _, size in files) > LARGE:
        _keep(files, _known[files], models / KEPT)
    return _known[files]


def known(files: Stamps, models: Path) -> str | None:
    """Their sha256 if it was computed since they were changed."""
    if files not in _known:
        key, stamp = _entry(files)
        kept = _kept(models / KEPT).get(key)
        if isinstance(kept, dict) and kept.get("stamp") == stamp and isinstance(kept.get("sha256"), str):
            _known[files] = kept["sha256"]
    return _known.get(files)


def _keep(files: Stamps, digest: str, path: Path) -> None:
    key, stamp = _entry(files)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        beside.write_text(json.dumps(_kept(path) | {key: {"stamp": stamp, "sha256": digest}}), "utf-8")
        os.replace(beside, path)
    except OSError:  # a folder that cannot be written to: then it is computed again after the next start
        beside.unlink(missing_ok=True)


def _kept(path: Path) -> dict:
    """What is kept on the disk; nothing if that is damaged."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _entry(files: Stamps) -> tuple[str, list[list[int]]]:
    return "\n".join(str(path) for path, _, _ in files), [[changed, size] for _, changed, size in files]
