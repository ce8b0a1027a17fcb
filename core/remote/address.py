"""What people type or paste to name a machine: ssh://user@host:port, user@host -p 22, a whole ssh command."""

import getopt
import ipaddress
import re
import shlex
import urllib.parse
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import InvalidParams

OPTIONS = "46AaCfGgKkMNnqsTtVvXxYyB:b:c:D:E:e:F:I:i:J:L:l:m:O:o:P:p:Q:R:S:W:w:"  # of ssh, which takes all of them
HINT = (
    "Say ssh://user@host:port, or paste the whole line that the provider shows, as in: "
    "python3 server.py deploy ssh -p 1234 root@1.2.3.4"
)


@dataclass(frozen=True)
class Address:
    """Where a machine is, as far as it was told: the rest is in ssh's own settings, or usual."""

    host: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None


def parse(words: list[str]) -> Address:
    """What the words of a command line, or one word that is a whole pasted line, name. Of an ssh command, -p, -l, -i
    and -o Port, User, IdentityFile count; forwarded ports (-L ...) and what else there may be do not.

    Raises InvalidParams, which says what is meant to stand there."""
    words = _split(words[0]) if len(words) == 1 else words
    if not words:
        raise _bad("no machine is named")
    if words[0] == "ssh" or words[0].endswith(("/ssh", "\\ssh.exe")):
        words = words[1:]
    try:
        options, named = getopt.gnu_getopt(words, OPTIONS)
    except getopt.GetoptError as error:
        raise _bad(f"ssh has no such option: {error.msg}") from None
    if not named:
        raise _bad("no machine is named")
    if len(named) > 1:
        raise _bad(f"{named[0][:100]!r} is followed by {' '.join(named[1:])[:100]!r}, and only a machine is named here")
    found = _url(named[0]) if "://" in named[0] else _plain(named[0])
    for option, value in options:
        found = _with(found, option.lstrip("-"), value)
    return found


def _split(line: str) -> list[str]:
    """A pasted line into its words; one that is a single word is left as it is, with its backslashes."""
    try:
        return shlex.split(line) if re.search(r"\s", line) else line.split()
    except ValueError as error:
        raise _bad(f"{line[:100]!r} cannot be read: {error}") from None


def _url(text: str) -> Address:
    try:
        parts = urllib.parse.urlsplit(text)
        host, port, password = parts.hostname, parts.port, parts.password
    except ValueError as error:  # a port that is no number, half an IPv6 address
        raise _bad(f"{text[:100]!r} is no address: {error}") from None
    if parts.scheme != "ssh":
        raise _bad(f"{text[:100]!r} is a {parts.scheme or 'nameless'} address, and ssh is meant")
    if password is not None:
        raise InvalidParams(
            "a password in an address is read by whoever sees this machine's processes or the shell's history.",
            hint="Leave it out: you are asked for it, or put it into STABLE_CORE_SSH_PASSWORD.",
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad(f"{text[:100]!r} has {(parts.path + parts.query + parts.fragment)[:50]!r} after the machine")
    if "@" in parts.netloc and not parts.username:
        raise _bad(f"{text[:100]!r} has no user before the @")
    user = urllib.parse.unquote(parts.username) if parts.username else None
    return Address(_host(host or ""), None if port is None else _port(str(port)), _user(user))


def _plain(text: str) -> Address:
    """user@host, as ssh takes it; with :port, as many write it."""
    user, at, host = text.rpartition("@")
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(\w*))?", host):
        host, port = bracketed.groups()
    else:
        host, _, port = host.partition(":") if host.count(":") == 1 else (host, "", None)
    if at and not user:
        raise _bad(f"{text[:100]!r} has no user before the @")
    return Address(_host(host), None if port is None else _port(port), _user(user or None))


def _with(found: Address, option: str, value: str) -> Address:
    if option == "o":
        name, _, value = value.replace(" ", "=", 1).partition("=")
        option = {"port": "p", "user": "l", "identityfile": "i", "proxyjump": "J"}.get(name.strip().lower(), "")
        value = value.strip()
    if option == "p":
        return replace(found, port=_port(value))
    if option == "l":
        return replace(found, user=_user(value))
    if option == "i":
        return replace(found, key=Path(value).expanduser())
    if option == "J":
        raise _bad("-J leads over another machine, which is not supported")
    return found


def _host(text: str) -> str:
    """A name, or a number of IPv4 or IPv6."""
    if ":" in text:
        try:
            return str(ipaddress.IPv6Address(text))
        except ValueError:
            raise _bad(f"{text[:100]!r} is neither a name nor an IPv6 address") from None
    if not re.fullmatch(r"(?!-)[\w.-]{1,253}", text):
        raise _bad(f"{text[:100]!r} is not the name of a machine" if text else "no machine is named")
    if re.fullmatch(r"[\d.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise _bad(f"{text[:100]!r} is no IPv4 address") from None
    return text.lower()


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise _bad(f"the port must be a number from 1 to 65535, not {text[:50]!r}")
    return int(text)


def _user(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"(?!-)[\w.+@\\$-]{1,100}", name):
        raise _bad(f"{name[:100]!r} is not the name of a user")
    return name


def _bad(what: str) -> InvalidParams:
    return InvalidParams(f"{what}.", field="address", hint=HINT)
