"""Which tags go with a tag: the lists in models/related_tags/, or the one that comes with the plugin.

Each line of a .csv file is one of these; the first line, or the head, says which:

cat,whiskers,paws,fur                  a tag and its related ones, the closest first
cat,whiskers,0.42                      a tag, a related one, and how close: more is closer
tag_a,tag_b,count                      a head; then how many pictures have both, good in both directions
tag,category,count,alias               a head, or without it; then how many pictures have a tag, and its other names:
                                       this makes the counts of pairs comparable, as cosine
A .json file is what Danbooru's /related_tag.json answered, one answer or a list of them.

Nothing is fetched. Lists may be large (Danbooru's pairs are a hundred megabytes), so they are read through for the tags
that are asked for, each time, and not kept."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core.library.prompts.wildcard_files import paths
from core.plugin import Context

SHIPPED = Path(__file__).resolve().parent / "related_tags"
MAX_LINE, MAX_JSON = 100_000, 20_000_000  # characters, bytes
LOOK = 50_000  # lines, between two looks whether to go on
MAX_NAMES = 20_000  # that are remembered, to say which are near to one that is not there
Scores = dict[str, float]


def key(tag: str) -> str:
    """A tag as lists spell it: small letters, underscores, no \\ before brackets."""
    return "_".join(tag.replace("\\", "").lower().split())


class Related:
    """What the lists say of the tags `asked` for (keys). `problems` tells which files are damaged."""

    def __init__(self, ctx: Context, asked: Iterable[str]):
        self._ctx = ctx
        self.names: dict[str, None] = {}
        self.problems: list[str] = []
        self._counts: dict[str, float] = {}
        self._tags = {tag: tag for tag in asked}  # by other names
        self._found: dict[str, Scores] = defaultdict(dict)
        self._read(ctx.models.folder / "related_tags")
        theirs = {*self._found}
        self._read(SHIPPED, but=theirs)

    def of(self, tag: str) -> Scores:
        """The related tags, the closest first, each with how close it is, 1 being the closest of a list."""
        return self._found.get(self._tags.get(tag, tag), {})

    def _read(self, root: Path, but: Iterable[str] = ()) -> None:
        files = [path for path, _ in paths(root, (".csv", ".json"))]
        heads = {path: self._head(path) for path in files}
        for path in files:  # they are needed for the others
            if heads[path] == "tags":
                self._safely(path, self._read_tags)
        for path in files:
            if heads[path] != "tags":
                found: dict[str, Scores] = defaultdict(dict)
                self._safely(path, self._read_json if path.suffix == ".json" else self._read_lists, found, heads[path])
                for tag, scores in found.items():
                    if tag not in but:
                        self._add(tag, scores)

    def _add(self, tag: str, scores: Scores) -> None:
        """What an earlier list says comes first."""
        scores = {name: score for name, score in scores.items() if name != tag and 0 < score < math.inf}
        largest = max(scores.values(), default=1)
        for name in sorted(scores, key=scores.get, reverse=True):
            self._found[tag].setdefault(name, scores[name] / largest)

    def _safely(self, path: Path, read: Any, *more: Any) -> None:
        try:
            read(path, *more)
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError, csv.Error) as error:
            why = " ".join(str(error).split())[:200]
            self.problems.append(f"models/related_tags/{path.name} cannot be read: {why or 'it is something else'}.")

    def _lines(self, path: Path) -> Iterator[str]:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if number % LOOK == 0:
                    self._ctx.raise_if_cancelled()
                yield line

    def _head(self, path: Path) -> str:
        """What a file holds: "tags", "pairs", or "" for lines of related tags."""
        if path.suffix == ".json":
            return ""
        try:
            cells = _cells(next(self._lines(path), ""))
        except OSError:  # said when it is read
            return ""
        if cells[:3] == ["tag_a", "tag_b", "count"]:
            return "pairs"
        counted = len(cells) in (3, 4) and cells[1].isdecimal() and len(cells[1]) < 3 and cells[2].isdecimal()
        return "tags" if counted or cells[:3] == ["tag", "category", "count"] else ""

    def _read_tags(self, path: Path) -> None:
        for line in self._lines(path):
            cells = _cells(line)
            if len(cells) >= 3 and cells[2].isdecimal():
                self._counts[key(cells[0])] = float(cells[2])
                for other in cells[3].split(",") if len(cells) > 3 else []:
                    if key(other) in self._tags:
                        self._tags[key(other)] = key(cells[0])

    def _read_lists(self, path: Path, found: dict[str, Scores], head: str) -> None:
        asked = {*self._tags.values()}
        for line in self._lines(path):
            line = line.lower()
            if len(self.names) < MAX_NAMES:
                self.names[key(line.partition(",")[0])] = None
            spelt = line.replace(" ", "_")
            if not any(tag in spelt for tag in asked):
                continue
            tag, *others = [key(cell) for cell in _cells(line)]
            if head and len(others) == 2 and _number(others[1]):
                for one, other in ((tag, others[0]), (others[0], tag)):
                    if one in asked:
                        found[one][other] = self._cosine(one, other, _number(others[1]))
            elif tag in asked and len(others) == 2 and _number(others[1]):
                found[tag][others[0]] = _number(others[1])
            elif tag in asked:
                found[tag] |= {other: found[tag].get(other, 1.0) for other in others if other}

    def _cosine(self, tag: str, other: str, both: float) -> float:
        """Of the sets of pictures, where their sizes are known; otherwise the count itself, if the tag's is not."""
        if tag not in self._counts:
            return both
        return both / math.sqrt(max(1, self._counts[tag] * self._counts[other])) if other in self._counts else 0.0

    def _read_json(self, path: Path, found: dict[str, Scores], _: str) -> None:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"it has over {MAX_JSON:,} bytes")
        answers = json.loads(path.read_bytes())
        for answer in answers if isinstance(answers, list) else [answers]:
            tag = key(answer["query"])
            self.names[tag] = None
            if tag in self._tags.values():
                rows = answer.get("related_tags") or answer.get("tags") or []
                found[tag] |= {key(name): float(score) for name, score in map(_row, rows)}


def _row(row: Any) -> tuple[str, float]:
    """Of an answer: [name, score] before 2021, {"tag": {"name"}, "cosine_similarity"} since."""
    if isinstance(row, dict):
        return row["tag"]["name"], row.get("cosine_similarity") or row.get("frequency") or 0
    return row[0], row[1]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")]), [])] or [""]


def _number(text: str) -> float:
    """0 if it is none, or not a positive one."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 < number < math.inf else 0.0
