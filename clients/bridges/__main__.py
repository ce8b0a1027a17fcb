"""Starts the process that speaks other people's APIs. The server starts it: settings come through stdin."""

import json
import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from clients.bridges.app import create


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_stdin, daemon=True).start()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    server = uvicorn.Server(
        uvicorn.Config(create(settings["url"], settings["secret"]), log_level="warning", lifespan="on", ws="none")
    )
    port_file = Path(settings["port_file"])
    part = port_file.with_suffix(".part")
    part.write_text(str(listener.getsockname()[1]))
    part.replace(port_file)  # who looks for it finds all of it
    server.run([listener])


def end_with_stdin() -> None:
    """When the server is gone, stdin closes."""
    while sys.stdin.buffer.read1(65536):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
