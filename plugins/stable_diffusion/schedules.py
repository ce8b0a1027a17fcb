"""Which noise levels a run goes through."""

from k_diffusion.external import DiscreteSchedule
from k_diffusion.sampling import get_sigmas_karras
from torch import Tensor


def schedule_sigmas(name: str, levels: DiscreteSchedule, steps: int) -> Tensor:
    """Noise levels for `steps` steps: float32 (steps + 1,), falling, last one 0.

    automatic: even in the timesteps of the model's own `levels`. karras: Karras et al. (2022), eq. 5, with rho 7
    between the model's smallest and largest level. Both as A1111 has them."""
    if name == "karras":
        low, high = levels.sigma_min.item(), levels.sigma_max.item()
        return get_sigmas_karras(steps, low, high, rho=7.0, device=levels.sigmas.device)
    return levels.get_sigmas(steps)


def last_part(sigmas: Tensor, strength: float) -> Tensor:
    """The noise levels that img2img runs through, by A1111's rule: int(min(strength, 0.999) * steps) + 1 steps.

    So strength 0 still runs the last step, and strength 1 runs them all."""
    steps = len(sigmas) - 1
    return sigmas[steps - int(min(strength, 0.999) * steps) - 1 :]
