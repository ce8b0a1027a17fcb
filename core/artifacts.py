"""Where results and uploads live: blobs, files named by the sha256 of their content. Server and workers share it."""

import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import TooLarge
from core.library.fair import Pause


class Blobs:
    """A folder of immutable files. Writing is atomic: a blob is there whole or not at all.

    With `fsync` a blob is on the disk before it counts as written."""

    def __init__(self, folder: Path, fsync: bool = False):
        self._folder, self._fsync, self._incoming = folder, fsync, folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        return self.path(sha256).read_bytes()

    def size(self, sha256: str) -> int:
        return self.path(sha256).stat().st_size

    def write(self, data: bytes) -> str:
        """Store `data`; returns its sha256."""
        return self.receive(io.BytesIO(data), len(data), lambda function, *args: function(*args))[0]

    def receive(self, stream: BinaryIO, limit: int, run: Callable[..., Any]) -> tuple[str, int]:
        """Store all of `stream`, at most `limit` bytes; returns its sha256 and size. Raises TooLarge.

        `run(function, *args)` is called for what blocks for long."""
        digest, size, incoming, pause = hashlib.sha256(), 0, self._incoming / uuid.uuid4().hex, Pause()
        try:
            with incoming.open("wb") as file:
                while chunk := stream.read(1 << 18):
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(f"the upload is over the limit of {limit:,} bytes (max_upload_bytes).")
                    digest.update(chunk)
                    file.write(chunk)
                    pause()
                run(self._settle, file, self.path(digest.hexdigest()))
        finally:
            incoming.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def _settle(self, file: BinaryIO, target: Path) -> None:
        file.flush()
        if self._fsync:
            os.fsync(file.fileno())
        file.close()
        target.parent.mkdir(exist_ok=True)
        try:  # Windows refuses to replace a file that somebody reads; a new time keeps core/library/retention.py off
            os.utime(target)
            target.stat()  # a sweep may have taken it while its time was set
        except FileNotFoundError:
            os.replace(file.name, target)
        if self._fsync and os.name == "posix":  # the name, too, has to reach the disk
            folder = os.open(target.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def sweep(self, scratch: Path) -> None:
        """Forget what dead processes left: half-written files and the folders of their jobs."""
        for folder in (self._incoming, scratch):
            shutil.rmtree(folder, ignore_errors=True)
        self._incoming.mkdir()
