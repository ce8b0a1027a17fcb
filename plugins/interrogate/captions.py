"""How a picture becomes a sentence: BLIP."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.plugin import Context, Image

from . import folders
from .pictures import normalised, on_white

if TYPE_CHECKING:
    from . import InterrogateParams


class Captioner:
    """Li et al. (2022), BLIP: Bootstrapping Language-Image Pre-training."""

    def __init__(self, name: str, path: Path, device: str):
        from transformers import BlipForConditionalGeneration

        folders.check_config("captioner", name, path, "blip", "BLIP")
        self._tokenizer = folders.tokenizer("captioner", name, path)
        self._network = folders.network("captioner", name, path, BlipForConditionalGeneration, device)
        self._side = self._network.config.vision_config.image_size
        self._normal = folders.mean_and_std(path)

    def caption(self, image: Image, params: "InterrogateParams", ctx: Context) -> str:
        import torch
        from transformers import StoppingCriteriaList

        picture = on_white(image).resize((self._side, self._side), 3)  # BLIP does not keep proportions
        pixels = normalised(picture, *self._normal).to(self._network.device, self._network.dtype)
        start = None
        if params.caption_start:
            start = self._tokenizer(params.caption_start, return_tensors="pt")["input_ids"].to(pixels.device)
        told = 0

        def told_and_stopped(ids, scores, **_):
            nonlocal told
            told += 1
            ctx.progress(min(told, params.longest), params.longest, "caption")
            return torch.full((len(ids),), ctx.cancelled, device=ids.device)

        ctx.progress(0, params.longest, "caption")
        with torch.inference_mode():
            ids = self._network.generate(
                pixels,
                start,
                max_new_tokens=max(params.longest, params.shortest),
                min_new_tokens=params.shortest,
                num_beams=params.beams,
                do_sample=False,
                stopping_criteria=StoppingCriteriaList([told_and_stopped]),
            )
        if not ctx.keep_partial:
            ctx.raise_if_cancelled()
        return self._tokenizer.decode(ids[0], skip_special_tokens=True).strip()
