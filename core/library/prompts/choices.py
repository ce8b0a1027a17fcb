"""How choices are written in a prompt: {a|b}, {2$$a|b|c}, __name__, ${x={a|b}}; whatever else is in it is text.

The grammar is that of Dynamic Prompts, and what is read becomes commands of its library (dynamicprompts). Its own
parser is not used: it drops spaces, takes # and // for comments, stops at a % or $, and needs a second for long lists.
Here every character that belongs to no choice is kept. Braces without a choice in them ({word}) are text, too, and
inside braces [a|b] is A1111's alternation and stays whole."""

import itertools
import re

from dynamicprompts.commands import Command, LiteralCommand, SequenceCommand, VariantCommand, VariantOption
from dynamicprompts.commands import WildcardCommand as Wildcard
from dynamicprompts.commands.variable_commands import VariableAccessCommand, VariableAssignmentCommand

MAX_DEPTH = 50
SEPARATOR = ", "
PLAIN = re.compile(r".[^{}|\[$_]*", re.DOTALL)
BRACKETS = re.compile(r"\[[^\[\]{}]*\]")
# How many: 2$$, 1-2$$, -2$$, 1-$$, with a separator: 2$$ and $$. The sign of a sampling method in front has no effect.
COUNT = re.compile(r"[~@!]?\s*(?:(?:(\d{1,4})|(\d{1,4})?-(\d{1,4})?)\$\$(?:([^${}]*)\$\$)?)?")
WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
NAME = re.compile(r"__(?! )((?:(?!__)[^{}|$,:;()<>\[\]\n]|\$?\{[^{}\n]*\})+)(?<! )__")
VARIABLE = re.compile(r"\$\{\s*([A-Za-z_-][\w-]*)\s*(\}|:|\??=!?)")


class Malformed(Exception):
    """Braces do not match."""


class TooDeep(Exception):
    """Braces in braces, more than MAX_DEPTH."""


class Option(SequenceCommand):
    """One of several to choose from. Equal to itself only: the library takes equal options for the same one."""

    __eq__, __hash__ = object.__eq__, object.__hash__


def read(text: str) -> SequenceCommand:
    """The parts of a prompt in their order: LiteralCommands, and commands where there is something to choose.

    Raises Malformed if braces do not match, TooDeep if they are nested too deep."""
    return _sequence(_Reader(text).parts(""))


def is_text(command: SequenceCommand) -> bool:
    """Whether there is nothing to choose."""
    return all(isinstance(part, LiteralCommand) for part in command.tokens)


def _sequence(parts: list[str | Command], kind: type[SequenceCommand] = SequenceCommand) -> SequenceCommand:
    """The value of a variable counts from where it is assigned, so what follows is a sequence of its own."""
    for place, part in enumerate(parts):
        if isinstance(part, VariableAssignmentCommand):
            return kind([*_commands(parts[:place]), part, _sequence(parts[place + 1 :])])
    return kind(_commands(parts) or [LiteralCommand("")])


def _commands(parts: list[str | Command]) -> list[Command]:
    """With texts beside each other as one."""
    commands: list[Command] = []
    for is_text, found in itertools.groupby(parts, lambda part: isinstance(part, str)):
        texts_or_commands = [*found]
        commands += [LiteralCommand("".join(texts_or_commands))] if is_text else texts_or_commands
    return commands


class _Reader:
    def __init__(self, text: str):
        self._text, self._at, self._depth = text, 0, 0

    def parts(self, ends: str) -> list[str | Command]:
        """What comes until one of the characters in `ends`, which is left, or until the end of the text."""
        parts, brackets_end = [], 0
        while self._at < len(self._text):
            sign = self._text[self._at]
            if sign in ends and not (sign == "|" and self._at < brackets_end):
                break
            if sign == "}":
                raise Malformed
            if sign == "{":
                parts += self._braces()
            elif found := VARIABLE.match(self._text, self._at):
                parts.append(self._variable(found))
            elif found := NAME.match(self._text, self._at):
                self._at = found.end()
                name = found[1]
                parts.append(Wildcard(read(name) if "{" in name else name))
            else:
                if found := BRACKETS.match(self._text, self._at):
                    brackets_end = found.end()
                parts.append(PLAIN.match(self._text, self._at)[0])
                self._at += len(parts[-1])
        return parts

    def _inside(self, ends: str) -> list[str | Command]:
        """`parts` inside of braces, where an end has to come."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooDeep
        parts = self.parts(ends)
        self._depth -= 1
        if self._at == len(self._text):
            raise Malformed
        return parts

    def _braces(self) -> list[str | Command]:
        begin = self._at
        count = COUNT.match(self._text, begin + 1)
        self._at = count.end()
        options, weighted = [], False
        while self._text[self._at - 1] != "}" or not options:
            weight = WEIGHT.match(self._text, self._at)
            self._at = weight.end() if weight else self._at
            parts = self._inside("|}")
            weighted = weighted or bool(weight)
            options.append(VariantOption(_sequence(_trimmed(parts), Option), float(weight[1]) if weight else 1.0))
            self._at += 1
        if len(options) == 1 and not weighted and "$" not in count[0]:
            return [self._text[begin : count.end()], *parts, "}"]
        return [VariantCommand(options, *_bounds(count, len(options)))]

    def _variable(self, found: re.Match) -> Command:
        self._at = found.end()
        name, sign = found.groups()
        if sign == "}":
            return VariableAccessCommand(name)
        value = _sequence(_trimmed(self._inside("}")))
        self._at += 1
        if sign == ":":
            return VariableAccessCommand(name, value)
        return VariableAssignmentCommand(name, value, immediate="!" in sign, overwrite="?" not in sign)


def _bounds(count: re.Match, options: int) -> tuple[int, int, str]:
    exact, low, high, separator = count.groups()
    if "$" not in count[0]:
        return 1, 1, SEPARATOR
    low, high = (exact, exact) if exact else (low or 1, high or options)
    return int(low), int(high), SEPARATOR if separator is None else separator


def _trimmed(parts: list[str | Command]) -> list[str | Command]:
    """Without spaces and newlines at both ends."""
    parts = [*parts]
    while parts and isinstance(parts[0], str) and not (first := parts[0].lstrip()):
        parts.pop(0)
    if parts and isinstance(parts[0], str):
        parts[0] = first
    while parts and isinstance(parts[-1], str) and not (last := parts[-1].rstrip()):
        parts.pop()
    if parts and isinstance(parts[-1], str):
        parts[-1] = last
    return parts
