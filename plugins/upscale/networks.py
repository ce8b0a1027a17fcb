"""A super-resolution network: read from a file of any architecture that spandrel knows, and asked for tiles."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.library import weights

if TYPE_CHECKING:
    import torch

FIELD = "model"
PROBE = (32, 64)  # pixels, height and half of the width of what is shown to a network to get to know it
SEEN = 0.5 / 255  # changes of the result that no picture of 8 bits shows
WINDOWS = ("window_size", "split_size", "stripe_size")  # what architectures call them
LARGEST_WINDOW = 64  # pixels
MOST_SCALE = 32  # what enlarges more would fill the memory with the smallest tile
OVERHEAD = 2.5  # as much memory as the largest step of a network takes with what others keep, on CPUs
# Keys that only other kinds of files have, and what these are.
OTHERS = {
    "model.diffusion_model.": ("a Stable Diffusion model", "checkpoint"),
    "control_model.": ("a ControlNet", "controlnet"),
    "lora_unet_": ("a LoRA", "lora"),
    "lora_te_": ("a LoRA", "lora"),
    "decoder.conv_in.": ("a VAE", "vae"),
    "first_stage_model.": ("a VAE", "vae"),
    "position_emb": ("CodeFormer, which restores faces", "face_restorer"),
}


class Network:
    """A network on its device: `network(tiles)` makes tiles `scale` times as large.

    Tiles are floats (B, channels, H, W) from 0 to 1, their sides multiples of `multiple` and at least `minimum`, equal
    ones if `square`; a network that has to see the whole picture has `whole`."""

    def __init__(self, path: Path, descriptor: Any):
        self.path, self._descriptor = path, descriptor
        self.architecture, self.scale = descriptor.architecture.name, descriptor.scale
        self.channels = descriptor.input_channels
        needs = descriptor.size_requirements
        self.multiple = math.lcm(needs.multiple_of, *windows(descriptor.model))
        self.minimum, self.square = max(needs.minimum, 1), needs.square
        self.whole = descriptor.tiling.name == "INTERNAL"

    @property
    def device(self) -> torch.device:
        return self._descriptor.device

    @property
    def dtype(self) -> torch.dtype:
        return self._descriptor.dtype

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """Equal tiles give equal results. What is too much for half precision is done again, and from then on, in
        float32. Raises InvalidParams if the network is broken."""
        import torch

        with torch.random.fork_rng(devices=[]):  # a few draw random numbers
            torch.manual_seed(0)
            result = self._descriptor(tiles.to(self.device, self.dtype))
        if not torch.isnan(result.sum(dtype=torch.float32)):
            return result
        if self.dtype == torch.float32:
            raise weights.bad_file(self.path, "what it makes of a picture is not numbers", field=FIELD)
        self._descriptor = load(self.path, str(self.device), "float32")._descriptor
        return self(tiles)

    @functools.cached_property
    def _probed(self) -> tuple[float, int]:
        """Bytes that a pixel costs, and how far the network sees, in pixels."""
        import torch

        height, half = (max(-(-side // self.multiple) * self.multiple, self.minimum) for side in PROBE)
        height = 2 * half if self.square else height
        whole = torch.rand((1, self.channels, height, 2 * half), generator=torch.Generator().manual_seed(0))
        part = whole[..., : half if self.square else height, :half]
        with measured(self._descriptor.model, self.device) as most:
            made = self(whole)
        part = self(part)
        change = (made[..., : part.shape[-2], : part.shape[-1]] - part).float().abs().amax((0, 1, 2))
        changed = (change > SEEN).nonzero()
        reach = half - int(changed[0]) // self.scale if len(changed) else 0
        return most() / (height * 2 * half), reach

    @property
    def cost(self) -> float:
        """Bytes of memory that a pixel of a tile takes on its way, about."""
        return self._probed[0]

    @property
    def reach(self) -> int:
        """From how many pixels away one changes the result so that it is seen, 64 at most."""
        return self._probed[1]


def windows(model: torch.nn.Module) -> set[int]:
    """Sides of the windows that a network divides a picture into; a tile has to be divided in the same places."""
    found = set()
    for module in model.modules():
        for name in WINDOWS:
            sides = getattr(module, name, None)
            sides = sides if isinstance(sides, list | tuple) else [sides]
            found |= {side for side in sides if isinstance(side, int) and 1 < side <= LARGEST_WINDOW}
    return found if math.lcm(*found) <= LARGEST_WINDOW else {max(found)}


def load(path: Path, device: str, dtype: str = "auto") -> Network:
    """The network in a file of weights, or LDSR in a folder. `dtype`: "float32", "float16", "bfloat16", or "auto": the
    first of float16 and float32 that the device is fast with and the architecture can. Raises InvalidParams."""
    from spandrel import MAIN_REGISTRY, ImageModelDescriptor, UnsupportedModelError, canonicalize_state_dict

    if path.is_dir():
        from .ldsr import load as load_folder

        return load_folder(path, device, dtype)
    if path.suffix.lower() == ".onnx":
        hint = "Fetch the same network as .safetensors or .pth."
        raise weights.bad_file(path, "networks are not read from .onnx", hint, FIELD)
    state = weights.read(path, FIELD)
    if not isinstance(state, dict):
        raise weights.bad_file(path, f"it holds a {type(state).__name__}, not weights by name", field=FIELD)
    try:
        state = canonicalize_state_dict(state)
        with weights.bounded(state):
            descriptor = MAIN_REGISTRY.load(state)
    except UnsupportedModelError as error:
        raise weights.bad_file(path, *_other(state), field=FIELD) from error
    except Exception as error:  # what is missing or too much of an architecture is told in many ways
        why = f"its tensors do not fit together ({weights.first_line(error)[:200]})"
        raise weights.bad_file(path, why, field=FIELD) from error
    about = f"it is a network of {descriptor.architecture.name}"
    if not isinstance(descriptor, ImageModelDescriptor):
        raise weights.bad_file(path, f"{about}, which paints what a mask hides", "Choose another.", FIELD)
    if descriptor.purpose == "FaceSR":
        hint = f"Put it into models/face_restorer/{path.name}; the job restore_faces takes it."
        raise weights.bad_file(path, f"{about}, which restores faces", hint, FIELD)
    if descriptor.input_channels != descriptor.output_channels or descriptor.input_channels not in (1, 3, 4):
        channels = f"{descriptor.input_channels} to {descriptor.output_channels}"
        raise weights.bad_file(path, f"{about} from {channels} channels, which no picture has", field=FIELD)
    if not 1 <= descriptor.scale <= MOST_SCALE:
        raise weights.bad_file(path, f"{about} that enlarges {descriptor.scale:,} times", field=FIELD)
    descriptor.model.eval().requires_grad_(False)
    return Network(path, descriptor.to(device, dtype_of(descriptor, device, dtype)))


def dtype_of(descriptor: Any, device: str, wanted: str) -> torch.dtype:
    import torch

    if wanted == "auto":
        wanted = "float16" if device.startswith("cuda") else "float32"
    able = {"float16": descriptor.supports_half, "bfloat16": descriptor.supports_bfloat16}
    return getattr(torch, wanted if able.get(wanted) else "float32")


def _other(state: dict[str, Any]) -> tuple[str, str | None]:
    """What a file is that is no network for this, and what to do."""
    for key, (what, kind) in OTHERS.items():
        if any(str(each).startswith(key) for each in state):
            return f"it is {what}", f"Put it into models/{kind}, and choose another."
    keys = ", ".join(sorted(map(str, state))[:3])
    return f"no architecture is known that has its {len(state)} tensors ({keys} ...)", None


@contextlib.contextmanager
def measured(model: torch.nn.Module, device: torch.device) -> Iterator[Any]:
    """How much memory what is done in between takes at once: of a graphics card as it is counted, else estimated."""
    import torch

    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - before
        return
    most = 0

    def step(module: Any, given: tuple, result: Any) -> None:
        nonlocal most
        tensors = [each for each in (*given, result) if isinstance(each, torch.Tensor)]
        most = max(most, sum(each.numel() * each.element_size() for each in tensors))

    hooks = [each.register_forward_hook(step) for each in model.modules()]
    try:
        yield lambda: most * OVERHEAD
    finally:
        for hook in hooks:
            hook.remove()
