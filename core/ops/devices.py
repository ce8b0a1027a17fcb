"""Which devices this machine has for the plugins' build of PyTorch, found without torch."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

ROCM_NODES = Path("/sys/class/kfd/kfd/topology/nodes")  # one for each processor and each AMD card


def find(wanted: list[str], torch_backend: str = "auto") -> list[str]:
    """`wanted` with "auto" replaced by what is there and what that build can use: cuda:0 ... (cards of AMD, too, are
    called that), xpu:0, mps on Apple silicon, else cpu."""
    return [device for each in wanted for device in (_automatic(torch_backend) if each == "auto" else [each])]


def _automatic(backend: str) -> list[str]:
    if backend == "cpu":
        return ["cpu"]
    if backend == "xpu":
        return ["xpu:0"]  # there is no tool on every such machine that counts them: name more in `devices`
    if (platform.system(), platform.machine()) == ("Darwin", "arm64"):
        return ["mps"]
    if backend.startswith("rocm"):
        count = _visible(_amd_cards(), "HIP_VISIBLE_DEVICES")
    elif backend == "auto" and platform.system() == "Windows":
        count = 0  # what PyPI has for Windows knows no cards
    else:
        count = _visible(_nvidia_cards(), "CUDA_VISIBLE_DEVICES")
    return [f"cuda:{index}" for index in range(count)] or ["cpu"]


def _nvidia_cards() -> int:
    if not shutil.which("nvidia-smi"):
        return 0
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _amd_cards() -> int:
    count = 0
    for node in ROCM_NODES.glob("*/properties"):
        try:
            count += bool(re.search(r"^simd_count [1-9]", node.read_text(), re.MULTILINE))
        except OSError:  # a card that this process may not use
            continue
    return count


def _visible(count: int, variable: str) -> int:
    """Of `count` cards, those that the environment leaves to torch, which counts them from 0."""
    if variable not in os.environ:
        return count
    named = [name.strip() for name in os.environ[variable].split(",")]
    until = next((k for k, name in enumerate(named) if name in ("", "-1")), len(named))  # the drivers read no further
    return min(count, until)
