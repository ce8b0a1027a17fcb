"""Connections over SSH: whose key the other machine may have, who logs in, and what is wrong if it does not work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from core.remote.records import Remote

CONNECT_SECONDS = 15
LOGIN_SECONDS = 30
ANSWER_SECONDS = 60
KEEPALIVE_SECONDS, KEEPALIVES = 3, 2  # a connection that is dead is noticed after 9 s
PASSWORD = "STABLE_CORE_SSH_PASSWORD"  # the environment variable
PROXY = "ssh.runpod.io"  # gives a terminal and nothing else
SHOWN = 300  # characters of what another machine says


@dataclass(frozen=True)
class Login:
    """How to log in: what is None is not tried. `ask` gets the question for a passphrase or a password and answers."""

    key: Path | None = None
    agent: bool = False
    password: str | None = None
    ask: Callable[[str], str] | None = None


def login_of(record: Remote, folder: Path) -> Login:
    """As the link logs in: with the machine's own key, which is in its `folder`, or the one that the record names."""
    return Login(record.key or folder / "key")


async def connect(record: Remote, login: Login, expected: str | None = None) -> asyncssh.SSHClientConnection:
    """A connection to a machine that has the record's host key, or `expected` (its fingerprint, SHA256:...) if there is
    none yet; without either it is trusted, as `host_key` tells. Raises CoreErrors: Timeout where it cannot be reached,
    Forbidden where its host key is another one, Unauthorized where it does not let us in."""
    raise NotImplementedError


def host_key(connection: asyncssh.SSHClientConnection) -> str:
    """The key of the machine at the other end, as a record pins it: "ssh-ed25519 AAAA..."."""
    raise NotImplementedError


def fingerprint(key: str) -> str:
    """SHA256:... of a public key as in a record."""
    raise NotImplementedError


async def run_json(connection: asyncssh.SSHClientConnection, words: list[str], stdin: str = "") -> Any:
    """What a command there prints as its last line, read as JSON. Raises Timeout, and Conflict with what it said."""
    raise NotImplementedError


def own_key(folder: Path, name: str) -> str:
    """The public half, as a line, of the key in a machine's folder (key, 0600, and key.pub), made if need be."""
    raise NotImplementedError


async def authorize(connection: asyncssh.SSHClientConnection, line: str) -> None:
    """Let whoever has this key log in there, for anything but a terminal. Once is enough."""
    raise NotImplementedError


async def revoke(connection: asyncssh.SSHClientConnection, line: str) -> bool:
    """Take the key back; returns whether it was there."""
    raise NotImplementedError
