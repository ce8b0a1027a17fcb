"""Samplers that k-diffusion does not have, or not for every schedule.

As k-diffusion's: `model(x, sigma)` is the denoiser D, x is (B, C, h, w) = latents + noise * sigma. A paper that is in
variance-preserving scale has x * sqrt(alpha_bar) instead, with alpha_bar = 1 / (1 + sigma^2); a step of DDIM,
sqrt(alpha_bar') * x0 + sqrt(1 - alpha_bar') * eps, then becomes x + eps * (sigma' - sigma)."""

import math
from collections.abc import Callable
from typing import Any

from k_diffusion.sampling import sample_dpm_adaptive, sample_dpm_fast, sample_euler, to_d
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[dict[str, Any]], None]


def plms(model: Denoise, x: Tensor, sigmas: Tensor, callback: Callback) -> Tensor:
    """Liu et al. (2022), Pseudo Numerical Methods for Diffusion Models: the linear multistep one, with the first step
    of Stable Diffusion's PLMS, improved Euler instead of Runge-Kutta."""
    ones, olds = x.new_ones(len(x)), []  # eps of the steps before, the latest first
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * ones)
        tell(callback, i, x, sigmas[i], denoised)
        eps, step = to_d(x, sigmas[i], denoised), sigmas[i + 1] - sigmas[i]
        if len(olds) == 3:
            mean = (55 * eps - 59 * olds[0] + 37 * olds[1] - 9 * olds[2]) / 24
        elif len(olds) == 2:
            mean = (23 * eps - 16 * olds[0] + 5 * olds[1]) / 12
        elif len(olds) == 1:
            mean = (3 * eps - olds[0]) / 2
        elif sigmas[i + 1] > 0:
            ahead = x + eps * step
            mean = (eps + to_d(ahead, sigmas[i + 1], model(ahead, sigmas[i + 1] * ones))) / 2
        else:
            mean = eps
        x = x + mean * step
        olds = [eps, *olds[:2]]
    return x


def lcm(
    model: Denoise, x: Tensor, sigmas: Tensor, callback: Callback, s_noise: float, noise_sampler: Callable[..., Tensor]
) -> Tensor:
    """Luo et al. (2023), Latent Consistency Models, algorithm 2: to the end at once, then back to the next level.

    Takes f(x, t) = D(x, sigma), as the paper's c_skip is below 0.0001 from timestep 5 on."""
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)))
        tell(callback, i, x, sigmas[i], denoised)
        x = denoised
        if sigmas[i + 1] > 0:
            x = x + noise_sampler(sigmas[i], sigmas[i + 1]) * s_noise * sigmas[i + 1]
    return x


def dpm_fast(
    model: Denoise,
    x: Tensor,
    sigmas: Tensor,
    callback: Callback,
    eta: float,
    s_noise: float,
    noise_sampler: Callable[..., Tensor],
) -> Tensor:
    """k-diffusion's DPM-Solver-Fast, with as many evaluations as there are steps, between the ends of `sigmas`."""
    high, low = _ends(sigmas)
    steps, asked = len(sigmas) - 1, -1
    if low == high:
        return sample_euler(model, x, sigmas, callback=callback, disable=True)

    def count(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return model(x, sigma)

    def told(step: dict[str, Any]) -> None:
        callback(step | {"i": asked})  # k-diffusion counts the steps of up to three evaluations

    options = {"eta": eta, "s_noise": s_noise, "noise_sampler": noise_sampler}
    return sample_dpm_fast(count, x, low, high, steps, callback=told, disable=True, **options)


def dpm_adaptive(
    model: Denoise,
    x: Tensor,
    sigmas: Tensor,
    callback: Callback,
    eta: float,
    s_noise: float,
    noise_sampler: Callable[..., Tensor],
) -> Tensor:
    """k-diffusion's DPM-Solver-23, which chooses its steps by the error, between the ends of `sigmas`.

    "i" tells how far it is, in steps of `sigmas`. Raises FloatingPointError if `model` answers with not-a-number, of
    which the search for a step would never end."""
    high, low = _ends(sigmas)
    if low == high:
        return sample_euler(model, x, sigmas, callback=callback, disable=True)

    def told(step: dict[str, Any]) -> None:
        if step["error"].isnan():
            raise FloatingPointError("the model answered with not-a-number.")
        done = math.log(high / step["sigma"].item()) / math.log(high / low)
        callback(step | {"i": round(done * (len(sigmas) - 2))})

    options = {"eta": eta, "s_noise": s_noise, "noise_sampler": noise_sampler}
    return sample_dpm_adaptive(model, x, low, high, callback=told, disable=True, **options)


def _ends(sigmas: Tensor) -> tuple[float, float]:
    """The largest level, and the smallest above 0."""
    return sigmas[0].item(), sigmas[sigmas > 0][-1].item()


def tell(callback: Callback, i: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> None:
    """After the first evaluation of step i, in k-diffusion's words."""
    callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
