"""Which devices this machine has, found without torch."""

import platform
import shutil
import subprocess


def find(wanted: list[str]) -> list[str]:
    """`wanted` with "auto" replaced by what is there: cuda:0 ..., mps on Apple silicon, else cpu."""
    return [device for each in wanted for device in (_automatic() if each == "auto" else [each])]


def _automatic() -> list[str]:
    if shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            listed = ""
        if count := sum(line.startswith("GPU ") for line in listed.splitlines()):
            return [f"cuda:{index}" for index in range(count)]
    return ["mps"] if (platform.system(), platform.machine()) == ("Darwin", "arm64") else ["cpu"]
