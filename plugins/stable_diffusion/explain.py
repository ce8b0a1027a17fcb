"""What the plugin reads in a prompt: its parts, how it changes over the steps, its weights, tokens and chunks.

Without torch, so that an editor can ask at every key. Texts come without comments and
networks; what would be chosen at random is text here."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from .chunks import ROOM, Chunk, Chunks, Tokenizer, Wording, pieces, split
from .composition import parts
from .editing import edits


def explain(
    prompt: str,
    steps: int,
    hires_steps: int | None,
    tokenizer: Tokenizer,
    wording: Wording,
    embeddings: Mapping[str, int],
) -> dict[str, Any]:
    """`{"parts": [{"weight", "schedule": [{"until", "text", "attention", "tokens", "chunks"}]}]}`: a part for each side
    of AND, an entry of the schedule for each text that it becomes, up to a step, and in `attention` its pieces as
    [text, weight]. With `hires_steps` each part has a `hires_schedule`, too. `embeddings`: how many vectors each has.
    `tokens` are without begin, end and padding."""

    @cache
    def reading(text: str) -> dict[str, Any]:
        return {
            "text": text,
            "attention": [[piece, weight] for piece, weight in pieces(text, wording.emphasis)],
            "tokens": length(chunks := split(text, tokenizer, wording, embeddings)),
            "chunks": len(chunks.chunks),
        }

    def schedule(text: str, *steps: int) -> list[dict[str, Any]]:
        return [{"until": until, **reading(version)} for until, version in edits(text, *steps)]

    explained = []
    for text, weight in parts(prompt):
        part = {"weight": weight, "schedule": schedule(text, steps)}
        if hires_steps is not None:
            part["hires_schedule"] = schedule(text, steps, hires_steps)
        explained.append(part)
    return {"parts": explained}


def count_tokens(
    text: str, steps: int, tokenizer: Tokenizer, wording: Wording, embeddings: Mapping[str, int]
) -> dict[str, Any]:
    """`{"tokens", "limit", "chunks", "warnings"}` of the longest text that `text` becomes: `limit` is how many fit into
    its chunks. Warnings are sentences for people:
    where a text was split because it is long, and what is probably a slip of the pen."""
    versions = {version for part, _ in parts(text) for _, version in edits(part, steps)}
    read = {version: split(version, tokenizer, wording, embeddings) for version in sorted(versions)}
    longest = max(read, key=lambda version: (len(read[version].chunks), length(read[version])))
    chunks = read[longest]
    warnings = [*brackets(text, wording), *bound_breaks(longest, wording), *splits(chunks, tokenizer)]
    limit = ROOM * max(1, len(chunks.chunks))
    return {"tokens": length(chunks), "limit": limit, "chunks": len(chunks.chunks), "warnings": warnings}


def length(chunks: Chunks) -> int:
    """Tokens of the text, each vector of an embedding being one."""
    return sum(chunk.length for chunk in chunks.chunks)


def brackets(text: str, wording: Wording) -> list[str]:
    """A warning for each kind of bracket of which there are more open than closed ones, or the other way round."""
    if wording.emphasis == "none":
        return []
    bare = text.replace("\\\\", "").replace("\\(", "").replace("\\)", "").replace("\\[", "").replace("\\]", "")
    kinds = ("()", "[]") if wording.emphasis != "comfyui" else ("()",)
    counts = [(pair, bare.count(pair[0]), bare.count(pair[1])) for pair in kinds]
    return [f"There are {a} {pair[0]} but {b} {pair[1]}." for pair, a, b in counts if a != b]


def bound_breaks(text: str, wording: Wording) -> list[str]:
    if not any(piece == "BREAK" and weight != -1 for piece, weight in pieces(text, wording.emphasis)):
        return []
    return ["BREAK inside of brackets is read as a word. Close the brackets before it, and open them again after it."]


def splits(chunks: Chunks, tokenizer: Tokenizer) -> list[str]:
    """A warning for each chunk that begins because the one before was full."""
    return [
        f"More than {ROOM} tokens: the words from {beginning(after, tokenizer)!r} on are read apart from those before."
        for before, after in zip(chunks.chunks, chunks.chunks[1:], strict=False)
        if before.full
    ]


def beginning(chunk: Chunk, tokenizer: Tokenizer) -> str:
    """A few words; an embedding is shown as a dot for each of its vectors."""
    known = len(tokenizer)
    ids = chunk.ids[1 : 1 + min(chunk.length, 6)]
    return "".join(tokenizer.decode([i]) + " " if i < known else "." for i in ids).strip()
