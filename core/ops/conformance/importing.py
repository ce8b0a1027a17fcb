"""What importing a plugin does beside importing. `python -B -m core.ops.conformance.importing FOLDER FILE` writes JSON.

Runs under the plugin's own Python, in a process of its own: an audit hook cannot be taken off again."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from core.ops.describe import load_plugin

HEAVY = ("torch", "tensorflow", "jax", "diffusers", "transformers", "onnxruntime")
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.rmtree"}
NETWORK = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"}
PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.startfile"}
MOST = 5  # that are told


def look(folder: Path) -> dict[str, Any]:
    """{"seconds": of a processor, "heavy": modules, "did": what else, with file and line}."""
    did: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if (what := _what(event, arguments)) and len(did) < MOST:
            did.append(f"{what} ({_where(folder)})")

    sys.addaudithook(hook)
    threads, there, started = threading.active_count(), {*sys.modules}, time.process_time()
    load_plugin(folder)
    seconds = time.process_time() - started
    if threading.active_count() > threads:
        did.append("starts a thread")
    return {"seconds": seconds, "heavy": [name for name in HEAVY if name in sys.modules.keys() - there], "did": did}


def _what(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event == "open":
        path, mode, flags = arguments
        writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return f"writes {path}" if writes and path != os.devnull else None
    if event in WRITES:
        return f"changes files: {event} {arguments[0]}"
    if event in NETWORK:
        return f"uses the network: {event} {arguments[-1] if event == 'socket.connect' else arguments[0]}"
    return f"starts a process: {event}" if event in PROCESSES else None


def _where(folder: Path) -> str:
    """The innermost line of the plugin that is being run."""
    frame = sys._getframe()
    while frame:
        if frame.f_code.co_filename.startswith(f"{folder}{os.sep}"):
            return f"{os.path.relpath(frame.f_code.co_filename, folder)}:{frame.f_lineno}"
        frame = frame.f_back
    return "in a module that it imports"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(look(Path(sys.argv[1]))), "utf-8")
