"""The help of each argument, from the docstring of a pipeline. No torch here."""

import inspect
import re
from collections.abc import Callable

MAX_HELP = 300  # characters
TITLES = ("Args:", "Parameters:", "Arguments:")


def arguments_of(function: Callable) -> dict[str, tuple[str, str]]:
    """(declared type, first sentences) of each argument in the section `Args` (or `Parameters`) of the docstring."""
    lines = _section(function.__doc__ or "")
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    found: dict[str, list[str]] = {}
    for line in lines:
        if entry := re.match(rf" {{{margin}}}(\w+) ?:? ?(\(.*)?$", line):
            about = found.setdefault(entry[1], [entry[2] or ""])
        elif found:
            about.append(line.strip())
    return {name: _divided(" ".join(about)) for name, about in found.items()}


def _section(text: str) -> list[str]:
    """The lines below `Args:`, which end where one is indented no further. What stands around may be indented less."""
    lines = text.expandtabs().splitlines()
    begin = next((k for k, line in enumerate(lines) if line.strip() in TITLES), len(lines))
    rest = lines[begin + 1 :]
    indent = _indent(lines[begin]) if rest else 0
    end = next((k for k, line in enumerate(rest) if line.strip() and _indent(line) <= indent), len(rest))
    return rest[:end]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _divided(text: str) -> tuple[str, str]:
    """The text in the brackets at the beginning, and what comes after."""
    declared = re.match(r"\((.*?)\)(?::|\s|$)", text) if text.startswith("(") else None
    rest = text[declared.end() :] if declared else text
    return (declared[1] if declared else ""), shortened(rest.lstrip(": "))


def first_paragraph(text: str | None) -> str:
    """What a class says of itself first."""
    return shortened(inspect.cleandoc(text or "").split("\n\n")[0])


def shortened(text: str) -> str:
    """Whole sentences without markup, as many as fit."""
    text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text)  # links
    text = " ".join(re.sub(r"[`*]|\[~?|\]", "", text).split())
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
    kept = sentences[0][:MAX_HELP]
    for sentence in sentences[1:]:
        if len(kept) + len(sentence) >= MAX_HELP:
            break
        kept += f" {sentence}"
    return kept
