"""The networks of facexlib, without what its package imports besides: trackers with numba, alignment with scipy."""

import importlib.machinery
import sys
import types
import warnings
from typing import Any


def retinaface(backbone: str, device: str) -> Any:
    """An untrained RetinaFace: "resnet50" or "mobile0.25"."""
    _parts_only()
    from facexlib.detection.retinaface import RetinaFace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks torchvision for resnet50 in a way that is old
        return RetinaFace(network_name=backbone, device=device)


def parsenet() -> Any:
    """An untrained ParseNet for squares of 512 pixels."""
    _parts_only()
    from facexlib.parsing.parsenet import ParseNet

    return ParseNet(in_size=512, out_size=512, parsing_ch=19)


def _parts_only() -> None:
    """Make `import facexlib.x` import x, and not facexlib/__init__.py, which imports everything."""
    if "facexlib" not in sys.modules:
        package = types.ModuleType("facexlib")
        found = importlib.machinery.PathFinder.find_spec("facexlib")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["facexlib"] = package
