"""Which devices this machine has for the plugins' build of PyTorch, and their memory, found without torch."""

import functools
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROCM_NODES = Path("/sys/class/kfd/kfd/topology/nodes")  # one for each processor and each AMD card
CARDS = Path("/sys/class/drm")
INTEL, BUILT_IN = "0x8086", "0000:00:02.0"  # the vendor, and where the graphics inside its processors is
CGROUPS = (  # (limit, use) of the group of processes that the server runs in, version 2 and 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
LOCAL = r"(?:cpu(?::\d{1,3})?|mps|(?:cuda|xpu):\d{1,3})"
PATTERN = rf"^(?:[a-z][a-z0-9-]{{0,29}}/)?{LOCAL}$|^ray/\d{{1,4}}$"  # of attached workers: gpu1/cuda:0, ray/3


def check(wanted: list[str]) -> list[str]:
    """`wanted`, as the setting has it. Raises ValueError."""
    for device in wanted:
        if device != "auto" and not re.fullmatch(LOCAL, device):
            raise ValueError(f"{device!r} is no device; allowed are auto, cpu, cpu:0, cuda:0, xpu:0 and mps")
    if twice := {device for device in wanted if wanted.count(device) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))} is named twice; two workers on the processor are cpu:0 and cpu:1")
    return wanted


def find(wanted: list[str], torch_backend: str = "auto") -> list[str]:
    """`wanted` with "auto" replaced by what is there and what that build can use: cuda:0 ... (cards of AMD, too, are
    called that), xpu:0 ..., mps on Apple silicon, else cpu."""
    found = [device for each in wanted for device in (_automatic(torch_backend) if each == "auto" else [each])]
    return [*dict.fromkeys(found)]


def elsewhere(device: str) -> bool:
    """Whether it is on another machine: gpu1/cuda:0, ray/3."""
    return "/" in device


def machine_of(device: str) -> str:
    """gpu1 of gpu1/cuda:0; "" of one that is here."""
    return device.rpartition("/")[0]


def told(device: str) -> str:
    """What a plugin is told: cuda:0 of gpu1/cuda:0, cpu of cpu:1; cpu of ray/3, until its node says better."""
    name = device.rpartition("/")[2]
    return "cpu" if name.startswith("cpu") or name.isdigit() else name


def shared(device: str) -> str:
    """What has the memory: all of cpu, cpu:0 and cpu:1 of one machine have the same."""
    machine, slash, name = device.rpartition("/")
    return f"{machine}{slash}cpu" if name.startswith("cpu") else device


def about(device: str, torch_backend: str = "auto") -> dict[str, Any]:
    """A device of this machine, for people: title, free_bytes, total_bytes (None: nobody says). Takes a millisecond."""
    free, total = memory(device, torch_backend)
    return {"title": title(device, torch_backend), "free_bytes": free, "total_bytes": total}


def memory(device: str, torch_backend: str = "auto") -> tuple[int | None, int | None]:
    """Bytes of a device of this machine that are free, and all; None where nobody says."""
    kind, index = _parts(device)
    if kind == "cuda":
        return _of_amd_card(index) if torch_backend.startswith("rocm") else _of_nvidia_card(index)
    return (None, None) if kind == "xpu" else _of_machine()


@functools.cache
def title(device: str, torch_backend: str = "auto") -> str:
    """What it is called where it was bought."""
    kind, index = _parts(device)
    if kind == "cuda" and torch_backend.startswith("rocm"):
        return (_read(_amd_card(index) / "product_name") if _amd_card(index) else "") or "AMD graphics card"
    if kind == "cuda":
        return _nvidia(index, lambda nvml, card: nvml.nvmlDeviceGetName(card)) or "NVIDIA graphics card"
    if kind == "xpu":
        return "Intel graphics card"
    if platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or platform.machine()
    named = re.search(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def _parts(device: str) -> tuple[str, int]:
    kind, _, index = device.partition(":")
    return kind, int(index or 0)


def _automatic(backend: str) -> list[str]:
    if backend == "cpu":
        return ["cpu"]
    if backend == "xpu":
        return [f"xpu:{index}" for index in range(_intel_cards())]
    if (platform.system(), platform.machine()) == ("Darwin", "arm64"):
        return ["mps"]
    if backend.startswith("rocm"):
        count = len(_chosen(_amd_nodes(), "HIP_VISIBLE_DEVICES"))
    elif backend == "auto" and platform.system() == "Windows":
        count = 0  # what PyPI has for Windows knows no cards
    else:
        count = len(_chosen(range(_nvidia_cards()), "CUDA_VISIBLE_DEVICES"))
    return [f"cuda:{index}" for index in range(count)] or ["cpu"]


def _nvidia_cards() -> int:
    if not shutil.which("nvidia-smi"):
        return 0
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _amd_nodes() -> list[Path]:
    nodes = sorted(ROCM_NODES.glob("*/properties"), key=lambda path: int(path.parent.name))
    return [path for path in nodes if re.search(r"^simd_count [1-9]", _read(path), re.MULTILINE)]


def _intel_cards() -> int:
    """Cards; where there are none, the graphics inside the processor. At least 1, where nobody says."""
    found = [path.resolve() for path in CARDS.glob("renderD*/device")]
    return max(sum(_read(path / "vendor") == INTEL and path.name != BUILT_IN for path in found), 1)


def _chosen(cards: Iterable[Any], variable: str) -> list[Any]:
    """Of `cards`, those that the environment leaves to torch, in torch's order; of those that it does not name by their
    number, any."""
    cards = list(cards)
    if variable not in os.environ:
        return cards
    named = [name.strip() for name in os.environ[variable].split(",")]
    until = next((k for k, name in enumerate(named) if name in ("", "-1")), len(named))  # the drivers read no further
    chosen = [cards[int(name)] if name.isdigit() and int(name) < len(cards) else None for name in named[:until]]
    return chosen[: len(cards)]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:  # nothing of the kind is here, or this process may not look at it
        return ""


def _amd_card(index: int) -> Path | None:
    nodes = _chosen(_amd_nodes(), "HIP_VISIBLE_DEVICES")
    node = nodes[index] if index < len(nodes) else None
    minor = node and re.search(r"^drm_render_minor (\d+)", _read(node), re.MULTILINE)
    return CARDS / f"renderD{minor[1]}" / "device" if minor else None


def _of_amd_card(index: int) -> tuple[int | None, int | None]:
    card = _amd_card(index)
    said = [_read(card / f"mem_info_vram_{what}") if card else "" for what in ("used", "total")]
    if not all(each.isdigit() for each in said):
        return None, None
    used, total = map(int, said)
    return max(total - used, 0), total


def _of_nvidia_card(index: int) -> tuple[int | None, int | None]:
    said = _nvidia(index, lambda nvml, card: nvml.nvmlDeviceGetMemoryInfo(card))
    return (said.free, said.total) if said else (None, None)


def _nvidia(index: int, ask: Any) -> Any:
    """What `ask(pynvml, handle)` says of a card; None where there is no driver that could."""
    import pynvml

    visible = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    card = visible[index] if index < len(visible) else str(index)  # torch counts what is visible, NVML all
    try:
        pynvml.nvmlInit()
        by_number = pynvml.nvmlDeviceGetHandleByIndex
        return ask(pynvml, by_number(int(card)) if card.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(card))
    except pynvml.NVMLError:
        return None


def _of_machine() -> tuple[int, int]:
    import psutil

    said = psutil.virtual_memory()
    free, total = said.available, said.total
    for limit, used in CGROUPS:
        try:
            cache = re.search(r"^inactive_file (\d+)", used.with_name("memory.stat").read_text(), re.MULTILINE)
            in_use = int(used.read_text()) - (int(cache[1]) if cache else 0)  # the system gives that up at once
            most = int(limit.read_text())
        except (OSError, ValueError):  # there is no such group, or no limit ("max")
            continue
        free, total = min(free, most - in_use), min(total, most)
    return max(free, 0), total
