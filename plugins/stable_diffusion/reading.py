"""How the light jobs read a prompt as a model would: with its tokenizer, and the embeddings that fit it."""

import functools
import json
from pathlib import Path
from typing import Any

from core.library.models import Models
from core.plugin import InvalidParams

from . import comments, networks
from .chunks import Tokenizer, Wording
from .embeddings import Embeddings
from .explain import count_tokens, explain
from .options import Count, Explain


def explained(params: Explain, models: Models) -> dict[str, Any]:
    text, _ = networks.extract(comments.strip(params.prompt))
    return explain(text, params.steps, params.hires_steps or None, *_reader(params, models))


def counted(params: Count, models: Models) -> dict[str, Any]:
    text, _ = networks.extract(comments.strip(params.prompt))
    return count_tokens(text, params.steps, *_reader(params, models))


def _reader(params: Explain | Count, models: Models) -> tuple[Tokenizer, Wording, dict[str, int]]:
    """Raises InvalidParams if the model cannot be read."""
    folder = models.path("checkpoint", params.model)
    try:
        width = json.loads((folder / "text_encoder/config.json").read_text("utf-8"))["hidden_size"]
        reader = tokenizer(folder / "tokenizer")
    except Exception as error:  # transformers raises nearly anything for a damaged file
        raise InvalidParams(
            f"the tokenizer of model {params.model!r} cannot be read: {error}.",
            field="model",
            hint="Give a folder of a Stable Diffusion 1 or 2 model in diffusers layout.",
        ) from error
    wording = Wording(params.clip_skip, params.emphasis, params.comma_backtrack)
    return reader, wording, Embeddings(models, width).counts()


@functools.lru_cache(maxsize=8)
def tokenizer(folder: Path) -> Tokenizer:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
