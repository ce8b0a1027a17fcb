"""The wizard's command line: `python3 plugin_wizard.py`. What no flag answers is asked, or left to what is usual."""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import CoreError, InvalidParams
from core.ops.bootstrap import ROOT, InstallError
from core.ops.wizard import answers as checks
from core.ops.wizard.answers import Answers
from core.ops.wizard.kinds import KINDS
from core.ops.wizard.writing import said, write

USUAL = ROOT / "plugins"


@dataclass(frozen=True)
class Question:
    """`usual(answers)` is the answer of who gives none; None: there has to be one. Without `text` it is not asked,
    unless what is usual cannot be."""

    name: str
    help: str
    usual: Callable[[Answers], str | None]
    text: str = ""

    def settle(self, answers: Answers, answer: str | None) -> None:
        """Raises InvalidParams."""
        if answer is None:
            raise InvalidParams(f"{self.name}: say one, {self.help}")
        setattr(answers, self.name, getattr(checks, self.name)(answer, answers))


QUESTIONS = (
    Question("kind", f"what it does: {', '.join(KINDS)}.", lambda answers: "text-to-image", "Kind, by name or number"),
    Question(
        "title",
        'as people read it, for example "Neon Waves". Other names are made from it.',
        lambda answers: answers.name.replace("_", " ").title() or None,
        "Title, as people read it",
    ),
    Question(
        "name",
        "of its folder, which commands use: small letters, digits and _.",
        lambda answers: checks.name_of(answers.title),
    ),
    Question("job", "as people submit it: small letters, digits and _. As the folder.", lambda answers: answers.name),
    Question(
        "description",
        "what it does, in a sentence.",
        lambda answers: answers.kind.description,
        "What it does, in a sentence",
    ),
    Question(
        "packages",
        'what else it needs from PyPI, with commas: "scipy, opencv-python>=4".',
        lambda answers: "none",
        "What else it needs from PyPI, with commas",
    ),
    Question("licence", "as spdx.org/licenses names it.", lambda answers: "MIT", "Licence"),
    Question("author", "who writes it. As git knows you.", lambda answers: said(ROOT, "config", "user.name")),
)


def main(words: list[str] | None = None) -> int:
    flags = parser().parse_args(words)
    try:
        answers = answered(flags, interactive=sys.stdin.isatty() and not flags.yes)
        files = write(answers, lambda line: print(line, file=sys.stderr, flush=True), flags.lock, flags.git)
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was written.", file=sys.stderr)
        return 130
    except (CoreError, InstallError, OSError) as error:
        print(f"plugin_wizard: {error}\nNothing was written.", file=sys.stderr)
        return 1
    for path in files:
        print(f"create  {shown(path)}")
    print(next_steps(answers))
    return 0


def parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {kind.name:15} {kind.does}" for kind in KINDS.values())
    found = argparse.ArgumentParser(
        prog="plugin_wizard.py", description=f"Writes a new plugin for stable-core. Kinds are:\n\n{kinds}",
        epilog="In a terminal, what is not given is asked.", formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    for question in QUESTIONS:
        found.add_argument("title" if question.name == "title" else f"--{question.name}", help=question.help, **(
            {"nargs": "?"} if question.name == "title" else {"metavar": question.name.upper()}
        ))  # fmt: skip
    found.add_argument("--into", type=Path, default=USUAL, metavar="FOLDER", help="where its folder comes [plugins]")
    found.add_argument("--no-lock", dest="lock", action="store_false", help="write no requirements.lock")
    found.add_argument("--no-git", dest="git", action="store_false", help="make no git repository of it")
    found.add_argument("--yes", action="store_true", help="ask nothing: what is not given is as usual")
    return found


def answered(flags: argparse.Namespace, interactive: bool) -> Answers:
    """All answers, checked. Raises InvalidParams."""
    answers = Answers(flags.into.resolve())
    if not answers.into.is_dir():
        raise InvalidParams(f"into: {flags.into} is no folder.")
    given = {question: getattr(flags, question.name) for question in QUESTIONS}
    problems = []
    for question, answer in given.items():  # all that is wrong with them is said at once, before anything is asked
        try:
            if answer is not None:
                question.settle(answers, answer)
        except InvalidParams as error:
            problems.append(str(error))
    if problems:
        raise InvalidParams("\n".join(problems))
    if interactive:
        print("A plugin for stable-core. Enter takes what is in brackets; Ctrl-C leaves, and nothing is written.\n")
    if interactive and flags.kind is None:
        print(*(f"  {number}  {kind.name:15} {kind.does}" for number, kind in enumerate(KINDS.values(), 1)), sep="\n")
    for question, answer in given.items():
        given_or_usual = question.usual(answers) if answer is None else answer
        if answer is None and question.text and interactive:
            ask(question, answers, given_or_usual)
            continue
        try:
            question.settle(answers, given_or_usual)
        except InvalidParams as error:
            if not interactive:
                raise
            print(f"  {error}")
            ask(question, answers, checks.free(question.name, given_or_usual or "", answers))
    return answers


def ask(question: Question, answers: Answers, usual: str | None) -> None:
    """Until the answer is one."""
    text = question.text or f"{question.name.capitalize()} {question.help.partition(':')[0]}"
    while True:
        said = input(f"{text}{f' [{usual}]' if usual else ''}: ").strip() or usual
        try:
            return question.settle(answers, said)
        except InvalidParams as error:
            print(f"  {error}")


def next_steps(answers: Answers) -> str:
    here = answers.into == USUAL
    run = f"run {answers.job} {answers.kind.run.format(job=answers.job)}"
    name = answers.name if here else shlex.quote(str(answers.folder))
    steps = {
        "python3 server.py": "unless it runs already: then the plugin is there in two seconds",
        f"python3 -m clients.cli {run}": "in another terminal",
        f"python3 server.py plugins dev {name}": "while you change its code",
        f"python3 server.py plugins test {name}": "before others get it",
    }
    if not here:  # a server looks there only if it is told to
        steps = dict([*steps.items()][2:])
    return "Next:\n" + "\n".join(f"  {command}\n      {why}" for command, why in steps.items())


def shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
