"""What all commands share: how their options are read, how answers and errors are printed."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from clients.cli import show
from clients.cli.flags import ids_in, is_piped
from clients.python import Client, InvalidParams, ServerError

FAILED, USAGE, INTERRUPTED = 1, 2, 130  # exit codes
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


def takes_ids(parser: Parser, what: str) -> None:
    """Adds the argument of a command that takes ids: typed, or one a line from a pipe."""
    parser.add_argument("id", nargs="*", metavar=what, help="Or piped in, one a line.")


def given_ids(flags: argparse.Namespace, typed: list[str] | None = None) -> list[str]:
    """What was typed, else what is piped in. Raises InvalidParams if there is nothing."""
    typed = flags.id if typed is None else typed
    piped = not typed and is_piped()
    if piped or typed == ["-"]:
        typed = ids_in(sys.stdin.read())
    if not typed and not piped:  # a pipe may be empty, as the result of a search may
        raise InvalidParams(f"{flags.command}: which? Give ids, or pipe them in, one a line.")
    return typed


def announced(client: Client, job: str) -> dict[str, Any]:
    """What a job takes and gives. Raises UnknownJob in the server's words."""
    about = client.describe(job, wait=False)
    if about is None:
        client.call("submit", {"job": job})
        raise InvalidParams(f"{job} is there now. Try again.")  # it came in between
    return about


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
    """One JSON document: for people's eyes on a terminal, on one line elsewhere."""
    terminal = sys.stdout.isatty()
    text = json.dumps(content, indent=2 if terminal else None, ensure_ascii=False)
    print(show.plain(text) if terminal else text)
    return 0


def wants_json(flags: argparse.Namespace) -> bool:
    return getattr(flags, "json", False)


def session_of(client: Client, flags: argparse.Namespace) -> str:
    return getattr(flags, "session", client.session)
