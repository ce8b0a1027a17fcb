"""How much memory a worker uses on its device, now and at most during a job. Never imports torch, only asks it."""

import contextlib
import functools
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _card(device: str) -> Any:
    """torch.cuda or torch.xpu, which answer alike, once they are in use; None for what has no memory of its own."""
    torch = sys.modules.get("torch")
    card = torch and getattr(torch, device.partition(":")[0], None) if device.startswith(("cuda", "xpu")) else None
    return card if card and card.is_initialized() else None


def _measured(function: Callable[..., Any]) -> Callable[..., Any]:
    """A graphics card that has failed raises at every question. A job's result does not depend on what is measured."""

    @functools.wraps(function)
    def measure(*args: Any) -> Any:
        try:
            return function(*args)
        except Exception:
            log.exception("the memory could not be measured")
            return 0

    return measure


@_measured
def used_bytes(device: str) -> int:
    """What the worker has of a graphics card's memory, or of the machine's; 0 where nobody says."""
    if card := _card(device):
        return card.memory_reserved(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


@_measured
def give_back(device: str) -> None:
    """Free what nobody refers to any more."""
    gc.collect()
    if card := _card(device):
        card.empty_cache()


class Peak:
    """The most that was used since this was made."""

    def __init__(self, device: str):
        self._device = device
        self._begin()

    @_measured
    def _begin(self) -> None:
        if card := _card(self._device):
            card.reset_peak_memory_stats(self._device)
        elif RESET.exists():
            with contextlib.suppress(OSError):  # refused in some containers: then it is the peak since the start
                RESET.write_text("5")  # makes the peak of the resident memory the present one

    @_measured
    def bytes(self) -> int:
        """0 where nobody says."""
        if card := _card(self._device):
            return card.max_memory_reserved(self._device)
        try:
            lines = STATUS.read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
        except (OSError, StopIteration):
            return 0
