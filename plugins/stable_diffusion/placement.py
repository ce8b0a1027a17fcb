"""Where the weights are while they are used, and how many of them there may be."""

from pathlib import Path

import psutil
import torch

CACHE_SHARE = 0.6  # of the memory is for models that stay loaded, the rest for drawing with them and for others
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def cache_bytes(device: str) -> int:
    """How much the models that stay loaded may take if nobody says."""
    return int(total_bytes(device) * CACHE_SHARE)


def total_bytes(device: str) -> int:
    """The memory of a device; that of Apple's chips and of a CPU is the machine's."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if kind == "xpu":
        return torch.xpu.get_device_properties(device).total_memory
    if kind == "mps":
        return torch.mps.recommended_max_memory()
    return machine_bytes()


def machine_bytes() -> int:
    """The memory of the machine, or of the container in which this runs."""
    limits = [Path(path).read_text().strip() for path in LIMITS if Path(path).exists()]
    return min([psutil.virtual_memory().total, *(int(limit) for limit in limits if limit.isdigit())])
