"""Machines that are reached over SSH: python3 server.py deploy ADDRESS, and what can be done with those there are."""

import argparse
import asyncio
import errno
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

try:
    import termios
except ImportError:  # Windows, where it is of no use
    termios = None

from core.errors import Conflict, CoreError, InvalidParams
from core.jobs import Priority
from core.library.near import did_you_mean
from core.ops import config as settings
from core.ops.bootstrap import InstallError, explain
from core.ops.config import Config
from core.ops.devices import LOCAL
from core.ops.discovery import printable
from core.remote import address, deploying, managing, rental, renting, steps
from core.remote.connection import Login, login_of
from core.remote.records import Records, Remote, Rule
from core.remote.showing import Show

EXPLAINED = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS)
WHENS = get_args(Rule.model_fields["when"].annotation)


def parser() -> argparse.ArgumentParser:
    """Each action sets `run`, which is called with (arguments, config)."""
    made = argparse.ArgumentParser(
        prog="server.py deploy", description=__doc__, allow_abbrev=False,
        usage="server.py deploy ADDRESS [options]\n       server.py deploy ACTION [NAME] [options]",
        epilog="ADDRESS is ssh://user@host:port, user@host, or the whole ssh command that a provider shows.",
    )  # fmt: skip
    made.add_argument("--config", type=Path, help="settings file; default: config.toml beside server.py")
    made.add_argument("--data", type=Path, help="folder of the server's data, as in the settings")
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION", prog="server.py deploy")
    add_to(actions)
    managing.add_all(actions)
    renting.add_all(actions, add_flags, plan_for_rented)
    return made


def main(words: list[str]) -> int:
    made = parser()
    known = next(action.choices for action in made._actions if action.dest == "action")
    first = 0
    while words[first : first + 1] and words[first].partition("=")[0] in ("--config", "--data"):
        first += 1 if "=" in words[first] else 2
    if words[first : first + 1] and words[first] not in {*known, "-h", "--help"}:
        if words[first].isalpha() and (meant := did_you_mean(words[first], known)):
            made.error(f"there is no action {words[first]}.{meant} A machine of that name is ssh://{words[first]}.")
        words = [*words[:first], "to", *words[first:]]
    theirs: list[str] = []
    if words[first : first + 1] == ["to"]:
        ours, theirs = split(words[first + 1 :], known["to"])
        words = [*words[: first + 1], *ours]
    arguments = made.parse_args(words if words[first:] else ["--help"])
    arguments.address = theirs
    terminal = _terminal()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # a lost connection is told in one line
    try:
        flags = {"data": arguments.data} if arguments.data else {}
        config = settings.load(arguments.config, flags)
        renting.tidy(config)
        return arguments.run(arguments, config) or 0
    except (CoreError, InstallError, OSError) as error:
        hint = getattr(error, "extra", {}).get("hint") or ""
        text = explain(str(error)) if isinstance(error, OSError) and error.errno in EXPLAINED else f"{error} {hint}"
        print(end="\n" if _nobody_types(terminal) else "", file=sys.stderr)
        print("\n".join(map(printable, f"stable-core: {text.rstrip()}".splitlines())), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _nobody_types(terminal)
        goes_on = " The same command goes on where it was." if arguments.action == "to" else ""
        print(f"\nstable-core: stopped.{goes_on}", file=sys.stderr)
        return 130


def _terminal() -> list[Any] | None:
    """How it is set."""
    try:
        return termios.tcgetattr(sys.stdin) if termios else None
    except (termios.error, ValueError, OSError):  # it is none
        return None


def _nobody_types(before: list[Any] | None) -> bool:
    """If a password was being typed: the terminal shows again what is typed, and the shell does not get half of it."""
    if typing := bool(before) and termios.tcgetattr(sys.stdin) != before:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
    return typing


def split(words: list[str], to: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """(our options, the address): what begins with one dash is ssh's, as in a line that was pasted without quotes."""
    ours, theirs, left = [], [], iter(words)
    for word in left:
        if not word.startswith("--") and word != "-h":
            theirs.append(word)
            continue
        ours.append(word)
        action = to._option_string_actions.get(word)
        if action is not None and action.nargs is None:
            ours += [value for value in [next(left, None)] if value is not None]
    return ours, theirs


def add_to(actions: managing.Actions) -> None:
    text = "deploy to ADDRESS; the word `to` may be left out"
    action = actions.add_parser("to", help=text, description=text, allow_abbrev=False, usage="server.py deploy ADDRESS")
    add_flags(action)
    action.add_argument("--key", type=Path, metavar="FILE", help="private key to log in with; default: as ssh does")
    action.add_argument("--host-key", metavar="SHA256:...", help="fingerprint that the machine must have")
    action.set_defaults(run=to)


def add_flags(action: argparse.ArgumentParser) -> None:
    """What the machine is called, what runs there, and which jobs: also for machines that are rented."""
    action.add_argument("--name", help="what the machine is called here; default: one that is free")
    action.add_argument("--plugins", metavar="A,B", help="which run there; default: those that have PyTorch")
    action.add_argument("--models", metavar="KIND/NAME,...", help='which are copied, with *: "checkpoint/dream*"')
    action.add_argument("--devices", metavar="cuda:0,...", help="default: auto")
    action.add_argument(
        "--torch-backend", metavar="X", help="build of PyTorch there, as in the settings; default: auto"
    )
    action.add_argument("--jobs", metavar="A,B", help='which jobs run there, with *: "txt2img,upscale.*"; default: all')
    action.add_argument("--priorities", metavar="A,B", help=f"of {', '.join(get_args(Priority))}; default: all")
    action.add_argument("--when", choices=WHENS, help="before the devices here, when these are busy, or only there")
    action.add_argument("--idle-minutes", type=float, metavar="N", help="it stops itself after; 0: never; default: 30")
    action.add_argument("--folder", help="where everything is kept there; default: ~/.stable-core/NAME")


def changes(arguments: argparse.Namespace, record: Remote | None, config: Config) -> dict[str, Any]:
    """What the options say of a record. Raises InvalidParams."""
    found: dict[str, Any] = {}
    for name in ("plugins", "models", "devices"):
        if (text := getattr(arguments, name)) is not None:
            found[name] = deploying.words_of(text, f"--{name}")
    for device in found.get("devices", []):
        if device != "auto" and not re.fullmatch(LOCAL, device):
            text = f"{device[:50]!r} is no device: say auto, cpu, cuda:0, xpu:0, mps ..."
            raise InvalidParams(text, field="devices")
    if record is None and "plugins" not in found:
        found["plugins"] = deploying.plugins_for(config)
    rule = (record.rule if record else Rule()).model_dump()
    for name, allowed in (("jobs", ()), ("priorities", get_args(Priority))):
        if (text := getattr(arguments, name)) is not None:
            rule[name] = deploying.words_of(text, f"--{name}", allowed)
    found["rule"] = Rule(**rule | ({"when": arguments.when} if arguments.when else {}))
    if record and record.folder and arguments.folder not in (None, record.folder):
        text = f"{record.name} is in {record.folder} there, and stays in that folder."
        raise Conflict(text, hint=f"To move it: python3 server.py deploy destroy {record.name}, then deploy anew.")
    for name in ("torch_backend", "idle_minutes", "folder"):
        if (value := getattr(arguments, name)) is not None:
            found[name] = value
    return found


def to(arguments: argparse.Namespace, config: Config) -> int:
    named, records = address.parse(arguments.address), Records(config.data)
    where, name = deploying.resolved(named), arguments.name or deploying.name_for(named, records)
    record = records.read(name) if name in records.names() else None
    more = changes(arguments, record, config)
    if record:
        found = {"host": where.host, "port": where.port, "user": where.user}
        record = checked(**dict(record) | found | more)
    else:
        record = checked(name=name, host=where.host, port=where.port, user=where.user, **more)
    bring_up(record, deploying.login_for(arguments.key or where.key), arguments.host_key, config)
    return managing.wait_until_connected(record.name, config)


def bring_up(record: Remote, login: Login, expected: str | None, config: Config) -> None:
    with Show() as show:
        show.say("deploy", f"{record.name}  {record.user}@{record.host}:{record.port}")
        show.say("plugins", ", ".join(record.plugins) or "none")
        record = asyncio.run(deploying.deploy(config, record, login, expected, show.say, show.step))
        show.say("deployed", f"{record.name} in {record.folder}")


def plan_for_rented(arguments: argparse.Namespace, config: Config) -> Callable[[Remote], None]:
    """What deploys to a machine that has just been rented, and that lets its own key in. Raises CoreErrors if that
    cannot go well: before anything costs."""
    more = changes(arguments, None, config)
    steps.sources_of(config, checked(name="any", host="any", user="any", **more), strict=True)

    def deploy(record: Remote) -> None:
        record = record.model_copy(update=more)
        login = login_of(Records(config.data).of(record.name))
        rental.let_in(record, login, print)
        bring_up(record, login, None, config)
        managing.wait_until_connected(record.name, config)

    return deploy


def checked(**columns: Any) -> Remote:
    """A record. Raises InvalidParams."""
    try:
        return Remote(**columns)
    except ValueError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0])
        text = f"{field} cannot be {str(problem['input'])[:100]!r}: {problem['msg']}."
        hint = "A name has small letters, digits and -, at most 30." if field == "name" else None
        raise InvalidParams(text, field=field, hint=hint) from None
