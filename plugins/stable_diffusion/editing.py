"""How a prompt changes while a picture is drawn: A1111's [from:to:when] and [one|other]."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

# A run of text, a mark, or a backslash with nothing to protect.
TOKEN = re.compile(r"(?:[^\\\[\]():|]|\\.)+|[\[\]():|]|\\")
NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")


def edits(text: str, steps: int, hires_steps: int | None = None) -> list[tuple[int, str]]:
    """The texts that `text` stands for, each with the last step (from 1) that it holds for.

    `[a:b:5]` is a up to step 5, then b; `[b:5]` begins with nothing, `[a::5]` ends with nothing; a number with a
    point is a part of all steps: `[a:b:0.5]`. `[a|b]` changes in each step. All may be nested. With `hires_steps`
    the answer is for the second pass, whose step 1 comes after `steps`: `[a:b:15]` is its step 5 after 10 steps,
    `[a:b:1.5]` its half, and what was to change earlier has changed.

    In a text that does not fit the grammar nothing changes; single brackets and colons fit it, `|` alone does not."""
    total = steps if hires_steps is None else hires_steps
    passed, fraction_passed = (0, 0.0) if hires_steps is None else (steps, 1.0)

    def until(number: str) -> int:
        when = (float(number) - fraction_passed) * total if "." in number else float(number) - passed
        return int(min(total, max(when, -1.0)))

    parser = Parser(total, until)
    if not parser.read(text):
        return [(total, text)]
    return [(end, at_step(parser.items, end)) for end in sorted(parser.ends)]


def current(edits: list[tuple[int, str]], evaluation: int) -> str:
    """The text for an evaluation of the network, counted from 0. As A1111 compares this count with steps counted
    from 1, the first text gets one evaluation more."""
    return next((text for until, text in edits if evaluation <= until), edits[-1][1])


@dataclass
class Scheduled:
    before: "list[Item]"
    after: "list[Item]"
    until: int

    def at(self, step: int) -> "list[Item]":
        return self.before if step <= self.until else self.after


@dataclass
class Alternating:
    options: "list[list[Item]]"

    def at(self, step: int) -> "list[Item]":
        return self.options[(step - 1) % len(self.options)]


Item = str | Scheduled | Alternating


def at_step(items: list[Item], step: int) -> str:
    """Written without recursion, as are all functions here: people nest deeper than Python does."""
    texts, stack = [], items[::-1]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            texts.append(item)
        else:
            stack += reversed(item.at(step))
    return "".join(texts)


@dataclass
class Bracket:
    """One that is still open: where it stands in the items, and the marks directly inside of it."""

    opener: str
    start: int
    marks: list[tuple[str, int]] = field(default_factory=list)  # ":" or "|", and where


class Parser:
    """Reads a prompt into `items`: texts, and what is scheduled or alternates. Brackets and colons that mean nothing
    here are texts, for the parser of emphasis. `ends` are the steps after which the text changes."""

    def __init__(self, steps: int, until: Callable[[str], int]):
        self._steps, self._until = steps, until
        self.items: list[Item] = []
        self.ends = {steps}
        self._open: list[Bracket] = []

    def read(self, text: str) -> bool:
        """Whether the text fits the grammar."""
        return all(map(self._take, TOKEN.findall(text))) and self._give_up()

    def _take(self, token: str) -> bool:
        if token == "\\" or (token == "|" and not self._open):
            return False
        if token in (")", "]") and self._open:
            if self._close(token):
                return True
            if not self._give_up():
                return False
        elif token in ("(", "["):
            self._open.append(Bracket(token, len(self.items)))
        elif token in (":", "|") and self._open:
            self._open[-1].marks.append((token, len(self.items)))
        self.items.append(token)
        return True

    def _give_up(self) -> bool:
        """The open brackets are mere text; this needs that no | is in them."""
        fits = not any(mark == "|" for bracket in self._open for mark, _ in bracket.marks)
        self._open.clear()
        return fits

    def _close(self, token: str) -> bool:
        """Whether the innermost open bracket means something when `token` closes it."""
        bracket = self._open[-1]
        pair, marks = bracket.opener + token, "".join(mark for mark, _ in bracket.marks)
        if (pair, marks) in (("()", ""), ("()", ":"), ("[]", "")):
            self.items.append(token)  # emphasis
        elif pair == "[]" and (node := self._node(bracket, marks)):
            self.items[bracket.start :] = [node]
        else:
            return False
        self._open.pop()
        return True

    def _node(self, bracket: Bracket, marks: str) -> Scheduled | Alternating | None:
        starts = [bracket.start, *(place for _, place in bracket.marks)]
        *parts, last = [self.items[a + 1 : b] for a, b in zip(starts, [*starts[1:], len(self.items)], strict=True)]
        if set(marks) == {"|"}:
            self.ends.update(range(1, self._steps + 1))
            return Alternating([*parts, last])
        number = NUMBER.fullmatch(last[0]) if len(last) == 1 and isinstance(last[0], str) else None
        if marks not in (":", "::") or not number:
            return None
        node = Scheduled(parts[0] if marks == "::" else [], parts[-1], self._until(number[1]))
        if node.until >= 1:
            self.ends.add(node.until)
        return node
