"""Gives k-diffusion and torchsde, where they draw random numbers by themselves, those of the image at hand.

Every image is sampled in a greenlet of its own, and a greenlet has context variables of its own: so what is put in
place here for one image is not seen by another that runs meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import k_diffusion.sampling
import torch
import torchsde._brownian.brownian_interval as brownian
from torch import Tensor

_like: ContextVar[Callable[[], Tensor] | None] = ContextVar("like", default=None)
_tree: ContextVar[Callable[[int, tuple[int, ...]], Tensor] | None] = ContextVar("tree", default=None)


@contextmanager
def _put(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def k_diffusion_draws(noise: Callable[[], Tensor] | None):
    """In this block, `torch.randn_like` within k-diffusion's samplers is `noise()`."""
    return _put(_like, noise)


def torchsde_draws(noise: Callable[[int, tuple[int, ...]], Tensor]):
    """In this block, what torchsde's Brownian trees draw is `noise(seed, shape)`."""
    return _put(_tree, noise)


class _Torch:
    """The module torch as k-diffusion's samplers see it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def randn_like(x: Tensor) -> Tensor:
        noise = _like.get()
        return noise().to(x) if noise else torch.randn_like(x)


def _randn(size: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int, own=brownian._randn) -> Tensor:
    noise = _tree.get()
    return noise(int(seed), tuple(size)).to(device, dtype) if noise else own(size, dtype, device, seed)


k_diffusion.sampling.torch = _Torch()
brownian._randn = _randn
