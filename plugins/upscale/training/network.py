"""The network: Compact of Real-ESRGAN (SRVGGNet), small. Its keys and shapes are those that spandrel reads."""

import torch
from torch import nn

FEATURES, LAYERS, SCALE = 32, 8, 4


class Compact(nn.Module):
    """(B, 3, H, W) in 0..1 to (B, 3, 4 H, 4 W): each pixel made 16, plus what the convolutions say about them."""

    def __init__(self):
        super().__init__()
        body = [nn.Conv2d(3, FEATURES, 3, padding=1), nn.PReLU(FEATURES)]
        for _ in range(LAYERS):
            body += [nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.PReLU(FEATURES)]
        body.append(nn.Conv2d(FEATURES, 3 * SCALE**2, 3, padding=1))
        self.body = nn.Sequential(*body)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        change = nn.functional.pixel_shuffle(self.body(small), SCALE)
        return change + nn.functional.interpolate(small, scale_factor=SCALE, mode="nearest")
