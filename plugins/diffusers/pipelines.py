"""Loads pipelines from their folders, and keeps as many as the memory holds, the last used longest."""

import gc
import json
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

import diffusers
from core.plugin import Context, InvalidParams

from .folders import LIBRARIES, PipelineFolder, bad_folder

PLACINGS = ("whole", "models", "layers")  # all on the device; one model at a time there; one layer at a time there
ROOM = 1.3  # what a job takes beside the weights, in terms of them
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = {"F64", "F32", "F16", "BF16"}  # these take the dtype that the device is best at
VARIANT = re.compile(r"\.(fp16|bf16)(?=[.-])")


@dataclass
class Loaded:
    pipeline: Any
    folder: PipelineFolder
    stamp: Any
    placing: str


class Pipelines:
    """The pipelines of one worker, on one device."""

    def __init__(self, device: str):
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        self.device, self.dtype = device, _dtype(device)
        self._kept: OrderedDict[str, Loaded] = OrderedDict()  # by the folder's name, the last used last

    def get(self, pipeline: type, folder: PipelineFolder, stamp: Any, ctx: Context) -> Any:
        """The pipeline of a folder, ready to run. Raises InvalidParams if its files are damaged, Cancelled."""
        kept = self._kept.pop(folder.name, None)
        least = 0
        if ctx.low_memory:  # it did not suffice: one step further than it was, as far as there is one
            least = min(PLACINGS.index(kept.placing) + 1 if kept else 1, len(PLACINGS) - 1)
        if kept and (kept.stamp != stamp or PLACINGS.index(kept.placing) < least):
            kept = None
            self._give_back()
        if not kept:
            kept = self._load(pipeline, folder, stamp, least, ctx)
        self._kept[folder.name] = kept
        return kept.pipeline

    def clear(self) -> None:
        self._kept.clear()
        self._give_back()

    def _load(self, pipeline: type, folder: PipelineFolder, stamp: Any, least: int, ctx: Context) -> Loaded:
        """`least` is the first of PLACINGS, by its number, that may do."""
        sizes = {name: weights_bytes(folder, name, self.dtype) for name in folder.components}
        whole, largest = sum(sizes.values()), max(sizes.values(), default=0)
        while self._kept and self._free() < whole * ROOM:
            self._kept.popitem(last=False)
            self._give_back()
        free = self._free()
        fitting = (self.device == "cpu" or whole * ROOM < free, largest * ROOM < free, True)
        placing = next(each for each, fits in [*zip(PLACINGS, fitting, strict=True)][least:] if fits)
        if placing != "whole" and self.device != "cpu":
            ctx.log(f"{folder.name} takes turns on the device ({placing}): it does not fit there as a whole.")
        made = self._assemble(pipeline, folder, ctx)
        self._place(made, placing)
        return Loaded(made, folder, stamp, placing)

    def _assemble(self, pipeline: type, folder: PipelineFolder, ctx: Context) -> Any:
        """The pipeline with its components, loaded one by one: a cancel is heard, and an error knows its place."""
        components = {}
        for done, (name, (library, class_name)) in enumerate(folder.components.items()):
            ctx.raise_if_cancelled()
            ctx.progress(done, len(folder.components), f"loading {name}")
            components[name] = self._component(folder, name, library, class_name)
        ctx.raise_if_cancelled()
        try:
            # With all its components given, nothing more is read but the settings in model_index.json.
            made = pipeline.from_pretrained(folder.path, local_files_only=True, use_safetensors=True, **components)
        except Exception as error:
            raise _unusable(folder.name, error) from error
        made.set_progress_bar_config(disable=True)
        return made

    def _component(self, folder: PipelineFolder, name: str, library: str, class_name: str) -> Any:
        module = {"diffusers": diffusers, "transformers": transformers}.get(library)
        module = module or getattr(diffusers.pipelines, library)
        where = f"{folder.name}/{name}"
        found = getattr(module, class_name, None)
        if found is None and library == "transformers":  # as they were called until its version 5
            found = getattr(module, class_name.replace("FeatureExtractor", "ImageProcessor"), None)
        if not isinstance(found, type):
            versions = " and ".join(f"{each} {globals()[each].__version__}" for each in LIBRARIES)
            raise bad_folder(where, f"{library} has no class {class_name} here ({versions})")
        options: dict[str, Any] = {"local_files_only": True}
        if issubclass(found, transformers.PreTrainedModel):
            options |= {"dtype": self.dtype, "use_safetensors": True, "trust_remote_code": False}
        elif issubclass(found, torch.nn.Module):
            options |= {"torch_dtype": self.dtype, "use_safetensors": True, "low_cpu_mem_usage": True}
        if issubclass(found, torch.nn.Module):
            options |= {"output_loading_info": True} | _variant(folder, name)
        try:
            made = found.from_pretrained(folder.path / name, **options)
        except Exception as error:
            raise _unusable(where, error) from error
        if not isinstance(made, tuple):
            return made
        made, told = made
        if missing := sorted(told.get("missing_keys", ())):
            raise bad_folder(where, f"its weights lack {len(missing)} of the model's tensors, {missing[0]} for one")
        return made.eval()

    def _place(self, pipeline: Any, placing: str) -> None:
        if self.device == "cpu" or placing == "whole":
            pipeline.to(self.device)
        elif placing == "models" and pipeline.model_cpu_offload_seq:
            pipeline.enable_model_cpu_offload(device=self.device)
        else:
            pipeline.enable_sequential_cpu_offload(device=self.device)
        for component in pipeline.components.values() if placing != "whole" else ():
            for method in ("enable_tiling", "enable_slicing"):  # of an autoencoder
                getattr(component, method, lambda: None)()

    def _free(self) -> float:
        """Bytes that are free on the device, with what torch holds there without using it."""
        kind = self.device.partition(":")[0]
        if kind in ("cuda", "xpu"):
            module = getattr(torch, kind)
            idle = module.memory_reserved(self.device) - module.memory_allocated(self.device)
            return module.mem_get_info(self.device)[0] + idle
        return psutil.virtual_memory().available

    def _give_back(self) -> None:
        gc.collect()
        kind = self.device.partition(":")[0]
        if kind != "cpu" and hasattr(module := getattr(torch, kind), "empty_cache"):
            module.empty_cache()


def weights_bytes(folder: PipelineFolder, component: str, dtype: torch.dtype) -> int:
    """Memory that the weights of a component take once they are loaded, 0 if it has none, read from the heads of its
    files. Raises InvalidParams, naming the file, where one is cut off, damaged, or of a kind that may run code."""
    place = folder.path / component
    files = sorted(place.glob("*.safetensors"))
    if not files:
        pickled = sorted(file.name for end in ("bin", "ckpt", "pt", "pth") for file in place.glob(f"*.{end}"))
        if pickled:
            why = f"it has only weights that may run code ({pickled[0]})"
            hint = "Fetch its .safetensors, or convert it."
            raise bad_folder(f"{folder.name}/{component}", why, hint)
        return 0
    plain = [file for file in files if not VARIANT.search(file.name)]
    return sum(_tensors_bytes(file, f"{folder.name}/{component}", dtype) for file in plain or files)


def _tensors_bytes(file: Path, where: str, dtype: torch.dtype) -> int:
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            tensors = json.loads(stream.read(min(length, 100_000_000)))
        tensors = [each for name, each in tensors.items() if name != "__metadata__"]
        needed = 8 + length + max((each["data_offsets"][1] for each in tensors), default=0)
        found = sum(
            math.prod(each["shape"]) * (dtype.itemsize if each["dtype"] in FLOATS else BYTES.get(each["dtype"], 1))
            for each in tensors
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise bad_folder(where, f"{file.name} is no file of safetensors, or damaged: {error}") from error
    if size < needed:
        raise bad_folder(where, f"{file.name} is cut off: it has {size:,} of {needed:,} bytes")
    return found


def _variant(folder: PipelineFolder, component: str) -> dict[str, str]:
    """Which weights to take where there are only such of half precision, as model.fp16.safetensors."""
    names = [file.name for file in (folder.path / component).glob("*.safetensors")]
    found = [VARIANT.search(name) for name in names]
    return {"variant": found[0][1]} if names and all(found) else {}


def _unusable(where: str, error: Exception) -> Exception:
    """What loading raised, as an error that names the place; what is not the files' fault stays what it is."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | InvalidParams):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if isinstance(error, ImportError):
        return bad_folder(where, f"a package is missing: {lines[0][:300]}", "Install it into the plugin's environment.")
    if "huggingface.co" in lines[0]:  # where libraries would look next; nobody has asked for that
        return bad_folder(where, "files of it are missing")
    return bad_folder(where, f"it cannot be loaded: {type(error).__name__}: {lines[0][:300]}")


def _dtype(device: str) -> torch.dtype:
    if device == "cpu":
        return torch.float32
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.startswith("xpu") else torch.float16
