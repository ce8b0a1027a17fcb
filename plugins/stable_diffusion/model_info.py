"""What a user is told of a model without loading it. Light at import."""

from typing import Any

from core.library.models import Models

from .hashes import LARGE, known, sha256, stamped
from .model_files import CHANNELS, opened

MAX_TEXT = 2000  # characters of metadata: some files have a picture in them


def model_info(name: str, models: Models) -> dict[str, Any]:
    """Raises ModelNotFound, or InvalidParams saying what is wrong with the model's files.

    `prediction` is None if only drawing will tell, `sha256` of large files if it was not computed yet."""
    source = opened(name, models.path("checkpoint", name))
    unet, files = source.configs["unet"], stamped(source.files)
    size = sum(size for _, _, size in files)
    return {
        "model": name,
        "architecture": source.architecture,
        "draws": CHANNELS[unet["in_channels"]],
        "prediction": source.prediction,
        "parts": list(source.parts),
        "layout": "diffusers" if source.path.is_dir() else "original",
        "bytes": size,
        "sha256": sha256(files, models.folder) if size <= LARGE else known(files, models.folder),
        "metadata": {key: text[:MAX_TEXT] for key, text in source.metadata.items()},
    }
