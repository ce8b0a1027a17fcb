"""Long work in the server stops now and then, so that the others get on: with eventlet nothing else runs meanwhile."""

import time

SECONDS = 0.005


class Pause:
    """Called often inside a loop that may be long, it lets the others run whenever that has been going on for 5 ms."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._since > SECONDS:
            time.sleep(0)  # eventlet's, where the server runs on that
            self._since = time.monotonic()
