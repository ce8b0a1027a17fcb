"""How a worker in a sandbox reaches the server: through a Unix socket, also for the bytes of inputs and results.

It sees neither the network nor the folder of results, so nothing that is not for one of its jobs."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from core.artifacts import Blobs
from core.errors import from_wire

ANSWER_SECONDS = 60


def dial(path: str) -> socket.socket:
    """A connection to the server; raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_SECONDS)
    connection.connect(path)
    return connection


def blobs(settings: dict[str, Any]) -> Blobs:
    """Where a worker with these settings reads inputs and stores results."""
    folder = Path(settings["blobs"])
    return Distant(folder, settings) if settings.get("door") else Blobs(folder, settings["fsync"])


class Distant(Blobs):
    """Blobs that the server reads and stores."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__(folder)
        self._door, self._token = settings["door"], settings["token"]

    def read(self, sha256: str) -> bytes:
        return self._ask("GET", f"/blobs/{sha256}")

    def size(self, sha256: str) -> int:
        return len(self.read(sha256))

    def write(self, data: bytes) -> str:
        return self._ask("PUT", "/blobs", data).decode()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Raises the error that the server answers with."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = dial(self._door)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise from_wire(json.loads(data)["error"])
        return data
