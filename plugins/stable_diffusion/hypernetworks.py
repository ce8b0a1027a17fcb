"""What a hypernetwork does: small networks in front of the keys and values of the attentions in a UNet."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.library.weights import bad_file, read

from .variants import variant

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "leakyrelu": F.leaky_relu,
    "swish": F.hardswish,  # sic: what A1111 trained with under this name
    **{
        name.replace("_", ""): getattr(F, name)
        for name in "relu relu6 elu selu celu gelu silu mish tanh sigmoid logsigmoid hardswish hardtanh hardsigmoid "
        "softplus softsign softshrink hardshrink tanhshrink".split()
    },
}


@dataclass(frozen=True)
class Perceptron:
    """f of context + weight * f(context): layers of (weight, bias), where a matrix is a linear layer, followed by the
    activation but for the last one (unless `activate_last`), and a vector a layer norm."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    activation: Callable[[Tensor], Tensor]
    activate_last: bool

    def __call__(self, x: Tensor) -> Tensor:
        last = max(k for k, (weight, _) in enumerate(self.layers) if weight.ndim == 2)
        for k, (weight, bias) in enumerate(self.layers):
            if weight.ndim == 1:
                x = F.layer_norm(x, weight.shape, weight, bias)
            else:
                x = F.linear(x, weight, bias)
                x = self.activation(x) if k != last or self.activate_last else x
        return x

    def like(self, x: Tensor) -> "Perceptron":
        """The same on the device and in the dtype of x."""
        layers = tuple((weight.to(x), bias.to(x)) for weight, bias in self.layers)
        return Perceptron(layers, self.activation, self.activate_last)


Hypernetwork = dict[int, tuple[Perceptron, Perceptron]]  # by width of the context: for its keys, for its values


def load(path: Path, unet: nn.Module) -> Hypernetwork:
    """What A1111 has trained and saved as .pt. Raises InvalidParams if it is damaged, something else, or of no use to
    the UNet."""
    if unet.config.addition_embed_type:
        why = "hypernetworks are for Stable Diffusion 1 and 2, and the model is Stable Diffusion XL"
        raise bad_file(path, why, "Leave it out of the prompt, or choose another model.")
    data = read(path)
    if not isinstance(data, dict) or not any(isinstance(width, int) for width in data):
        raise bad_file(path, "it is not a hypernetwork as A1111 saves them")
    name = str(data.get("activation_func") or "linear").lower()
    if name not in ACTIVATIONS:
        raise bad_file(path, f"its activation function {name!r} is unknown", f"Known are {', '.join(ACTIVATIONS)}.")
    found = {}
    for width, states in data.items():
        if isinstance(width, int):
            try:
                keys, values = (perceptron(state, name, data.get("activate_output", True)) for state in states)
                for network in (keys, values):
                    x = torch.empty(1, width, device="meta")
                    network.like(x)(x).reshape(1, width)
            except (KeyError, ValueError, AttributeError, TypeError, RuntimeError) as error:
                raise bad_file(path, f"its networks for width {width} are damaged") from error
            found[width] = keys, values
    if not found.keys() & (widths := {part.to_k.in_features for part in attentions(unet)}):
        wanted, given = (", ".join(map(str, sorted(some))) for some in (widths, found))
        raise bad_file(path, f"it is for attentions of width {given}, and this model has {wanted}", "Change either.")
    return found


def perceptron(state: dict[str, Tensor], activation: str, activate_last: bool) -> Perceptron:
    """From the state dict of an nn.Sequential called linear, or of two layers called linear1 and linear2. Dropout has
    no weights: the numbers of the layers may have gaps."""
    numbers = sorted(int(match[1]) for key in state if (match := re.fullmatch(r"linear\.?(\d+)\.weight", key)))
    stem = "linear" if "linear1.weight" in state else "linear."
    layers = tuple((state[f"{stem}{n}.weight"], state[f"{stem}{n}.bias"]) for n in numbers)
    return Perceptron(layers, ACTIVATIONS[activation], activate_last)


def attach(
    unet: nn.Module, hypernetworks: Sequence[tuple[Hypernetwork, float]], device: torch.device | str = "cpu"
) -> nn.Module:
    """A copy of the UNet, sharing all tensors, whose attentions see context + weight * f(context) where there is an f
    for their width; with several hypernetworks one after the other. Takes the memory of the hypernetworks, on the
    `device` where the UNet will be called: it may be elsewhere until then."""
    unet = variant(unet, {})
    like = torch.empty(0, dtype=next(unet.parameters()).dtype, device=device)
    for hypernetwork, weight in hypernetworks:
        for width, networks in hypernetwork.items():
            keys, values = (network.like(like) for network in networks)
            for part in attentions(unet):
                if part.to_k.in_features == width:
                    part.to_k.register_forward_pre_hook(before(keys, weight))
                    part.to_v.register_forward_pre_hook(before(values, weight))
    return unet


def attentions(unet: nn.Module) -> list[nn.Module]:
    return [part for part in unet.modules() if hasattr(part, "to_k") and hasattr(part, "to_v")]


def before(network: Perceptron, weight: float) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
    return lambda module, inputs: inputs[0] + weight * network(inputs[0])
