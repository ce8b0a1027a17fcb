"""The network as a denoiser D(x; sigma), for many images in one call."""

import inspect
import math
from dataclasses import dataclass

import torch
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from k_diffusion.external import DiscreteEpsDDPMDenoiser, DiscreteVDDPMDenoiser
from torch import Tensor

from .compiling import Compiled
from .conditioning import Condition
from .controls import residuals
from .placement import Placement

LONGER = 2  # times as long a context costs less than a call of its own
PREDICTIONS = {"epsilon": DiscreteEpsDDPMDenoiser, "v_prediction": DiscreteVDDPMDenoiser}


@dataclass(eq=False)
class Ask:
    """One image wants to be denoised, once under each condition: x float32 (1, C, h, w), sigma float32 (1,). The
    conditions' numbers of tokens may differ."""

    x: Tensor
    sigma: Tensor
    conditions: list[Condition]


class Denoiser:
    """`levels` are the noise levels the network was trained on, from its alphas_cumprod, float32 (1000,); `dtype` is
    that of the network, `architecture` the same number for networks of one structure.

    Preconditioning is that of k-diffusion: Karras et al. (2022), table 1, column VP for eps prediction."""

    def __init__(
        self, unet: UNet2DConditionModel, alphas_cumprod: Tensor, prediction: str, placement: Placement,
        compiled: Compiled | None = None,
    ):  # fmt: skip
        # A schedule with zero terminal SNR ends at sigma = infinity; 2**-24 makes that 4096.
        alphas = alphas_cumprod.clamp(min=2**-24).to(placement.device)
        self.architecture = hash(str(sorted((key, str(value)) for key, value in unet.config.items() if key[0] != "_")))
        self.dtype = dtype = unet.dtype  # diffusers walks through all modules for it, which takes a millisecond
        for processor in {type(processor) for processor in unet.attn_processors.values()}:
            # diffusers asks for it in each attention of each call; remembered, a step takes half a millisecond less.
            processor.__call__.__signature__ = inspect.signature(processor.__call__)

        def predict(x: Tensor, t: Tensor, rows: list[Condition]) -> Tensor:  # no method: a circle would keep the UNet
            x, context, told = x.to(dtype), torch.cat([row.context for row in rows]), added(rows)
            guiding = list({control.network: None for row in rows for control in row.controls})
            with placement.present(unet, *guiding) as (net, *here):
                controls, here = [row.controls for row in rows], dict(zip(guiding, here, strict=True))
                more = residuals(controls, here, x, t, context, told)
                if rows[0].pictures is not None:
                    told = (told or {}) | {"image_embeds": [torch.cat([row.pictures for row in rows]).to(context)]}
                if rows[0].channels is not None:
                    x = torch.cat([x, torch.cat([row.channels for row in rows]).to(x)], 1)
                if rows[0].scale is not None:
                    scales = torch.tensor([row.scale for row in rows], device=x.device)
                    more["timestep_cond"] = embedded(scales, unet.config.time_cond_proj_dim).to(dtype)
                if compiled and net is unet:  # a twin, whose weights come and go, stays as it is
                    return compiled(net, x, t, context, added_cond_kwargs=told, **more).sample.float()
                return net(x, t, context, added_cond_kwargs=told, **more).sample.float()

        self.levels = PREDICTIONS[prediction](predict, alphas, quantize=False)

    def denoise(self, asks: list[Ask]) -> list[Tensor]:
        """Estimates of the latents without noise, for each ask float32 (n, C, h, w) with n its number of conditions.

        All x must have one shape. Contexts are repeated to their least common multiple; where that is much longer than
        the longest, to the longest if it is a multiple, and the others are run for themselves."""
        conditions = [condition for ask in asks for condition in ask.conditions]
        lengths = {condition.tokens for condition in conditions}
        longest, common = max(lengths), math.lcm(*lengths)
        length = common if common <= LONGER * longest else longest
        conditions = [condition.repeated(length) for condition in conditions]
        x = torch.cat([ask.x for ask in asks for _ in ask.conditions])
        sigma = torch.cat([ask.sigma for ask in asks for _ in ask.conditions])
        lengths = {condition.tokens for condition in conditions}
        if len(lengths) == 1:
            denoised = self.levels(x, sigma, rows=conditions)
        else:
            denoised = torch.empty_like(x)
            for length in lengths:
                at = [row for row, condition in enumerate(conditions) if condition.tokens == length]
                denoised[at] = self.levels(x[at], sigma[at], rows=[conditions[row] for row in at])
        return list(denoised.split([len(ask.conditions) for ask in asks]))


def embedded(scales: Tensor, width: int) -> Tensor:
    """How a UNet that was distilled with guidance is told its scales (n,): float32 (n, width).

    Luo et al. (2023), Latent Consistency Models, section 4.3, with their w = scale - 1."""
    return get_timestep_embedding(scales - 1, width, downscale_freq_shift=1, scale=1000)


def added(rows: list[Condition]) -> dict[str, Tensor] | None:
    """What Stable Diffusion XL is told besides the context, in the words of diffusers."""
    if rows[0].sizes is None:
        return None
    pooled, sizes = torch.cat([row.pooled for row in rows]), torch.cat([row.sizes for row in rows])
    return {"text_embeds": pooled, "time_ids": sizes.to(pooled.device)}
