"""UniPC (Zhao et al. 2023): a multistep predictor whose next evaluation also corrects the step before it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from .solvers import Denoise, tell

ORDER = 3


def unipc(model: Denoise, x: Tensor, sigmas: Tensor, callback: Callable[[dict[str, Any]], None]) -> Tensor:
    """UniPC-3 with B1(h) = h, of lower order in the first steps and the last ones.

    Predicts data, where dividing x by alpha, as k-diffusion does, changes nothing but sigma. One evaluation a step."""
    levels = sigmas.tolist()
    points: list[tuple[float, Tensor]] = []  # sigma and D of the steps before, the latest first
    before, order = x, 0
    for i in range(len(levels) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)))
        tell(callback, i, x, sigmas[i], denoised)
        if i > 0:
            x = _step(before, points[:order], levels[i], denoised)
        points = [(levels[i], denoised), *points[: ORDER - 1]]
        order = min(ORDER, i + 1, len(levels) - 1 - i)
        before, x = x, _step(x, points[:order], levels[i + 1])
    return x


def _step(x: Tensor, points: list[tuple[float, Tensor]], sigma: float, there: Tensor | None = None) -> Tensor:
    """From the first of `points` to `sigma`: UniP, or UniC if `there` is D of what UniP said.

    x' = sigma'/sigma x + (1 - e^-h) D0 + h sum_k a_k (D_k - D0) / r_k, with h = log sigma/sigma'."""
    (here, first), others = points[0], points[1:]
    if sigma == 0:
        return first  # h is infinite; the order there is 1
    h = math.log(here / sigma)
    ratios = [math.log(here / level) / h for level, _ in others]
    differences = [(denoised - first) / r for r, (_, denoised) in zip(ratios, others, strict=True)]
    if there is not None:
        ratios, differences = [*ratios, 1.0], [*differences, there - first]
    x = (sigma / here) * x - math.expm1(-h) * first
    for weight, difference in zip(_weights(ratios, h), differences, strict=True):
        x = x + h * weight * difference
    return x


def _weights(ratios: list[float], h: float) -> list[float]:
    """The a_k that make the step right up to order len(ratios) + 1, theorem 3.1: for n = 0, 1, ...

    sum_k a_k r_k^n = (n + 1)! phi_(n+2)(-h), with phi_1(z) = (e^z - 1) / z and phi_(k+1)(z) = (phi_k(z) - 1/k!) / z.
    One alone is 1/2, to which the authors simplify it."""
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    phi, wanted = math.expm1(-h) / -h, []
    for n in range(len(ratios)):
        phi = (phi - 1 / math.factorial(n + 1)) / -h
        wanted.append(math.factorial(n + 1) * phi)
    return np.linalg.solve([[r**n for r in ratios] for n in range(len(ratios))], wanted).tolist()
