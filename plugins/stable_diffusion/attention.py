"""How much each word of a prompt counts: the brackets of A1111 and of ComfyUI."""

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

STRONGER, WEAKER = 1.1, 1 / 1.1
LIMIT = 1e6  # of a weight: thousands of brackets must not make it infinite
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
A1111 = re.compile(rf"\\[()\[\]\\]|\\|[(\[)\]]|:\s*({NUMBER})\s*\)|[^\\()\[\]:]+|:")
COMFYUI = re.compile(r"\\[()]|\\|[()]|[^\\()]+")
BREAK = re.compile(r"\bBREAK\b")

Pieces = list[tuple[str, float]]


def parse(text: str, style: str = "a1111") -> Pieces:
    """The pieces of `text` with their weights, neighbours of equal weight joined; never empty.

    Style "a1111": (a) is 1.1 times as strong, (a:1.5) 1.5 times, [a] 1/1.1 times, and brackets inside brackets
    multiply. Style "comfyui": only round ones, and a number replaces what the brackets around it say. A backslash
    makes a bracket a mere character. What does not fit is text.

    BREAK is the piece ("BREAK", -1.0). In style "a1111" brackets multiply this weight, too, so that BREAK inside of
    brackets becomes a word with another weight than -1, as in A1111: its pictures were drawn that way."""
    pieces = _comfyui(text) if style == "comfyui" else _a1111(text)
    joined = [("".join(part for part, _ in group), weight) for weight, group in groupby(pieces, itemgetter(1))]
    return joined or [("", 1.0)]


def _a1111(text: str) -> Pieces:
    import numpy  # here, as the plugin is imported before anybody reads a prompt

    pieces: list[str] = []
    weights = numpy.ones(len(text))  # there cannot be more pieces than characters
    opened: dict[str, list[int]] = {"(": [], "[": []}  # how many pieces there were before each open bracket

    def scale(start: int, factor: float) -> None:
        inside = weights[start : len(pieces)]
        numpy.clip(inside * factor, -LIMIT, LIMIT, out=inside)

    for token in A1111.finditer(text):
        part, number = token[0], token[1]
        if part in opened:
            opened[part].append(len(pieces))
        elif number and opened["("]:
            scale(opened["("].pop(), limited(float(number)))
        elif part == ")" and opened["("]:
            scale(opened["("].pop(), STRONGER)
        elif part == "]" and opened["["]:
            scale(opened["["].pop(), WEAKER)
        elif part.startswith("\\"):
            pieces.append(part[1:])
        else:
            for piece, weight in _breaks(part):
                weights[len(pieces)] = weight
                pieces.append(piece)
    for bracket, factor in (("(", STRONGER), ("[", WEAKER)):  # those left open end with the text
        for start in opened[bracket]:
            scale(start, factor)
    return list(zip(pieces, weights.tolist(), strict=False))


def _breaks(text: str) -> Iterator[tuple[str, float]]:
    """The text around each BREAK, without the blanks next to it, and the BREAKs."""
    parts = BREAK.split(text)
    for k, part in enumerate(parts):
        if k:
            yield "BREAK", -1.0
            part = part.lstrip()
        yield part.rstrip() if k < len(parts) - 1 else part, 1.0


def _comfyui(text: str) -> Pieces:
    tokens = COMFYUI.findall(text)
    closing = _closing(tokens)
    pieces, weights = [], [1.0]
    for at in range(len(tokens)):
        if at in closing:
            tokens[closing[at] - 1], number = _number(tokens, at, closing[at])
            weights.append(limited(weights[-1] * STRONGER) if number is None else number)
        elif tokens[at] == ")" and len(weights) > 1:
            weights.pop()
        else:
            plain = tokens[at][1:] if tokens[at] in ("\\(", "\\)") else tokens[at]
            pieces += [(piece, weight if weight < 0 else weights[-1]) for piece, weight in _breaks(plain) if piece]
    return pieces


def _closing(tokens: list[str]) -> dict[int, int]:
    """Where each bracket closes. From the first one that does not, all is text."""
    closing, opened, level = {}, [], 0
    for at, token in enumerate(tokens):
        if token == "(":
            level += 1
            if level > 0:  # one ")" too many takes away the next "(", as in ComfyUI
                opened.append(at)
        elif token == ")":
            level -= 1
            if opened:
                closing[opened.pop()] = at
    return {start: end for start, end in closing.items() if not opened or start < opened[0]}


def _number(tokens: list[str], start: int, end: int) -> tuple[str, float | None]:
    """The last token inside of the brackets at `start` and `end` without its `:number`, and the number."""
    last = tokens[end - 1]
    before, colon, number = last.rpartition(":")
    empty = start + 2 == end and not before
    if not colon or empty or not re.fullmatch(rf"\s*{NUMBER}\s*", number):
        return last, None
    return before, limited(float(number))


def limited(weight: float) -> float:
    return min(max(weight, -LIMIT), LIMIT)
