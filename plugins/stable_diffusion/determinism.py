"""What a picture depends on besides its options: kept with it, so that a difference can be explained."""

import functools
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from .extending import Extension
from .options import Drawing

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def determinism(
    device: str, checkpoint: "Checkpoint", params: Drawing, extensions: dict[str, Extension]
) -> dict[str, Any]:
    """`shared`: computed together with other pictures, which may change the last digits of what is rounded."""
    hashes = {each.name: each.hash for each in extensions.values()}
    return {
        **_machine(device),
        "dtype": str(checkpoint.denoiser.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "noise_source": params.noise_source,
        "shared": not params.exact,
        **({"compiled": True} if checkpoint.compiled else {}),
        **({"extensions": hashes} if hashes else {}),
    }


@functools.cache
def _machine(device: str) -> dict[str, str]:
    packages = {package.replace("-", "_"): version(package) for package in ("torch", "diffusers", "k-diffusion")}
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else torch.backends.cpu.get_cpu_capability()
    return {**packages, "device": device, "device_name": name}
