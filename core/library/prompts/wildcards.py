"""What the choices in a prompt become: drawn at random by the seed of an image, or all of them in order.

The syntax is told in choices.py, the files of wildcards in wildcard_files.py. Drawing is done by the library of
Dynamic Prompts (dynamicprompts); what is here bounds its work."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from random import Random

from dynamicprompts.commands import Command, LiteralCommand, SequenceCommand, VariantCommand, VariantOption
from dynamicprompts.commands import WildcardCommand as Wildcard
from dynamicprompts.commands.variable_commands import VariableAccessCommand
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.samplers.combinatorial import CombinatorialSampler
from dynamicprompts.samplers.random import RandomSampler
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.sampling_result import SamplingResult

from core.plugin import InvalidParams

from . import MAX_TEXT, choices
from .wildcard_files import Wildcards

MAX_WORK, MORE_WORK = 1_000_000, 10_000  # for all, and for each result: in units of about a microsecond
COMMAND, CHARACTERS, LINES = 50, 10, 10  # what one command costs; how many of these cost one unit
MAX_DEPTH = 120  # commands inside of commands; Python allows five times as many calls
Results = Iterator[SamplingResult]


def expand(text: str, seed: int, folder: Path, field: str = "prompt") -> tuple[str, list[str]]:
    """The text with its choices made, and warnings. `folder`: the user's models folder.

    The same seed, text and files give the same on every machine, whatever else is drawn. A text without choices comes
    back as it is, and so does one whose braces do not match; a wildcard or variable that is not there stays as it is;
    the warnings tell. A1111's extension draws other lines of the same files, as it asks its generator differently.
    Raises InvalidParams for `field` if the result is longer than MAX_TEXT, or something refers to itself."""
    drawn, warnings = _draw(text, folder, field, SamplingMethod.RANDOM, 1, Random(seed))
    return drawn[0], warnings


def combinations(text: str, folder: Path, limit: int, field: str = "prompt") -> tuple[list[str], list[str]]:
    """All texts that the choices allow, the last choice changing first, at most `limit` of them, and warnings.

    Of a variable that is assigned with =! only the first value is taken. Raises InvalidParams as `expand` does, and
    if there is no combination: {2$$a|a} asks for two different ones."""
    return _draw(text, folder, field, SamplingMethod.COMBINATORIAL, limit, Random(0))


def _draw(
    text: str, folder: Path, field: str, method: SamplingMethod, limit: int, rand: Random
) -> tuple[list[str], list[str]]:  # fmt: skip
    work = _Work(folder, MAX_WORK + MORE_WORK * limit)
    samplers = {SamplingMethod.RANDOM: _Random(work), SamplingMethod.COMBINATORIAL: _Ordered(work)}
    context = SamplingContext(method, work.wildcards, samplers, rand=rand)
    try:
        command = choices.read(text)
        if choices.is_text(command):
            return [text], []
        found = itertools.islice(context.generator_from_command(command), limit)
        drawn = [result.text for result in found]
    except choices.Malformed:
        return [text], ["There are braces that do not match, so the text is taken as it is."]
    except choices.TooDeep:
        raise _refused(field, f"has braces nested over {choices.MAX_DEPTH} deep") from None
    except _TooMuch as error:
        raise _refused(field, str(error)) from None
    except RuntimeError as error:  # RecursionError is one
        problem = "refers to itself, or nests too deep" if isinstance(error, RecursionError) else "has no combination"
        raise _refused(field, problem) from error
    if not drawn:
        raise _refused(field, "has no combination")
    return drawn, [*work.warnings, *work.wildcards.problems]


def _refused(field: str, problem: str) -> InvalidParams:
    hint = "Look at the wildcards and the {choices} in it, and in the files that these name."
    return InvalidParams(f"{field} {problem}.", field=field, hint=hint)


class _TooMuch(Exception): ...


class _Work:
    """What all samplers of one call share: the files, the warnings, and how much may still be done."""

    def __init__(self, folder: Path, units: int):
        self.wildcards, self._left, self._depth = Wildcards(folder), units, 0
        self.warnings: dict[str, None] = {}
        self._lines: dict[str, dict[str, float]] = {}
        self._options: dict[str, list[VariantOption]] = {}

    def spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise _TooMuch("takes too long to expand")

    def inside(self, results: Results) -> Results:
        """The same results, with a look at how deep they are nested and how long they are."""
        while True:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _TooMuch("refers to itself, or nests too deep")
            try:
                result = next(results)
            except StopIteration:
                return
            finally:
                self._depth -= 1
            self.checked(result.text)
            yield result

    def checked(self, text: str) -> str:
        if len(text) > MAX_TEXT:
            raise _TooMuch(f"becomes longer than {MAX_TEXT:,} characters")
        return text

    def lines(self, name: str) -> dict[str, float]:
        """The lines that a wildcard stands for, with their weights; where there are none, a warning is kept."""
        if name not in self._lines:
            self._lines[name] = self.wildcards.lines(name.lstrip("~@!"))
        if not self._lines[name]:
            self.warnings[f"There is no wildcard __{name}__: no such file in models/wildcards."] = None
        self.spend(len(self._lines[name]) // LINES)
        return self._lines[name]

    def options(self, name: str) -> list[VariantOption]:
        """The same as what a command chooses from."""
        lines = self.lines(name)
        if name not in self._options:
            self.spend(len(lines) * 2)
            self._options[name] = [VariantOption(_Line(line), weight) for line, weight in lines.items()]
        return self._options[name]


class _Line(Command):
    """A line of a wildcard's file, read when it is chosen."""

    sampling_method = None

    def __init__(self, text: str):
        self.text = text

    def command(self) -> Command:
        try:
            return choices.read(self.text)
        except choices.Malformed:
            return LiteralCommand(self.text)


class _Bounded:
    """What is added to both samplers of the library."""

    def __init__(self, work: _Work):
        self._work = work

    def generator_from_command(self, command: Command, context: SamplingContext) -> Results:
        self._work.spend(COMMAND)
        command = command.command() if isinstance(command, _Line) else command
        return self._work.inside(super().generator_from_command(command, context))

    def _get_literal(self, command: LiteralCommand, context: SamplingContext) -> Results:
        self._work.spend(len(command.literal) // CHARACTERS)
        return super()._get_literal(command, context)

    def _get_variant(self, command: VariantCommand, context: SamplingContext) -> Results:
        """Of {2$$__name__}, the lines of the wildcard are the options."""
        first = command.variants[0].value
        if len(command) == 1 and isinstance(first, SequenceCommand) and isinstance(first[0], Wildcard):
            if len(first) == 1 and (options := self._work.options(_name(first[0], context))):
                command = VariantCommand(options, command.min_bound, command.max_bound, command.separator)
        self._work.spend(len(command))
        return super()._get_variant(command, context)

    def _get_wildcard(self, command: Wildcard, context: SamplingContext) -> Results:
        name = _name(command, context)
        if self._work.lines(name):
            return self._get_line(name, context)
        return self._get_literal(LiteralCommand(f"__{name}__"), context)

    def _get_variable(self, command: VariableAccessCommand, context: SamplingContext) -> Results:
        if command.name in context.variables or command.default:
            return super()._get_variable(command, context)
        self._work.warnings[f"The variable ${{{command.name}}} has no value."] = None
        return self._get_literal(LiteralCommand(f"${{{command.name}}}"), context)


def _name(command: Wildcard, context: SamplingContext) -> str:
    if isinstance(command.wildcard, str):
        return command.wildcard
    return next(context.generator_from_command(command.wildcard)).text


class _Random(_Bounded, RandomSampler):
    def _get_line(self, name: str, context: SamplingContext) -> Results:
        lines = self._work.lines(name)
        return self.generator_from_command(_Line(*context.rand.choices([*lines], [*lines.values()])), context)

    def _get_variant_choices(
        self, values: list[Command], weights: list[float], num_choices: int, rand: Random
    ) -> list[Command]:  # fmt: skip
        """Without replacement, by weight: of exponential clocks with the weights as rates, those that ring first
        (Efraimidis and Spirakis 2006). The library loses the order of the weights after the first draw."""
        rings: list[tuple[float, int]] = []
        for place, weight in enumerate(weights):
            ring = rand.expovariate(1)
            if weight > 0:
                rings.append((ring / weight, place))
        return [values[place] for _, place in sorted(rings)[:num_choices]]


class _Ordered(_Bounded, CombinatorialSampler):
    def _get_line(self, name: str, context: SamplingContext) -> Results:
        return self._get_variant(VariantCommand(self._work.options(name)), context)

    def _get_sequence(self, command: SequenceCommand, context: SamplingContext) -> Results:
        """All results of the last part for each of the part before. The library draws every part twice here, so the
        parts of parts four times, and so on."""
        parts, context = context.process_variable_assignments(command.tokens)
        begun = [("", context.generator_from_command(parts[0]))]  # what is before each part, and the part's results
        while begun:
            before, results = begun[-1]
            if (result := next(results, None)) is None:
                begun.pop()
                continue
            text = self._work.checked(before + result.text)
            if len(begun) == len(parts):
                yield SamplingResult(text)
            else:
                begun.append((text, context.generator_from_command(parts[len(begun)])))
