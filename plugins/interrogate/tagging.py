"""How likely each tag of a picture is: taggers in ONNX files, WD14 and DeepDanbooru, on the processor."""

import ast
import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

from core.plugin import Image

from .loaded import bad_model
from .pictures import on_white_square, to_the_edges

KINDS = {"4": "character", "9": "rating"}  # Danbooru's categories; all others are general
TABLE, LIST = "selected_tags.csv", "tags.txt"
MOST_TAGS, LARGEST = 200_000, 2048  # pixels of the side that a tagger may want


@dataclass
class Tags:
    """What a picture shows, with chances between 0 and 1, in the tagger's order."""

    general: dict[str, float] = field(default_factory=dict)
    characters: dict[str, float] = field(default_factory=dict)
    rating: dict[str, float] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, float]:
        return self.general | self.characters

    def above(self, threshold: float, character_threshold: float) -> "Tags":
        general = {name: chance for name, chance in self.general.items() if chance >= threshold}
        characters = {name: chance for name, chance in self.characters.items() if chance >= character_threshold}
        return Tags(general, characters, self.rating)


class Tagger:
    """Pictures (1, H, W, 3) to chances (1, tags). Beside the network is what its outputs mean: a selected_tags.csv, and
    then it wants BGR in 0..255 on white, as WD14 does; or a tags.txt, or a list inside the network, and then RGB in
    0..1 with edges repeated, as DeepDanbooru does."""

    def __init__(self, name: str, path: Path, _: str):
        import onnxruntime

        file = onnx_file(name, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
            metadata = self._session.get_modelmeta().custom_metadata_map
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime's own, of a dozen classes
            why = str(error).strip().splitlines()[0][:300].rstrip(".")
            raise bad_model("tagger", name, f"onnxruntime cannot read it: {why}") from error
        self._name = name
        self._tags, self._like_wd14 = tags_of(name, file, metadata)
        self._input, self._side = self._checked()

    def _checked(self) -> tuple[str, int]:
        """The name of the input, and the side of the square that it takes."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape, result = inputs[0].shape, outputs[0].shape
        square = len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2] or [*map(type, shape[1:3])] == [str, str]
        if len(inputs) != 1 or len(shape) != 4 or not square or "float" not in inputs[0].type:
            takes = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise bad_model("tagger", self._name, f"it takes {takes}, and taggers take one picture (N, H, W, 3)")
        if len(result) != 2 or (isinstance(result[1], int) and result[1] != len(self._tags)):
            raise bad_model("tagger", self._name, f"it gives {result}, and there are {len(self._tags)} tags")
        side = shape[1] if isinstance(shape[1], int) else (448 if self._like_wd14 else 512)
        if not 1 <= side <= LARGEST:
            raise bad_model("tagger", self._name, f"it wants pictures of {side} pixels")
        return inputs[0].name, side

    def tags(self, image: Image) -> Tags:
        import numpy

        if self._like_wd14:
            pixels = numpy.asarray(on_white_square(image, self._side), "float32")[..., ::-1]
        else:
            pixels = numpy.asarray(to_the_edges(image, self._side), "float32") / 255
        (chances,) = self._session.run([self._session.get_outputs()[0].name], {self._input: pixels[None].copy()})
        chances = chances.reshape(-1).astype("float64")
        if len(chances) != len(self._tags) or not numpy.isfinite(chances).all():
            why = f"it gives {len(chances)} numbers, not all finite, for {len(self._tags)} tags"
            raise bad_model("tagger", self._name, why)
        if chances.min() < 0 or chances.max() > 1:  # some are published without their last step
            chances = 1 / (1 + numpy.exp(-chances.clip(-60, 60)))
        found = Tags()
        kinds = {"general": found.general, "character": found.characters, "rating": found.rating}
        for (tag, kind), chance in zip(self._tags, chances.tolist(), strict=True):
            kinds[kind][tag] = round(chance, 4)
        return found


def onnx_file(name: str, path: Path) -> Path:
    """The network of a model that is a file or a folder."""
    if path.is_dir():
        found = [path / "model.onnx"] if (path / "model.onnx").is_file() else sorted(path.glob("*.onnx"))
        if len(found) != 1:
            raise bad_model("tagger", name, f"{len(found) or 'no'} .onnx files are in the folder, and one is needed")
        return found[0]
    if path.suffix.lower() != ".onnx":
        raise bad_model("tagger", name, "it is no .onnx file", "Fetch its ONNX file, and the tags with it.")
    return path


def tags_of(name: str, file: Path, metadata: dict[str, str]) -> tuple[list[tuple[str, str]], bool]:
    """The tags and their kinds, in the order of the outputs, and whether the tagger is one of WD14's kind."""
    tables = [path for path in (file.with_suffix(".csv"), file.with_name(TABLE)) if path.is_file()]
    lists = [path for path in (file.with_suffix(".txt"), file.with_name(LIST)) if path.is_file()]
    try:
        if tables:
            with open(tables[0], encoding="utf-8-sig", newline="") as table:
                rows = [(row["name"], KINDS.get(row["category"], "general")) for row in csv.DictReader(table)]
            return _counted(name, rows), True
        if lists:
            tags = [line.strip() for line in lists[0].read_text("utf-8-sig").splitlines() if line.strip()]
        elif "tags" in metadata:
            tags = [str(each) for each in ast.literal_eval(metadata["tags"])]
        else:
            raise bad_model(
                "tagger", name, f"nothing says what its outputs mean: there is no {TABLE} and no {LIST} beside it",
                f"Put {TABLE} (of WD14 taggers) or {LIST} (of DeepDanbooru) into {file.parent}.",
            )  # fmt: skip
        characters = file.with_name("tags-character.txt")
        named = set(characters.read_text("utf-8-sig").split()) if characters.is_file() else set()
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, csv.Error) as error:
        raise bad_model("tagger", name, f"its list of tags cannot be read: {type(error).__name__}: {error}") from error
    kinds = ["rating" if tag.startswith("rating:") else "character" if tag in named else "general" for tag in tags]
    return _counted(name, list(zip(tags, kinds, strict=True))), False


def _counted(name: str, tags: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if not 0 < len(tags) <= MOST_TAGS or not all(isinstance(tag, str) for tag, _ in tags):
        raise bad_model("tagger", name, f"its list has {len(tags)} tags")
    return tags
