"""What the tensors of one layer of a LoRA file add to that layer's weight: the formulas of each kind of network."""

from collections.abc import Callable, Mapping, Set
from typing import NamedTuple

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]  # one layer's, by the names that are used below


def low_rank(t: Tensors, W: Tensor) -> Tensor:
    """LoRA: B A (Hu et al. 2021, eq. 3). Of a convolution, A is one and B a 1x1 convolution (LoCon)."""
    if "mid" in t:
        return tucker(t["mid"], t["up"].flatten(1).T, t["down"].flatten(1))
    return t["up"].flatten(1) @ t["down"].flatten(1)


def tucker(core: Tensor, out: Tensor, into: Tensor) -> Tensor:
    """A convolution's weight (O, I, h, w) from a core (r, s, h, w) and factors (r, O) and (s, I)."""
    return torch.einsum("rshw, ro, si -> oihw", core, out, into)


def hadamard(t: Tensors, W: Tensor) -> Tensor:
    """LoHa: (B1 A1) * (B2 A2), elementwise (Hyeon-Woo et al. 2021, FedPara, propositions 1 and, with cores, 3)."""
    factors = [(t.get(f"hada_t{k}"), t[f"hada_w{k}_a"], t[f"hada_w{k}_b"]) for k in (1, 2)]
    first, second = (b @ a.flatten(1) if core is None else tucker(core, b, a) for core, b, a in factors)
    return first * second


def kronecker(t: Tensors, W: Tensor) -> Tensor:
    """LoKr: the Kronecker product of w1 and w2, each whole or of low rank (Yeh et al. 2023, LyCORIS)."""
    w1 = t["lokr_w1"] if "lokr_w1" in t else t["lokr_w1_a"] @ t["lokr_w1_b"]
    if "lokr_w2" in t:
        w2 = t["lokr_w2"]
    elif "lokr_t2" in t:
        w2 = tucker(t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"])
    else:
        w2 = t["lokr_w2_a"] @ t["lokr_w2_b"].flatten(1)
    w2 = w2.reshape(len(w2), -1, *W.shape[2:]).contiguous()  # torch.kron fails on what einsum returns
    return torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - 2)), w2)


def full(t: Tensors, W: Tensor) -> Tensor:
    return t["diff"]


def rescaled(t: Tensors, W: Tensor) -> Tensor:
    """(IA)^3: each output or input channel of W times 1 + weight (Liu et al. 2022, section 3.3)."""
    channels = [1] * W.ndim
    channels[1 if t["on_input"] else 0] = -1
    return W * t["weight"].reshape(channels)


def lokr_rank(t: Tensors) -> int | None:
    """None if both factors are whole: alpha then means nothing."""
    return next((len(t[name]) for name in ("lokr_w2_b", "lokr_w1_b") if name in t), None)


class Kind(NamedTuple):
    needs: str  # names of tensors
    may_have: str
    product: Callable[[Tensors, Tensor], Tensor]  # the change of W before scaling
    rank: Callable[[Tensors], int | None]  # what alpha is divided by


KINDS = (
    Kind("up down", "mid", low_rank, lambda t: len(t["down"])),
    Kind("hada_w1_a hada_w1_b hada_w2_a hada_w2_b", "", hadamard, lambda t: len(t["hada_w1_b"])),
    Kind("hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2", "", hadamard, lambda t: len(t["hada_w1_b"])),
    Kind("lokr_w1 lokr_w2", "", kronecker, lokr_rank),
    Kind("lokr_w1 lokr_w2_a lokr_w2_b", "lokr_t2", kronecker, lokr_rank),
    Kind("lokr_w1_a lokr_w1_b lokr_w2", "", kronecker, lokr_rank),
    Kind("lokr_w1_a lokr_w1_b lokr_w2_a lokr_w2_b", "lokr_t2", kronecker, lokr_rank),
    Kind("diff", "", full, lambda t: None),
    Kind("weight on_input", "", rescaled, lambda t: None),
)
NUMBERS = {"alpha", "on_input"}


def kind_of(names: Set[str]) -> Kind | None:
    """The kind of network that has tensors of these names in a layer, None if there is none."""
    for kind in KINDS:
        needs = set(kind.needs.split())
        if needs <= names <= needs | set(kind.may_have.split()) | {"alpha", "dora_scale"}:
            return kind
    return None


def delta(tensors: Tensors, W: Tensor) -> Tensor:
    """What one layer's tensors, at full strength, add to its weight W, float32 (O, I) or (O, I, h, w): float32 like W.

    Linear layers fit 1x1 convolutions and the other way round. RuntimeError if the shapes do not fit W."""
    kind = kind_of(tensors.keys())
    scale = 1.0
    if "alpha" in tensors and (rank := kind.rank(tensors)):
        scale = float(tensors["alpha"]) / rank
    wide = {name: tensor if name in NUMBERS else tensor.to(W) for name, tensor in tensors.items()}
    product = scale * kind.product(wide, W)
    if product.shape[0] != W.shape[0]:
        raise RuntimeError(f"{tuple(product.shape)} is not {tuple(W.shape)}")
    product = product.reshape(W.shape)
    return decomposed(W + product, wide["dora_scale"]) - W if "dora_scale" in wide else product


def decomposed(W: Tensor, magnitude: Tensor) -> Tensor:
    """DoRA: the directions of W with given lengths (Liu et al. 2024, eq. 5).

    Lengths are those of the output channels in what PEFT and newer LyCORIS write, (O,) or (O, 1, ...), and of the
    input channels, as in the paper, in what older LyCORIS wrote, (1, I, ...)."""
    channel = 0 if len(magnitude) == len(W) else 1
    length = torch.linalg.vector_norm(W, dim=[k for k in range(W.ndim) if k != channel], keepdim=True)
    return W * magnitude.reshape(length.shape) / length.clamp(min=torch.finfo(W.dtype).eps)
