"""The random numbers of one image."""

from collections.abc import Callable

import torch
from k_diffusion.sampling import BatchedBrownianTree
from torch import Tensor

from .philox import Philox
from .randomness import torchsde_draws

Draw = Callable[[tuple[int, ...]], Tensor]  # the next float32 normal numbers of a shape


def generator(source: str, seed: int, device: str = "cpu") -> Draw:
    """Where numbers come from. CPU: torch's on the CPU. GPU: torch's on `device`. NV: those of an NVIDIA card.

    torch on a CPU uses the lower 32 bits of a seed, the others 64."""
    if source == "NV":
        philox = Philox(seed)
        return lambda shape: torch.from_numpy(philox.normal(shape))
    device = device if source == "GPU" else "cpu"
    torchs = torch.Generator(device).manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=torchs, device=device)


class Noise:
    """Calls give float32 normal noise of `shape` (1, C, h, w) on `device`, one after the other from the image's own
    generator. With source CPU or NV, a seed means the same on every device; in every batch it does with all three.

    variation: (seed, strength), mixes the first noise with that of another seed. resize_from: (h, w), the first noise
    is that of latents of this size, in the middle of the picture. ensd: what comes after the first noise is that of
    seed + ensd. All as A1111 has them."""

    def __init__(
        self,
        seed: int,
        shape: tuple[int, ...],
        device: str,
        source: str = "CPU",
        variation: tuple[int, float] | None = None,
        resize_from: tuple[int, int] | None = None,
        ensd: int = 0,
    ):
        self._seed, self._shape, self._device, self._source = seed, tuple(shape), device, source
        self._variation, self._ensd = variation, ensd
        self._small = (*self._shape[:-2], *(resize_from or self._shape[-2:]))
        self._draw = generator(source, seed, device)
        self._first = True

    def __call__(self, *sigmas: Tensor) -> Tensor:
        """The next noise. k-diffusion's samplers pass the noise levels of the step, which do not matter here."""
        if not self._first:
            return self._draw(self._shape).to(self._device)
        self._first = False
        noise = self._first_noise()
        if self._ensd:
            self._draw = generator(self._source, self._seed + self._ensd, self._device)
        return noise.to(self._device)

    def _first_noise(self) -> Tensor:
        resized = self._small != self._shape
        noise = (generator(self._source, self._seed, self._device) if resized else self._draw)(self._small)
        if self._variation and self._variation[1]:
            seed, strength = self._variation
            noise = slerp(strength, noise, generator(self._source, seed, self._device)(self._small))
        return centred(noise, self._draw(self._shape)) if resized else noise

    def brownian(self, sigmas: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The noise of one Brownian motion between the largest and the smallest level above zero: float32 (1, C, h, w)
        for a step from one level to another, of variance 1, whatever the steps before it were."""
        low, high = sigmas[sigmas > 0].min().item(), sigmas.max().item()
        size = torch.zeros(self._shape, device=self._device if self._source == "GPU" else "cpu")
        tree = None

        def noise(sigma: Tensor, sigma_next: Tensor) -> Tensor:
            nonlocal tree
            with torchsde_draws(lambda seed, shape: generator(self._source, seed, self._device)(shape)):
                tree = tree or BatchedBrownianTree(size, low, high, seed=[self._seed])  # one level needs no tree
                # The tree keeps six digits of its ends, and the samplers round, too: it warns of what is outside.
                times = (min(max(t.item(), round(low, 6)), round(high, 6)) for t in (sigma, sigma_next))
                return tree(*times).to(self._device) / (sigma_next - sigma).abs().sqrt()

        return noise


def slerp(strength: float, low: Tensor, high: Tensor) -> Tensor:
    """From `low` to `high` on an arc, (..., h, w). As A1111's: each column of h numbers is a vector of its own, and
    alike ones are mixed the other way round, which can only be seen in latents of a row or two."""
    cosine = ((low / low.norm(dim=-2, keepdim=True)) * (high / high.norm(dim=-2, keepdim=True))).sum(-2, keepdim=True)
    if cosine.mean() > 0.9995:
        return strength * low + (1 - strength) * high
    angle = torch.acos(cosine.clamp(-1, 1))
    ways = torch.sin((1 - strength) * angle) / torch.sin(angle), torch.sin(strength * angle) / torch.sin(angle)
    # Columns that are parallel (all are, in latents of one row) have no arc; A1111's are lost here.
    arc = torch.sin(angle).abs() > 1e-3
    return torch.where(arc, ways[0], 1 - strength) * low + torch.where(arc, ways[1], strength) * high


def centred(noise: Tensor, canvas: Tensor) -> Tensor:
    """`canvas` with `noise` in its middle, cut where it is larger. Rounds as A1111 does."""
    canvas = canvas.clone()
    (above, rows), (left, columns) = (
        ((have - want) // 2, want) for have, want in zip(canvas.shape[-2:], noise.shape[-2:], strict=True)
    )
    rows, columns = rows + 2 * min(above, 0), columns + 2 * min(left, 0)
    part = noise[..., max(-above, 0) :, max(-left, 0) :][..., :rows, :columns]
    canvas[..., max(above, 0) :, max(left, 0) :][..., :rows, :columns] = part
    return canvas
