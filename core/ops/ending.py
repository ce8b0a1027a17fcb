"""How a worker process ends: when its stdin closes, with all that the plugin has started."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.worker import Worker

UNLOAD_SECONDS = 1


def end_with_stdin(workers: list["Worker"]) -> None:
    """When the server is gone, stdin closes: unload and end, with all that the plugin has started."""
    while sys.stdin.buffer.read1(65536):
        pass
    for worker in [each for each in workers if each.loaded]:
        unloading = threading.Thread(target=worker.plugin.unload, daemon=True)
        unloading.start()
        unloading.join(UNLOAD_SECONDS)
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
