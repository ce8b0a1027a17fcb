"""The rows of a batch: lines of a CSV or JSONL file, or files of a folder, as parameters and inputs of a job."""

import argparse
import csv
import difflib
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from clients.cli.flags import IMAGES, JobParser, input_of
from clients.python import InvalidParams

SHOWN = 20  # mistakes that are told at once
SUFFIXES = {
    "image": {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}, "text": {".txt", ".md"},
    "json": {".json"}, "audio": {".wav", ".mp3", ".flac", ".ogg"}, "video": {".mp4", ".webm", ".mov", ".mkv"},
}  # fmt: skip


@dataclass
class Row:
    """`name` tells it apart for people, `label` in the names of saved files, `ref` for the server in all runs."""

    name: str
    label: str
    params: dict[str, Any]
    inputs: dict[str, list[Any]]
    ref: str = ""
    problems: list[str] = field(default_factory=list)


class Source:
    """Where rows come from. `shared` are the parameters and inputs that the command line gives for all of them."""

    def __init__(self, path: Path, about: dict[str, Any], parser: JobParser, shared: tuple[dict, dict], salt: str):
        self.path, self._about, self._parser, self._salt = path, about, parser, salt
        self._params, self._inputs = shared
        self._columns = [*about["inputs"], *about["params"].get("properties", {})]
        self._check = jsonschema.Draft202012Validator(about["params"])
        self._hashes: dict[tuple[Path, int, int], str] = {}
        if not path.exists():
            raise InvalidParams(f"there is no file or folder {str(path)!r}.")
        if not path.is_dir() and path.suffix.lower() not in (".csv", ".jsonl"):
            raise InvalidParams(f"{path}: a batch is a .csv or .jsonl file, or a folder of files.")
        self._port = self._free_port() if path.is_dir() else ""

    def rows(self, growing: bool = False) -> list[Row]:
        """All rows, good and bad ones. While the source is still `growing`, a line without an end is left for later."""
        found = list(self._files() if self.path.is_dir() else self._lines(growing))
        times: Counter[str] = Counter()
        for row in found:
            row.problems += self._problems(row)
            if not row.problems:
                content = self._content(row)
                row.ref = f"batch-{digest([self._salt, self.path.name, content, times[content]])[:40]}"
                times[content] += 1
        return found

    def _files(self) -> Iterator[Row]:
        kind = self._about["inputs"][self._port]["kind"]
        suffixes = SUFFIXES["image" if kind in IMAGES else kind]
        paths = [each for each in sorted(self.path.iterdir()) if each.suffix.lower() in suffixes and each.is_file()]
        paths = [each for each in paths if not each.name.startswith(".")]
        stems = Counter(each.stem for each in paths)
        for path in paths:
            name = path.stem if stems[path.stem] == 1 else path.name
            yield Row(name, name, self._params, self._inputs | {self._port: [path]})

    def _lines(self, growing: bool) -> Iterator[Row]:
        content = self.path.read_bytes()
        if growing:
            content = content[: content.rfind(b"\n") + 1]
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidParams(f"{self.path}: it is not UTF-8: {error}.", hint="Save it as UTF-8.") from error
        yield from self._csv(text) if self.path.suffix.lower() == ".csv" else self._jsonl(text)

    def _csv(self, text: str) -> Iterator[Row]:
        """Rows are counted as spreadsheets do: the header is row 1."""
        header = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
        names = [self._column(name) for name in next(reader, [])]
        for number, cells in enumerate(reader, 2):
            if not any(cell.strip() for cell in cells):
                continue
            row = Row(str(number), f"{number:04}", dict(self._params), dict(self._inputs))
            if len(cells) > len(names):
                row.problems.append(f"{len(cells)} cells, and the header has {len(names)}.")
            for name, cell in zip(names, cells, strict=False):
                if cell.strip():
                    self._put(row, name, cell)
            yield row

    def _jsonl(self, text: str) -> Iterator[Row]:
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            row = Row(str(number), f"{number:04}", dict(self._params), dict(self._inputs))
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError) as error:
                row.problems.append(f"it is not JSON: {error}.")
                cells = {}
            if not isinstance(cells, dict):
                row.problems.append('it has to be a JSON object, for example {"prompt": "a star"}.')
                cells = {}
            for name, cell in cells.items():
                self._put(row, self._column(name), cell)
            yield row

    def _column(self, name: str) -> str:
        """People write `Negative prompt` or `negative-prompt`."""
        name = name.strip()
        simple = name.lower().replace(" ", "_").replace("-", "_")
        return name if name in self._columns or simple not in self._columns else simple

    def _put(self, row: Row, name: str, cell: Any) -> None:
        """One cell: text, from a CSV file, is read as a flag would be; JSON is taken as it is."""
        inputs = self._about["inputs"]
        try:
            if name in inputs:
                row.inputs[name] = [self._input(name, each) for each in (cell if isinstance(cell, list) else [cell])]
            elif name in self._columns:
                text = isinstance(cell, str) and self.path.suffix.lower() == ".csv"
                row.params[name] = self._parser.read_cell(name, cell) if text else cell
            else:
                near = difflib.get_close_matches(name, self._columns, n=1)
                raise argparse.ArgumentTypeError(
                    f"there is no such parameter or input. Did you mean {near[0]}?"
                    if near
                    else f"there is no such parameter or input. There are {', '.join(self._columns)}."
                )
        except argparse.ArgumentTypeError as error:
            row.problems.append(f"column {name}: {error}")

    def _input(self, name: str, cell: Any) -> Any:
        if not isinstance(cell, str):
            raise argparse.ArgumentTypeError(f"must be a file or an artifact's id, got {json.dumps(cell)[:100]}.")
        if cell == "-":
            raise argparse.ArgumentTypeError("- is for what is piped in. Give a file or an artifact's id.")
        return input_of(self._about["inputs"][name]["kind"], self.path.parent)(cell)

    def _problems(self, row: Row) -> list[str]:
        found = []
        for error in self._check.iter_errors(row.params):
            if error.validator == "required":
                continue  # told below, in the words for columns
            found.append(f"column {error.path[0] if error.path else ''}: {error.message}.")
        need = [name for name, port in self._about["inputs"].items() if not port["optional"]]
        missing = [name for name in need if name not in row.inputs]
        missing += [name for name in self._about["params"].get("required", []) if name not in row.params]
        told = " ".join(row.problems)
        return found + [f"column {name}: it is needed." for name in missing if f"column {name}:" not in told]

    def _content(self, row: Row) -> str:
        """What the row says. The same file with other bytes is another row."""
        inputs = {name: [self._hash(each) for each in given] for name, given in row.inputs.items()}
        names = [each.name for each in row.inputs.get(self._port, []) if isinstance(each, Path)]
        return json.dumps([row.params, inputs, names], sort_keys=True)

    def _hash(self, given: Any) -> str:
        if isinstance(given, str):
            return given
        if isinstance(given, bytes):
            return hashlib.sha256(given).hexdigest()
        about = os.stat(given)
        key = (given, about.st_size, about.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = hashlib.sha256(given.read_bytes()).hexdigest()
        return self._hashes[key]

    def _free_port(self) -> str:
        """The input that the files of a folder are for: the one that is needed and not given, else the only one."""
        ports = {name: port for name, port in self._about["inputs"].items() if name not in self._inputs}
        needed = [name for name, port in ports.items() if not port["optional"]] or list(ports)
        if len(needed) != 1:
            words = f"which input the files are for: {', '.join(needed)}" if needed else "what to do with files"
            hint = "Give the others as flags, or write a .csv with a column for each."
            raise InvalidParams(f"{self._about['name']} does not say {words}.", hint=hint)
        return needed[0]


def mistakes(path: Path, rows: list[Row]) -> list[str]:
    """What is wrong, each with its file, row and column."""
    return [f"{path.name}, row {row.name}, {problem}" for row in rows for problem in row.problems]


def refuse(path: Path, rows: list[Row]) -> None:
    """Raises InvalidParams if something is wrong with any row."""
    if found := mistakes(path, rows):
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        lines = "\n       ".join(found[:SHOWN] + more)
        errors = [{"field": "file", "message": each} for each in found]
        raise InvalidParams(lines, errors=errors, hint="Nothing was submitted.")


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
