"""How one image goes from noise to picture: k-diffusion's sampler functions and our own, by the names people know."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from k_diffusion import sampling
from torch import Tensor

from .names import EXTENSIONS, SECOND_ORDER
from .noise import Noise
from .randomness import k_diffusion_draws
from .restart import restart, restart_steps
from .solvers import dpm_adaptive, dpm_fast, lcm, plms
from .unipc import unipc

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Euler": sampling.sample_euler,
    "Euler a": sampling.sample_euler_ancestral,
    "Heun": sampling.sample_heun,
    "LMS": sampling.sample_lms,
    "DPM2": sampling.sample_dpm_2,
    "DPM2 a": sampling.sample_dpm_2_ancestral,
    "DPM fast": dpm_fast,
    "DPM adaptive": dpm_adaptive,
    "DPM++ 2S a": sampling.sample_dpmpp_2s_ancestral,
    "DPM++ SDE": sampling.sample_dpmpp_sde,
    "DPM++ 2M": sampling.sample_dpmpp_2m,
    "DPM++ 2M SDE": sampling.sample_dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": partial(sampling.sample_dpmpp_2m_sde, solver_type="heun"),
    "DPM++ 3M SDE": sampling.sample_dpmpp_3m_sde,
    # Song et al. (2021), eq. 12 with sigma_t(eta) of eq. 16, is ancestral Euler when divided by sqrt(alpha_bar).
    "DDIM": sampling.sample_euler_ancestral,
    "PLMS": plms,
    "UniPC": unipc,
    "LCM": lcm,
    "Restart": restart,
}
BROWNIAN = frozenset({"DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"})
TWO_A_STEP = SECOND_ORDER - {"Restart"}  # but to no noise at all, one


@dataclass(frozen=True)
class SamplerOptions:
    """What A1111 lets people change. A sampler that does not know an option goes without it.

    eta: how much fresh noise, None is 0 for DDIM and 1 for the others that take it (so DPM fast and DPM adaptive, too).
    s_churn, s_tmin, s_tmax, s_noise: Karras et al. (2022), algorithm 2; s_noise also scales other fresh noise, and
    s_tmax 0 means no bound."""

    eta: float | None = None
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0
    more: Mapping[str, Any] = field(default_factory=dict)  # of a sampler of the user's own


DEFAULTS = SamplerOptions()


def sample(
    name: str,
    denoise: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Tensor,
    noise: Noise | None,
    callback: Callable[[dict[str, Any]], None],
    options: SamplerOptions = DEFAULTS,
) -> Tensor:
    """The latents at the end of `sigmas`, begun at `x` = latents + noise * sigmas[0], float32 (1, C, h, w).

    `denoise(x, sigma)` estimates the latents without noise. `callback` hears k-diffusion's dict once a step: "i" the
    step, from 0 to len(sigmas) - 2, "denoised" that estimate. All fresh noise comes from `noise`; only samplers
    that take none do without."""
    extension = EXTENSIONS.get(("sampler", name))
    function = extension.load() if extension else FUNCTIONS[name]
    if name in BROWNIAN and len(sigmas) == 2 and sigmas[1] == 0:
        function = sampling.sample_dpmpp_2m  # a step to no noise is the same for all; alone, it makes theirs crash
    given = {
        "callback": callback,
        "disable": True,
        "noise_sampler": noise.brownian(sigmas) if name in BROWNIAN and noise else noise,
        "eta": (0.0 if name == "DDIM" else 1.0) if options.eta is None else options.eta,
        "s_churn": options.s_churn,
        "s_tmin": options.s_tmin,
        "s_tmax": options.s_tmax or math.inf,
        "s_noise": options.s_noise,
        **options.more,
    }
    known = inspect.signature(function).parameters
    with k_diffusion_draws(noise):
        latents = function(denoise, x, sigmas, **{option: value for option, value in given.items() if option in known})
    if extension and getattr(latents, "shape", None) != x.shape:
        raise extension.wrong(f"{extension.function} must return a tensor of shape {tuple(x.shape)}")
    return latents


def evaluations(name: str, sigmas: Tensor) -> int:
    """How often `sample` will call the denoiser: how often it did for pictures at cfg_scale 7, in the case of DPM
    adaptive, which takes as many as it needs."""
    steps, noisy = len(sigmas) - 1, int((sigmas[1:] > 0).sum())
    if name == "DPM adaptive":
        return max(1, 3 * math.ceil(4 * math.log(sigmas[0] / sigmas[sigmas > 0][-1])))
    if name == "PLMS":
        return steps + min(noisy, 1)
    if name == "Restart":
        return steps + sum(bool(sigma_next > 0) for _, sigma_next in restart_steps(sigmas))
    return steps + noisy if name in TWO_A_STEP else steps
