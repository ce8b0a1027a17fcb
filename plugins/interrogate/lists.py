"""Which phrases there are: the plugin's lists, and the user's in models/interrogate/*.txt."""

import re
from dataclasses import dataclass
from pathlib import Path

from core.plugin import InvalidParams

LONGEST = 300  # characters of a phrase; CLIP reads some 77 words


@dataclass
class Phrases:
    """`top`: how many of them make a classic prompt."""

    phrases: list[str]
    top: int


def phrase_lists(plugin: Path, models: Path) -> dict[str, Phrases]:
    """By name, in alphabetical order but flavors last; a list of the user replaces the plugin's of that name.

    A file is called NAME.txt, or NAME.top3.txt to take three of it."""
    found = {}
    for file in [*sorted((plugin / "words").glob("*.txt")), *sorted((models / "interrogate").glob("[!.]*.txt"))]:
        name, top = re.fullmatch(r"(.+?)(?:\.top(\d{1,3}))?\.txt", file.name).groups()
        if file.is_file() and (phrases := read(file)):
            found[name] = Phrases(phrases, int(top or (3 if name == "flavors" else 1)))
    return dict(sorted(found.items(), key=lambda each: (each[0] == "flavors", each[0])))


def read(file: Path) -> list[str]:
    try:
        return split(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InvalidParams(
            f"the list {file} cannot be read: {error}.", hint="Save it as UTF-8 text, a phrase on each line."
        ) from error


def split(text: str) -> list[str]:
    """A phrase on each line; what begins with # is for people."""
    lines = (line.strip()[:LONGEST] for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
