"""Which extra networks a prompt asks for, where they are, and what a model becomes with them. Light at import."""

import difflib
import functools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from core.library.weights import header
from core.plugin import ModelNotFound

if TYPE_CHECKING:
    import torch
    from torch import nn

    from core.library.models import Models

FOLDERS = {"lora": "lora", "lyco": "lora", "hypernet": "hypernetwork"}  # kind in a prompt: kind of model


@dataclass(frozen=True)
class Network:
    """`kind` is a key of FOLDERS, `name` is as it stands in the prompt; weight 1 is full strength, 0 is none."""

    kind: str
    name: str
    text_weight: float = 1.0
    unet_weight: float = 1.0


def extract(prompt: str) -> tuple[str, list[Network]]:
    """The prompt without its extra networks, and these, in order, in A1111's notation: <lora:name>, <lora:name:0.8>,
    <lora:name:0.8:0.5> or <lora:name:te=0.8:unet=0.5> (text encoder and UNet), <lyco:...>, <hypernet:name:1>.

    What is not well-formed stays text."""
    networks = []

    def take(match: re.Match[str]) -> str:
        network = parsed(match[1], match[2])
        if network is None:
            return match[0]
        networks.append(network)
        return ""

    return re.sub(r"<(\w+):([^>]+)>", take, prompt), networks


def parsed(kind: str, arguments: str) -> Network | None:
    name, *rest = (argument.strip() for argument in arguments.split(":"))
    weights = [argument for argument in rest if "=" not in argument]
    named = dict(re.split(r"\s*=\s*", argument, maxsplit=1) for argument in rest if "=" in argument)
    if kind not in FOLDERS or not name or len(weights) > 2 or not named.keys() <= {"te", "unet"}:
        return None
    try:
        text = float(named.get("te", weights[0] if weights else 1))
        unet = float(named.get("unet", weights[1] if len(weights) > 1 else text))
    except ValueError:
        return None
    return Network(kind, name, text, unet) if math.isfinite(text) and math.isfinite(unet) else None


def find(network: Network, models: "Models") -> Path:
    """The network's file: the one of that name, else with that name but for the suffix, else in any subfolder, else
    in upper or lower case alike, else the one that its trainer called so (A1111's prompts have these names, even if the
    file was renamed). Raises ModelNotFound, naming the nearest ones."""
    kind = FOLDERS[network.kind]
    entries = models.entries(kind)
    readings: tuple[Callable[[str], str], ...] = (
        lambda name: name,
        lambda name: str(PurePosixPath(name).with_suffix("")),
        lambda name: PurePosixPath(name).stem,
        lambda name: PurePosixPath(name).stem.casefold(),
    )
    for read in readings:
        wanted = network.name.casefold() if read is readings[-1] else network.name
        for name, path in entries.items():
            if read(name) == wanted:
                return path
    for path in entries.values():
        if alias(path) == network.name:
            return path
    stems = [PurePosixPath(name).stem for name in entries]
    near = difflib.get_close_matches(network.name, stems, n=3, cutoff=0.4) or sorted(stems)[:5]
    raise ModelNotFound(
        f"there is no {kind} {network.name!r}." + (f" Did you mean {', '.join(near)}?" if near else ""),
        field="prompt",
        hint=f"Put its file into {models.folder / kind}; it is found without a restart. Or take it out of the prompt.",
    )


def places(networks: Sequence[Network], models: "Models") -> list[Path]:
    """The file of each, looked for once however often a prompt names it. Raises ModelNotFound as `find` does."""
    found: dict[tuple[str, str], Path] = {}
    for network in networks:
        if (named := (network.kind, network.name)) not in found:
            found[named] = find(network, models)
    return [found[network.kind, network.name] for network in networks]


def alias(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere
        return None
    return read_alias(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=10_000)
def read_alias(path: Path, *stamp: int) -> str | None:
    """What kohya's trainer wrote as the name of the network."""
    try:
        return header(path)["__metadata__"]["ss_output_name"]
    except Exception:  # it is none of .safetensors, or damaged, which concerns only who uses it
        return None


def apply(
    unet: "nn.Module", clips: "tuple[nn.Module, ...]", networks: Sequence[Network], models: "Models",
    before_each: Callable[[], None] = lambda: None, device: "torch.device | str" = "cpu",
) -> tuple["nn.Module", "tuple[nn.Module, ...]", dict[str, str], list[str]]:  # fmt: skip
    """The UNet and text encoders with the networks in effect, the networks' hashes (the first 10 hex digits of the
    sha256 of each file), and what to tell the user.

    The given modules stay as they are and share every unchanged tensor with the new ones; one that nothing changes
    comes back itself. A set costs the memory of the weights it changes, once, however many networks change them: with
    the usual LoRA, of all transformer blocks, 31% of a Stable Diffusion 1 UNet; at most that of UNet and text encoder.
    While it is made, also that of the files and of a few copies of one weight in float32. A file is read once, however
    often it is named; `before_each` is called first, and may raise to end it. The UNet will be called on `device`.

    Raises ModelNotFound, or InvalidParams for files that are damaged, of an unknown kind, or for another model."""
    from . import hypernetworks, lora
    from .hashes import short_hash, stamped
    from .variants import variant

    modules = unet, *clips
    deltas: list[Deltas] = [defaultdict(list) for _ in modules]
    hypers, hashes, warnings = [], {}, []
    loras: dict[Path, tuple[float, float]] = {}  # the sums of the weights with which each is named
    for network, path in zip(networks, places(networks, models), strict=True):
        hashes[network.name] = short_hash(stamped([path]), models.folder)
        if network.kind == "hypernet":
            hypers.append((path, network.unet_weight))
        else:
            unet_weight, text_weight = loras.get(path, (0.0, 0.0))
            loras[path] = unet_weight + network.unet_weight, text_weight + network.text_weight
    for path, (unet_weight, text_weight) in loras.items():
        before_each()
        strengths = unet_weight, *[text_weight] * len(clips)
        for weight, found, of in zip(strengths, lora.load(path, unet, clips, warnings), deltas, strict=True):
            for name, delta in found.items() if weight else ():
                of[name].append(scaled(delta, weight))
    loaded = {}
    for path in dict.fromkeys(path for path, _ in hypers):
        before_each()
        loaded[path] = hypernetworks.load(path, unet)
    unet, *clips = (variant(module, of) if of else module for module, of in zip(modules, deltas, strict=True))
    if hypers := [(loaded[path], weight) for path, weight in hypers if weight]:
        unet = hypernetworks.attach(unet, hypers, device)
    return unet, tuple(clips), hashes, warnings


Deltas = dict[str, list[Callable]]  # of parameters, by name; see variants.py


def scaled(delta: Callable, weight: float) -> Callable:
    return lambda W: weight * delta(W)
