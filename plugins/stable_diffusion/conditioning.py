"""How a prompt becomes what the UNet is told: the context that it attends to, and what else a kind of model wants."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from core.plugin import InvalidParams

from .chunks import Chunk, Chunks, Wording, split
from .placement import Placement

if TYPE_CHECKING:
    from .controls import Control

ROWS = 32  # chunks that CLIP reads at once


@dataclass(frozen=True, eq=False)
class Condition:
    """What one row of the UNet is told besides noisy latents and their noise level, in the model's dtype.

    `context` (1, tokens, D) is what it attends to. `channels` (1, C', h, w) are what it is shown beside latents, see
    shown.py. `scale` is the cfg_scale, for a model that was distilled with guidance. Stable Diffusion XL is also told
    the text as one vector, `pooled` (1, P), and `sizes`, see `sizes`; other models are not. `negative`: it comes from
    the negative prompt. `controls` are the ControlNets that guide it; `pictures` (1, n, ...) is what an
    IP-Adapter is told of n reference pictures."""

    context: Tensor
    channels: Tensor | None = None
    scale: float | None = None
    pooled: Tensor | None = None
    sizes: Tensor | None = None
    negative: bool = False
    controls: "Sequence[Control]" = ()
    pictures: Tensor | None = None

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
        pooled = None if self.pooled is None else self.pooled.lerp(other.pooled, share)
        return dataclasses.replace(self, context=context, pooled=pooled)

    def zeroed(self) -> "Condition":
        """The same with a text of zeros."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return dataclasses.replace(self, context=torch.zeros_like(self.context), pooled=pooled)


AESTHETIC_SCORES = 6.0, 2.5  # what a refiner is told of the prompt and of the negative prompt: A1111's defaults


def sizes(count: int, width: int, height: int, negative: bool) -> Tensor:
    """The numbers that Stable Diffusion XL was told of each picture, and is told of the one that it draws: float32
    (1, 6): the size it had, where it was cut, the size it has (Podell et al. 2023, section 2.2), each as height and
    width or top and left; (1, 5) for a refiner: instead of the last size, an aesthetic score."""
    whole = [height, width, 0, 0]
    told = {6: [height, width], 5: [AESTHETIC_SCORES[negative]]}
    return torch.tensor([whole + told[count]], dtype=torch.float32)


class TextEncoder:
    """`clips` are the networks that read the same chunks: one in Stable Diffusion 1 and 2 and in a refiner, two in
    Stable Diffusion XL; `tokenizers` theirs, with one vocabulary, but each with a padding of its own. `widths` are
    those of their vectors."""

    def __init__(self, tokenizers: Sequence[CLIPTokenizer], clips: Sequence[CLIPTextModel], placement: Placement):
        self._tokenizer = tokenizers[0]
        self._placement = placement
        self._clips, self._pads = clips, [tokenizer.pad_token_id for tokenizer in tokenizers]
        self._xl = isinstance(clips[-1], CLIPTextModelWithProjection)
        self.widths = tuple(clip.config.hidden_size for clip in clips)
        self._empty: dict[int, Tensor] = {}  # the context of an empty text, by clip_skip

    def chunks(self, text: str, wording: Wording, embeddings: Mapping[str, Tensor]) -> Chunks:
        """What `encode` takes. `embeddings`: vectors (n, sum of widths) by name; those that the text names are fetched.

        Raises InvalidParams if the wording or an embedding does not fit the model."""
        layers, width = self._clips[0].config.num_hidden_layers, sum(self.widths)
        if not (self._xl or 1 <= wording.clip_skip <= layers):
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
        """What each prompt becomes, without sizes, with a context (1, 77 * chunks, D). As in A1111, what is pooled is
        the first chunk. What one prompt gets does not depend on the others; the same object several times is read
        once."""
        different = {id(prompt): prompt for prompt in prompts}
        rows = [(prompt, chunk) for prompt in different.values() for chunk in prompt.chunks]
        answers = (answer for k in range(0, len(rows), ROWS) for answer in self._read(rows[k : k + ROWS]))
        read = {}
        for key, prompt in different.items():
            contexts, pooled = zip(*(next(answers) for _ in prompt.chunks), strict=True)
            weighted = map(self._weighted, contexts, prompt.chunks, [prompt.wording] * len(contexts))
            read[key] = Condition(torch.cat([*weighted])[None], pooled=pooled[0])
        return [read[id(prompt)] for prompt in prompts]

    def _read(self, rows: list[tuple[Chunks, Chunk]]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The context (77, D) of each chunk, without emphasis, and what is pooled, (1, P)."""
        ids = torch.tensor([chunk.ids for _, chunk in rows])
        beyond = ids - len(self._tokenizer)
        place = beyond >= 0
        vectors = [prompt.vectors[k[k >= 0]] for (prompt, _), k in zip(rows, beyond, strict=True) if (k >= 0).any()]
        parts = torch.cat(vectors).split(self.widths, dim=1) if vectors else [None] * len(self.widths)
        ids = ids.masked_fill(place, 0)
        padding = torch.arange(ids.shape[1]) >= torch.tensor([[chunk.length + 2] for _, chunk in rows])
        contexts, pooled = [], None
        for clip, pad, part in zip(self._clips, self._pads, parts, strict=True):
            with self._placement.present(clip) as (clip,):
                output = self._output(clip, ids.masked_fill(padding, pad), place, part)
                contexts.append([self._layer(clip, output, k, prompt.wording) for k, (prompt, _) in enumerate(rows)])
            pooled = getattr(output, "text_embeds", None)
        for k in range(len(rows)):
            yield torch.cat([context[k] for context in contexts], dim=-1), None if pooled is None else pooled[k : k + 1]

    def _output(self, clip: CLIPTextModel, ids: Tensor, place: Tensor, vectors: Tensor | None) -> Any:
        """What a network says of ids (n, 77), with the vectors, one row each, for those in the `place` (n, 77)."""

        def put(embedding: torch.nn.Module, ids: tuple[Tensor], words: Tensor) -> Tensor:
            return words if vectors is None else words.index_put((place.to(words.device),), vectors.to(words))

        with clip.get_input_embeddings().register_forward_hook(put):
            return clip(input_ids=ids.to(self._placement.device), output_hidden_states=True)

    def _layer(self, clip: CLIPTextModel, output: Any, k: int, wording: Wording) -> Tensor:
        """(77, D) of chunk k. Stable Diffusion XL was trained on the last layer but one, without norm; as in A1111,
        clip_skip does not change that."""
        if self._xl:
            return output.hidden_states[-2][k]
        if wording.clip_skip == 1:
            return output.last_hidden_state[k]
        model = getattr(clip, "text_model", clip)  # older versions of transformers have one module more
        return model.final_layer_norm(output.hidden_states[-wording.clip_skip][k])

    def _weighted(self, z: Tensor, chunk: Chunk, wording: Wording) -> Tensor:
        """The context with emphasis: in each network's part for itself."""
        if all(weight == 1 for weight in chunk.weights):
            return z
        weights, parts = torch.tensor(chunk.weights), z.split(self.widths, dim=1)
        empty = [None] * len(parts)
        if wording.emphasis == "comfyui":
            empty = self._empty_context(wording.clip_skip).split(self.widths, dim=1)
        pairs = zip(parts, empty, strict=True)
        return torch.cat([emphasised(part, weights, wording.emphasis, nothing) for part, nothing in pairs], dim=1)

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
