"""Where results and uploads live: blobs, files named by the sha256 of their content. Server and workers share it."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import TooLarge


class Blobs:
    """A folder of immutable files. Writing is atomic: a blob is there whole or not at all.

    With `fsync` a blob is on the disk before `write` returns."""

    def __init__(self, folder: Path, fsync: bool = False):
        self.folder, self.fsync = folder, fsync
        (folder / "incoming").mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def write(self, data: bytes) -> str:
        """Store `data`; returns its sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.path(sha256).exists():
            incoming = self.folder / "incoming" / uuid.uuid4().hex
            with incoming.open("wb") as file:
                file.write(data)
                self._settle(file, sha256)
        return sha256

    def receive(self, stream: BinaryIO, limit: int, run: Callable[..., Any]) -> tuple[str, int]:
        """Store all of `stream`, at most `limit` bytes; returns its sha256 and size. Raises TooLarge.

        `run(function, *args)` is called for what blocks for long."""
        digest, size, incoming = hashlib.sha256(), 0, self.folder / "incoming" / uuid.uuid4().hex
        try:
            with incoming.open("wb") as file:
                while chunk := stream.read(1 << 18):
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(f"the upload is over the limit of {limit:,} bytes (max_upload_bytes).")
                    digest.update(chunk)
                    file.write(chunk)
                run(self._settle, file, digest.hexdigest())
        finally:
            incoming.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def _settle(self, file: BinaryIO, sha256: str) -> None:
        target = self.path(sha256)
        target.parent.mkdir(exist_ok=True)
        file.flush()
        if self.fsync:
            os.fsync(file.fileno())
        file.close()
        os.replace(file.name, target)
        if self.fsync and os.name == "posix":  # the name, too, has to reach the disk
            folder = os.open(target.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def sweep(self) -> None:
        """Forget uploads that a dead process left half-written."""
        shutil.rmtree(self.folder / "incoming", ignore_errors=True)
        (self.folder / "incoming").mkdir(parents=True, exist_ok=True)
