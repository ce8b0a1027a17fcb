"""Which of what was loaded stays loaded: as much as fits into a number of bytes, what was used last goes last."""

import ctypes
import gc
import sys
import threading
import time
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

SWEEP_SECONDS = 10.0  # at most between two looks for what is idle
WAIT_SECONDS = 0.1  # between two looks whether who waits has been cancelled


class Loaded(Protocol):
    """What has weights: a network, or something made of networks."""

    def modules(self) -> Iterator[nn.Module]:
        """All modules in it, those inside others too."""


@dataclass
class Kept:
    value: Any
    name: str
    used: float  # when, in seconds of time.monotonic


class Cache:
    """Keys are tuples; the first item is the kind of thing. With what a weakref.ref in its key is to, a thing goes too.

    Who uses a thing holds it. What is in use takes memory whether it is kept or not, so it is shared as long as
    anybody has it, and makes room only when nothing else can."""

    def __init__(self, budget: Callable[[], int], pinned: Collection[str] = (), unload_after_seconds: float = 0):
        self._budget, self._pinned, self._patience = budget, frozenset(pinned), unload_after_seconds
        self._lock = threading.RLock()
        self._kept: OrderedDict[tuple, Kept] = OrderedDict()  # the one used last is last
        self._alive: weakref.WeakValueDictionary[tuple, Any] = weakref.WeakValueDictionary()
        self._loading: dict[str, threading.Lock] = defaultdict(threading.Lock)  # one of a kind at a time
        self._closed = threading.Event()
        if unload_after_seconds:
            threading.Thread(target=self._sweep, name="idle models", daemon=True).start()

    def get(
        self, key: tuple, load: Callable[[], Any], name: str = "", size: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> Any:  # fmt: skip
        """The thing of that key, by `load()` if it is not there, for which others first make room of `size` bytes.
        `check` is called again and again while somebody else loads something, and may raise to give up."""
        if (value := self._find(key, name)) is not None:
            return value
        with self._lock:
            loading = self._loading[key[0]]
        while not loading.acquire(timeout=WAIT_SECONDS):
            check()
        try:
            if (value := self._find(key, name)) is not None:  # they have loaded this one
                return value
            self.shrink(self._budget() - size)
            value = load()
            with self._lock:
                self._alive[key] = value
                self._kept[key] = Kept(value, name, time.monotonic())
                self.shrink(self._budget())
            return value
        finally:
            loading.release()

    def _find(self, key: tuple, name: str) -> Any:
        with self._lock:
            if (value := self._alive.get(key)) is not None:
                self._kept[key] = Kept(value, name, time.monotonic())
                self._kept.move_to_end(key)
            return value

    def shrink(self, budget: int) -> None:
        """Unload what was not used for longest until the rest takes at most `budget` bytes; not what is pinned or in
        use."""
        with self._lock:
            if self.bytes > budget:  # adding up takes a while, so not once for each thing
                self._drop(lambda kept: kept.name not in self._pinned and self.bytes > budget)

    def unload(self, name: str = "") -> None:
        """Forget the things of that name, by default all. What is in use is gone as soon as it is not."""
        self._drop(lambda kept: name in ("", kept.name), also_used=True)

    def unload_unused(self, since: float) -> None:
        """Forget what was not used since a time of time.monotonic, but not what is pinned or in use."""
        self._drop(lambda kept: kept.used <= since and kept.name not in self._pinned)

    def close(self) -> None:
        self._closed.set()
        self.unload()

    @property
    def bytes(self) -> int:
        """What all things take that anybody has; tensors that several share count once."""
        with self._lock:
            return bytes_of(self._alive.values())

    def sizes(self) -> dict[str, int]:
        """What is kept under each name, in bytes, what was used last first."""
        with self._lock:
            things = defaultdict(list)
            for kept in reversed(self._kept.values()):
                things[kept.name].append(kept.value)
            return {name: bytes_of(values) for name, values in things.items()}

    def _drop(self, unwanted: Callable[[Kept], bool], also_used: bool = False) -> None:
        """Forget each thing that is `unwanted`, the one used first first, and what is of it. What turns out to be in
        use comes back, unless `also_used`."""
        with self._lock:
            count = len(self._kept)
            for key in list(self._kept):
                if key in self._kept and unwanted(self._kept[key]):
                    self._forget(key, also_used)
            if len(self._kept) < count:
                trim()

    def _forget(self, key: tuple, also_used: bool) -> None:
        of = weakref.ref(self._kept[key].value)
        forgotten = [(each, self._kept.pop(each)) for each in list(self._kept) if each == key or of in each]
        held = [(each, weakref.ref(kept.value), kept.name) for each, kept in forgotten]
        forgotten.clear()  # now only those who use a thing have it
        for each, value, name in held:
            if not also_used and (used := value()) is not None:
                self._kept[each] = Kept(used, name, time.monotonic())

    def _sweep(self) -> None:
        while not self._closed.wait(min(SWEEP_SECONDS, self._patience / 4)):
            self.unload_unused(time.monotonic() - self._patience)


def bytes_of(things: Iterable[Loaded]) -> int:
    """What the tensors of all things together take."""
    storages = {}
    for module in (module for thing in things for module in thing.modules()):
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def trim() -> None:
    """Give what was freed back to the system: torch and glibc keep it for later, so others could not have it."""
    gc.collect()
    for card in (torch.cuda, torch.xpu):
        if card.is_initialized():
            card.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return
