"""How the light jobs read a prompt as a model would: with its tokenizer, and the embeddings that fit it."""

import functools
from pathlib import Path
from typing import Any

from core.library.models import Models

from . import comments, networks
from .chunks import Tokenizer, Wording
from .embeddings import Embeddings
from .explain import count_tokens, explain
from .hashes import Stamps, stamped
from .model_files import files_of, opened
from .options import Count, Explain


def explained(params: Explain, models: Models) -> dict[str, Any]:
    text, _ = networks.extract(comments.strip(params.prompt))
    return explain(text, params.steps, params.hires_steps or None, *_reader(params, models))


def counted(params: Count, models: Models) -> dict[str, Any]:
    text, _ = networks.extract(comments.strip(params.prompt))
    return count_tokens(text, params.steps, *_reader(params, models))


def _reader(params: Explain | Count, models: Models) -> tuple[Tokenizer, Wording, dict[str, int]]:
    """Raises InvalidParams if the model cannot be read."""
    path = models.path("checkpoint", params.model)
    reader, widths = tokenizer(params.model, path, stamped(files_of(path)))
    wording = Wording(params.clip_skip, params.emphasis, params.comma_backtrack)
    return reader, wording, Embeddings(models, widths).counts()


@functools.lru_cache(maxsize=8)
def tokenizer(name: str, path: Path, stamps: Stamps) -> tuple[Tokenizer, tuple[int, ...]]:
    """That of the model's first text encoder, and the widths of what all of them read. `stamps`: its files as they
    are."""
    source = opened(name, path)
    encoders = [part for part in source.parts if part.startswith("text_encoder")]
    return source.tokenizer(encoders[0]), tuple(source.configs[part]["hidden_size"] for part in encoders)
