"""The UNet compiled for the device, where the admin wants that."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

VERSIONS = 64  # of what was compiled, for other structures, shapes and kinds of attention; more run as they are


class Compiled:
    """Calls UNets as torch.compile makes them: compiled when a structure or shape is new, which takes up to minutes.

    Where it cannot be compiled, for lack of a C++ compiler say, the UNet runs as it is, and `tell` hears why."""

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._forward: Callable[..., Any] | None = forward()

    def __call__(self, unet: UNet2DConditionModel, *inputs: Any, **more: Any) -> Any:
        if self._forward:
            try:
                return self._forward(unet, *inputs, **more)
            except torch._dynamo.exc.TorchDynamoException as error:  # not what goes wrong while it runs
                self._forward = None
                told = str(error).partition("Set TORCHDYNAMO_VERBOSE")[0]  # what follows is for PyTorch's developers
                reason = " ".join(told.split())[:300]
                self._tell(f"compile: the UNet cannot be compiled here, so it runs as it is: {reason}")
        return unet(*inputs, **more)


@functools.cache
def forward() -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = VERSIONS
    return torch.compile(UNet2DConditionModel.forward)
