"""Results where people look for them: copies of pictures, sounds and films under `outputs/`, never hard links.

Pictures can be JPEGs or WebPs there (`export_format`); what is stored stays as it is."""

import contextlib
import filecmp
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.artifacts import Blobs
from core.errors import CoreError
from core.jobs import Row, Store
from core.library import media
from core.library.naming import file_path
from core.ops.config import Config
from core.types import KINDS

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

EXPORTED = {"image", "mask", "audio", "video"}
FICLONE = 0x40049409  # linux/fs.h: share the bytes until one of the two files is changed
ROOT = """WITH RECURSIVE up(id, depth) AS (
    SELECT ?, 0 UNION SELECT parent, depth + 1 FROM up JOIN links ON child = up.id WHERE depth < 100 LIMIT 1000
) SELECT artifacts.id, artifacts.name, jobs.name AS job_name FROM up JOIN artifacts ON artifacts.id = up.id
LEFT JOIN jobs ON jobs.id = artifacts.job ORDER BY depth DESC, artifacts.id LIMIT 1"""


class Exports:
    def __init__(self, config: Config, store: Store, blobs: Blobs, run_blocking: Callable[..., Any]):
        self._config, self._store, self._blobs, self._run_blocking = config, store, blobs, run_blocking

    def export(self, job: Row, artifacts: list[Row]) -> None:
        """Copy a job's artifacts to where `filename_pattern` says."""
        wanted = [artifact for artifact in artifacts if artifact["kind"] in EXPORTED]
        for artifact in wanted:
            values = self._values(job, artifact, len(artifacts) > 1)
            name = file_path(self._config.filename_pattern, values) + KINDS[artifact["kind"]].suffix
            target = self._config.outputs.joinpath(*name.split("/"))
            format = self._config.export_format if artifact["kind"] == "image" else "png"
            self._run_blocking(
                _export, self._blobs.path(artifact["sha256"]), target, format, self._config.export_quality
            )

    def _values(self, job: Row, artifact: Row, several: bool) -> Row:
        plugin, name = job["name"].split(".")
        finished = time.localtime(job["finished"])
        values = {key: artifact["facts"].get(key, job["params"].get(key)) for key in ("seed", "width", "height")}
        values |= {"date": time.strftime("%Y-%m-%d", finished), "time": time.strftime("%H%M%S", finished)}
        values |= {"plugin": plugin, "job": name, "owner": job["owner"], "index": artifact["idx"]}
        values["prompt"] = str(job["params"].get("prompt", ""))[:40]
        values["model"] = str(job["params"].get("model", "")).rsplit("/", 1)[-1]
        values["id"] = job["id"][-6:] + (f"-{artifact['idx']}" if several else "")
        if "{session}" in self._config.filename_pattern:
            sql = "SELECT name FROM sessions WHERE owner = ? AND id = ?"
            values["session"] = (self._store.one(sql, job["owner"], job["session"]) or {"name": job["session"]})["name"]
        if "{lineage}" in self._config.filename_pattern:
            values["lineage"] = self._lineage(artifact)
        return values

    def _lineage(self, artifact: Row) -> str:
        """The name of the first ancestor: of its file if it was uploaded, else of its job, with the end of its id."""
        root = self._store.one(ROOT, artifact["id"]) or {"id": artifact["id"], "name": None, "job_name": None}
        if root["name"]:
            return Path(root["name"]).stem
        return f"{(root['job_name'] or 'upload').split('.')[-1]}-{root['id'].split('.')[0][-6:]}"


def _export(source: Path, target: Path, format: str, quality: int) -> None:
    if format != "png":
        with contextlib.suppress(CoreError), tempfile.TemporaryDirectory() as folder:  # it stays as it is, then
            converted = Path(folder) / target.name
            converted.write_bytes(media.convert(source.read_bytes(), format, quality))
            copy(converted, target.with_suffix(media.SUFFIXES[format]))
            return
    copy(source, target)


def copy(source: Path, target: Path) -> Path:
    """A reflink where the file system can, else a copy; returns the file. One of that name is never overwritten: it is
    kept if it is the same, else a number is added."""
    target.parent.mkdir(parents=True, exist_ok=True)
    first = target
    for number in itertools.count(2):
        try:
            with source.open("rb") as blob, target.open("xb") as file:
                try:
                    _fill(blob, file)
                except BaseException:
                    file.close()
                    target.unlink(missing_ok=True)
                    raise
            return target
        except FileExistsError:
            if target.is_file() and filecmp.cmp(source, target, shallow=False):
                return target
        target = first.with_name(f"{first.stem}-{number}{first.suffix}")


def _fill(blob: Any, file: Any) -> None:
    with contextlib.suppress(OSError):
        if fcntl:
            fcntl.ioctl(file.fileno(), FICLONE, blob.fileno())
            return
    shutil.copyfileobj(blob, file, 1 << 20)
