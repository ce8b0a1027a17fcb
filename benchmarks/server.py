"""What a server costs that does nothing: its memory, and the time from its start until it listens."""

import contextlib
import socket
import threading
import time

import psutil

from benchmarks.cost import cpu_seconds, median
from benchmarks.queue import NOOP
from tests.serving import serve

STARTS = 5
IDLE_SECONDS = 6  # one round of what the server does now and then is in it


def measure(scale):
    times = []
    with serve({"noop": NOOP}) as server:  # the first start describes the plugin; later ones are the usual ones
        for _ in range(max(1, int(STARTS * min(scale, 1)))):
            server.stop()
            times.append(start(server))
        time.sleep(IDLE_SECONDS * min(scale, 1))
        memory = psutil.Process(server.process.pid).memory_info().rss
    yield "time to listen", median([seconds for seconds, _ in times]), "s"
    yield "time to listen, CPU", median([cpu for _, cpu in times]), "s"
    yield "idle memory", memory / 1e6, "MB"


def start(server):
    """Start the stopped server; returns the seconds until its port answers, and the CPU seconds it took for that."""
    found, started = [], time.perf_counter()

    def watch():
        seconds = listens(server.port) - started
        found.append((seconds, cpu_seconds(server.process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    server.start()
    watcher.join()
    return found[0]


def listens(port):
    """When the port answers."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return time.perf_counter()
        time.sleep(0.005)
