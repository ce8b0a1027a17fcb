"""Which ControlNets guide the pictures of a job, when, and what they are shown."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import PIL.Image
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from core.plugin import Context, InvalidParams

from . import controlnet_files
from .cache import Cache
from .controls import Control
from .hashes import short_hash, stamped
from .names import entry_named
from .options import ControlUnit
from .placement import Placement
from .preprocessors import hint
from .resizing import resized

KEEP_HINTS = 16  # of a job


@dataclass(frozen=True, eq=False)
class Scene:
    """What a run redraws: the `source` (RGB), and its `mask` (L, of the same size) if it is inpainted. `cut` makes of a
    picture, brought to the size of the `whole` before, what the run sees of it."""

    source: PIL.Image.Image
    mask: PIL.Image.Image | None = None
    whole: tuple[int, int] | None = None
    cut: Callable[[PIL.Image.Image], PIL.Image.Image] | None = None


@dataclass(frozen=True, eq=False)
class Guide:
    """A ControlNet of a job during one run: it acts from one share of the steps to another."""

    unit: ControlUnit
    control: Control

    def acts(self, share: float) -> bool:
        return self.unit.start <= share <= self.unit.end

    def tells(self, negative: bool) -> bool:
        """Whether it guides the rows of the negative prompt, or the others."""
        return not (negative and self.unit.control_mode == "controlnet is more important")


class Controls:
    """The ControlNets of one job and their pictures."""

    def __init__(
        self, units: Sequence[ControlUnit], pictures: Sequence[PIL.Image.Image], cache: Cache, placement: Placement,
        unet: UNet2DConditionModel, ctx: Context,
    ):  # fmt: skip
        if len(pictures) > max(1, len(units)) or (pictures and not units):
            raise InvalidParams(
                f"control: {len(pictures)} pictures are given for {len(units)} ControlNets.",
                field="control",
                hint="Give each a picture, in the same order, or one picture for all; choose them with controlnets.",
            )
        if 1 < len(pictures) < len(units):
            raise InvalidParams(
                f"control: {len(units)} ControlNets need as many pictures, or one for all; {len(pictures)} are given.",
                field="control",
            )
        self._device = placement.device
        self.hashes: dict[str, str] = {}
        self._units = []
        for k, unit in enumerate(units):
            picture = pictures[k if len(pictures) > 1 else 0] if pictures else None
            loaded, self.hashes[unit.model] = network(unit.model, unet, cache, placement, ctx)
            if unit.weight:
                self._units.append((unit, loaded, picture))
        self._hints: dict[tuple, Tensor] = {}
        self._wholes: dict[tuple, PIL.Image.Image] = {}  # the latest control picture that is cut, in the whole's size

    @property
    def networks(self) -> list[ControlNetModel]:
        return list({id(loaded): loaded for _, loaded, _ in self._units}.values())

    def guides(self, width: int, height: int, scene: Scene | None) -> list[Guide]:
        """What guides a run that draws width x height pixels, and redraws a `scene` if it is there."""
        guides = []
        for k, (unit, loaded, picture) in enumerate(self._units):
            shown = self._shown(k, unit, picture, loaded, width, height, scene)
            guides.append(Guide(unit, Control(loaded, shown, unit.weight, unit.control_mode != "balanced")))
        return guides

    def _shown(
        self, k: int, unit: ControlUnit, picture: PIL.Image.Image | None, loaded: ControlNetModel,
        width: int, height: int, scene: Scene | None,
    ) -> Tensor:  # fmt: skip
        """The hint of unit k; made once for each picture and size."""
        if picture is None and scene is None:
            raise InvalidParams(
                "controlnets: there is no picture to show them.",
                field="control",
                hint="Give a control picture. Only jobs that redraw a picture can do without.",
            )
        if picture is not None and scene and scene.cut:
            if (k, scene.whole) not in self._wholes:
                self._wholes = {(k, scene.whole): resized(picture, *scene.whole, unit.resize_mode)}
            picture = scene.cut(self._wholes[k, scene.whole])
        picture = resized(picture or scene.source, width, height, unit.resize_mode)
        mask = scene and scene.mask
        digest = hashlib.sha256(picture.tobytes() + (mask.tobytes() if mask else b"")).digest()
        key = k, width, height, picture.mode, digest
        if key not in self._hints:
            if len(self._hints) >= KEEP_HINTS:
                self._hints.clear()
            mask = mask and resized(mask, width, height, "just resize")
            pixels = torch.from_numpy(hint(picture, unit, mask)).permute(2, 0, 1)[None]
            self._hints[key] = pixels.to(self._device, loaded.dtype)
        return self._hints[key]


def network(
    name: str, unet: UNet2DConditionModel, cache: Cache, placement: Placement, ctx: Context
) -> tuple[ControlNetModel, str]:
    """The ControlNet of that name for a UNet, loaded if need be, and its hash. Files that have changed are loaded anew.

    Raises ModelNotFound, InvalidParams naming the file that is wrong, or Cancelled."""
    path = ctx.models.path("controlnet", entry_named(name, ctx.models.entries("controlnet")))
    files = stamped(sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path])
    key = "controlnet", name, files, unet.dtype, str(controlnet_files.matters(unet.config))
    size = sum(size for _, _, size in files)

    def load() -> ControlNetModel:
        return placement.settle(controlnet_files.load(name, path, unet))

    loaded = cache.get(key, load, f"controlnet/{name}", size, ctx.raise_if_cancelled)
    weights = stamped(controlnet_files.weights_of(name, path))
    return loaded, short_hash(weights, ctx.models.folder)
