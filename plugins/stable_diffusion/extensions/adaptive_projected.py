"""Guidance without the harsh colours of a high cfg_scale: Sadat et al. (2024), Eliminating Oversaturation and Artifacts
of High Guidance Scales in Diffusion Models, algorithm 1."""

import torch

from ..extending import guidance, param
from ..guidance import Evaluation


@guidance(
    "adaptive projected",
    eta=param(0.0, ge=0, le=1, step=0.05, help="How much of what makes colours harsh is left: 1 is all, 0 nothing."),
    norm=param(15.0, ge=0, le=1000, help="Longest step away from the negative prompt. 0 is without a limit."),
    momentum=param(-0.5, ge=-1, le=1, step=0.05, help="How much of the steps before is added; below 0 taken away."),
)
def adaptive_projected(e: Evaluation, eta: float, norm: float, momentum: float) -> torch.Tensor:
    """The paper's D(z; c) + (w - 1) * delta, with delta of a bounded length and mostly across D(z; c)."""
    delta = (e.guided - e.plain) / (e.scale - 1)  # D(z; c) - D(z), also for prompts of several parts
    delta = e.memory["delta"] = delta + momentum * e.memory.get("delta", 0)
    if norm:
        delta = delta * (norm / max(norm, delta.norm().item()))
    along = e.plain / e.plain.norm()
    parallel = (delta * along).sum() * along
    return e.plain + (e.scale - 1) * (delta - parallel + eta * parallel)
