"""Results where people look for them: copies of pictures, sounds and films under `outputs/`, never hard links.

Pictures can be JPEGs or WebPs there (`export_format`); what is stored stays as it is."""

import contextlib
import filecmp
import itertools
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from core.artifacts import Blobs
from core.errors import CoreError, Internal, InvalidParams
from core.jobs import Row, Store, Transaction, wire
from core.library import media
from core.library.fair import fairly
from core.library.naming import called, file_path
from core.ops.config import Config
from core.types import KINDS

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)
EXPORTED = {"image", "mask", "audio", "video"}
AT_ONCE = 20  # files made by one call of a thread
FICLONE = 0x40049409  # linux/fs.h: share the bytes until one of the two files is changed
ROOT = """WITH RECURSIVE up(id, depth) AS (
    SELECT ?, 0 UNION SELECT parent, depth + 1 FROM up JOIN links ON child = up.id WHERE depth < 100 LIMIT 1000
) SELECT artifacts.id, artifacts.name, jobs.name AS job_name FROM up JOIN artifacts ON artifacts.id = up.id
LEFT JOIN jobs ON jobs.id = artifacts.job ORDER BY depth DESC, artifacts.id LIMIT 1"""

# A result that a program has named, or that it has handed on under that name.
NAMED = """SELECT path FROM artifacts WHERE id = ?1 AND path IS NOT NULL UNION ALL
SELECT path FROM links JOIN artifacts ON artifacts.id = parent WHERE child = ?1 AND sha256 = ?2 AND path IS NOT NULL
LIMIT 1"""

EQUAL = "SELECT 1 FROM artifacts WHERE path = ? AND sha256 = ?"


class Exports:
    def __init__(self, config: Config, store: Store, blobs: Blobs, run_blocking: Callable[..., Any]):
        self._config, self._store, self._blobs, self._run_blocking = config, store, blobs, run_blocking
        self._files = threading.Lock()  # held by whoever makes files, so that no result is exported while it is named
        self._waiting: deque[tuple[Row, Row, bool]] = deque()
        self._part = config.data / "exported.part"  # what a file is until it is whole

    def export(self, job: Row, artifacts: list[Row]) -> None:
        """Copy a job's artifacts to where `filename_pattern` says, but for those that a program has named, which are
        where it said."""
        wanted = [artifact for artifact in artifacts if artifact["kind"] in EXPORTED]
        self._waiting += [(job, artifact, len(artifacts) > 1) for artifact in wanted]
        for _ in wanted:
            with self._files:  # which others may have waited for: their files are made with these
                some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                some = [each for each in fairly(some) if not self._named(each[1])]
                if some:
                    self._run_blocking(
                        _each, [self._copying(each[1], _numbered(self._pattern(*each))) for each in some]
                    )

    def _named(self, artifact: Row) -> bool:
        return bool(self._store.one(NAMED, artifact["id"], artifact["sha256"]))

    def name(self, artifact: Row, wanted: str) -> str:
        """Call an artifact "folder/stem": its file lies there, in the outputs folder, and no more where it was. Returns
        its path there, which has a number if there is another of that name."""
        wanted, root = called(wanted), self._config.outputs
        with self._files:
            artifact = self._store.one("SELECT * FROM artifacts WHERE id = ?", artifact["id"]) or artifact
            stem = (artifact["path"] or "").rpartition(".")[0]
            if wanted in (stem, re.sub(r" \(\d+\)$", "", stem)):
                return artifact["path"]
            others = self._store.all(
                "SELECT path FROM artifacts WHERE path >= ? AND path < ?", wanted, wanted + "\uffff"
            )
            taken = {other["path"].rpartition(".")[0] for other in others}
            names = (f"{wanted} ({number})" if number > 1 else wanted for number in itertools.count(1))
            suffix = KINDS[artifact["kind"]].suffix
            if artifact["kind"] == "text" and self._store.one(EQUAL, f"{wanted}{suffix}", artifact["sha256"]):
                return f"{wanted}{suffix}"  # word for word: there need be no second file
            targets = (root / f"{name}{suffix}" for name in names if name not in taken)
            try:
                file = self._run_blocking(self._copying(artifact, targets))
            except (FileExistsError, NotADirectoryError) as error:
                hint = "Choose another folder."
                raise InvalidParams(f"{wanted!r}: one of these folders is a file already.", hint=hint) from error
            except OSError as error:
                text = f"{wanted!r} cannot be written into the outputs folder: {error.strerror}."
                raise Internal(text, hint="Once it can, retry with extend goes on from here.") from error
            path = file.relative_to(root).as_posix()

            def change(tx: Transaction) -> None:
                row = artifact | {"name": file.stem, "path": path}
                tx.all("UPDATE artifacts SET name = ?, path = ? WHERE id = ?", row["name"], path, row["id"])
                tx.event("artifact", wire(row), row)

            # Whoever is killed before all of this is done names it again, and finds what is there already.
            self._run_blocking(_remove_copy, self._earlier(artifact), file, root)
            self._store.write(change)
            return path

    def _earlier(self, artifact: Row) -> Path | None:
        """Where its file was before it was named."""
        if artifact["path"]:
            return self._config.outputs / artifact["path"]
        job = artifact["job"] and self._store.one("SELECT * FROM jobs WHERE id = ?", artifact["job"])
        if not job or not job["finished"] or artifact["kind"] not in EXPORTED:
            return None
        target = self._pattern(job, artifact, len(self._store.outputs(job["id"])) > 1)
        return target.with_suffix(media.SUFFIXES.get(self._format(artifact), target.suffix))

    def _format(self, artifact: Row) -> str:
        return self._config.export_format if artifact["kind"] == "image" else "png"

    def _pattern(self, job: Row, artifact: Row, several: bool) -> Path:
        name = file_path(self._config.filename_pattern, self._values(job, artifact, several))
        return self._config.outputs.joinpath(*f"{name}{KINDS[artifact['kind']].suffix}".split("/"))

    def _copying(self, artifact: Row, targets: Iterable[Path]) -> Callable[[], Path]:
        source = self._blobs.path(artifact["sha256"])
        return lambda: _export(source, targets, self._part, self._format(artifact), self._config.export_quality)

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


def _each(copying: list[Callable[[], Path]]) -> None:
    for copy_one in copying:
        try:
            copy_one()
        except Exception:  # the disk is full, say; what is stored is there all the same
            log.exception("a result could not be copied to the outputs folder")


def _export(source: Path, targets: Iterable[Path], part: Path, format: str, quality: int) -> Path:
    if format != "png":
        with contextlib.suppress(CoreError), tempfile.TemporaryDirectory() as folder:  # it stays as it is, then
            converted = Path(folder) / "converted"
            converted.write_bytes(media.convert(source.read_bytes(), format, quality))
            return copy(converted, (target.with_suffix(media.SUFFIXES[format]) for target in targets), part)
    return copy(source, targets, part)


def _numbered(target: Path) -> Iterator[Path]:
    yield target
    for number in itertools.count(2):
        yield target.with_name(f"{target.stem}-{number}{target.suffix}")


def copy(source: Path, targets: Iterable[Path], part: Path) -> Path:
    """A reflink where the file system can, else a copy; returns the file: the first of `targets` that is free, or is
    the same already. None is ever overwritten, or there in part: until it is whole, it is `part`."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)  # not written to: it may be a second name of a file that is whole
    try:
        with source.open("rb") as blob, part.open("xb") as file:
            _fill(blob, file)
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _rename(part, target)
                return target
            except FileExistsError:
                if _equal(source, target):
                    return target
    finally:
        part.unlink(missing_ok=True)
    raise AssertionError("there is always one more number")


def _rename(part: Path, target: Path) -> None:
    """Raises FileExistsError if there is a file of that name."""
    try:
        os.link(part, target)  # refuses what a rename would overwrite
    except OSError as error:
        if target.exists():
            raise FileExistsError(f"{target} exists") from error
        near = target.with_name(f".{target.name}.part")  # it is on another disk, or on one without links
        try:
            shutil.copyfile(part, near)
            near.rename(target)
        finally:
            near.unlink(missing_ok=True)


def _remove_copy(earlier: Path | None, file: Path, root: Path) -> None:
    """And the folders that are empty then."""
    if not earlier or earlier == file:
        return
    if _equal(earlier, file):
        earlier.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for folder in earlier.parents:
            if root not in folder.parents:
                break
            folder.rmdir()


def _equal(one: Path, other: Path) -> bool:
    """Whether both are there and hold the same; one that is being made may be taken away meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)
    return False


def _fill(blob: Any, file: Any) -> None:
    with contextlib.suppress(OSError):
        if fcntl:
            fcntl.ioctl(file.fileno(), FICLONE, blob.fileno())
            return
    shutil.copyfileobj(blob, file, 1 << 20)
