"""The random numbers of one image."""

import torch
from torch import Tensor


class Noise:
    """Calls give float32 normal noise of `shape` on `device`, one after the other from the image's own generator.

    Drawn on the CPU, so that a seed means the same on every device, in every batch and beside any other job.
    The generator uses the lower 32 bits of a seed."""

    def __init__(self, seed: int, shape: tuple[int, ...], device: str):
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._shape, self._device = shape, device

    def __call__(self, *sigmas: Tensor) -> Tensor:
        """The next noise. k-diffusion's samplers pass the noise levels of the step, which do not matter here."""
        return torch.randn(self._shape, generator=self._generator).to(self._device)
