"""Which noise levels a run goes through."""

import math
from collections.abc import Callable

import torch
from k_diffusion import sampling
from k_diffusion.external import DiscreteSchedule
from torch import Tensor

from core.plugin import InvalidParams

LEAVES_ONE_OUT = frozenset({"DPM2", "DPM2 a", "DPM++ 3M SDE"})  # the level before 0, as A1111 does
ENDS_MATTER = frozenset({"DPM fast", "DPM adaptive"})  # they choose what is between the largest and the smallest level
FROM_TIMESTEPS = frozenset({"DDIM", "PLMS", "UniPC", "LCM"})  # made for timesteps instead of noise levels
LCM_LEVELS = 50  # that an LCM was distilled on


def schedule_sigmas(
    name: str,
    levels: DiscreteSchedule,
    steps: int,
    sampler: str = "Euler",
    sigma_min: float = 0,
    sigma_max: float = 0,
    rho: float = 0,
) -> Tensor:
    """Noise levels for `steps` steps of `sampler`: float32 (steps + 1,), falling, last one 0.

    `levels` are those the model was trained on. sigma_min, sigma_max and rho shape karras, exponential, polyexponential
    and (but for rho) sgm uniform and beta; 0 stands for the model's own smallest and largest level, and for the
    schedule's own rho. All as A1111 has them.

    Raises InvalidParams if sigma_min is not below sigma_max, or if with these numbers the levels do not fall."""
    low, high = sigma_min or levels.sigma_min.item(), sigma_max or levels.sigma_max.item()
    if low >= high:
        message = f"sigma_min must be below sigma_max, got {low:g} and {high:g}."
        raise InvalidParams(message, field="sigma_min", hint="0 takes the model's own smallest and largest level.")
    if name == "automatic" and sampler in FROM_TIMESTEPS:
        name = "lcm" if sampler == "LCM" else "ddim"
    count = steps + (sampler in LEAVES_ONE_OUT)
    try:
        above = _FUNCTIONS[name](levels, count, low, high, rho)
    except OverflowError:
        above = levels.sigmas.new_tensor([math.inf])
    if not above.isfinite().all() or (above.diff(append=above.new_zeros(1)) >= 0).any():  # a step of 0 gives 0 / 0
        message = f"{name} makes no falling noise levels of sigma_min {low:g}, sigma_max {high:g} and rho {rho:g}."
        raise InvalidParams(message, field="sigma_min", hint="0 takes what is usual for each of them.")
    sigmas = sampling.append_zero(above)
    if sampler in LEAVES_ONE_OUT:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    if sampler in ENDS_MATTER and steps > 1:
        sigmas[-2] = min(low, sigmas[-2].item())  # where they stop: higher, they would leave noise in the picture
    return sigmas


def last_part(sigmas: Tensor, strength: float) -> Tensor:
    """The noise levels that img2img runs through, by A1111's rule: int(min(strength, 0.999) * steps) + 1 steps.

    So strength 0 still runs the last step, and strength 1 runs them all."""
    steps = len(sigmas) - 1
    return sigmas[steps - int(min(strength, 0.999) * steps) - 1 :]


def last_part_of(
    schedule: Callable[[int], Tensor], steps: int, strength: float, levels: int = 1000
) -> tuple[int, Tensor]:
    """The same with exactly `steps` steps, the last ones of int(steps / min(strength, 0.999)): how many these are, and
    the noise levels of the part. A1111's rule for hires fix, and for img2img if its steps are to be fixed.

    `schedule(n)` gives the noise levels for n steps. A model has only so many `levels`: with lower strengths than fit
    on them, 0 among them, the part is the end of the finest schedule."""
    finest = levels - 2  # none visited twice: ddim begins at level 1, and some samplers leave one out
    total = min(int(steps / max(min(strength, 0.999), steps / finest)), finest)
    return total, schedule(total)[-steps - 1 :]


def start(sampler: str, sigmas: Tensor) -> Tensor:
    """What txt2img multiplies its first noise with, to get x at sigmas[0].

    The samplers for timesteps begin at pure noise, of variance 1 in variance-preserving scale. The others are as in
    k-diffusion, which adds that noise to nothing. img2img always adds noise * sigmas[0] to its latents."""
    return (1 + sigmas[0] ** 2) ** 0.5 if sampler in FROM_TIMESTEPS else sigmas[0]


def _automatic(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Even in the timesteps, with both ends."""
    return levels.get_sigmas(steps)[:-1]


def _karras(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Karras et al. (2022), eq. 5."""
    return sampling.get_sigmas_karras(steps, low, high, rho=rho or 7.0, device=levels.sigmas.device)[:-1]


def _exponential(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Even in log sigma."""
    return sampling.get_sigmas_exponential(steps, low, high, device=levels.sigmas.device)[:-1]


def _polyexponential(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """A polynomial of degree rho in log sigma."""
    return sampling.get_sigmas_polyexponential(steps, low, high, rho=rho or 1.0, device=levels.sigmas.device)[:-1]


def _sgm_uniform(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Even in the timesteps, the last of which is left out: as Stability AI's generative models were sampled."""
    ends = levels.sigma_to_t(levels.sigmas.new_tensor([high, low])).tolist()
    return levels.t_to_sigma(torch.linspace(*ends, steps + 1, device=levels.sigmas.device)[:-1])


def _simple(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Every so manieth of the model's levels, from the largest on."""
    count = len(levels.sigmas)
    stride = count / steps  # rounded before it is multiplied, as in ComfyUI and A1111: in 38 steps it shows
    return levels.sigmas[[count - 1 - int(i * stride) for i in range(steps)]]


def _beta(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Lee et al. (2024), Beta Sampling is All You Need: many levels at both ends. In sigma, as A1111 and diffusers."""
    from scipy.stats import beta  # half a second, for those who ask for it

    quantiles = levels.sigmas.new_tensor([beta.ppf(1 - i / max(steps - 1, 1), 0.6, 0.6) for i in range(steps)])
    return low + quantiles * (high - low)


def _ddim(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Timesteps 1, 1 + k, 1 + 2k, ... with k = int(1000 / steps), as in CompVis' DDIM ("leading", offset 1).

    One step alone begins at the largest level: level 1 is nearly without noise, so nothing would be drawn."""
    timesteps = torch.arange(steps - 1, -1, -1) * (len(levels.sigmas) // steps) + 1
    return levels.sigmas[timesteps] if steps > 1 else levels.sigmas[-1:]


def _lcm(levels: DiscreteSchedule, steps: int, low: float, high: float, rho: float) -> Tensor:
    """Every so manieth of the 50 levels (19, 39, ..., 999) of latent consistency models, from the largest on; with
    more than 50 steps also what is between."""
    ranks = torch.arange(steps) * LCM_LEVELS / steps
    ranks = ranks.floor() if steps <= LCM_LEVELS else ranks
    last = len(levels.sigmas) - 1
    return levels.t_to_sigma((last - ranks * len(levels.sigmas) / LCM_LEVELS).to(levels.sigmas.device))


_FUNCTIONS = {
    "automatic": _automatic,
    "karras": _karras,
    "exponential": _exponential,
    "polyexponential": _polyexponential,
    "sgm uniform": _sgm_uniform,
    "simple": _simple,
    "beta": _beta,
    "ddim": _ddim,
    "lcm": _lcm,
}
