"""Which cells a sweep has: each a job with all its parameters, a key that says what it is, and a place in the grid."""

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.library import sweeping
from core.plugin import InvalidParams

from . import typed
from .axes import BARE, ORDER, SEARCH, name_of, parameter_of

MOST = 10_000  # cells
LONGEST = 400  # characters of a key
IN_A_ROW = 12  # cells with one axis that stand beside each other; more are put into a square
SEEDS = 2**32
PICTURE, RUN, LINE = "(picture)", "(run)", "(line)"  # in keys, beside names of parameters
PROMPTS = ("prompt", "negative_prompt")


@dataclass(frozen=True)
class Value:
    """One value of an axis, or of several that go side by side: the parameters that it sets, what is written beside the
    grid, and what it is in keys."""

    sets: tuple[tuple[str, Any], ...]
    label: str
    key: dict[str, Any]
    further: int = 0  # by how much it counts the seed up
    picture: int | None = None  # which of those that are given


Dimension = list[Value]


@dataclass(frozen=True)
class Cell:
    key: str
    params: dict[str, Any]
    picture: int | None = None


@dataclass(frozen=True)
class Layout:
    """The grids of all cells, one for each of `titles`, row by row."""

    wide: int
    high: int
    titles: Sequence[str] = ("",)
    above: Sequence[str] = ()
    beside: Sequence[str] = ()
    captions: Sequence[str] = ()

    @property
    def plane(self) -> int:
        return self.wide * self.high

    def bare(self) -> "Layout":
        """Without words."""
        return Layout(self.wide, self.high, [""] * len(self.titles))


@dataclass
class Job:
    """What is run in the cells: an announced job, the parameters that stay the same, and who makes seeds."""

    name: str
    schema: dict[str, Any]
    params: dict[str, Any]
    seed: Callable[[str], int]  # by key
    known: typed.Known = field(default=lambda kind: [])
    random_seeds: bool = False

    def __post_init__(self) -> None:
        self.properties = self.schema.get("properties", {})
        self.seeds = [
            name for name, each in self.properties.items()
            if each.get("ui", {}).get("widget") == "seed" and each.get("default") == -1
        ]  # fmt: skip

    def dimension(self, parameter: str, text: str, field: str) -> Dimension:
        """An axis with the values that are written. Raises InvalidParams."""
        parameter = parameter_of(parameter)
        if not parameter:
            return [Value((), "", {})]
        try:
            found = self._values(parameter, text)
        except ValueError as error:
            raise InvalidParams(f"{field}: {name_of(parameter)}: {ended(error)}", field=field) from error
        if len(found) > MOST:
            raise InvalidParams(f"{field}: {name_of(parameter)}: there are more than {MOST:,} values.", field=field)
        made, texts = [], [key if isinstance(key, str) else json.dumps(key) for _, _, key in found]
        for (value, label, key), text, name in zip(found, texts, sweeping.each_once(texts), strict=True):
            key = key if name == text else name
            if parameter in self.seeds and value == -1 and not self.random_seeds:
                value = self.seed(f"{parameter} {key}")
                label = str(value)
            label = label if parameter in BARE else f"{name_of(parameter)}: {label}"
            made.append(Value(((parameter, value),), label, {parameter: key}))
        return made

    def _values(self, parameter: str, text: str) -> list[tuple[Any, str, Any]]:
        """(value, label, key) of each."""
        if parameter in (SEARCH, ORDER):
            items = sweeping.listed(text)
            if not items:
                raise ValueError("there are no values. Write some, with commas between")
            if parameter == SEARCH:
                return [((items[0], item), item, item) for item in items]
            return [(parts, ", ".join(parts), ", ".join(parts)) for parts in sweeping.orders(items, MOST)]
        values = typed.values_of(text, typed.schema_of(parameter, self.schema), self.known)
        return [(value, written(value), value) for value in values]

    def cells(self, dimensions: Sequence[Dimension]) -> list[Cell]:
        """In the order of the grid: the first dimension changes first. Raises InvalidParams."""
        if (count := math.prod(map(len, dimensions))) > MOST:
            raise InvalidParams(f"these are {count:,} cells, the limit is {MOST:,}. Take fewer values.", field="axes")
        return [self.cell(values[::-1]) for values in itertools.product(*reversed(dimensions))]

    def cell(self, values: Sequence[Value]) -> Cell:
        params, key = copy.deepcopy(self.params), _together(values)
        sets = [each for value in values for each in value.sets]
        for parameter, value in sorted(sets, key=lambda each: each[0] in (SEARCH, ORDER)):  # these come last
            try:
                self._put(params, parameter, value)
            except ValueError as error:
                raise InvalidParams(f"{name_of(parameter)}: {ended(error)}", field="axes") from error
        name = key_of(key)
        further = sum(value.further for value in values)
        for place, seed in enumerate(self.seeds):
            given = params.get(seed, -1)
            if given == -1 and typed.counts(seed, params, self.properties):
                given = params[seed] = self.seed(f"{seed} {name}" if self.random_seeds else seed)
            if place == 0 and further and given != -1:
                params[seed] = (given + further) % SEEDS
        return Cell(name, params, next((value.picture for value in values if value.picture is not None), None))

    def _put(self, params: dict[str, Any], parameter: str, value: Any) -> None:
        has = [name for name in PROMPTS if name in self.properties]
        texts = {name: params.get(name, self.properties[name].get("default", "")) for name in has}
        if parameter == SEARCH:
            params |= sweeping.replaced(texts, *value)
        elif parameter == ORDER:
            params["prompt"] = sweeping.in_order(texts.get("prompt", ""), value)
        else:
            typed.put(params, parameter, value)


def _together(values: Sequence[Value]) -> dict[str, Any]:
    """The keys of several as one; where two axes are of one parameter, they are told apart."""
    key: dict[str, Any] = {}
    for name, each in [item for value in values for item in value.key.items()]:
        again = sum(other.partition(" #")[0] == name for other in key)
        key[f"{name} #{again + 1}" if again else name] = each
    return key


def key_of(coordinates: dict[str, Any]) -> str:
    """What a cell is, as JSON; of long ones the beginning and a hash."""
    text = json.dumps(coordinates, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:300]} {hashlib.sha256(text.encode()).hexdigest()[:32]}"


def ended(error: Exception) -> str:
    """What it says, as a sentence."""
    return str(error) if str(error).endswith((".", "?")) else f"{error}."


def written(value: Any) -> str:
    """A value beside a grid."""
    if isinstance(value, float):
        return f"{round(value, 8):.8g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def zipped(parts: Sequence[Dimension], field: str) -> Dimension:
    """Axes side by side as one. Raises InvalidParams."""
    if len({len(part) for part in parts}) > 1:
        counts = ", ".join(f"{len(part)} of {' '.join(part[0].key)}" for part in parts)
        raise InvalidParams(f"{field}: axes that go side by side need equally many values, got {counts}.", field=field)
    return [
        Value(
            tuple(each for value in values for each in value.sets),
            ", ".join(value.label for value in values),
            _together(values),
        )
        for values in zip(*parts, strict=True)
    ]


def runs(count: int, pictures: int) -> Dimension:
    """The same again with the next seeds; the first run has no name, so that it stays itself where others are added."""
    return [Value((), f"Run {run + 1}", {RUN: run + 1} if run else {}, run * pictures) for run in range(count)]


def layout(across: Dimension, down: Dimension, rest: Sequence[Dimension] = ()) -> Layout:
    """A grid for each choice of the rest, of which the first changes first."""
    words = [[value.label for value in each] for each in (across, down, *rest)]
    titles = [", ".join(filter(None, labels[::-1])) for labels in itertools.product(*reversed(words[2:]))]
    return Layout(len(across), len(down), titles, words[0], words[1])


def arranged(dimensions: Sequence[Dimension]) -> Layout:
    """As the shape of a sweep allows: what has one value is not shown, and a long list becomes a square."""
    shown = [each for each in dimensions if len(each) > 1]
    if len(shown) == 1 and len(shown[0]) > IN_A_ROW:
        return in_a_square([value.label for value in shown[0]])
    one = [Value((), "", {})]
    return layout(*[*shown, one, one][:2], shown[2:])


def in_a_square(captions: Sequence[str]) -> Layout:
    wide = math.ceil(math.sqrt(len(captions)))
    return Layout(wide, math.ceil(len(captions) / wide), captions=captions)
