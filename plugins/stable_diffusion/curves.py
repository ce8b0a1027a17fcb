"""How strongly each round of a loopback redraws the picture of the round before."""

import math

CURVES = {
    "linear": lambda progress: progress,
    "aggressive": lambda progress: math.sin(progress * math.pi / 2),  # most of the way in the first rounds
    "lazy": lambda progress: 1 - math.cos(progress * math.pi / 2),  # most of it in the last ones
}


def loopback_strength(initial: float, final: float, loop: int, loops: int, curve: str) -> float:
    """The denoising strength of round `loop` (from 0) of `loops`: from `initial` in the first to `final` in the last.

    The curves are A1111's. A single round has the initial strength."""
    progress = loop / (loops - 1) if loops > 1 else 0.0
    return initial + (final - initial) * CURVES[curve](progress)
