"""Long work in the server stops now and then, so that the others get on: with eventlet nothing else runs meanwhile."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

SECONDS = 0.002
Item = TypeVar("Item")


class Pause:
    """Called often inside a loop that may be long, it lets the others run whenever that has been going on for 2 ms."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._since > SECONDS:
            time.sleep(0)  # eventlet's, where the server runs on that
            self._since = time.monotonic()


def fairly(items: Iterable[Item]) -> Iterator[Item]:
    """The items, with such a pause before each."""
    pause = Pause()
    for item in items:
        pause()
        yield item
