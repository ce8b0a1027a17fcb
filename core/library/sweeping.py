"""How many pictures at once are asked for, as in A1111: ranges, lists, words replaced, matrices, lines of options."""

import csv
import io
import itertools
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

LONGEST = 1_000_000  # characters of a prompt
ORDERED = 7  # parts, which have more orders than anybody wants
NUMBER = r"\s*([+-]?\d+(?:\.\d*)?)\s*"
RANGE = re.compile(rf"{NUMBER}-{NUMBER}(?:\({NUMBER}\)|\[\s*(\d+)\s*\])?\s*")
PROMPTS = {"prompt", "negative_prompt"}
LINE_OPTIONS = {  # of a line in a text of prompts
    "prompt", "negative_prompt", "styles", "seed", "subseed_strength", "subseed", "seed_resize_from_h",
    "seed_resize_from_w", "sampler_index", "sampler_name", "batch_size", "n_iter", "steps", "cfg_scale", "width",
    "height", "restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid", "sd_model",
}  # fmt: skip


def listed(text: str) -> list[str]:
    """Items with commas between, in quotes where they contain one. Raises ValueError."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        return [item.strip() for row in rows for item in row if item.strip()]
    except csv.Error as error:
        raise ValueError(f"this list cannot be read: {error}") from error


def numbers(items: Sequence[str], kind: Callable[[Any], Any], most: int) -> list[Any]:
    """The numbers that are meant, `most` + 1 at most. Raises ValueError."""
    try:
        return list(itertools.islice((value for item in items for value in _numbers(item, kind, most)), most + 1))
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _numbers(item: str, kind: Callable[[Any], Any], most: int) -> list[Any]:
    """Of one item: 7, 1-5, 1-5 (+2), 5-1 (-2), or 1-10 [4], which are so many from the first to the last."""
    found = RANGE.fullmatch(item)
    if not found:
        try:
            value = kind(item)
            if math.isfinite(value):
                return [value]
            raise ValueError(item)
        except ValueError:
            raise ValueError(f"{item[:100]!r} is no {'whole ' * (kind is int)}number and no range of them") from None
    start, end, step, count = (float(each) if each else None for each in found.groups())
    if count is not None:
        places = range(min(int(count), most + 1))
        return [kind(round(start + (end - start) * place / max(1, count - 1), 8)) for place in places]
    step = step or math.copysign(1.0, end - start)
    count = min(math.floor((end - start) / step + 1e-9) + 1, most + 1)
    if count < 1:
        raise ValueError(f"{item[:100]!r} has no numbers: from {start:g}, steps of {step:g} lead away from {end:g}")
    return [kind(round(start + step * place, 8)) for place in range(count)]


def orders(parts: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """The parts in all orders, `most` + 1 at most."""
    return list(itertools.islice(itertools.permutations(parts[:ORDERED]), most + 1))


def in_order(prompt: str, parts: Sequence[str]) -> str:
    """The prompt with its parts in this order, in the places where each stands first."""
    words, seen = iter(parts), set[str]()

    def word(found: re.Match[str]) -> str:
        again = found[0] in seen
        seen.add(found[0])
        return found[0] if again else next(words, found[0])

    pattern = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
    return re.sub(pattern, word, prompt) if pattern else prompt


def replaced(texts: dict[str, str], searched: str, by: str) -> dict[str, str]:
    """The texts with that word replaced. Raises ValueError if none has it."""
    if not any(searched in text for text in texts.values()):
        raise ValueError(f"{searched!r} is not in {' or '.join(texts).replace('_', ' ')}")
    if any(text.count(searched) * len(by) > LONGEST for text in texts.values()):
        raise ValueError(f"{searched[:100]!r} replaced makes a prompt of over {LONGEST:,} characters")
    return {name: text.replace(searched, by) for name, text in texts.items()}


def each_once(texts: Iterable[str]) -> list[str]:
    """The texts as keys: one that is there already gets a number that makes it another."""
    counts, keys = Counter[str](), dict[str, None]()
    for text in texts:
        key = text
        while key in keys:
            counts[text] += 1
            key = f"{text} #{counts[text] + 1}"
        keys[key] = None
    return [*keys]


def strides(lengths: Sequence[int], varied: Sequence[bool]) -> list[int]:
    """How far one step along each axis counts the seed up, so that no two cells have the same: along those that are
    not varied not at all."""
    before = itertools.accumulate(
        zip(lengths, varied, strict=True), lambda all, each: all * each[0] ** each[1], initial=1
    )
    return [stride * vary for stride, vary in zip(before, varied, strict=False)]


def inserted(said: dict[str, str], around: dict[str, str], at_start: bool) -> dict[str, str]:
    """What a line says, with its prompts put before or behind those that it stands in."""
    both = {name: [said[name], around.get(name, "")] for name in PROMPTS & said.keys()}
    return said | {name: " ".join(filter(None, each if at_start else each[::-1])) for name, each in both.items()}


class Matrix:
    """Of a|b|c: the first part with each choice of the others, whose number is `count`.

    Joined by `joint`; `first_last` puts the chosen parts before the first."""

    def __init__(self, prompt: str, joint: str = ", ", first_last: bool = False):
        self._first, *others = prompt.split("|")
        self._others = [part.strip().strip(",") for part in others]
        self._joint, self._first_last = joint, first_last
        self.count = 2 ** len(others)

    def prompts(self) -> Iterator[str]:
        for bits in range(self.count):
            chosen = self._chosen(self._others, bits)
            yield self._joint.join([*chosen, self._first] if self._first_last else [self._first, *chosen])

    def words(self) -> tuple[list[str], list[str]]:
        """What is written above the columns of the grid of all prompts, and beside its rows."""
        across = math.ceil(len(self._others) / 2)
        above, beside = (
            [self._joint.join(self._chosen(some, bits)) for bits in range(2 ** len(some))]
            for some in (self._others[:across], self._others[across:])
        )
        return above, beside

    @staticmethod
    def _chosen(parts: list[str], bits: int) -> list[str]:
        return [part for place, part in enumerate(parts) if bits >> place & 1]


def line_options(text: str, known: set[str]) -> dict[str, str]:
    """What a line asks for: {"prompt": the line}, or options such as --prompt "a cat" --steps 10.

    Raises ValueError for quotes that do not end, and for options that are not `known`."""
    if not text.startswith("--"):
        return {"prompt": text}
    options: dict[str, str] = {}
    name = ""
    for word in shlex.split(text):
        if word.startswith("--"):
            name = word[2:]
            if name not in known:
                raise ValueError(f"there is no option --{name[:100]}")
            options[name] = ""
        else:
            options[name] = f"{options[name]} {word}".strip()
    return options
