"""What each evaluation is guided by: prompts that change on the way, several of them at once, and how they add up."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .conditioning import Condition

Scheduled = list[tuple[int, Condition]]  # each until and including an evaluation, counted from 0


class Term(NamedTuple):
    """A condition whose estimate counts."""

    weight: float  # in the sum of guidance
    plain: float  # in that sum with a scale of 1
    condition: Condition


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

    def terms(self, evaluation: int, scale: float, whole: bool = False) -> list[Term]:
        """Guidance as a sum of weighted estimates: D = D_u + scale * sum_i w_i * (D_i - D_u).

        Classifier-free guidance (Ho & Salimans 2022, eq. 6), with several conditions as in Liu et al. 2022
        (Compositional Visual Generation, eq. 11). Terms of weight 0 are left out unless the `whole` is wanted: scale 1
        costs one row of the UNet instead of two. The terms after those of the parts are the negative prompt's.

        With a picture_scale s_I: D = D_0 + s_I * (D_u - D_0) + scale * sum_i w_i * (D_i - D_u), where D_0 is the
        negative prompt's without a picture: InstructPix2Pix (Brooks et al. 2023), eq. 3."""
        told, scale = (scale, 1.0) if self.distilled else (None, scale)
        picture_scale = 1.0 if self.picture_scale is None else self.picture_scale
        negative, weights = current(self.negative, evaluation), [weight for weight, _ in self.parts]
        terms = [Term(scale * weight, weight, current(part, evaluation)) for weight, part in self.parts]
        terms.append(Term(picture_scale - sum(scale * weight for weight in weights), 1 - sum(weights), negative))
        terms = [term._replace(condition=replace(term.condition, channels=self.shown, scale=told)) for term in terms]
        if self.picture_scale is not None:
            blind = replace(negative, channels=torch.zeros_like(self.shown), scale=told)
            terms.append(Term(1 - picture_scale, 0.0, blind))
        return [term for term in terms if term.weight or (whole and term.plain)] or terms[-1:]


@dataclass(eq=False)
class Evaluation:
    """All that a guidance may want to know: what the model said, once for each term, and what it was asked.

    `estimates` (n, C, h, w) of the latents without noise, `x` (1, C, h, w) with noise of the level `sigma` (1,), all
    float32. `scale` is the cfg_scale. `done`, 0 to 1, is the share of the run before this evaluation. `memory` is what
    the evaluations of one run keep for each other, empty at the first."""

    terms: list[Term]
    estimates: Tensor
    x: Tensor
    sigma: Tensor
    scale: float
    done: float
    memory: dict[str, Any]

    @property
    def guided(self) -> Tensor:
        """The estimate of classifier-free guidance, (1, C, h, w)."""
        return combined(self.estimates, [term.weight for term in self.terms])

    @property
    def plain(self) -> Tensor:
        """What it is with a scale of 1: that of the prompt alone, (1, C, h, w)."""
        return combined(self.estimates, [term.plain for term in self.terms])


def current(scheduled: Scheduled, evaluation: int) -> Condition:
    """The condition of an evaluation, counted from 0; after the last one it stays."""
    return next((condition for until, condition in scheduled if evaluation <= until), scheduled[-1][1])


def combined(estimates: Tensor, weights: list[float]) -> Tensor:
    """The weighted sum of n estimates (n, C, h, w): (1, C, h, w)."""
    # A tensor of the weights would have to be sent to the device, which waits for all that it is still doing.
    return sum(weight * each for weight, each in zip(weights, estimates.split(1), strict=True))


def rescaled(guided: Tensor, plain: Tensor, amount: float, x: Tensor, sigma: Tensor) -> Tensor:
    """The `guided` estimate, its contrast taken back to that of the `plain` one: Lin et al. 2023 (Common Diffusion
    Noise Schedules and Sample Steps are Flawed), eq. 14 to 16, with phi = `amount`, on the v-prediction as there."""
    to_v = (1 + sigma**2) ** 0.5 / sigma
    v_x = x / (sigma * (1 + sigma**2) ** 0.5)
    v_cfg, v_pos = v_x - guided * to_v, v_x - plain * to_v
    v_rescaled = v_cfg * (v_pos.std() / v_cfg.std())
    return (v_x - (amount * v_rescaled + (1 - amount) * v_cfg)) / to_v
