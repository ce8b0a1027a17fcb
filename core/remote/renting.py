"""Machines for rent, from the terminal: deploy runpod|vast --gpu ..., and deploy search runpod|vast ..."""

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from core.errors import Conflict, InvalidParams
from core.ops.config import Config
from core.ops.discovery import printable
from core.remote import connection, managing, providers, rental
from core.remote.providers import TITLES, Offer, Wish
from core.remote.records import Records, Remote, RemoteName

SHOWN = 15  # offers in a list for people
MAX_DOLLARS = 100_000
AddFlags = Callable[[argparse.ArgumentParser], None]
Plan = Callable[[argparse.Namespace, Config], Callable[[Remote], None]]


def add_all(actions: "argparse._SubParsersAction", add_flags: AddFlags, plan: Plan) -> None:
    """runpod, vast and search, each with a `run`, which is called with (arguments, config) and returns an exit code.

    `add_flags` adds what can be said of any deployment, among it --name. `plan` looks whether that can be done, before
    it costs anything, and returns what deploys to a machine: it gets the record of one that has just been made, whose
    sshd answers and lets in its own key, and turns it on. Whatever it raises, and Ctrl-C, ends the machine."""
    for name in providers.NAMES:
        action = actions.add_parser(
            name, help=f"rent a machine at {TITLES[name]}, and deploy to it", allow_abbrev=False
        )
        _add_wish(action, needed=True)
        action.add_argument("--spend", type=_dollars, required=True, metavar="DOLLARS", help=SPEND)
        action.add_argument("--image", help="Docker image; default: one of the provider's that has an sshd and Python")
        action.add_argument("--yes", action="store_true", help="do not ask before it costs money")
        add_flags(action)
        action.set_defaults(run=lambda arguments, config: rent(arguments, config, plan), provider=name)
    action = actions.add_parser("search", help="what can be rented now, and for how much", allow_abbrev=False)
    action.add_argument("provider", choices=providers.NAMES)
    _add_wish(action, needed=False)
    action.add_argument("--json", action="store_true", help="all of it, for programs")
    action.set_defaults(run=search)


SPEND = "what it may cost in all: then it is ended, also while jobs run, and also if nobody is connected"


def _add_wish(action: argparse.ArgumentParser, needed: bool) -> None:
    action.add_argument("--gpu", required=True, metavar="NAME", help='the card: "RTX 4090"')
    text = "most that an hour may cost, with its disk" + ("" if needed else "; default: anything")
    default = None if needed else MAX_DOLLARS
    action.add_argument("--max-price", type=_dollars, required=needed, default=default, metavar="DOLLARS", help=text)
    action.add_argument("--disk", type=_gigabytes, default=60, metavar="GB", help="size of its disk; default: 60")
    text = "country (two letters: DE) or, at RunPod, data center (EU-RO-1); default: anywhere"
    action.add_argument("--region", type=_region, help=text)


def _dollars(text: str) -> float:
    try:
        number = float(text.removeprefix("$"))
    except ValueError:
        number = 0.0
    if not 0 < number <= MAX_DOLLARS:  # nan is not, either
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of US dollars, such as 0.60")
    return number


def _gigabytes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 20 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GB from 20 to 10000")
    return int(text)


def _region(text: str) -> str:
    if not text.isascii() or not text.replace("-", "").isalnum() or not 2 <= len(text) <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no region, such as DE or EU-RO-1")
    return text


def tidy(config: Config) -> None:
    """What a command that died has left at providers is ended, with each command."""
    rental.settle(config.data, _trouble, kept=False)


def search(arguments: argparse.Namespace, config: Config) -> int:
    wish = Wish(arguments.gpu, arguments.max_price, MAX_DOLLARS, arguments.disk, region=arguments.region)
    found = rental.offers(providers.of(arguments.provider, config.data), wish)
    if arguments.json:
        print(json.dumps([asdict(offer) for offer in found], indent=1))
        return 0
    for offer in found[:SHOWN]:
        print(_line(offer))
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more: --json shows them")
    price = math.ceil(found[0].price * 100) / 100
    print(
        f'Next: python3 server.py deploy {arguments.provider} --gpu "{arguments.gpu}" --max-price {price:.2f} --spend 5'
    )
    return 0


def _line(offer: Offer) -> str:
    about = f"{offer.gpu} ({offer.memory_gb:.0f} GB)  {offer.where}  {offer.note}"
    return f"${offer.price:<7.3f} an hour  {printable(about).rstrip()}"


def rent(arguments: argparse.Namespace, config: Config, plan: Plan) -> int:
    """Raises CoreErrors; then nothing is left that costs, or it was told."""
    name = _name(arguments, Records(config.data))
    wish = Wish(
        arguments.gpu, arguments.max_price, arguments.spend, arguments.disk, arguments.image, arguments.region
    )  # fmt: skip
    deploy, provider = plan(arguments, config), providers.of(arguments.provider, config.data)
    found = rental.offers(provider, wish)
    print(_line(found[0]))
    most = f"${wish.spend_limit:.2f} at the most ({_clock(wish.spend_limit / found[0].price)})"
    managing.confirm(f"Rent it as {name}, for {most}?", arguments.yes)
    public_key = connection.own_key(Records(config.data).of(name), name)
    for number in ("SIGTERM", "SIGHUP"):  # of a terminal that is closed, too
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.default_int_handler)
    try:
        with rental.rented(config.data, provider, name, wish, found, public_key, _say) as record:
            deploy(record)
    except KeyboardInterrupt:
        print("\nstable-core: stopped.", file=sys.stderr)
        return 130
    about = Records(config.data).read(name).rented or record.rented
    hours = about.spend_limit / about.price_per_hour
    print(f"rented    {name} for ${about.price_per_hour:.2f} an hour; it ends for good after {_clock(hours)}, or with:")
    print(f"          python3 server.py deploy destroy {name}")
    return 0


def _clock(hours: float) -> str:
    return f"{int(hours)} h {int(hours % 1 * 60)} min"


def _name(arguments: argparse.Namespace, records: Records) -> str:
    """As asked for, else the provider's with the first number that is free."""
    taken = set(records.names())
    wanted = arguments.name
    if wanted is None:
        return next(name for number in range(1, 10_000) if (name := f"{arguments.provider}{number}") not in taken)
    try:
        TypeAdapter(RemoteName).validate_python(wanted)
    except ValidationError as error:
        text = f"{wanted!r} cannot be a machine's name: small letters, digits and -, a letter first, 30 at the most."
        raise InvalidParams(text, field="name") from error
    if wanted in taken:
        hint = f"Choose another --name, or type: python3 server.py deploy destroy {wanted}"
        raise Conflict(f"there is a machine {wanted} already.", hint=hint)
    return wanted


def _say(line: str) -> None:
    print(*map(printable, line.splitlines()), sep="\n", flush=True)  # parts of it are the provider's


def _trouble(line: str) -> None:
    print(*map(printable, line.splitlines()), sep="\n", file=sys.stderr, flush=True)
