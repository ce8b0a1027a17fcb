"""Where the weights are while they are used: on the device, or in the machine's memory until their turn."""

from __future__ import annotations

import contextlib
import copy
import enum
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from core.library.usage import give_back

from .variants import shared

CACHE_SHARE = 0.6  # of the memory is for models that stay loaded, the rest for drawing with them and for others
LARGEST = 1 << 62  # more bytes than there are
RESERVE = 400_000_000  # bytes for what is not counted: workspaces of convolutions, holes between tensors
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
# What a network has in hand at most, as a multiple of its largest layer's result, with attention as one operation.
# Found by benchmarks/accounting.py, with its tests' small margin.
UNET_PEAK, DECODER_PEAK = 27, 6.5


class Mode(enum.IntEnum):
    """How much of a model is on the device at once: all; the networks that are at work; their layers, one by one."""

    LOW, MEDIUM, FULL = 0, 1, 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Need:
    """Bytes that a job takes on the device: `weights` of its text encoders, UNet with its companions, and VAE, and what
    drawing takes besides: `rows` of the UNet at the job's size, and the decoding of a picture, whole or in tiles."""

    model: int  # tells models apart
    weights: tuple[int, int, int]
    rows: int
    decoding: int
    tile: int
    besides: int = 0  # the weights of other models that take part, as a refiner

    def at(self, mode: Mode) -> int:
        text, unet, vae = self.weights
        if mode is Mode.FULL:
            return sum(self.weights) + self.besides + max(self.rows, self.decoding)
        if mode is Mode.MEDIUM:
            return max(text, unet + self.rows, vae + self.decoding)
        return max(self.rows, self.tile)


@dataclass(eq=False)
class Stay:
    """One job on the device. `mode` is the least that it had to do with so far."""

    need: Need
    mode: Mode
    tell: Callable[[str], None]


@dataclass(eq=False)
class Copy:
    """A twin of a network that shares its tensors, until it gets others for a while. The network itself is left as it
    is, so that whoever looks at it meanwhile, or makes a variant of it, finds its own weights."""

    net: nn.Module
    tensors: list[tuple[dict[str, Tensor | None], str, Tensor]] = field(init=False)  # where each is, and its own one
    dtype: torch.dtype | None = None  # of those that it has got, if it is not that of its own

    def __post_init__(self):
        self.tensors = [each for part in self.net.modules() for each in own_tensors(part)]

    def leave(self) -> None:
        for registry, name, tensor in self.tensors:
            registry[name] = tensor


class Placement:
    """What is where on one device, for all models. Networks come and go only inside of `present`.

    The mode is that of the job in flight that needs the least. What shares its memory with the machine (a CPU, Apple's
    chips) has nothing to gain from moving weights; there the modes only say how large a piece is worked on at once."""

    def __init__(self, device: str, memory: str = "auto"):
        self.device = torch.device(device)
        self.moves = self.device.type not in ("cpu", "mps")
        self._given = None if memory == "auto" else Mode[memory.upper()]
        self._stays: set[Stay] = set()
        self._failed: dict[Mode, int] = {}  # for modes in which memory ran out, the need with which it did
        self._turn = threading.RLock()  # a model is also used where it is loaded: one at a time
        # Whether on the device; None for one that memory did not suffice to bring, which is here and there.
        self._at: weakref.WeakKeyDictionary[nn.Module, bool | None] = weakref.WeakKeyDictionary()
        self._copies: weakref.WeakKeyDictionary[nn.Module, Copy] = weakref.WeakKeyDictionary()
        self._inside: weakref.WeakSet[Copy] = weakref.WeakSet()

    # Which mode it is.

    @property
    def mode(self) -> Mode:
        return min(
            (stay.mode for stay in tuple(self._stays)), default=Mode.FULL if self._given is None else self._given
        )

    @contextlib.contextmanager
    def stay(
        self, need: Need, careful: bool = False, tell: Callable[[str], None] = lambda text: None
    ) -> Iterator[Stay]:
        """For as long as a job draws. If it is to be `careful`, with one mode less than seems right."""
        mode = self.suitable(need) if self._given is None else self._given
        stay = Stay(need, self._less(mode) if careful else mode, tell)
        if stay.mode < (Mode.FULL if self._given is None else self._given):
            tell(f"memory: drawn in {stay.mode.word} mode, for the device has no room for more.")
        self._stays.add(stay)
        try:
            yield stay
        finally:
            self._stays.remove(stay)

    def suitable(self, need: Need, free: int | None = None) -> Mode:
        """The most that fits into what is `free`, together with the other jobs that are drawn now."""
        if not self.moves:
            return Mode.FULL
        free = (self.free_bytes() if free is None else free) - RESERVE
        others = {stay.need.model: sum(stay.need.weights) for stay in tuple(self._stays)}
        others.pop(need.model, None)
        for mode in (Mode.FULL, Mode.MEDIUM):
            wanted = need.at(mode) + (sum(others.values()) if mode is Mode.FULL else 0)
            if wanted <= free and need.at(mode) < self._failed.get(mode, LARGEST):
                return mode
        return Mode.LOW

    def lower(self) -> bool:
        """Memory ran out: go on with a mode less, if there is one, and tell all who are drawn."""
        mode = self.mode
        less = self._less(mode)
        lowered = [stay for stay in tuple(self._stays) if stay.mode > less]
        for stay in lowered:
            self._failed[stay.mode] = min(stay.need.at(stay.mode), self._failed.get(stay.mode, LARGEST))
            stay.mode = less
            stay.tell(f"memory: it did not suffice in {mode.word} mode; going on in {less.word} mode.")
        give_back(str(self.device))
        return bool(lowered)

    def _less(self, mode: Mode) -> Mode:
        return Mode(max(0, mode - 1)) if self.moves else Mode.LOW

    def room(self, need: Need) -> int:
        """How many bytes of models may stay loaded while this is drawn: any, where they are not all on the device."""
        if not self.moves or self.mode is not Mode.FULL:
            return LARGEST
        return self.free_bytes() - RESERVE - max(need.rows, need.decoding)

    def tell(self, text: str) -> None:
        """To all jobs that are drawn now."""
        for stay in tuple(self._stays):
            stay.tell(text)

    def free_bytes(self) -> int:
        """What is free on the device, or could be if our own models made room."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            ours = torch.cuda.memory_reserved(self.device)
            cap = int(torch.cuda.get_per_process_memory_fraction(self.device) * total)
            return min(free + ours, cap)
        if self.device.type == "xpu":
            return torch.xpu.mem_get_info(self.device)[0] + torch.xpu.memory_reserved(self.device)
        if self.device.type == "mps":
            return torch.mps.recommended_max_memory()
        return min(psutil.virtual_memory().available, machine_bytes())

    def cache_bytes(self) -> int:
        """How much the models that stay loaded may take if nobody says."""
        return int(CACHE_SHARE * (total_bytes(self.device) if self.mode is Mode.FULL else machine_bytes()))

    # Who is where.

    @contextlib.contextmanager
    def present(self, *networks: nn.Module, dtype: torch.dtype | None = None) -> Iterator[tuple[nn.Module, ...]]:
        """The networks as they can be called, in `dtype` (by default their own). Others may have to leave."""
        with self._turn:
            if dtype and all(network.dtype is dtype for network in networks):
                dtype = None
            parted = self.moves and self.mode is not Mode.FULL
            for network in ({*self._at, *networks} if parted else networks) if self.moves else ():
                self._move(network, not parted)
            if not (parted or dtype):
                self._leave()
                yield networks
                return
            copies = [self._copy(network) for network in networks]
            if parted and self.mode is Mode.LOW:
                self._leave()
                with self._layer_by_layer(copies, dtype):
                    yield tuple(each.net for each in copies)
            else:
                self._enter(copies, dtype)
                yield tuple(each.net for each in copies)

    def settle(self, network: nn.Module) -> nn.Module:
        """A network as it was loaded, where it shall be until it is used."""
        return network if self.moves else network.to(self.device)

    def _move(self, network: nn.Module, there: bool) -> None:
        """Put the weights onto the device, or back. Tensors that networks share stay shared."""
        if self._at.get(network) is there:
            return
        self._at[network] = None
        with torch.inference_mode(False), torch.no_grad():
            for part in network.modules():
                for registry, name, tensor in own_tensors(part):
                    moved = self._brought(tensor) if there else self._taken(tensor)
                    if isinstance(tensor, nn.Parameter):
                        tensor.data = moved
                    else:
                        registry[name] = moved
        self._at[network] = there
        self._copies.pop(network, None)

    def _copy(self, network: nn.Module) -> Copy:
        if network not in self._copies:
            self._copies[network] = Copy(copy.deepcopy(network, shared(network)))
        return self._copies[network]

    def _leave(self) -> None:
        for each in list(self._inside):
            each.leave()
        self._inside.clear()

    def _enter(self, copies: list[Copy], dtype: torch.dtype | None) -> None:
        """Bring copies onto the device, instead of those that are there; what these have in common stays."""
        if {*copies} == {*self._inside} and all(each.dtype is dtype for each in copies):
            return
        wanted = {(id(tensor), dtype) for each in copies for _, _, tensor in each.tensors}
        there = {
            (id(tensor), each.dtype): registry[name]
            for each in self._inside
            for registry, name, tensor in each.tensors
            if (id(tensor), each.dtype) in wanted
        }
        self._leave()
        self._inside.update(copies)
        try:
            for each in copies:
                each.dtype = dtype
                for registry, name, tensor in each.tensors:
                    key = id(tensor), dtype
                    if key not in there:
                        there[key] = self._brought(tensor, dtype)
                    registry[name] = there[key]
        except BaseException:  # memory ran out: what has come so far would be in the way of the next attempt
            self._leave()
            raise

    @contextlib.contextmanager
    def _layer_by_layer(self, copies: list[Copy], dtype: torch.dtype | None) -> Iterator[None]:
        """Each layer's weights come when it is called and go when it has answered."""

        def come(layer: nn.Module, inputs: tuple) -> None:
            for registry, name, tensor in own_tensors(layer):
                registry[name] = self._brought(tensor, dtype)

        def go(layer: nn.Module, inputs: tuple, output: object) -> None:
            for registry, name, tensor in own[layer]:
                registry[name] = tensor

        own = {part: list(own_tensors(part)) for each in copies for part in each.net.modules()}
        with contextlib.ExitStack() as stack:
            for layer in [part for part, tensors in own.items() if tensors]:
                stack.callback(layer.register_forward_pre_hook(come).remove)
                stack.callback(layer.register_forward_hook(go, always_call=True).remove)
            yield

    def _brought(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on the device; numbers of whatever precision in `dtype`."""
        dtype = dtype if tensor.is_floating_point() else None
        # Tensor cores like their channels last; on a CPU in float32 that made the UNet 1.2 times slower.
        last = self.device.type == "cuda" and tensor.dim() == 4
        memory_format = torch.channels_last if last else torch.preserve_format
        return tensor.detach().to(self.device, dtype, non_blocking=True, memory_format=memory_format)

    def _taken(self, tensor: Tensor) -> Tensor:
        """The tensor in the machine's memory, in a part of it from which an NVIDIA card fetches by itself."""
        tensor = tensor.detach().cpu()
        with contextlib.suppress(RuntimeError):  # the system gives no more of it
            tensor = tensor.pin_memory() if self.device.type == "cuda" else tensor
        return tensor


def own_tensors(module: nn.Module) -> Iterator[tuple[dict[str, Tensor | None], str, Tensor]]:
    """What a module has itself, not in others: (the dict in which it is, its name, the tensor)."""
    for registry in (module._parameters, module._buffers):
        for name, tensor in list(registry.items()):
            if tensor is not None:
                yield registry, name, tensor


def total_bytes(device: torch.device) -> int:
    """The memory of a device; that of Apple's chips and of a CPU is the machine's."""
    kind = device.type
    if kind == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if kind == "xpu":
        return torch.xpu.get_device_properties(device).total_memory
    if kind == "mps":
        return torch.mps.recommended_max_memory()
    return machine_bytes()


def machine_bytes() -> int:
    """The memory of the machine, or of the container in which this runs."""
    limits = [Path(path).read_text().strip() for path in LIMITS if Path(path).exists()]
    return min([psutil.virtual_memory().total, *(int(limit) for limit in limits if limit.isdigit())])
