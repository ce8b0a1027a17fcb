"""Where the vectors of textual inversion embeddings come from. Light at import; counting them needs no torch either."""

import functools
import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.library.weights import bad_file, header, read

if TYPE_CHECKING:
    from torch import Tensor

    from core.library.models import Models


class Embeddings(Mapping[str, "Tensor"]):
    """The embeddings that fit text encoders of `widths`, by name: the stem of the file in models/embedding/. A refiner
    of Stable Diffusion XL takes from one for XL what is for its own encoder.

    Files are looked at when this is made, and read when their vectors are asked for. A damaged file has its name
    here, too, so that asking for it raises InvalidParams. `paths` are the files, `hashes` of those that were read the
    first 10 hex digits of their sha256."""

    def __init__(self, models: "Models", widths: Sequence[int]):
        self._widths = tuple(widths)
        found = {path.stem: path for path in models.entries("embedding").values() if path.is_file()}
        self.paths = {name: path for name, path in found.items() if self._fits((shape(path) or (1, None))[1])}
        self._loaded: dict[str, Tensor] = {}
        self.hashes: dict[str, str] = {}
        self._folder = models.folder

    def __getitem__(self, name: str) -> "Tensor":
        """The vectors, float32 (n, sum of widths), on the CPU."""
        if name not in self._loaded:
            import torch

            from .hashes import short_hash, stamped

            self.hashes[name] = short_hash(stamped([self.paths[name]]), self._folder)
            found = load(self.paths[name])
            widths = tuple(vectors.shape[1] for vectors in found)
            if not self._fits(widths):  # of a kind that cannot be looked at without reading it
                have, want = (" and ".join(map(str, some)) for some in (widths, self._widths))
                why = f"its vectors have {have} numbers, and this model's text encoder has {want}"
                raise bad_file(self.paths[name], why, "It is for another architecture than the model: change either.")
            self._loaded[name] = torch.cat(found[-len(self._widths) :], dim=1)
        return self._loaded[name]

    def _fits(self, widths: tuple[int, ...] | None) -> bool:
        """Whether vectors of these widths fit; of what could not be looked at, that is not known."""
        return widths is None or widths == self._widths or (len(widths) == 2 and widths[1:] == self._widths)

    def __contains__(self, name: object) -> bool:
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def counts(self) -> dict[str, int]:
        """The number of vectors of each; 1 of a damaged file. Needs no torch."""
        return {name: vectors(path) for name, path in self.paths.items()}


def load(path: Path) -> "list[Tensor]":
    """The vectors of a file for each text encoder, float32 (n, D): A1111's .pt, diffusers' .bin and .safetensors,
    kohya's .safetensors; of Stable Diffusion XL those called clip_l and clip_g.

    Raises InvalidParams if it is damaged, or holds none or several embeddings."""
    import torch

    found = tensors(read(path))
    if found.keys() != {*XL} and len(found) != 1:
        raise bad_file(path, f"it holds {len(found)} embeddings instead of one")
    # A copy does not change when the file does.
    parts = [part.detach().to(torch.float32, copy=True) for part in in_order(found)]
    for part in parts:
        if part.ndim not in (1, 2):
            raise bad_file(path, f"its vectors have the shape {tuple(part.shape)}, not (n, width)")
    parts = [part.reshape(-1, part.shape[-1]) for part in parts]
    if len({len(part) for part in parts}) != 1:
        raise bad_file(path, f"it has {' and '.join(str(len(part)) for part in parts)} vectors for two text encoders")
    return parts


XL = ("clip_l", "clip_g")  # the two text encoders of Stable Diffusion XL


def in_order(found: dict[str, Any]) -> list[Any]:
    return [found[name] for name in XL] if found.keys() == {*XL} else [*found.values()]


def vectors(path: Path) -> int:
    """How many vectors, and so tokens, the embedding has; 1 if that cannot be told. Needs no torch."""
    return (shape(path) or (1, ()))[0]


def shape(path: Path) -> tuple[int, tuple[int, ...]] | None:
    """(number of vectors, width for each text encoder) by a look at the file's description of itself; None if that
    cannot be told."""
    status = path.stat()
    return looked_at(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=10_000)
def looked_at(path: Path, *stamp: int) -> tuple[int, tuple[int, ...]] | None:
    try:
        shapes = [part.shape for part in in_order(tensors(outline(path)))]
        counts, widths = zip(*((s[0] if len(s) == 2 else 1, s[-1]) for s in shapes), strict=True)
        return counts[0], widths
    except Exception:  # whatever is wrong with the file, it concerns only who uses it
        return None


def tensors(data: Any) -> dict[str, Any]:
    """What is a tensor, or the outline of one, in what an embedding's file holds."""
    data = data.get("string_to_param", data) if isinstance(data, dict) else data
    data = getattr(data, "_parameters", data)  # an nn.ParameterDict
    return {name: value for name, value in data.items() if hasattr(value, "shape")} if isinstance(data, dict) else {}


class Outline:
    """Stands for whatever a file holds that is not plain data: of a tensor, the shape."""

    def __init__(self, *arguments: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


def outline(path: Path) -> Any:
    """What the file holds, with Outlines in place of tensors; reads no weights and runs none of the file's code."""
    if path.suffix.lower() == ".safetensors":
        return {name: outlined(entry["shape"]) for name, entry in header(path).items() if name != "__metadata__"}
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        return Outliner(io.BytesIO(archive.read(name))).load()


def outlined(shape: Any) -> Outline:
    tensor = Outline()
    tensor.shape = tuple(shape)
    return tensor


class Outliner(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> None:
        return None  # a tensor's storage

    def find_class(self, module: str, name: str) -> Any:
        """Not one class or function of the file's is looked up: it gets ours."""
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, *rest: outlined(shape)
        if name == "_rebuild_parameter":
            return lambda tensor, *rest: tensor
        if name in ("OrderedDict", "dict"):
            return dict
        return Outline
