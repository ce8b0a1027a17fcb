"""How a folder in the layout of transformers becomes a network: nothing fetched, no code in it run, nothing made up."""

import json
from pathlib import Path
from typing import Any

from core.library.weights import bounded, pickled_in
from core.plugin import InvalidParams

from .loaded import bad_model

LARGEST, LAYERS = 10_000_000, 200  # of numbers in a config; above, making the network would not end


def check_config(kind: str, name: str, path: Path, wanted: str, called: str) -> None:
    """Raise InvalidParams unless it is a folder of a model of the type `wanted`, which people know as `called`."""
    if not path.is_dir():
        raise bad_model(kind, name, f"{called} models are folders with config.json, and this is a file")
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise bad_model(kind, name, f"config.json cannot be read: {error}") from error
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != wanted:
        raise bad_model(kind, name, f"its type is {str(found)[:100]!r}, and {called}'s is {wanted!r}")
    for key, value in _numbers(config):
        if abs(value) > (LAYERS if key.endswith("layers") else LARGEST):
            raise bad_model(kind, name, f"config.json says {key} = {value}")


def network(kind: str, name: str, path: Path, model_class: Any, device: str):
    """The network, in halves on a graphics card. Raises InvalidParams if it is not whole."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()  # what is missing is told here, as an error
    logging.disable_progress_bar()
    try:
        state = pickled_in(path, kind)
        with bounded(path):
            made, about = model_class.from_pretrained(
                path if state is None else None,
                config=model_class.config_class.from_pretrained(path, local_files_only=True),
                state_dict=state,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # to tell which
                dtype=torch.float16 if device.startswith("cuda") else torch.float32,
            )
    except (InvalidParams, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of many kinds, by what is wrong in which file
        why = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
        raise bad_model(kind, name, why or type(error).__name__) from error
    for what in ("missing_keys", "mismatched_keys"):
        if lacking := sorted(str(each) for each in about[what]):
            names = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
            raise bad_model(kind, name, f"weights are {what.partition('_')[0]}: {names}")
    return made.eval().to(device)


def tokenizer(kind: str, name: str, path: Path):
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        why = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
        raise bad_model(kind, name, f"its tokenizer cannot be read: {why or type(error).__name__}") from error


def mean_and_std(path: Path) -> tuple[list[float], list[float]]:
    """By which pictures are normalised: those of the folder, else CLIP's, which BLIP has as well."""
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    try:
        told = json.loads((path / "preprocessor_config.json").read_text("utf-8"))
        found = [[float(each) for each in told[key]] for key in ("image_mean", "image_std")]
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return mean, std
    return tuple(found) if all(len(each) == 3 for each in found) and min(found[1]) > 0 else (mean, std)


def _numbers(config: Any, key: str = ""):
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _numbers(value, str(key))
    elif isinstance(config, list):
        for value in config:
            yield from _numbers(value, key)
    elif isinstance(config, int | float):
        yield key, config
