"""How a prompt becomes what the UNet is told: the context that it attends to, and what else a kind of model wants."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from core.plugin import InvalidParams

from .chunks import Chunk, Chunks, Wording, split

if TYPE_CHECKING:
    from .controls import Control

ROWS = 32  # chunks that CLIP reads at once


@dataclass(frozen=True, eq=False)
class Condition:
    """What one row of the UNet is told besides noisy latents and their noise level, in the model's dtype.

    `context` (1, tokens, D) is what it attends to. `channels` (1, C', h, w) are what it is shown beside latents, see
    shown.py. `scale` is the cfg_scale, for a model that was distilled with guidance. `negative`: it comes from the
    negative prompt. `controls` are the ControlNets that guide it."""

    context: Tensor
    channels: Tensor | None = None
    scale: float | None = None
    negative: bool = False
    controls: "Sequence[Control]" = ()

    @property
    def tokens(self) -> int:
        return self.context.shape[1]

    def repeated(self, length: int) -> "Condition":
        """The same with a context of a `length` that is a multiple of its own, else as it is. That changes nothing: a
        key that is there twice gets twice half the attention."""
        times, rest = divmod(length, self.tokens)
        if rest or times == 1:
            return self
        return dataclasses.replace(self, context=self.context.repeat(1, times, 1))

    def mixed(self, other: "Condition", share: float) -> "Condition":
        """The condition of which `share`, 0 to 1, is the other's, with contexts of the least common multiple."""
        length = math.lcm(self.tokens, other.tokens)
        context = self.repeated(length).context.lerp(other.repeated(length).context, share)
        return dataclasses.replace(self, context=context)


class TextEncoder:
    """`clips` are the networks that read the same chunks: one in Stable Diffusion 1 and 2."""

    def __init__(self, tokenizer: CLIPTokenizer, clips: Sequence[CLIPTextModel]):
        (clip,) = clips
        self._tokenizer, self._clip = tokenizer, clip
        self._model = getattr(clip, "text_model", clip)  # older versions of transformers have one module more
        self._empty: dict[int, Tensor] = {}  # the context of an empty text, by clip_skip

    def chunks(self, text: str, wording: Wording, embeddings: Mapping[str, Tensor]) -> Chunks:
        """What `encode` takes. `embeddings`: vectors (n, D) by name; those that the text names are fetched.

        Raises InvalidParams if the wording or an embedding does not fit the model."""
        layers, width = self._clip.config.num_hidden_layers, self._clip.config.hidden_size
        if not 1 <= wording.clip_skip <= layers:
            raise InvalidParams(
                f"clip_skip must be from 1 to {layers}, got {wording.clip_skip}.",
                field="clip_skip",
                hint=f"This model's text encoder has {layers} layers; 1 takes the last one, 2 the one before.",
            )
        chunks = split(text, self._tokenizer, wording, Lengths(embeddings))
        if not chunks.embeddings:
            return chunks
        vectors = [embeddings[name] for name in chunks.embeddings]
        for name, vector in zip(chunks.embeddings, vectors, strict=True):
            if vector.shape[1] != width:
                raise InvalidParams(
                    f"embedding {name!r} is for another kind of model: its vectors have {vector.shape[1]} numbers, "
                    f"those of this model {width}.",
                    field="prompt",
                    hint="Leave it out of the prompt, or take a model that it was made for.",
                )
        return dataclasses.replace(chunks, vectors=torch.cat(vectors))

    def encode(self, prompts: list[Chunks]) -> list[Condition]:
        """What each prompt becomes, with a context (1, 77 * chunks, D). What one prompt gets does not depend on the
        others; the same object several times is read once."""
        different = {id(prompt): prompt for prompt in prompts}
        rows = [(prompt, chunk) for prompt in different.values() for chunk in prompt.chunks]
        contexts: Iterator[Tensor] = (
            context for k in range(0, len(rows), ROWS) for context in self._read(rows[k : k + ROWS])
        )
        read = {
            key: Condition(
                torch.cat([self._weighted(next(contexts), chunk, prompt.wording) for chunk in prompt.chunks])[None]
            )
            for key, prompt in different.items()
        }
        return [read[id(prompt)] for prompt in prompts]

    def _read(self, rows: list[tuple[Chunks, Chunk]]) -> Iterator[Tensor]:
        """The context (77, D) of each chunk, without emphasis."""
        ids = torch.tensor([chunk.ids for _, chunk in rows])
        beyond = ids - len(self._tokenizer)
        place = beyond >= 0
        vectors = [prompt.vectors[k[k >= 0]] for (prompt, _), k in zip(rows, beyond, strict=True) if (k >= 0).any()]
        ids, place = ids.masked_fill(place, 0).to(self._clip.device), place.to(self._clip.device)

        def put(embedding: torch.nn.Module, ids: tuple[Tensor], words: Tensor) -> Tensor:
            return words.index_put((place,), torch.cat(vectors).to(words)) if vectors else words

        with self._model.embeddings.token_embedding.register_forward_hook(put):
            output = self._clip(input_ids=ids, output_hidden_states=True)
        for k, (prompt, _) in enumerate(rows):
            if (skip := prompt.wording.clip_skip) == 1:
                yield output.last_hidden_state[k]
            else:
                yield self._model.final_layer_norm(output.hidden_states[-skip][k])

    def _weighted(self, z: Tensor, chunk: Chunk, wording: Wording) -> Tensor:
        if all(weight == 1 for weight in chunk.weights):
            return z
        empty = self._empty_context(wording.clip_skip) if wording.emphasis == "comfyui" else None
        return emphasised(z, torch.tensor(chunk.weights), wording.emphasis, empty)

    def _empty_context(self, clip_skip: int) -> Tensor:
        if clip_skip not in self._empty:
            chunks = self.chunks("", Wording(clip_skip=clip_skip), {})
            self._empty[clip_skip] = self.encode([chunks])[0].context[0]
        return self._empty[clip_skip]


def emphasised(z: Tensor, weights: Tensor, emphasis: str, empty: Tensor | None = None) -> Tensor:
    """The context z (77, D) of a chunk with the weights (77,) of its tokens, see `Wording`. `empty` (77, D) is that of
    an empty text. Computed in float32, then kept within the range of z's dtype.

    A1111 takes the means for "original" over the chunks of all pictures of a batch, which makes a picture depend on
    its neighbours; here it is the chunk's own."""
    context, weights = z.float(), weights.to(z.device)[:, None]
    if emphasis == "comfyui":
        context = empty.float() + (context - empty.float()) * weights
    else:
        mean = context.mean()
        context = context * weights
        if emphasis == "original":
            scale = (mean / context.mean()).item()
            context = context * (scale if math.isfinite(scale) else 1.0)
    largest = torch.finfo(z.dtype).max
    return context.clamp(-largest, largest).to(z.dtype)


class Lengths(Mapping):
    """How many vectors each embedding has, fetching only those asked for."""

    def __init__(self, embeddings: Mapping[str, Tensor]):
        self._embeddings = embeddings

    def __getitem__(self, name: str) -> int:
        return len(self._embeddings[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._embeddings)

    def __len__(self) -> int:
        return len(self._embeddings)
