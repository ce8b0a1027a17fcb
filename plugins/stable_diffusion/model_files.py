"""What a model's file or folder holds: its architecture, its configuration, its weights. Light at import."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.library import weights
from core.library.weights import first_line
from core.plugin import InvalidParams

from . import original
from .hashes import Stamps, stamped
from .original import CONDITIONERS, EMA, HUGGING_FACE, LAYERS, OPEN_CLIP, UNET, VAE

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

    from .placement import Placement

PARTS = ("text_encoder", "text_encoder_2", "unet", "vae")
ARCHITECTURES = {
    "sd1": "Stable Diffusion 1",
    "sd2": "Stable Diffusion 2",
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "the refiner of Stable Diffusion XL",
}
OF_WIDTH = {  # of what its UNet attends to
    768: "Stable Diffusion 1",
    1024: "Stable Diffusion 2",
    1280: "the refiner of Stable Diffusion XL",
    2048: "Stable Diffusion XL",
}
CALLED = {"text_encoder": "text encoder", "text_encoder_2": "second text encoder", "unet": "UNet", "vae": "VAE"}
PREDICTIONS = ("epsilon", "v_prediction")
CHANNELS = {4: "pictures", 8: "instruct-pix2pix", 9: "inpainting"}  # that a UNet takes, and what for
SIDECAR = 1_000_000  # bytes, which no configuration that lies beside a file has
CONFIG = "stable_core.config"  # under which our own files tell, as JSON, what shapes cannot tell
# The noise of all published models.
SCHEDULER = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# What numbers of a configuration have to lie between: the libraries take others, and draw nothing, or for hours.
BOUNDS = {
    **dict.fromkeys(("attention_head_dim", "num_attention_heads", "norm_num_groups", "layers_per_block"), (1, 4096)),
    **dict.fromkeys(("block_out_channels", "addition_time_embed_dim", "num_hidden_layers"), (1, 65536)),
    **dict.fromkeys(("norm_eps", "layer_norm_eps"), (0.0, 1.0)),
    **dict.fromkeys(("beta_start", "beta_end"), (1e-9, 0.999)),
    "num_train_timesteps": (1, 100_000),
    "scaling_factor": (1e-6, 1e6),
    "sample_size": (1, 2048),  # latents; of a VAE pixels
    "eos_token_id": (0, 1_000_000),
}
MAY_BE_NONE = ("num_attention_heads", "addition_time_embed_dim")
MAY_BE_LISTS = ("attention_head_dim", "num_attention_heads", "layers_per_block", "block_out_channels")
# Of no use, or not of use here; not an error if they are there.
SPARE = re.compile(r"(^|\.)(position_ids|logit_scale|text_projection(\.weight)?)$|^(loss|model_ema)\.")
OLD_VAE = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # in folders of old diffusers


@dataclass(frozen=True, eq=False)
class Source:
    """A model as it is on the disk. `configs`: in diffusers' words, of the parts that are there and of the
    "scheduler"; `metadata`: what else the file's maker told, by name."""

    name: str
    path: Path
    architecture: str  # a key of ARCHITECTURES
    files: list[Path]
    configs: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    parts: dict[str, Part]
    kind: str = "model"  # or "vae": the option that it was chosen with

    @property
    def prediction(self) -> str | None:
        """What the UNet estimates, "epsilon" or "v_prediction"; None if only trying can tell, see `settle`."""
        return self.configs["scheduler"].get("prediction_type", "epsilon")

    def module(self, part: str, dtype: torch.dtype, check: Callable[[], None] = lambda: None) -> torch.nn.Module:
        """A part on the CPU, for use and not for training, with weights of its own: the file may change afterwards.
        `check` is called before each weight, and may raise to give up.

        Raises InvalidParams, naming the file, if a weight is missing, unknown or of another shape."""
        empty = self.empty(part)
        wanted = self.names(part, empty)
        state = {}
        for name, of in empty.state_dict().items():
            check()
            tensor = self._tensor(part, name, wanted[name])
            if tensor.shape != of.shape:
                theirs = f"{wanted[name]} is {list(tensor.shape)} instead of {list(of.shape)}"
                raise self.bad(f"{self.path}, {CALLED[part]}: {theirs}")
            state[name] = tensor.to(dtype, copy=True).contiguous()
        empty.load_state_dict(state, assign=True)
        return filled(empty).eval().requires_grad_(False)

    def tensor(self, part: str, name: str) -> torch.Tensor:
        """One weight, by its name in the module, as it is in the file. It may be the file's own memory."""
        return self._tensor(part, name, self.names(part)[name])

    def names(self, part: str, empty: torch.nn.Module | None = None) -> dict[str, str]:
        """The names of the part's weights in the module, and those in the file that they are made of.

        Raises InvalidParams if one is missing, or the file has others."""
        if part not in self._names:
            at, ours = self.parts[part], (empty or self.empty(part)).state_dict()
            names = {name: original.plain(name) for name in ours} if at.diffusers else None
            names = names or original.names(part, ours, at.kind)
            used, layers = {*names.values()}, self.configs[part].get("num_hidden_layers", 0)
            missing = sorted(used - at.names.keys())
            more = [name for name in at.names if name not in used and not spare(name, layers)]
            for what, some in (("is missing", missing), ("is not known", sorted(more))):
                if some:
                    others = f" (and {len(some) - 1} more)" if some[1:] else ""
                    raise self.bad(f"{self.path}, {CALLED[part]}: {some[0]}{others} {what}")
            self._names[part] = names
        return self._names[part]

    @functools.cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        return {}

    def _tensor(self, part: str, ours: str, theirs: str) -> torch.Tensor:
        at = self.parts[part]
        tensor = at.stored.tensor(at.names[theirs])
        try:
            if not at.diffusers:
                return original.taken(ours, theirs, tensor)
            # Old diffusers had a convolution of one pixel in the VAE's attention.
            return tensor.reshape(tensor.shape[:2]) if re.search(r"attentions\.0\.to_\w+.*weight", theirs) else tensor
        except (RuntimeError, IndexError) as error:
            raise self.bad(f"{self.path}, {CALLED[part]}: {theirs} is {list(tensor.shape)}") from error

    def empty(self, part: str) -> torch.nn.Module:
        """The part without weights, on torch's meta device. Raises InvalidParams if it is not there."""
        import torch
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        if part not in self.parts:
            raise missing_part(self.name, self.path, part)
        config = self.configs[part]
        try:
            with torch.device("meta"):
                if part == "unet":
                    return UNet2DConditionModel.from_config(config)
                if part == "vae":
                    return AutoencoderKL.from_config(config)
                cls = CLIPTextModel if part == "text_encoder" else CLIPTextModelWithProjection
                return cls(CLIPTextConfig.from_dict(config))
        except Exception as error:  # the libraries raise nearly anything for values that do not fit
            raise self.bad(f"{self.path}, {CALLED[part]}: {first_line(error)}") from error

    def settle(self, unet: torch.nn.Module, placement: Placement) -> None:
        """Find out what a UNet of Stable Diffusion 2 estimates if nothing tells, as A1111 does: at the noisiest level,
        of a picture that is all 0.5, an estimate of the noise is about that picture, one of v its negative."""
        import torch

        if self.prediction is not None:
            return
        for dtype in (unet.dtype, torch.float32):  # attention of Stable Diffusion 2 may leave the range of float16
            with torch.inference_mode(), placement.present(unet, dtype=dtype) as (here,):
                mean = _mean_difference(here, {"dtype": dtype, "device": placement.device})
            if mean.isfinite():
                break
        self.configs["scheduler"]["prediction_type"] = PREDICTIONS[bool(mean < -1)]
        if mean < -1:
            unet.register_to_config(sample_size=96)  # published for 768 pixels

    def tokenizer(self, part: str = "text_encoder") -> CLIPTokenizer:
        """That of a text encoder. Raises InvalidParams if it cannot be read."""
        from transformers import CLIPTokenizer

        part = part if part in self.parts else "text_encoder_2"
        name = part.replace("text_encoder", "tokenizer")
        if self.parts[part].diffusers and not (self.path / name).is_dir():
            raise self.bad(f"{self.path / name} is missing")
        try:
            if self.parts[part].diffusers:
                made = CLIPTokenizer.from_pretrained(self.path / name, local_files_only=True)
            else:
                words = self.configs.get(name) or clip_vocabulary(self.parts[part].kind)
                made = CLIPTokenizer(**words | {"merges": [*map(tuple, words["merges"])]})
            made("a word")  # some damage is seen only then
            return made
        except Exception as error:  # transformers raises nearly anything for a damaged file
            raise self.bad(f"{self.path / name} cannot be loaded: {first_line(error)}") from error

    def bad(self, why: str) -> InvalidParams:
        return bad_vae(self.name, why) if self.kind == "vae" else bad_model(self.name, why)


def _mean_difference(unet: torch.nn.Module, like: dict[str, Any]) -> torch.Tensor:
    import torch

    x = torch.full((1, unet.config.in_channels, 8, 8), 0.5, **like)
    context = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, **like)
    return (unet(x, 999, context).sample.float() - 0.5).mean()


@dataclass(frozen=True, eq=False)
class Part:
    """Where a part's weights are. `names`: theirs without what all of them begin with, to those in `stored`; `kind`:
    see original.names; `diffusers`: they are diffusers' own."""

    stored: Stored
    names: dict[str, str]
    kind: str = ""
    diffusers: bool = False


class Stored:
    """The tensors in one file or several. `shapes` and `tensor` go by the names that they have there."""

    def __init__(self, files: list[Path]):
        """Reads headers only of .safetensors. Raises ValueError, saying why a file cannot be read."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        self._open: dict[str, Callable[[str], Any]] = {}
        self._files = {}
        for path in files:
            try:
                self._read(path)
            except Exception as error:  # torch.load answers damage with nearly any
                raise ValueError(f"{path} cannot be read: {weights.damage(path, error)}") from error

    def _read(self, path: Path) -> None:
        if path.suffix.lower() == ".safetensors":
            from safetensors import safe_open

            safe_open(path, "numpy").__exit__(None, None, None)  # looks whether all is where the header says
            header = weights.header(path)
            self.metadata |= header.pop("__metadata__", {})
            shapes = {name: tuple(each["shape"]) for name, each in header.items()}
            self._files |= dict.fromkeys(shapes, path)
        else:
            import torch

            pickled = weights.unpickled(path)
            pickled = pickled if isinstance(pickled, Mapping) else {}
            self.metadata |= {name: text for name, text in pickled.items() if isinstance(text, str)}
            pickled = inner if isinstance(inner := pickled.get("state_dict"), Mapping) else pickled
            pairs = [(name, each) for name, each in pickled.items() if isinstance(name, str)]
            tensors = {name: each for name, each in pairs if isinstance(each, torch.Tensor)}
            if not tensors:
                raise ValueError("it holds no tensors by name")
            shapes = {name: tuple(each.shape) for name, each in tensors.items()}
            self._open |= dict.fromkeys(tensors, tensors.__getitem__)
        self.shapes |= shapes

    def tensor(self, name: str) -> torch.Tensor:
        if name not in self._open:
            from safetensors import safe_open

            path = self._files[name]
            get = safe_open(path, "pt").__enter__().get_tensor
            self._open |= {each: get for each, at in self._files.items() if at == path}
        return self._open[name](name)


def opened(name: str, path: Path) -> Source:
    """The model at `path`, of which only headers and configurations are read, but of pickled files all.

    Raises InvalidParams, naming the file and what is wrong, if it is no usable Stable Diffusion model."""
    try:
        source = _folder(name, path) if path.is_dir() else _file(name, path)
    except ValueError as error:
        raise bad_model(name, str(error)) from error
    channels = source.configs["unet"].get("in_channels")
    if channels not in CHANNELS:
        known = ", ".join(map(str, CHANNELS))
        raise bad_model(name, f"{path}: its UNet takes {channels} channels, which is none of {known}")
    if source.prediction not in (None, *PREDICTIONS):
        raise bad_model(name, f"{path} has the prediction_type {source.prediction!r}")
    _check_numbers(source)
    return source


def _check_numbers(source: Source) -> None:
    if "unet" in source.parts:
        source.configs["unet"].setdefault("sample_size", None)  # which we need, and diffusers does not
    for (part, config), (key, (least, most)) in itertools.product(source.configs.items(), BOUNDS.items()):
        if key not in config or (config[key] is None and key in MAY_BE_NONE):
            continue
        given = config[key]
        for number in given if given and isinstance(given, list) and key in MAY_BE_LISTS else [given]:
            if type(number) not in (int, type(least)) or not least <= number <= most:
                place = f"{source.path}, {CALLED.get(part, part)}"
                raise source.bad(f"{place}: {key} is {str(given)[:50]}, not {least:,} to {most:,}")


def files_of(path: Path) -> list[Path]:
    """All files that make the model what it is: if one is changed, so is the model."""
    if path.is_dir() and (path / "config.json").is_file():  # a VAE
        return sorted(file for file in path.iterdir() if file.is_file())
    if path.is_dir():
        folders = (*PARTS, "scheduler", "tokenizer", "tokenizer_2")
        return sorted(file for folder in folders for file in path.glob(f"{folder}/*") if file.is_file())
    return [file for file in (path, path.with_suffix(".yaml")) if file.is_file()]


def _folder(name: str, path: Path) -> Source:
    configs, parts, files = {}, {}, []
    for part in PARTS:
        if part == "unet" or (path / part).is_dir():
            configs[part] = _json(path / part / "config.json")
            here = part_files(path / part)
            stored = Stored(here)
            parts[part] = Part(stored, {_module_name(name): name for name in stored.shapes}, diffusers=True)
            files += here
    configs["scheduler"] = _json(path / "scheduler/scheduler_config.json")
    if configs["unet"].get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise ValueError(f"{path / 'unet/config.json'} is not a UNet2DConditionModel")
    if "text_encoder" not in parts and "text_encoder_2" not in parts:
        raise missing_part(name, path, "text_encoder")
    if "text_encoder_2" in parts:
        architecture = "sdxl" if "text_encoder" in parts else "sdxl-refiner"
    else:
        architecture = "sd2" if configs["text_encoder"].get("hidden_act") == "gelu" else "sd1"
    return Source(name, path, architecture, files, configs, {}, parts)


def opened_vae(name: str, path: Path, architecture: str) -> Source:
    """The VAE at `path` for a model of that architecture: a folder or file of diffusers, or a file in the original
    layout, with "first_stage_model." before its names or without. See `opened`."""
    try:
        if path.is_dir():
            config, files = _json(path / "config.json"), part_files(path)
            stored = Stored(files)
            part = Part(stored, {_module_name(each): each for each in stored.shapes}, diffusers=True)
        else:
            stored, files = Stored([path]), [path]
            begins = VAE if any(each.startswith(VAE) for each in stored.shapes) else ""
            names = {each.removeprefix(begins): each for each in stored.shapes if each.startswith(begins)}
            ours = any(each.startswith("encoder.down_blocks.") for each in names)
            names = {_module_name(each): at for each, at in names.items()} if ours else names
            if "decoder.conv_in.weight" not in names:
                raise ValueError(f"{path} holds no VAE of Stable Diffusion")
            part = Part(stored, names, diffusers=ours)
            theirs = original.names("vae", names) if ours else {each: each for each in names}
            named = Part(stored, {theirs[each]: at for each, at in names.items()})
            told = _json_text(stored.metadata.get(CONFIG), path)
            config = _config("vae", named, architecture, path, told)
    except ValueError as error:
        raise bad_vae(name, str(error)) from error
    if (channels := config.get("latent_channels", 4)) != 4:
        raise bad_vae(name, f"{path} is for latents of {channels} channels, not of 4")
    source = Source(name, path, architecture, files, {"vae": config}, stored.metadata, {"vae": part}, "vae")
    _check_numbers(source)
    return source


def has_vae(name: str, path: Path) -> bool:
    """Whether the model has a VAE of its own; raises as `opened`."""
    return _has_vae(name, path, stamped(files_of(path)))


@functools.lru_cache
def _has_vae(name: str, path: Path, stamps: Stamps) -> bool:
    return "vae" in opened(name, path).parts


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no JSON object")
    check_layers(path, found)
    return found


def check_layers(path: Path, config: Mapping[str, Any]) -> None:
    """Raises ValueError for more layers than any model has: somebody could let us build for hours."""
    for key, value in config.items():
        if "layers" in key and any(int(each) > LAYERS for each in re.findall(r"\d+", str(value))):
            raise ValueError(f"{path} has {key} of {value}, more than {LAYERS}")


def part_files(folder: Path) -> list[Path]:
    """The files with the weights of one part: .safetensors if there are any, else .bin; of several variants the plain
    one, else fp16, else the first. Raises ValueError if there is none, or one of several is missing."""
    for ending in ("safetensors", "bin"):
        variants: dict[str, list[Path]] = {}
        for path in sorted(folder.glob(f"*.{ending}")):
            variants.setdefault(re.sub(r"-\d{5}-of-\d{5}", "", path.name), []).append(path)
        if variants:
            best = min(variants, key=lambda name: (name.count("."), ".fp16." not in name, name))
            of = re.search(r"-of-(\d{5})", variants[best][0].name)
            if of and len(variants[best]) != int(of[1]):
                raise ValueError(f"{folder} has {len(variants[best])} of {int(of[1])} files of {best}")
            return variants[best]
    raise ValueError(f"{folder} has no .safetensors file")


def _module_name(name: str) -> str:
    """The name that a weight in a diffusers folder has in today's modules, without the text encoder's outer one."""
    words = original.plain(name).split(".")
    if "attentions" in words and "transformer_blocks" not in words:
        words = [OLD_VAE.get(word, word) for word in words]
    return ".".join(words)


def _file(name: str, path: Path) -> Source:
    stored = Stored([path])
    found = stored.shapes
    unet = {each.removeprefix(UNET): each for each in found if each.startswith(UNET)}
    unet = unet or {original.dotted(each.removeprefix(EMA)): each for each in found if each.startswith(EMA)}
    if not unet:
        raise ValueError(f"{path} {_else(found)}")
    for key in ("edm_vpred.sigma_max", "edm_mean"):
        if key in found:
            raise ValueError(f"{path} is for EDM's noise levels ({key}), which cannot be drawn with here")
    if "label_emb.weight" in unet:
        raise ValueError(f"{path} is an upscaler, not a model that draws")
    parts = {"unet": Part(stored, unet)}
    texts = [Part(stored, names, kind) for kind, names in _text_encoders(found)]
    if not texts:
        raise missing_part(name, path, "text_encoder")
    if "label_emb.0.0.weight" not in unet:
        architecture = "sd2" if texts[0].kind == OPEN_CLIP else "sd1"
        parts["text_encoder"] = texts[0]
    elif texts[0].kind == OPEN_CLIP:
        architecture = "sdxl-refiner"
        parts["text_encoder_2"] = texts[0]
    else:
        architecture = "sdxl"
        if len(texts) < 2:
            raise missing_part(name, path, "text_encoder_2")
        parts |= {"text_encoder": texts[0], "text_encoder_2": texts[1]}
    if vae := {each.removeprefix(VAE): each for each in found if each.startswith(VAE)}:
        parts["vae"] = Part(stored, vae)
    parts = {part: parts[part] for part in PARTS if part in parts}
    told = _json_text(stored.metadata.get(CONFIG), path)
    configs = {part: _config(part, parts[part], architecture, path, told) for part in parts}
    configs["scheduler"] = told.get("scheduler") or _scheduler(path, stored, architecture)
    if architecture == "sd2" and configs["scheduler"].get("prediction_type") == "v_prediction" and "unet" not in told:
        configs["unet"]["sample_size"] = 96
    configs |= {key: told[key] for key in told if key.startswith("tokenizer")}
    metadata = {key: text for key, text in stored.metadata.items() if key != CONFIG}
    return Source(name, path, architecture, [path], configs, metadata, parts)


def _text_encoders(found: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Kind and names of each text encoder in a file."""
    for conditioner in CONDITIONERS:
        # Some old files leave out "text_model.".
        for prefix, kind in ((HUGGING_FACE, HUGGING_FACE), ("transformer.", HUGGING_FACE), (OPEN_CLIP, OPEN_CLIP)):
            begin = conditioner + prefix
            names = {each.removeprefix(begin): each for each in found if each.startswith(begin)}
            if "token_embedding.weight" in names or "embeddings.token_embedding.weight" in names:
                yield kind, names


def _config(part: str, at: Part, architecture: str, path: Path, told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What shapes tell, what was `told` by us, and the rest as published."""
    shapes = {name: at.stored.shapes[theirs] for name, theirs in at.names.items()}
    told = {key: value for key, value in told.get(part, {}).items() if key in original.UNTOLD[part]}
    try:
        if part == "unet":
            return original.unet_config(shapes, architecture) | told
        if part == "vae":
            return original.vae_config(shapes, architecture) | told
        return original.text_config(shapes, at.kind, architecture) | told
    except (KeyError, ValueError, IndexError, StopIteration, TypeError) as error:
        raise ValueError(f"{path}: its {CALLED[part]} is not one of Stable Diffusion ({error})") from error


def _json_text(text: str | None, path: Path) -> dict[str, Any]:
    try:
        told = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {CONFIG} in its metadata is no JSON: {error}") from error
    if not isinstance(told, dict) or not all(isinstance(each, dict) for each in told.values()):
        raise ValueError(f"{path}: {CONFIG} in its metadata is no JSON of objects")
    return told


def _scheduler(path: Path, stored: Stored, architecture: str) -> dict[str, Any]:
    """What a file and its A1111 sidecar NAME.yaml say of its noise levels, and what the UNet estimates."""
    told = stored.metadata.get("modelspec.prediction_type") or _sidecar(path)
    if told is None and "v_pred" in stored.shapes:
        told = "v"
    if told is None:
        prediction = None if architecture == "sd2" else "epsilon"
    else:
        prediction = "v_prediction" if told.startswith("v") else "epsilon"
    return SCHEDULER | {"prediction_type": prediction, "rescale_betas_zero_snr": "ztsnr" in stored.shapes}


def _sidecar(path: Path) -> str | None:
    """The parameterization in the configuration that lies beside the file, "eps" if it has none."""
    beside = path.with_suffix(".yaml")
    if not beside.is_file():
        return None
    import yaml

    try:
        if beside.stat().st_size > SIDECAR:
            raise ValueError("it is too large for one")
        told = yaml.safe_load(beside.read_text("utf-8"))["model"]["params"].get("parameterization", "eps")
        if not isinstance(told, str):  # it may stand for more than can be written
            raise ValueError("its parameterization is no text")
        return told
    except Exception as error:  # whatever somebody has written there
        raise ValueError(f"{beside} cannot be read as a configuration of the model: {first_line(error)}") from error


def _else(found: Mapping[str, Any]) -> str:
    """What a file is that is no model, by its names."""
    kinds = {
        "a LoRA; put it into models/lora": r"lora_|.*lora_(up|down|A|B)\.|.*\.lokr_|.*\.hada_",
        "a ControlNet, not a model that draws alone": r"control_model\.|controlnet_|.*zero_convs?\.",
        "a VAE; put it into models/vae and choose it as vae": r"first_stage_model\.|decoder\.(conv_in|mid)",
        "an embedding; put it into models/embedding": r"emb_params|clip_[lg]$|string_to_param",
        "of another architecture than Stable Diffusion 1, 2 or XL": r".*(double|joint|transformer)_blocks\.",
    }
    for kind, pattern in kinds.items():
        if any(re.match(pattern, name) for name in found):
            return f"is {kind}"
    return "holds no UNet of Stable Diffusion"


def spare(name: str, layers: int) -> bool:
    """Whether a weight need not be used: see SPARE, and the layers after those that the text encoder has."""
    layer = re.match(r"transformer\.resblocks\.(\d+)\.", name)
    return bool(SPARE.search(name) or (layer and int(layer[1]) >= layers))


def filled(model: torch.nn.Module) -> torch.nn.Module:
    """The model with what is neither weight nor saved: of CLIP the numbers of the positions."""
    import torch

    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                if name != "position_ids":
                    raise ValueError(f"{type(module).__name__} has a buffer {name} that is not saved")
                module.register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
    return model


@functools.cache
def clip_vocabulary(kind: str) -> dict[str, Any]:
    """What CLIPTokenizer is made with for the published models. OpenCLIP fills texts up with the token 0."""
    from tokenizers.pre_tokenizers import ByteLevel

    # k-diffusion depends on clip-anytorch, which ships OpenAI's list of merges.
    path = Path(importlib.util.find_spec("clip").origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    letters = sorted(ByteLevel.alphabet())
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    ends = ("<|startoftext|>", "<|endoftext|>")
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), *ends]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return {"vocab": vocabulary, "merges": merges, "pad_token": "!" if kind == OPEN_CLIP else "<|endoftext|>"}


def missing_part(name: str, path: Path, part: str) -> InvalidParams:
    hint = "Choose one of models/vae as vae." if part == "vae" else "Fetch the whole model, not a pruned one."
    return bad_model(name, f"{path} holds no {CALLED[part]}", hint)


def bad_vae(name: str, why: str) -> InvalidParams:
    return InvalidParams(
        f"vae {name!r} cannot be used: {why}.",
        field="vae",
        hint="Give the VAE of a Stable Diffusion 1, 2 or XL model: one file, or a folder in diffusers layout.",
    )


def bad_model(name: str, why: str, hint: str | None = None) -> InvalidParams:
    return InvalidParams(
        f"model {name!r} cannot be used: {why}.",
        field="model",
        hint=hint
        or "Give a Stable Diffusion 1, 2 or XL model: one .safetensors or .ckpt file, or a folder in diffusers layout.",
    )
