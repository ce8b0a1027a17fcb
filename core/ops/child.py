"""The server as the child of a command: what it prints is read, and it ends with the command."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from core.ops.bootstrap import ROOT

GREETING = re.compile(r"^stable-core \S+\s+(http://\S+)")  # the line with its address
STOP_SECONDS = 20


@contextlib.contextmanager
def server(flags: list[str]) -> Iterator[subprocess.Popen]:
    """A server that has just been started, out of reach of the terminal's Ctrl-C; stopped at the end."""
    own = {"start_new_session": True} if os.name == "posix" else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "server.py"), *flags, "--end-with-stdin"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"}, **own,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
