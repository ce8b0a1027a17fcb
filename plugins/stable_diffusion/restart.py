"""Restart sampling (Xu et al. 2023): go back to more noise and solve that part again, so that errors are forgotten."""

from collections.abc import Callable
from typing import Any

import torch
from k_diffusion.sampling import get_sigmas_karras, to_d
from torch import Tensor

from .solvers import Denoise, tell

LOW, HIGH = 0.1, 2.0  # where the restarted part ends and begins, as A1111 has it


def restart(
    model: Denoise,
    x: Tensor,
    sigmas: Tensor,
    callback: Callable[[dict[str, Any]], None],
    s_noise: float,
    noise_sampler: Callable[..., Tensor],
) -> Tensor:
    """Algorithm 1 of the paper with Heun steps. Fresh noise of `noise_sampler` lifts x to the level of a restart."""
    here, ones = sigmas[0], x.new_ones(len(x))
    for i, (sigma, sigma_next) in enumerate(restart_steps(sigmas)):
        if sigma > here:
            x = x + noise_sampler(here, sigma) * s_noise * (sigma**2 - here**2) ** 0.5
        denoised = model(x, sigma * ones)
        tell(callback, i, x, sigma, denoised)
        d, dt = to_d(x, sigma, denoised), sigma_next - sigma
        if sigma_next > 0:
            ahead = x + d * dt
            d = (d + to_d(ahead, sigma_next, model(ahead, sigma_next * ones))) / 2
        x, here = x + d * dt, sigma_next
    return x


def restart_steps(sigmas: Tensor) -> list[tuple[Tensor, Tensor]]:
    """From which level to which each step goes, as many as `sigmas` has.

    By A1111's rule, from 20 steps on 9 of them are kept for one restart, from 36 on a quarter for each of two. The
    others are then Karras et al.'s between the ends of `sigmas`. Where there is less noise than that, none restarts."""
    steps = len(sigmas) - 1
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    if steps < 20:
        return _pairs(sigmas)
    main = get_sigmas_karras(steps - length * times, sigmas[-2].item(), sigmas[0].item(), device=sigmas.device)
    low, high = (int(torch.argmin(abs(main - level))) for level in (LOW, HIGH))
    if high >= low:
        return _pairs(sigmas)
    again = get_sigmas_karras(length + 1, main[low].item(), main[high].item(), device=sigmas.device)[:-1]
    return _pairs(main[: low + 1]) + _pairs(again) * times + _pairs(main[low:])


def _pairs(sigmas: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(sigmas[:-1], sigmas[1:], strict=True))
