"""What each evaluation is guided by: prompts that change on the way, several of them at once, and how they add up."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .conditioning import Condition

Scheduled = list[tuple[int, Condition]]  # each until and including an evaluation, counted from 0
Terms = list[tuple[float, Condition]]  # with weights


@dataclass(eq=False)
class Conditions:
    """What the prompts of an image have become: weighted parts (those between AND), and the negative prompt.

    `shown` (1, C', h, w) is what the model sees beside the latents. `picture_scale` is how strictly a model that edits
    pictures follows it. `distilled`: the model is told the scale of guidance, and takes no negative prompt for it.
    `refined` is what the refiner is told, if there is one."""

    parts: list[tuple[float, Scheduled]]
    negative: Scheduled
    shown: Tensor | None = None
    picture_scale: float | None = None
    distilled: bool = False
    refined: "Conditions | None" = None

    def terms(self, evaluation: int, scale: float, whole: bool = False) -> Terms:
        """Guidance as a sum of weighted estimates: D = D_u + scale * sum_i w_i * (D_i - D_u).

        Classifier-free guidance (Ho & Salimans 2022, eq. 6), with several conditions as in Liu et al. 2022
        (Compositional Visual Generation, eq. 11). Terms of weight 0 are left out unless the `whole` is wanted: scale 1
        costs one row of the UNet instead of two. The terms after those of the parts are the negative prompt's.

        With a picture_scale s_I: D = D_0 + s_I * (D_u - D_0) + scale * sum_i w_i * (D_i - D_u), where D_0 is the
        negative prompt's without a picture: InstructPix2Pix (Brooks et al. 2023), eq. 3."""
        told, scale = (scale, 1.0) if self.distilled else (None, scale)
        negative = current(self.negative, evaluation)
        terms = [(scale * weight, current(scheduled, evaluation)) for weight, scheduled in self.parts]
        picture_scale = 1.0 if self.picture_scale is None else self.picture_scale
        terms.append((picture_scale - sum(weight for weight, _ in terms), negative))
        terms = [(weight, replace(condition, channels=self.shown, scale=told)) for weight, condition in terms]
        if self.picture_scale is not None:
            terms.append((1 - picture_scale, replace(negative, channels=torch.zeros_like(self.shown), scale=told)))
        return terms if whole else [term for term in terms if term[0]] or terms[-1:]


def current(scheduled: Scheduled, evaluation: int) -> Condition:
    """The condition of an evaluation, counted from 0; after the last one it stays."""
    return next((condition for until, condition in scheduled if evaluation <= until), scheduled[-1][1])


def combined(estimates: Tensor, weights: list[float]) -> Tensor:
    """The weighted sum of n estimates (n, C, h, w): (1, C, h, w)."""
    # A tensor of the weights would have to be sent to the device, which waits for all that it is still doing.
    return sum(weight * each for weight, each in zip(weights, estimates.split(1), strict=True))


def rescaled(estimates: Tensor, weights: list[float], scale: float, amount: float, x: Tensor, sigma: Tensor) -> Tensor:
    """`combined`, its contrast taken back to that without guidance: Lin et al. 2023 (Common Diffusion Noise Schedules
    and Sample Steps are Flawed), eq. 14 to 16, with phi = `amount`, done on the v-prediction as there."""
    parts = [weight / scale for weight in weights[:-1]]
    plain = combined(estimates, [*parts, 1 - sum(parts)])  # as with a scale of 1
    to_v = (1 + sigma**2) ** 0.5 / sigma
    v_x = x / (sigma * (1 + sigma**2) ** 0.5)
    v_cfg, v_pos = v_x - combined(estimates, weights) * to_v, v_x - plain * to_v
    v_rescaled = v_cfg * (v_pos.std() / v_cfg.std())
    return (v_x - (amount * v_rescaled + (1 - amount) * v_cfg)) / to_v
