"""The network as a denoiser D(x; sigma), for many images in one call."""

from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from k_diffusion.external import DiscreteEpsDDPMDenoiser, DiscreteVDDPMDenoiser
from torch import Tensor

PREDICTIONS = {"epsilon": DiscreteEpsDDPMDenoiser, "v_prediction": DiscreteVDDPMDenoiser}


@dataclass(eq=False)
class Ask:
    """One image wants to be denoised, once for each context: x float32 (1, C, h, w), sigma float32 (1,), contexts
    (1, tokens, D), whose numbers of tokens may differ."""

    x: Tensor
    sigma: Tensor
    contexts: list[Tensor]

    @property
    def tokens(self) -> int:
        return max(context.shape[1] for context in self.contexts)


class Denoiser:
    """`levels` are the noise levels the network was trained on, from its alphas_cumprod, float32 (1000,).

    Preconditioning is that of k-diffusion: Karras et al. (2022), table 1, column VP for eps prediction."""

    def __init__(self, unet: UNet2DConditionModel, alphas_cumprod: Tensor, prediction: str):
        # A schedule with zero terminal SNR ends at sigma = infinity; 2**-24 makes that 4096.
        alphas = alphas_cumprod.clamp(min=2**-24).to(unet.device)

        def predict(x: Tensor, t: Tensor, context: Tensor) -> Tensor:  # no method: a circle would keep the UNet
            return unet(x.to(unet.dtype), t, context).sample.float()

        self.levels = PREDICTIONS[prediction](predict, alphas, quantize=False)

    def denoise(self, asks: list[Ask]) -> list[Tensor]:
        """Estimates of the latents without noise, for each ask float32 (n, C, h, w) with n its number of contexts.

        All x must have one shape. Contexts are repeated to the length of the longest where that is a multiple. The
        others are run for themselves."""
        longest = max(ask.tokens for ask in asks)
        contexts = [repeated(context, longest) for ask in asks for context in ask.contexts]
        x = torch.cat([ask.x for ask in asks for _ in ask.contexts])
        sigma = torch.cat([ask.sigma for ask in asks for _ in ask.contexts])
        denoised = torch.empty_like(x)
        for length in {context.shape[1] for context in contexts}:
            rows = [row for row, context in enumerate(contexts) if context.shape[1] == length]
            denoised[rows] = self.levels(x[rows], sigma[rows], context=torch.cat([contexts[row] for row in rows]))
        return list(denoised.split([len(ask.contexts) for ask in asks]))


def repeated(context: Tensor, length: int) -> Tensor:
    """The context (1, tokens, D) in a `length` that is a multiple of its own, else as it is. That changes nothing: a
    key that is there twice gets twice half the attention."""
    times, rest = divmod(length, context.shape[1])
    return context if rest else context.repeat(1, times, 1)
