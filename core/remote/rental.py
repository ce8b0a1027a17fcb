"""A machine is rented, waited for until it is really there, and ended, whatever goes wrong on the way."""

import asyncio
import contextlib
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Conflict, CoreError, InvalidParams, NotFound, Timeout, Unauthorized
from core.ops import bootstrap
from core.remote import providers, spending
from core.remote.ledger import Entry, Ledger
from core.remote.providers import CONSOLES, TITLES, Machine, Offer, Provider, Wish
from core.remote.records import STEPS_LOCK, Records, Remote, Rented

if TYPE_CHECKING:
    from core.remote.connection import Login

Say = Callable[[str], None]
FORGOTTEN_SECONDS = 3600  # after which a machine that nobody finds is not going to appear any more


@dataclass(frozen=True)
class Limits:
    """How long each stage may take, in seconds; `found` is how long one is looked for whose making was not answered."""

    found: float = 60
    scheduling: float = 300
    pulling: float = 1200
    answering: float = 300
    login: float = 120
    ended: float = 60
    pause: float = 5


LIMITS = Limits()
STAGES = {  # what is waited for, what is wrong if that takes too long, and what to do then
    "scheduling": ("a host", "has no host yet", "Try it again, or another card or price."),
    "pulling": ("its image", "is still fetching its image", "Try it again, or a smaller --image."),
    "answering": ("its sshd", "runs, but no sshd answers", "docs/providers.md says what an --image needs."),
}


def offers(provider: Provider, wish: Wish) -> list[Offer]:
    """Those that may be taken, the cheapest first. Raises NotFound if there is none, InvalidParams if the money would
    not last for an hour."""
    title, region = TITLES[provider.name], f" in {wish.region}" if wish.region else ""
    found = [offer for offer in provider.search(wish) if offer.price > 0]  # what costs nothing is a mistake
    fitting = [offer for offer in found if offer.price <= wish.max_price]
    if not fitting:
        if not found:
            raise NotFound(f"{title} has no {wish.gpu}{region} left just now.", hint="Try another card, or try later.")
        text = f"{title} has no {wish.gpu}{region} for up to ${wish.max_price:.2f} an hour: "
        raise NotFound(f"{text}the cheapest costs ${found[0].price:.2f}.", hint="Raise --max-price, or try later.")
    if fitting[0].price > wish.spend_limit:
        text = f"--spend {wish.spend_limit:g} does not pay for one hour of {fitting[0].gpu} (${fitting[0].price:.2f})."
        raise InvalidParams(text, field="spend", hint="Raise --spend, or choose a cheaper card.")
    return [offer for offer in fitting if offer.price <= wish.spend_limit]


@contextlib.contextmanager
def rented(
    data: Path, provider: Provider, name: str, wish: Wish, found: list[Offer], public_key: str, say: Say,
    limits: Limits = LIMITS,
) -> Iterator[Remote]:  # fmt: skip
    """The record of a new machine whose sshd answers. It is kept if what is done with it inside goes well; any error,
    there or before, and Ctrl-C, ends it. Raises CoreErrors."""
    ledger, records, entry = Ledger(data), Records(data), None
    try:
        for offer in found:
            entry = ledger.ask(provider.name, name, offer.price, wish.spend_limit)
            try:
                machine = _make(ledger, entry, provider, offer, wish, public_key, say, limits)
                break
            except NotFound as error:
                say(f"{offer.gpu} for ${offer.price:.2f} is gone already: {error}")
                if provider.find(entry.label) is not None:  # it costs nothing to look
                    raise
                if not isinstance(error.__cause__, Timeout):  # after a 5xx it may yet appear, so it stays open
                    ledger.note(entry, "ended", why="not available")
        else:
            text = f"{TITLES[provider.name]} has none left of the {len(found)} that it has just offered."
            raise NotFound(text, hint="Try it again: what is offered changes all the time.")
        machine = _await(provider, machine, wish, entry, say, limits)
        about = Rented(
            provider=provider.name, id=machine.id, price_per_hour=machine.price or entry.price,
            spend_limit=wish.spend_limit, created=entry.at,
        )  # fmt: skip
        record = Remote(name=name, host=machine.host, port=machine.port, user=provider.user, rented=about)
        yield record
        records.read(name)  # what is kept has a record, or nobody would know of it
        ledger.note(entry, "kept")
    except BaseException:
        if entry is not None and entry.what != "ended":
            _give_back(ledger, records, entry, provider, say, limits)
        raise


def _make(
    ledger: Ledger, entry: Entry, provider: Provider, offer: Offer, wish: Wish, public_key: str, say: Say,
    limits: Limits,
) -> Machine:  # fmt: skip
    """Made, or found after all by its label if the answer was lost. Raises NotFound if the offer is gone."""
    say(f"rent      {offer.gpu} at {TITLES[provider.name]} for ${offer.price:.2f} an hour, as {entry.label}")
    try:
        machine = provider.create(offer, wish, entry.label, public_key)
    except (Conflict, Timeout) as error:
        say(f"          {error} It may have been made all the same, so it is looked for.")
        machine = _look_for(provider, entry.label, limits.found, limits.pause)
        if machine is None:
            ledger.note(entry, "asked", why="looked for")
            raise
    ledger.note(entry, "made", id=machine.id)
    return machine


def _look_for(provider: Provider, label: str, seconds: float, pause: float) -> Machine | None:
    until = time.monotonic() + seconds
    while (machine := provider.find(label)) is None and time.monotonic() < until:
        time.sleep(pause)
    return machine


def _await(provider: Provider, machine: Machine, wish: Wish, entry: Entry, say: Say, limits: Limits) -> Machine:
    """The machine once its sshd answers. Each stage has its own limit; what goes on is told when it changes."""
    stage, since, told, seen = "", time.monotonic(), "", False
    while True:
        _check_price(machine, wish)
        reached = "answering" if machine.stage == "running" else machine.stage
        if reached in ("ended", "lost"):
            text = f"{machine.id} {'ended by itself' if reached == 'ended' else 'is lost'} ({machine.text})."
            raise Conflict(text, hint="Try it again, or another offer.")
        if reached != stage:
            stage, since = reached, time.monotonic()
        text = f"wait      for {STAGES[stage][0]}" + (f" ({machine.text})" if machine.text else "")
        if text != told:
            told = text
            say(text)
        if stage == "answering" and _answers(machine, limits.pause):
            return machine
        if time.monotonic() - since > getattr(limits, stage):
            _, what, hint = STAGES[stage]
            text = f"{machine.id} {what} after {getattr(limits, stage):,.0f} s. {machine.text}".rstrip()
            raise Timeout(text, hint=hint)
        time.sleep(limits.pause)
        try:
            now = provider.get(machine.id)
        except Timeout:
            continue  # its trouble, not the machine's: the stage's own limit counts
        if now is None and (seen or time.monotonic() - since > limits.found):  # a new one may not be listed at once
            raise NotFound(f"{machine.id} is gone: somebody else ended it, or {TITLES[provider.name]} did.")
        seen, machine = seen or now is not None, now or machine


def _check_price(machine: Machine, wish: Wish) -> None:
    """A provider may ask for more than it has offered."""
    if machine.price is not None and machine.price > min(wish.max_price, wish.spend_limit) + 1e-6:
        text = f"{machine.id} costs ${machine.price:.2f} an hour, not up to ${wish.max_price:.2f} as was offered."
        raise Conflict(text, hint="Try it again, or raise --max-price.")


def _answers(machine: Machine, seconds: float) -> bool:
    """Whether an sshd does: its first line begins so (RFC 4253, section 4.2)."""
    try:
        with socket.create_connection((machine.host, machine.port), timeout=max(seconds, 1)) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def let_in(record: Remote, login: "Login", say: Say, limits: Limits | None = None) -> None:
    """Returns when the machine lets us in: a provider may give it our key some time after its sshd has begun to answer.
    Raises what `connect` raises if that takes too long."""
    limits = limits or LIMITS
    until, told = time.monotonic() + limits.login, False
    while True:
        try:
            return asyncio.run(_log_in(record, login))
        except (Unauthorized, Timeout):
            if time.monotonic() > until:
                raise
        if not told:
            say("wait      for it to let our key in")
            told = True
        time.sleep(limits.pause)


async def _log_in(record: Remote, login: "Login") -> None:
    from core.remote.connection import connect  # 0.3 s, of which the keeper has no need

    async with await connect(record, login):
        pass


def _give_back(
    ledger: Ledger, records: Records, entry: Entry, provider: Provider, say: Say, limits: Limits
) -> None:  # fmt: skip
    """End what may have been made, and tell how it can be done by hand if that fails. Not to be interrupted, also not
    by the terminal's having been closed."""

    def say(line: str, tell: Say = say) -> None:
        with contextlib.suppress(OSError, ValueError):
            tell(line)

    with _undisturbed(say):
        with contextlib.suppress(CoreError):  # a server that runs is not to connect to it
            records.write(records.read(entry.name).model_copy(update={"on": False}))
        say(f"end       {entry.label} at {TITLES[entry.provider]}: what is not used is not to cost anything")
        try:
            if not entry.id:
                machine = _look_for(provider, entry.label, 0 if entry.why else limits.found, limits.pause)
                if machine is None:
                    say("          it was not found there. This is looked at again for an hour, with each command.")
                    shutil.rmtree(records.of(entry.name), ignore_errors=True)
                    return
                ledger.note(entry, "made", id=machine.id)
            destroy(provider, entry.id, limits)
            ledger.note(entry, "ended", why="failed")
            shutil.rmtree(records.of(entry.name), ignore_errors=True)
            say(f"ended     {entry.label}")
        except (CoreError, OSError) as error:
            say(
                f"          {error}\n          IT MAY STILL RUN AND COST ${entry.price:.2f} AN HOUR. End it by hand: "
                f"{CONSOLES[entry.provider]}, {entry.label}. It is tried again with each command, and by the server."
            )


@contextlib.contextmanager
def _undisturbed(say: Say) -> Iterator[None]:
    """Ctrl-C and its like wait, as whoever is impatient would pay for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    wait = "          a moment: the machine is being ended, else it would go on to cost"
    before = {number: signal.signal(number, lambda *_: say(wait)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def destroy(provider: Provider, identity: str, limits: Limits = LIMITS) -> None:
    """Returns once the provider says that the machine is gone. Raises CoreErrors."""
    until, refusal = time.monotonic() + limits.ended, None
    while True:
        try:
            provider.destroy(identity)
        except Conflict as error:  # of one that is gone already, which `get` tells
            refusal = error
        machine = provider.get(identity)
        if machine is None or machine.stage == "ended" and refusal is None:
            return
        if time.monotonic() > until:
            text = f"{identity} is still there {limits.ended:,.0f} s after it was to end ({machine.text})."
            raise Timeout(text) from refusal
        time.sleep(limits.pause)


def end(data: Path, record: Remote, why: str = "destroyed") -> None:
    """End a rented machine at its provider, for good; nothing happens to one that is gone or was never rented. Ask for
    it before what is there is tidied up: it costs money as long as it is there. Raises CoreErrors that say how to end
    it by hand."""
    if record.rented is None or record.rented.ended:
        return
    name, identity = record.rented.provider, record.rented.id
    try:
        destroy(providers.of(name, data), identity)
    except CoreError as error:
        hint = f"It may still run and cost ${record.rented.price_per_hour:.2f} an hour. "
        hint += f"Try it again, or end it by hand: {CONSOLES[name]}, {identity}."
        raise type(error)(f"{record.name} was not ended: {error}", hint=hint) from error
    ledger = Ledger(data)
    for entry in ledger.open():
        if (entry.provider, entry.id) == (name, identity):
            ledger.note(entry, "ended", why=why)


def settle(data: Path, say: Say, limits: Limits = LIMITS, kept: bool = True) -> int:
    """Look at all that has not ended: end what a command left that died, and, if `kept`, what nobody has a record of
    any more and what has spent its money. Returns how many machines are still open. What a running command sees to is
    left to it."""
    ledger, open_ = Ledger(data), 0
    for entry in ledger.open():
        if entry.in_hands() if entry.what != "kept" else not kept:
            open_ += 1
            continue
        try:
            done = _settle(data, ledger, entry, say, limits)
        except (CoreError, OSError, KeyError, ValueError) as error:  # of a later version, or edited by hand
            done = False
            say(f"{entry.name}: {entry.label} at {entry.provider} cannot be looked at: {error}")
        open_ += not done
    return open_


def _settle(data: Path, ledger: Ledger, entry: Entry, say: Say, limits: Limits) -> bool:
    """Whether it has ended."""
    provider = providers.of(entry.provider, data)
    record = _record(data, entry)
    if record is not None and record.rented is not None:
        return _settle_kept(data, ledger, entry, provider, record, say, limits)
    machine = provider.get(entry.id) if entry.id else provider.find(entry.label)
    if machine is None and not entry.id and time.time() - entry.at < FORGOTTEN_SECONDS:
        return False  # it may still appear
    if machine is not None:
        say(f"{entry.name}: {entry.label} was left at {TITLES[entry.provider]} by a command that died. It is ended.")
        destroy(provider, machine.id, limits)
    ledger.note(entry, "ended", why="left" if machine else "never made, or gone")
    return True


def _settle_kept(
    data: Path, ledger: Ledger, entry: Entry, provider: Provider, record: Remote, say: Say, limits: Limits
) -> bool:  # fmt: skip
    about, why = record.rented, ""
    if entry.what != "kept" and record.on:  # its command died between two lines
        ledger.note(entry, "kept")
    machine = provider.get(about.id)
    if entry.what != "kept":
        why = "was ended, as its command died before it was ready."
    elif machine is None or machine.stage == "ended":
        why = f"is gone: it was idle, or {TITLES[entry.provider]} or somebody else ended it"
        why += f" ({machine.text})." if machine else "."
    elif spending.seconds_left(about) <= 0:
        why = f"was ended, as its ${about.spend_limit:.2f} are spent."
    elif not record.on and 0 < record.idle_minutes * 60 < _off_seconds(data, record.name):
        why = f"was ended, as it was off for {record.idle_minutes:g} min."  # nothing there counts them any more
    elif machine.price and machine.price > about.price_per_hour:
        say(f"{record.name} costs ${machine.price:.2f} an hour now, instead of ${about.price_per_hour:.2f}.")
        about = about.model_copy(update={"price_per_hour": machine.price})
        Records(data).write(record.model_copy(update={"rented": about}))
    if not why:
        return False
    say(f"{record.name} {why}")
    if machine is not None:  # also one that is merely stopped: its disk costs, too
        destroy(provider, about.id, limits)
    ledger.note(entry, "ended", why=why)
    with contextlib.suppress(NotFound):  # just removed
        now = Records(data).read(record.name)
        ended = now.rented.model_copy(update={"ended": why, "ended_at": time.time()}) if now.rented else None
        Records(data).write(now.model_copy(update={"on": False, "rented": ended}))
    return True


def _off_seconds(data: Path, name: str) -> float:
    """Since its record was written; 0 while a command prepares it."""
    folder = Records(data).of(name)
    with (folder / STEPS_LOCK).open("a") as file:
        return time.time() - (folder / "record.json").stat().st_mtime if bootstrap.try_lock(file) else 0


def _record(data: Path, entry: Entry) -> Remote | None:
    """The record of this very machine, if there is one. Raises Conflict if there is one that cannot be read: then
    nothing of what it is about is ended."""
    try:
        record = Records(data).read(entry.name)
    except NotFound:
        return None
    return record if record.rented and record.rented.id == entry.id else None
