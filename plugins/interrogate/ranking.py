"""How well a picture and words fit: CLIP."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.plugin import Context, Image

from . import folders
from .pictures import middle, normalised, on_white

if TYPE_CHECKING:
    from torch import Tensor

BATCH, REMEMBERED = 32, 20_000


class Ranker:
    """Radford et al. (2021), Learning Transferable Visual Models From Natural Language Supervision."""

    def __init__(self, name: str, path: Path, device: str):
        from transformers import CLIPModel

        folders.check_config("clip", name, path, "clip", "CLIP")
        self._tokenizer = folders.tokenizer("clip", name, path)
        self._network = folders.network("clip", name, path, CLIPModel, device)
        self._normal = folders.mean_and_std(path)
        self._side = self._network.config.vision_config.image_size
        self._tokens = self._network.config.text_config.max_position_embeddings
        self._known: dict[str, Tensor] = {}
        self.scale = float(self._network.logit_scale.detach().exp())  # of similarities, before the softmax

    def picture(self, image: Image) -> "Tensor":
        """(D,) float32 of length 1."""
        import torch

        pixels = normalised(middle(on_white(image), self._side), *self._normal)
        with torch.inference_mode():
            found = self._network.get_image_features(pixels.to(self._network.device, self._network.dtype))
        return _unit(found.pooler_output)[0]

    def texts(self, texts: Sequence[str], ctx: Context, keep: bool = False, phase: str = "") -> "Tensor":
        """(len(texts), D) float32 of length 1. Those to `keep` are known from then on."""
        import torch

        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = {}
        batch = BATCH // 4 if ctx.low_memory else BATCH
        for start in range(0, len(unknown), batch):
            ctx.raise_if_cancelled()
            some = unknown[start : start + batch]
            given = self._tokenizer(some, padding=True, truncation=True, max_length=self._tokens, return_tensors="pt")
            with torch.inference_mode():
                read = self._network.get_text_features(**given.to(self._network.device))
            found |= zip(some, _unit(read.pooler_output), strict=True)
            if phase:
                ctx.progress(start + len(some), len(unknown), phase)
        features = torch.stack([found[text] if text in found else self._known[text] for text in texts])
        if keep:
            self._known = found if len(self._known) + len(found) > REMEMBERED else self._known | found
        return features

    def fits(self, text: str) -> bool:
        """Whether CLIP reads all of it."""
        return len(self._tokenizer(text)["input_ids"]) <= self._tokens


def _unit(features: "Tensor") -> "Tensor":
    return (features / features.norm(dim=-1, keepdim=True)).float().cpu()
