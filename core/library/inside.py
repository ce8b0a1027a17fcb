"""How a worker in a sandbox or on another machine reaches the server: through a Unix socket, also for the bytes of
inputs and results.

It sees neither the server's network nor the folder of results, so nothing that is not for one of its jobs."""

import contextlib
import hashlib
import http.client
import io
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.artifacts import Blobs
from core.errors import Internal, from_wire

ANSWER_SECONDS = 60
FIRST_PAUSE, LAST_PAUSE = 0.2, 5  # seconds before what failed is tried again
CACHE_BYTES = 4_000_000_000
LONG_ADDRESS = 100  # bytes; the system takes 107, or 103


def dial(door: str) -> socket.socket:
    """A connection to the server; raises OSError. `door` is a Unix socket, or a file that holds HOST:PORT."""
    if os.path.isfile(door):
        host, _, port = Path(door).read_text("utf-8").strip().rpartition(":")
        try:
            connection = socket.create_connection((host, int(port)), ANSWER_SECONDS)
        except ValueError as error:
            raise OSError(f"{door} holds no HOST:PORT") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else small messages wait 40 ms for others
        return connection
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_SECONDS)
    try:
        with short(Path(door)) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """An address for a Unix socket, whose path may be longer than that: the system may have a shorter name for it."""
    if sys.platform != "linux" or len(os.fsencode(path)) < LONG_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def blobs(settings: dict[str, Any]) -> Blobs:
    """Where a worker with these settings reads inputs and stores results."""
    folder = Path(settings["blobs"])
    return Distant(folder, settings) if settings.get("door") else Blobs(folder, settings["fsync"])


class Distant(Blobs):
    """Blobs that the server reads and stores.

    On another machine (`detached` in the settings) what was read or written is also kept in the folder `cache`, and
    while the server cannot be reached, it is waited for: the job has run, and the server knows who has it."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__(folder)
        self._door, self._token = settings["door"], settings["token"]
        self._idle: list[http.client.HTTPConnection] = []  # open ones, which save the way there and back
        self._patient = bool(settings.get("detached"))
        cache = settings.get("cache")
        self._cache = Cache(Path(cache), CACHE_BYTES) if cache else None

    def read(self, sha256: str) -> bytes:
        data = self._cache and self._cache.read(sha256)
        if data is None:
            data = self._ask("GET", f"/blobs/{sha256}")
            if self._cache:
                self._cache.keep(sha256, data)
        return data

    def size(self, sha256: str) -> int:
        return len(self.read(sha256))

    def write(self, data: bytes) -> str:
        sha256 = self._ask("PUT", "/blobs", data).decode()
        if self._cache:
            self._cache.keep(sha256, data)
        return sha256

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Raises the error that the server answers with."""
        pause = FIRST_PAUSE
        while True:
            try:
                status, data = self._try(method, path, body)
                break
            except (OSError, http.client.HTTPException) as error:
                if not self._patient:
                    raise
                if pause == FIRST_PAUSE:
                    print(f"{self._door}: {error}; trying until it works", file=sys.stderr, flush=True)
            time.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)
        if status != 200:
            raise from_wire(json.loads(data)["error"])
        return data

    def _try(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Asking twice does no harm: a blob is named by its content."""
        with contextlib.suppress(IndexError, OSError, http.client.HTTPException):  # the server may have closed it
            return self._exchange(self._idle.pop(), method, path, body)
        connection = http.client.HTTPConnection("localhost")
        connection.sock = dial(self._door)
        return self._exchange(connection, method, path, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:  # fmt: skip
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:  # sent in pieces, each with its own time: all of it may take long
            headers["Content-Length"] = str(len(body))
        try:
            connection.request(method, path, body and io.BytesIO(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        except BaseException:
            connection.close()
            raise
        if connection.sock and answer.status == 200:  # http.client has closed it if the server is to
            self._idle.append(connection)
        else:
            connection.close()
        return answer.status, data


class Cache:
    """Files named by the sha256 of their content, the last that were used, up to `most` bytes. Several processes may
    share the folder. What the disk has no room for is not kept."""

    def __init__(self, folder: Path, most: int):
        self._folder, self._most = folder, most

    def read(self, sha256: str) -> bytes | None:
        path = self._folder / sha256
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def keep(self, sha256: str, data: bytes) -> None:
        """Raises Internal if `data` is something else."""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Internal(f"what should be {sha256} came as something else.", hint="Retry the job.")
        if len(data) > self._most:
            return
        new = self._folder / f".{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            try:
                new.write_bytes(data)
                new.replace(self._folder / sha256)
            finally:
                new.unlink(missing_ok=True)
            self._forget()

    def _forget(self) -> None:
        """What was not used for longest, and what dead processes have left half-written."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):  # another process has forgotten it just now
                said = path.stat()
                found.append((said.st_mtime, said.st_size, path))
        size = sum(each for _, each, _ in found)
        for _, each, path in sorted(found):
            if size <= self._most:
                break
            path.unlink(missing_ok=True)
            size -= each
