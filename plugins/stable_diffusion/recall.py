"""What a model has read lately, so that the next picture of the same words need not wait for its text encoder."""

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor

from .conditioning import Condition

LIMIT = 64 << 20  # bytes: some 250 texts of 75 tokens


class Recall:
    """Conditions by what they were made of. Those used last are kept, as many as take at most `limit` bytes together,
    on the device. For one thread."""

    def __init__(self, limit: int = LIMIT):
        self._limit = limit
        self._kept: OrderedDict[Hashable, Condition] = OrderedDict()  # the one used last is last
        self._bytes = 0

    def get(self, key: Hashable) -> Condition | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: Hashable, condition: Condition) -> None:
        if key in self._kept:
            self._bytes -= size(self._kept.pop(key))
        self._kept[key] = condition
        self._bytes += size(condition)
        while self._bytes > self._limit:
            self._bytes -= size(self._kept.popitem(last=False)[1])


def size(condition: Condition) -> int:
    """In bytes."""
    return sum(part.nbytes for part in vars(condition).values() if isinstance(part, Tensor))
