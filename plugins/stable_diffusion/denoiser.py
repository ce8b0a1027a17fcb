"""The network as a denoiser D(x; sigma), with guidance, for many images in one call."""

from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from k_diffusion.external import DiscreteEpsDDPMDenoiser, DiscreteVDDPMDenoiser
from torch import Tensor

PREDICTIONS = {"epsilon": DiscreteEpsDDPMDenoiser, "v_prediction": DiscreteVDDPMDenoiser}
Guidance = list[tuple[float, Tensor]]  # weights, and contexts (1, tokens, D)


def guide(cond: Tensor, uncond: Tensor, scale: float) -> Guidance:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6), D = D_uncond + scale * (D_cond - D_uncond), as a sum of
    weighted terms. Terms of weight 0 are left out: scale 1 costs one row of the UNet instead of two."""
    return [(weight, context) for weight, context in ((scale, cond), (1 - scale, uncond)) if weight]


@dataclass(eq=False)
class Ask:
    """One image wants to be denoised: x float32 (1, C, h, w), sigma float32 (1,)."""

    x: Tensor
    sigma: Tensor
    guidance: Guidance


class Denoiser:
    """`levels` are the noise levels the network was trained on, from its alphas_cumprod, float32 (1000,).

    Preconditioning is that of k-diffusion: Karras et al. (2022), table 1, column VP for eps prediction."""

    def __init__(self, unet: UNet2DConditionModel, alphas_cumprod: Tensor, prediction: str):
        self._unet = unet
        # A schedule with zero terminal SNR ends at sigma = infinity; 2**-24 makes that 4096.
        alphas = alphas_cumprod.clamp(min=2**-24).to(unet.device)
        self.levels = PREDICTIONS[prediction](self._predict, alphas, quantize=False)

    def _predict(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        return self._unet(x.to(self._unet.dtype), t, context).sample.float()

    def denoise(self, asks: list[Ask]) -> list[Tensor]:
        """Guided estimates of the latents without noise, each float32 (1, C, h, w), by one call of the UNet.

        All x must have one shape, and all contexts one number of tokens."""
        rows = [len(ask.guidance) for ask in asks]
        x = torch.cat([ask.x for ask in asks for _ in ask.guidance])
        sigma = torch.cat([ask.sigma for ask in asks for _ in ask.guidance])
        context = torch.cat([context for ask in asks for _, context in ask.guidance])
        weight = torch.tensor([weight for ask in asks for weight, _ in ask.guidance], device=x.device)
        denoised = weight[:, None, None, None] * self.levels(x, sigma, context=context)
        return [image.sum(0, keepdim=True) for image in denoised.split(rows)]
