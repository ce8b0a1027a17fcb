"""The commands: which there are, and how a line of words is carried out."""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from clients.cli import (
    batch,
    collecting,
    completion,
    devices,
    exploring,
    flowing,
    importing,
    keeping,
    listing,
    reviewing,
    running,
    steering,
    watching,
)  # fmt: skip
from clients.cli.base import FAILED, INTERRUPTED, USAGE, Parser, connection_options, report
from clients.python import Client, InvalidParams, ServerError, UnknownJob


class Line(Parser):
    """A whole line, which begins with a command."""

    def error(self, message: str) -> None:
        wrong = re.match(r"argument COMMAND: invalid choice: '(.*?)'", message)
        if not wrong:
            super().error(message)
        commands = next(list(action.choices) for action in self._actions if action.dest == "command")
        near = difflib.get_close_matches(wrong[1], commands, n=1)
        mean = f" Did you mean {near[0]}?" if near else ""
        raise InvalidParams(f"there is no command {wrong[1]!r}.{mean}", hint="Add --help to see what there is.")


def arguments() -> Parser:
    """The parser of a whole line. Of `run` it knows the job only: its flags are known once the server is asked."""
    from clients.cli import console  # which carries out lines itself

    common = connection_options()
    parser = Line(
        prog="clients.cli", parents=[common], description="Uses a stable-core server from the command line.",
        epilog="Exit codes: 0 it worked, 1 it did not, 2 the line is wrong, 130 Ctrl-C. More in docs/command-line.md.",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, function: Any, help: str, **options: Any) -> Parser:
        made = commands.add_parser(name, help=help, description=help, parents=[common], **options)
        made.set_defaults(function=function)
        return made

    groups = (running, flowing, batch, exploring, steering, listing, devices, watching, reviewing, keeping)
    for group in (*groups, collecting, importing, completion, console):
        group.add(command)
    return parser


def main(words: list[str] | None = None) -> int:
    """Carry out a line on a connection of its own."""
    words = sys.argv[1:] if words is None else words

    def act() -> int:
        flags = read(words or ["--help"])
        if flags.command == "completion":
            return flags.function(None, flags)
        with Client(getattr(flags, "url", None), getattr(flags, "token", None)) as client:
            return flags.function(client, flags)

    return carried_out(words, act)


def execute(client: Client, words: list[str]) -> int:
    """Carry out a line, for example ["run", "txt2img", "--steps", "4"], on a connection that is there.

    Returns its exit code; it never raises for what was typed, nor for what the server answers."""

    session = client.session

    def act() -> int:
        flags = read(words)
        if hasattr(flags, "url") or hasattr(flags, "token"):
            raise InvalidParams(f"{flags.command}: --url and --token are for a line with a connection of its own.")
        try:
            return flags.function(client, flags)
        finally:
            client.session = session  # a command may choose another for itself

    return carried_out(words, act)


def read(words: list[str]) -> argparse.Namespace:
    """The flags of a line; of those after a job, which the server has to tell, only what all commands take."""
    flags = arguments().parse_args(words)
    early, _ = connection_options().parse_known_args(getattr(flags, "words", []))
    return argparse.Namespace(**vars(flags) | vars(early))


def carried_out(words: list[str], act: Callable[[], int]) -> int:
    """The exit code of `act`; whatever goes wrong is told on stderr."""
    as_json = "--json" in words
    try:
        code = act()
        sys.stdout.flush()
        return code
    except SystemExit as shown:  # --help
        return int(shown.code or 0)
    except ServerError as error:
        report(error, as_json)
        return USAGE if isinstance(error, InvalidParams | UnknownJob) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        report(ServerError(f"{error.filename or 'a file'}: {error.strerror or error}.", code="os_error"), as_json)
        return USAGE if isinstance(error, FileNotFoundError) else FAILED
