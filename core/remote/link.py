"""The connection to a machine that is reached over SSH, kept for ever: `python -m core.remote.link`, a child of the
server, which gets its settings as one line of JSON and ends when stdin closes.

It brings the machine up, lets its workers reach the server's door through the connection, sees to it that there is a
worker for each plugin and device, and writes down how the machine is (core/remote/records.py)."""

import json
import sys
from typing import Any


class Link:
    """`settings`: name (of the machine), config (the server's settings), url and token (of the server, the admin's),
    door (the path of the socket that workers are let in by)."""

    def __init__(self, settings: dict[str, Any]):
        self._settings = settings

    async def run(self) -> None:
        raise NotImplementedError


if __name__ == "__main__":
    Link(json.loads(sys.stdin.buffer.readline()))
