"""What all commands share: how their options are read, how answers and errors are printed."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from clients.cli import show
from clients.python import InvalidParams, ServerError

Command = Callable[..., "Parser"]  # command(name, function, help) adds one


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in a line, or as JSON where that is asked for."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, allow_abbrev=False, **options)

    def error(self, message: str) -> None:
        """argparse says `argument --limit: invalid int value`; we say `--limit: invalid int value`."""
        raise InvalidParams(message.removeprefix("argument "), hint="Add --help to see what is allowed.")


def connection_options() -> Parser:
    """The options of every command; none has a default, so that they may stand before or after the command."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--url", metavar="URL", help="Where the server is; else STABLE_CORE_URL, else this machine.")
    parser.add_argument("--token", metavar="TOKEN", help="Else STABLE_CORE_TOKEN, else the one of this user here.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    return parser


def report(error: ServerError, as_json: bool) -> None:
    """A message and the way out, on stderr."""
    if as_json:
        wire = {key: getattr(error, key) for key in ("code", "message", "field", "hint", "job", "errors")}
        print(json.dumps({"error": {key: value for key, value in wire.items() if value}}), file=sys.stderr)
        return
    show.err.print(show.Text("error  ", "red").append(show.text(error.message, "default")), soft_wrap=True)
    if error.hint:
        show.err.print(show.Text("       ").append(show.text(error.hint, "dim")), soft_wrap=True)


def dump(content: Any) -> int:
    print(json.dumps(content, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))
    return 0


def wants_json(flags: argparse.Namespace) -> bool:
    return getattr(flags, "json", False)
