"""How a worker process ends: when its stdin closes or when it is told to, with all that the plugin has started."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.worker import Worker

UNLOAD_SECONDS = 1


def prepare(settings: dict[str, Any], workers: list["Worker"]) -> None:
    """Before there is a worker: see to it that it ends with the server; or, detached, not with whoever started it,
    unless that one holds it."""
    if settings.get("held") or not settings.get("detached"):
        threading.Thread(target=end_with_stdin, args=(workers,), daemon=True).start()
    elif os.name == "posix" and os.getpgrp() != os.getpid():
        os.setsid()


def end_with_stdin(workers: list["Worker"]) -> None:
    """When the server is gone, stdin closes."""
    while sys.stdin.buffer.read1(65536):
        pass
    end(workers)


def end(workers: list["Worker"]) -> None:
    """Unload and end, with all that the plugin has started."""
    for worker in [each for each in workers if each.loaded]:
        unloading = threading.Thread(target=worker.plugin.unload, daemon=True)
        unloading.start()
        unloading.join(UNLOAD_SECONDS)
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
