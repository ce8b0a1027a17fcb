"""What !tag:n in a prompt becomes: the tag, and a choice of n of its related ones, as prompts write choices."""

import difflib
import re
from typing import Any

from core.library.prompts import MAX_TEXT
from core.plugin import Context, InvalidParams

from .related import Related, key

# n is 3 or 1-3. Before it comes the beginning of the text, or what separates tags; after it no more of a number.
BANG = re.compile(r"(?<![^\s,|{(\[])!(?![\s!])([^,|{}\n!]+?):(\d{1,2}(?:-\d{1,2})?)(?![\d.])")
WEIGHT = re.compile(r":[\d.-]+$")
WORD = re.compile(r"[^\W_]{2}")  # a tag without is a face: ^_^, o_o


def expand(text: str, params: Any, ctx: Context) -> tuple[str, list[str]]:
    """The text with its bang tags expanded, and warnings: of tags that no list knows, which stay as they are.

    What the prompt names already is not offered. Raises InvalidParams if the result is too long for a prompt."""
    asked = {key(found[1]) for found in BANG.finditer(text)}
    if not asked:
        return text, []
    related, there = Related(ctx, asked), _named(text)
    warnings: dict[str, None] = {}

    def choice(found: re.Match) -> str:
        tag, count = key(found[1]), found[2]
        if not related.of(tag):
            near = difflib.get_close_matches(tag, related.names, n=3)
            hint = f" Did you mean {', '.join(near)}?" if near else " Lists go into models/related_tags."
            warnings[f"No list has related tags of {tag}.{hint}"] = None
            return found[0]
        written = _written(found[1], params.underscores)
        options = []
        for name, score in related.of(tag).items():
            option = _written(name, params.underscores)
            if name not in there and _is_text(name):
                options.append(f"{max(score, 0.001):.3g}::{option}" if params.weighted else option)
        if not options or not int(count.rpartition("-")[2]):
            return written
        return f"{written}, {{{count}$${'|'.join(options[: params.closest])}}}"

    expanded = BANG.sub(choice, text)
    if len(expanded) > MAX_TEXT:
        raise InvalidParams(
            f"the text becomes longer than {MAX_TEXT:,} characters.", field="closest", hint="Offer fewer related tags."
        )
    return expanded, [*warnings, *related.problems]


def _named(text: str) -> set[str]:
    """The tags that a prompt names."""
    parts = re.split(r"[,|{}\n]", re.sub(r"(?<!\\)[()\[\]]", "", text))
    return {key(WEIGHT.sub("", part.strip().lstrip("!"))) for part in parts}


def _written(tag: str, underscores: bool) -> str:
    """A tag as it stands in a prompt."""
    tag = re.sub(r"\s+", "_", re.sub(r"\\([()\[\]])", r"\1", tag.strip()))
    if underscores:
        return tag
    tag = tag.replace("_", " ") if WORD.search(tag) else tag
    return re.sub(r"[()\[\]]", r"\\\g<0>", tag)


def _is_text(tag: str) -> bool:
    """Whether it can be an option: not where its own signs would be read as a choice, a weight or a comment."""
    return not re.search(r"[{}|$#,\n]|__|::", tag)
