"""What ControlNets tell the UNet, for rows that different ones guide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

FALLOFF = 0.825  # from one of the outputs to the one before it, where the prompt counts more


@dataclass(frozen=True, eq=False)
class Control:
    """What guides one row of the UNet: a ControlNet, and the `hint` that it is shown, (1, 3, H, W) in its dtype.
    `soft`: what it says about fine detail counts less, its earlier outputs therefore."""

    network: ControlNetModel
    hint: Tensor
    weight: float
    soft: bool = False

    def scales(self, outputs: int) -> list[float]:
        """How much each of the outputs counts, that of the block in the middle last."""
        return [self.weight * (FALLOFF ** (outputs - 1 - k) if self.soft else 1.0) for k in range(outputs)]


def residuals(
    rows: Sequence[Sequence[Control]], here: Mapping[ControlNetModel, ControlNetModel],
    x: Tensor, t: Tensor, context: Tensor, added: Mapping[str, Tensor] | None = None,
) -> dict[str, list[Tensor] | Tensor]:  # fmt: skip
    """What the UNet takes for `rows` that some ControlNets guide: the sum of their outputs, each computed once for all
    rows that it guides; zeros for the others. Empty if there is none. `here` is what to call for each network.

    x (n, 4, h, w), t (n,), context (n, tokens, D) and what is `added` are what the UNet gets."""
    groups: dict[tuple[ControlNetModel, int], list[tuple[int, Control]]] = {}
    for row, controls in enumerate(rows):
        times: dict[ControlNetModel, int] = {}  # a row may have the same network twice
        for control in controls:
            times[control.network] = times.get(control.network, 0) + 1
            groups.setdefault((control.network, times[control.network]), []).append((row, control))
    total: list[Tensor] = []
    for (network, _), guided in groups.items():
        at = None if len(guided) == len(rows) else torch.tensor([row for row, _ in guided], device=x.device)
        down, middle = here[network](
            of(x, at), of(t, at), of(context, at), torch.cat([control.hint for _, control in guided]),
            added_cond_kwargs={key: of(value, at) for key, value in (added or {}).items()}, return_dict=False,
        )  # fmt: skip
        outputs = [*down, middle]
        scales = x.new_tensor([control.scales(len(outputs)) for _, control in guided])
        weighted = [output * scales[:, k, None, None, None] for k, output in enumerate(outputs)]
        spread = weighted if at is None else [spread_out(output, at, len(rows)) for output in weighted]
        total = [one + other for one, other in zip(total, spread, strict=True)] if total else spread
    if not total:
        return {}
    return {"down_block_additional_residuals": total[:-1], "mid_block_additional_residual": total[-1]}


def of(values: Tensor, rows: Tensor | None) -> Tensor:
    """Some of the rows, or all."""
    return values if rows is None else values[rows]


def spread_out(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """The values at these of `count` rows, zeros at the others."""
    return values.new_zeros(count, *values.shape[1:]).index_copy(0, rows, values)
