"""How many rows one call should have: found out by timing the calls that are made anyway.

More rows share the cost of a call until the device is busy; from then on they only make everybody wait longer, and on
some devices they are slower again. Where that is depends on the device, the network and the size."""

import statistics
from collections import defaultdict, deque
from collections.abc import Hashable

FIRST = 16  # rows, before anything is known
SAMPLES = 3  # of a number of rows are enough to judge it
KEPT = 5  # the latest, so that a change is noticed, and a first call that was slow is forgotten
EQUAL = 1.03  # as fast as another, but for chance
KINDS = 1000  # of calls that are remembered


class Rows:
    """Numbers of rows are judged in powers of two. `kind` is what calls have in common that take equally long."""

    def __init__(self):
        self._seconds: dict[Hashable, dict[int, deque[float]]] = defaultdict(lambda: defaultdict(new_samples))

    def took(self, kind: Hashable, rows: int, seconds: float) -> None:
        """A call of so many rows took so long."""
        if len(self._seconds) >= KINDS:
            self._seconds.clear()
        level = 1 << (rows - 1).bit_length()
        if rows > 0.75 * level:  # what is far from a power of two tells little about it
            self._seconds[kind][level].append(seconds / rows)

    def best(self, kind: Hashable, most: int) -> int:
        """How many rows the next call may have, at most `most`.

        Of those that are equally fast, the smallest: nobody waits longer than need be. Neighbours of the fastest that
        are not known yet come first."""
        known = {
            rows: statistics.median(samples)
            for rows, samples in self._seconds.get(kind, {}).items()
            if len(samples) >= SAMPLES
        }
        first = 1 << (min(FIRST, most).bit_length() - 1)
        if first not in known:
            return first
        fastest = min(known, key=known.__getitem__)
        smallest = min(rows for rows, seconds in known.items() if seconds <= EQUAL * known[fastest])
        for neighbour in (fastest * 2, smallest // 2):
            if neighbour not in known and 1 <= neighbour <= most:
                return neighbour
        return smallest


def new_samples() -> deque[float]:
    return deque(maxlen=KEPT)
