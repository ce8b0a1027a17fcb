"""What a pipeline folder says of itself, and what is refused before anything of it is loaded."""

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.plugin import InvalidParams

LIBRARIES = ("diffusers", "transformers")  # besides, what pipelines bring themselves: `stable_diffusion` ...
LAYERS = 1000  # more than this in one place, no model has
NO_CODE = "Use a pipeline of diffusers itself, without Python files."
MOST_LATENTS = 1024  # along a side, that anybody has trained a model with
SCALED_DOWN = 8  # pixels a latent's side stands for, where the folder does not say


@dataclass(frozen=True)
class PipelineFolder:
    """`components`: by name, the library and the class that model_index.json gives for it."""

    name: str
    path: Path
    class_name: str
    components: dict[str, tuple[str, str]]

    def config(self, component: str) -> dict[str, Any]:
        """The config.json of a component; {} if it has none."""
        file = self.path / component / "config.json"
        return read_json(file, f"{self.name}/{component}") if file.is_file() else {}

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels a side of the picture has for each of the latents' side."""
        levels = self.config("vae").get("block_out_channels")
        return 2 ** (len(levels) - 1) if isinstance(levels, list) and 0 < len(levels) < 10 else SCALED_DOWN

    @property
    def latents_side(self) -> int | None:
        """The side of the latents that the model was trained with, if it says that."""
        for component in ("transformer", "unet"):
            side = self.config(component).get("sample_size")
            if isinstance(side, int) and 0 < side <= MOST_LATENTS:
                return side
        return None


def read(name: str, path: Path) -> PipelineFolder:
    """Raises InvalidParams, naming the folder, where it is damaged or brings code of its own."""
    for file in sorted((*path.glob("*.py"), *path.glob("*/*.py"))):
        raise bad_folder(
            name, f"it brings code of its own ({file.relative_to(path).as_posix()}), which is never run", NO_CODE
        )
    index = read_json(path / "model_index.json", name)
    class_name = index.get("_class_name")
    if isinstance(class_name, list):
        raise bad_folder(name, f"its pipeline {class_name} is code of its own, which is never run", NO_CODE)
    if not isinstance(class_name, str) or not class_name.isidentifier():
        raise bad_folder(name, f"model_index.json names no pipeline class, but {str(class_name)[:100]!r}")
    components = {}
    for component, value in index.items():
        if component.startswith("_") or not isinstance(value, list) or len(value) != 2 or value == [None, None]:
            continue
        if not all(isinstance(each, str) for each in value) or not re.fullmatch(r"\w+", component):
            raise bad_folder(name, f"model_index.json says {str(value)[:100]} of {component[:100]!r}")
        if not (path / component).is_dir():
            raise bad_folder(name, f"the folder {component} is missing")
        components[component] = tuple(value)
    for file in sorted(path.glob("*/*config.json")):
        config = read_json(file, f"{name}/{file.parent.name}")
        if "auto_map" in config:
            raise bad_folder(name, f"{file.parent.name}/{file.name} asks for code of its own (auto_map), never run")
        if key := next((key for key, value in config.items() if "layers" in key and _many(value)), None):
            raise bad_folder(name, f"{file.parent.name}/{file.name} has {key} of {str(config[key])[:50]}")
    return PipelineFolder(name, path, class_name, components)


def _many(value: Any) -> bool:
    """Whether these are more layers than any model has: making them would not end."""
    return any(type(each) in (int, float) and each > LAYERS for each in (value if isinstance(value, list) else [value]))


def pipeline_class(folder: PipelineFolder) -> type:
    """The class of diffusers that runs the folder. Raises InvalidParams if there is none, or it lacks a package."""
    import diffusers
    from diffusers.utils.import_utils import BACKENDS_MAPPING

    try:
        found = getattr(diffusers, folder.class_name, None)
    except RuntimeError as error:  # its module cannot be imported
        why = str(error).strip().splitlines()[-1]
        raise bad_folder(folder.name, f"{folder.class_name} cannot be imported: {why}") from error
    if found is None:
        raise bad_folder(folder.name, f"diffusers {diffusers.__version__} has no pipeline {folder.class_name}")
    if lacking := [each for each in getattr(found, "_backends", []) if not BACKENDS_MAPPING[each][0]()]:
        raise bad_folder(
            folder.name, f"{folder.class_name} needs packages that are not installed: {', '.join(lacking)}"
        )
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise bad_folder(folder.name, f"{folder.class_name} of diffusers is no pipeline")
    if not inspect.isfunction(getattr(found, "__call__", None)):  # noqa: B004 what they have in common is a pipeline, too
        raise bad_folder(folder.name, f"{folder.class_name} of diffusers runs nothing itself")
    for component, (library, class_name) in folder.components.items():
        if library not in LIBRARIES and not hasattr(diffusers.pipelines, library):
            said = f"{component} is a {class_name} of {library}, and only classes of diffusers and transformers are run"
            raise bad_folder(folder.name, said)
    return found


def read_json(file: Path, name: str) -> dict[str, Any]:
    if not file.is_file():  # a pipe would never end
        raise bad_folder(name, f"{file.name} is no file")
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise bad_folder(name, f"{file.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise bad_folder(name, f"{file.name} holds no JSON object")
    return content


def bad_folder(name: str, why: str, hint: str | None = None) -> InvalidParams:
    return InvalidParams(f"models/pipeline/{name} cannot be used: {why}.", hint=hint or "Fetch the folder again.")
