"""What a changed model is: new modules that share every unchanged tensor with the model they were made from."""

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from diffusers.models.downsampling import Downsample2D
from torch import Tensor, nn

Delta = Callable[[Tensor], Tensor]  # from a weight W, float32 and not to be changed, to what is added to it


def variant(module: nn.Module, deltas: Mapping[str, Sequence[Delta | Tensor]]) -> nn.Module:
    """A copy of `module` in which each parameter named in `deltas` is W + the sum of its deltas.

    Sums are made in float32 and stored in W's dtype, device and memory format. All deltas see the W of `module`, so
    their order does not matter. `module` is not touched, and the copy needs memory for the named parameters only.
    Do not move either with .to(): tensors that are shared would move in both."""
    memo = shared(module)
    for name, changes in deltas.items():
        weight = module.get_parameter(name)
        memo[id(weight)] = changed(weight, changes)
    return copy.deepcopy(module, memo)


def tiling(module: nn.Module) -> nn.Module:
    """A copy of a UNet or VAE, sharing all its tensors, whose convolutions see the picture's left edge right of its
    right edge, and its top below its bottom: what it draws can be laid side by side without a seam."""
    module = copy.deepcopy(module, shared(module))
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.padding_mode = "circular"
        if isinstance(part, Downsample2D) and part.padding == 0:
            # A VAE's encoder pads by itself, with zeros, right and below. Leave that to the convolution.
            part.padding, part.conv._reversed_padding_repeated_twice = None, [0, 1, 0, 1]
    return module


def shared(module: nn.Module) -> dict[int, Tensor]:
    """What copy.deepcopy takes as already copied: all tensors of the module, each as its own copy."""
    return {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}


def changed(weight: Tensor, deltas: Sequence[Delta | Tensor]) -> nn.Parameter:
    # Not an inference tensor, even if called in inference mode: those cannot be used outside of it.
    with torch.inference_mode(False), torch.no_grad():
        wide = weight.detach().float()
        total = sum(delta(wide) if callable(delta) else delta.to(wide) for delta in deltas)
        return nn.Parameter(torch.empty_like(weight).copy_(wide + total), requires_grad=False)
