"""Networks that draw a face anew, as it may have been before it was blurred, shrunk or damaged."""

from pathlib import Path
from typing import Any

import numpy

from core.library import weights
from core.plugin import InvalidParams

KINDS = ("GFPGAN", "RestoreFormer", "CodeFormer")
OPT_IN = {"position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"}  # tensors that only CodeFormer has
WANTED = f"Take {', '.join(KINDS[:-1])} or {KINDS[-1]}; see them with: python3 server.py plugins models faces"


class Restorer:
    """`kind` is one of KINDS; called with a square (512, 512, 3) uint8 RGB and, for CodeFormer, how faithful to it the
    result has to be (0 to 1), it gives the restored square."""

    def __init__(self, kind: str, network: Any, device: str):
        self.kind, self._device = kind, device
        self._network = network.eval().requires_grad_(False).to(device)

    def __call__(self, square: numpy.ndarray, weight: float) -> numpy.ndarray:
        import torch

        with torch.inference_mode():
            restored = self._network(as_tensor(square, self._device), **self._options(weight))[0]
            if not torch.isfinite(restored).all():
                raise InvalidParams(f"what this {self.kind} makes of a face is not numbers.", field="model")
            return ((restored[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()

    def _options(self, weight: float) -> dict[str, Any]:
        # GFPGAN adds noise, new in each call unless it is told to take that in its weights.
        options = {"GFPGAN": {"randomize_noise": False, "return_rgb": False}, "CodeFormer": {"weight": weight}}
        return options.get(self.kind, {})


class Parser:
    """ParseNet: which pixels of a restored square are the face itself, without hair, neck, hat and what is behind."""

    FACE = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15)  # of its 19 classes, what facexlib pastes
    BLUR = 16  # pixels; facexlib blurs twice with 11, which is 15.6

    def __init__(self, path: Path, device: str):
        from .facexlib import parsenet

        self._device, self._network = device, parsenet()
        fill(self._network, tensors_of(path), path, "ParseNet")
        self._network.eval().requires_grad_(False).to(device)

    def __call__(self, square: numpy.ndarray) -> numpy.ndarray:
        """A soft mask (512, 512) float32."""
        import cv2
        import torch

        with torch.inference_mode():
            classes = self._network(as_tensor(square, self._device))[0][0].argmax(0).cpu().numpy()
        return cv2.GaussianBlur(numpy.isin(classes, self.FACE).astype(numpy.float32), (0, 0), self.BLUR)


def restorer(path: Path, device: str, non_commercial: bool) -> Restorer:
    """Raises InvalidParams if the file is another network's, or CodeFormer's where that is not allowed."""
    import spandrel

    tensors = tensors_of(path, "model")
    registry = spandrel.MAIN_REGISTRY
    if tensors.keys() >= OPT_IN:
        if not non_commercial:
            raise weights.bad_file(
                path, "it is CodeFormer, whose licence, the S-Lab License 1.0, allows no commercial use",
                "Where the use is not commercial, the admin may allow it: non_commercial = true below "
                "[plugin_settings.faces] in config.toml. GFPGAN and RestoreFormer need no permission.", "model",
            )  # fmt: skip
        from spandrel_extra_arches import EXTRA_REGISTRY as registry
    try:
        with weights.bounded(tensors):
            found = registry.load(tensors)
    except spandrel.UnsupportedModelError as error:
        raise weights.bad_file(path, "it is no network that restores faces", WANTED, "model") from error
    except Exception as error:  # what is missing or too much of an architecture is told in many ways
        why = f"its tensors do not fit together ({weights.first_line(error)[:200]})"
        raise weights.bad_file(path, why, field="model") from error
    if found.architecture.id not in KINDS:
        why = f"it is a network of {found.architecture.name}" + ", for models/upscaler" * (found.purpose == "SR")
        raise weights.bad_file(path, why, WANTED, "model")
    return Restorer(found.architecture.id, found.model, device)


def tensors_of(path: Path, field: str | None = None) -> dict[str, Any]:
    """The tensors in a file by name. Raises InvalidParams."""
    import spandrel

    tensors = weights.read(path, field) if path.is_file() else None
    named = isinstance(tensors, dict) and all(isinstance(key, str) for key in tensors)
    tensors = spandrel.canonicalize_state_dict(tensors) if named else None
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise weights.bad_file(path, "it is no file with weights by name", field=field)
    return tensors


def fill(network: Any, tensors: dict[str, Any], path: Path, what: str, field: str | None = None) -> None:
    """Load the tensors, of which all have to be there and fit. Raises InvalidParams."""
    try:
        network.load_state_dict(tensors)
    except Exception as error:  # not only RuntimeError: names may be anything
        raise weights.bad_file(path, f"it is no {what}", field=field) from error


def as_tensor(square: numpy.ndarray, device: str) -> Any:
    """(1, 3, H, W) float32, -1 to 1."""
    import torch

    return torch.from_numpy(square).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
