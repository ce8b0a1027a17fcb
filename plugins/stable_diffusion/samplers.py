"""How one image goes from noise to picture: k-diffusion's own sampler functions by the names people know."""

import inspect
from collections.abc import Callable
from typing import Any

from k_diffusion.sampling import sample_dpmpp_2m, sample_euler, sample_euler_ancestral
from torch import Tensor

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "Euler": sample_euler,
    "Euler a": sample_euler_ancestral,
    "DPM++ 2M": sample_dpmpp_2m,
}


def sample(
    name: str,
    denoise: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Tensor,
    noise: Callable[..., Tensor],
    callback: Callable[[dict[str, Any]], None],
) -> Tensor:
    """The latents at the end of `sigmas`, begun at `x` = latents + noise * sigmas[0], float32 (1, C, h, w).

    `denoise(x, sigma)` estimates the latents without noise. `callback` hears k-diffusion's dict after each
    evaluation: "i" the step, "denoised" that estimate. Ancestral samplers take their fresh noise from `noise`."""
    function = SAMPLERS[name]
    options = {"noise_sampler": noise} if "noise_sampler" in inspect.signature(function).parameters else {}
    return function(denoise, x, sigmas, callback=callback, disable=True, **options)
