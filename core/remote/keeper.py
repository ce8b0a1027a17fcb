"""Watches over rented machines while the server runs: spent ones are ended, and what a command that died left.

`python -m core.remote.keeper`, a child of the server; its settings are one line of JSON on stdin: data, the data
folder. It ends when stdin does. The machines keep the end of their money themselves, too (core/remote/host.py)."""

import json
import sys
import threading
import time
from pathlib import Path

from core.remote import rental

PAUSE_SECONDS = 30


def main() -> None:
    data, over = Path(json.loads(sys.stdin.readline())["data"]), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    last: list[str] = []
    while not over.is_set():
        lines: list[str] = []
        rental.settle(data, lines.append)
        if lines != last:  # the same trouble is told once
            for line in lines:
                print(time.strftime("%Y-%m-%d %H:%M:%S"), line, flush=True)
        last = lines
        over.wait(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
