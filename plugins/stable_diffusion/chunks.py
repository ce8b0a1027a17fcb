"""How a text becomes chunks of 75 tokens with their weights, which is what CLIP reads at once."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.plugin import InvalidParams

from .attention import Pieces, parse

ROOM = 75  # tokens in a chunk, without its begin and its end


class Tokenizer(Protocol):
    """What is used of a `transformers.CLIPTokenizer`."""

    bos_token_id: int
    eos_token_id: int
    pad_token_id: int  # Stable Diffusion 1: the end, 2: 0

    def __len__(self) -> int: ...
    def __call__(self, texts: list[str], *, add_special_tokens: bool, verbose: bool) -> Any: ...
    def decode(self, ids: list[int]) -> str: ...


@dataclass(frozen=True)
class Wording:
    """How a text is read.

    `clip_skip` 1 takes CLIP's last layer, 2 the one before, and so on. `emphasis` says what weights do: "original"
    scales the vectors of the words and keeps the mean of the chunk, "no norm" only scales, "ignore" reads brackets and
    does nothing, "none" takes brackets for words, "comfyui" moves the vectors away from those of an empty text. A full
    chunk ends with its last comma if that is at most `comma_backtrack` tokens back; 0 turns this off."""

    clip_skip: int = 1
    emphasis: str = "original"
    comma_backtrack: int = 20


@dataclass(frozen=True)
class Chunk:
    """`ids` and `weights` of 77 tokens, begin, end and padding included; `length` tokens are from the text."""

    ids: list[int]
    weights: list[float]
    length: int
    full: bool = False  # it ended because what came next did not fit


@dataclass(frozen=True)
class Chunks:
    """What a text became. Ids from the size of the vocabulary on count the vectors of `embeddings`, of the first one
    first, then of the second ...; `vectors` are these, a Tensor (n, D), or None if nobody has fetched them."""

    chunks: list[Chunk]
    wording: Wording
    embeddings: list[str] = field(default_factory=list)
    vectors: Any = None


def pieces(text: str, emphasis: str) -> Pieces:
    """The weighted pieces of `text`, as `attention.parse` gives them, under a `Wording.emphasis`."""
    if emphasis == "none":
        return [(text, 1.0)]
    return parse(text, "comfyui" if emphasis == "comfyui" else "a1111")


def split(text: str, tokenizer: Tokenizer, wording: Wording, embeddings: Mapping[str, int]) -> Chunks:
    """The chunks of `text`, at least one; BREAK ends a chunk early. `embeddings`: how many vectors each has. As in
    A1111, an embedding is where the text has the tokens of its name, in whatever case, the longest name first; its
    vectors stay in one chunk.

    Raises InvalidParams for an embedding of more than 75 vectors."""
    weighted = pieces(text, wording.emphasis)
    tokens = tokenize(tokenizer, [piece for piece, _ in weighted])
    names = Names(text, tokenizer, embeddings)
    comma = tokenize(tokenizer, [","])[0][-1]
    writer = Writer(tokenizer, wording.comma_backtrack)
    for ids, (piece, weight) in zip(tokens, weighted, strict=True):
        if (piece, weight) == ("BREAK", -1.0):
            writer.close()
            continue
        weight = 1.0 if wording.emphasis == "ignore" else weight
        at = 0
        while at < len(ids):
            name, length = names.at(ids, at)
            writer.add(names.vectors(name) if name else [ids[at]], weight, ids[at] == comma)
            at += length
    if writer.ids or not writer.chunks:
        writer.close()
    return Chunks(writer.chunks, wording, list(names.used))


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, verbose=False).input_ids


class Names:
    """Finds the names of embeddings among tokens."""

    def __init__(self, text: str, tokenizer: Tokenizer, embeddings: Mapping[str, int]):
        self._embeddings, self._next = embeddings, len(tokenizer)
        self.used: dict[str, list[int]] = {}  # the ids of their vectors
        squeezed = _squeezed(text)
        near = sorted(name for name in embeddings if _squeezed(name) in squeezed)  # few of maybe thousands
        tokens = zip(tokenize(tokenizer, near), near, strict=True) if near else ()
        found = ((ids, name) for ids, name in tokens if ids)
        self._names = sorted(found, key=lambda entry: (-len(entry[0]), entry[1] not in text))

    def at(self, ids: list[int], start: int) -> tuple[str | None, int]:
        """The name that begins at `start`, None if there is none, and how many tokens to go on."""
        for tokens, name in self._names:
            if ids[start : start + len(tokens)] == tokens:
                return name, len(tokens)
        return None, 1

    def vectors(self, name: str) -> list[int]:
        if name not in self.used:
            count = self._embeddings[name]
            if count > ROOM:
                raise InvalidParams(
                    f"embedding {name!r} has {count} vectors, at most {ROOM} can be read at once.",
                    field="prompt",
                    hint="Leave it out of the prompt.",
                )
            self.used[name] = list(range(self._next, self._next + count))
            self._next += count
        return self.used[name]


def _squeezed(text: str) -> str:
    """What must be the same for tokens to be the same: the characters without blanks and backslashes, in one case."""
    return "".join(unicodedata.normalize("NFC", text).replace("\\", "").lower().split())


class Writer:
    """Fills chunks with tokens."""

    def __init__(self, tokenizer: Tokenizer, comma_backtrack: int):
        self._tokenizer, self._backtrack = tokenizer, comma_backtrack
        self.chunks: list[Chunk] = []
        self.ids: list[int] = []  # of the chunk that is being filled
        self._weights: list[float] = []
        self._comma: int | None = None  # where its last comma is

    def add(self, ids: list[int], weight: float, comma: bool = False) -> None:
        """Write `ids`, which stay together."""
        if len(self.ids) == ROOM and not comma and self._comma is not None and self._backtrack >= ROOM - self._comma:
            self._move()
        if len(self.ids) + len(ids) > ROOM:
            self.close(full=True)
        elif comma:
            self._comma = len(self.ids)
        self.ids += ids
        self._weights += [weight] * len(ids)

    def _move(self) -> None:
        """End the chunk with its last comma, and begin the next one with what came after."""
        after = self._comma + 1
        ids, weights = self.ids[after:], self._weights[after:]
        del self.ids[after:], self._weights[after:]
        self.close(full=True)
        self.ids, self._weights = ids, weights

    def close(self, full: bool = False) -> None:
        tokenizer, length = self._tokenizer, len(self.ids)
        ids = [tokenizer.bos_token_id, *self.ids, tokenizer.eos_token_id] + [tokenizer.pad_token_id] * (ROOM - length)
        weights = [1.0, *self._weights, 1.0] + [1.0] * (ROOM - length)
        self.chunks.append(Chunk(ids, weights, length, full))
        self.ids, self._weights, self._comma = [], [], None
