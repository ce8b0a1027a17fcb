"""A machine becomes one of ours: logged in to, its host key pinned, a key of our own left there, then brought up."""

import contextlib
import getpass
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import asyncssh

from core.errors import Conflict, CoreError, InvalidParams, Timeout, Unauthorized
from core.ops import processes
from core.ops.config import Config
from core.ops.packages.registry import Registry
from core.remote import steps
from core.remote.address import Address
from core.remote.connection import (
    PASSWORD,
    Login,
    authorize,
    connect,
    fingerprint,
    host_key,
    login_of,
    own_key,
)  # fmt: skip
from core.remote.records import Records, Remote
from core.remote.steps import Tell

KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")  # in ~/.ssh, as ssh itself tries them
Say = Callable[[str, str], None]  # a verb and what it was done to


def login_for(key: Path | None = None) -> Login:
    """Like ssh: the key, or one of the usual ones, the agent's, the password in the environment, or a typed one."""
    ask = _typed if sys.stdin.isatty() else None
    usual = [path for name in KEYS if (path := Path.home() / ".ssh" / name).is_file()]
    key = key or next(filter(_without_passphrase, usual), None)
    return Login(key, "SSH_AUTH_SOCK" in os.environ, os.environ.get(PASSWORD) or None, ask)


def _typed(question: str) -> str:
    try:
        return getpass.getpass(question)
    except EOFError:  # Ctrl-D
        return ""


def _without_passphrase(path: Path) -> bool:
    """Of those with one, the agent knows, or --key names them."""
    try:
        asyncssh.read_private_key(path)
    except (OSError, ValueError, asyncssh.Error):
        return False
    return True


async def deploy(config: Config, record: Remote, login: Login, expected: str | None, say: Say, tell: Tell) -> Remote:
    """The record as it is then: `on`, and written. `expected` is the fingerprint of the host key, if somebody knows it.
    Whatever happens, the same again goes on with what is done. Raises CoreErrors."""
    records = Records(config.data)
    sources, new = steps.sources_of(config, record, strict=True), record.name not in records.names()
    async with connected(record, login, expected, records) as connection:
        if not record.host_key:
            record = record.model_copy(update={"host_key": host_key(connection)})
            known = "as expected" if expected else "first contact: it is trusted from now on, and no other"
            say("host key", f"{fingerprint(record.host_key)} ({known})")
        if new and record.name in records.names() and records.read(record.name).host_key != record.host_key:
            text = f"another machine was called {record.name} meanwhile."
            raise Conflict(text, hint="Run the same command again, or choose a name with --name.")
        records.write(record)
        ready = await steps.bring_up(connection, record, sources, tell)
        await _leave_key(connection, record, records)
        record = record.model_copy(update={"folder": ready.folder, "on": True})
        records.write(record)
    return record


async def _leave_key(connection: asyncssh.SSHClientConnection, record: Remote, records: Records) -> None:
    """Raises Conflict."""
    try:
        await authorize(connection, own_key(records.of(record.name), record.name))
    except asyncssh.SFTPError as error:
        text = f"our key cannot be added to ~/.ssh/authorized_keys on the other machine: {error.reason}."
        hint = "That needs SFTP there (Subsystem sftp in sshd_config), room on its disk, and a file of the user's own."
        raise Conflict(text, hint=hint) from error


@contextlib.asynccontextmanager
async def connected(
    record: Remote, login: Login, expected: str | None, records: Records
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection, with our own key if it is there already, else as `login` says. When it is lost, Timeout."""
    own = login_of(records.of(record.name))
    connection = None
    if record.host_key and own.key.is_file():
        with contextlib.suppress(Unauthorized):
            connection = await connect(record, own)
    connection = connection or await connect(record, login, expected)
    try:
        async with connection:
            yield connection
    except (asyncssh.Error, BrokenPipeError, ConnectionError) as error:
        text = f"the connection to {record.host} was lost: {error or type(error).__name__}."
        raise Timeout(text, hint="Run the same command again; it goes on where it stopped.") from error


def resolved(address: Address) -> Address:
    """With what ~/.ssh/config says of it, as ssh itself would. Raises InvalidParams."""
    file = Path.home() / ".ssh" / "config"
    given = {"port": address.port, "username": address.user}
    try:
        found = asyncssh.SSHClientConnectionOptions(
            host=address.host, config=[file] if file.is_file() else None, known_hosts=None, client_keys=None,
            agent_path=None, **{name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
        keys, jump = found.config.get("IdentityFile") or [], found.config.get("ProxyJump")
    except (ValueError, OSError, asyncssh.Error) as error:
        raise InvalidParams(f"{file} cannot be read: {error}.", field="address") from error
    if jump:
        raise InvalidParams(f"{file} leads to {address.host} over {jump}, which is not supported.", field="address")
    key = address.key or next((path for each in keys if (path := Path(each).expanduser()).is_file()), None)
    return Address(found.host, found.port, found.username, key)


def name_for(address: Address, records: Records) -> str:
    """That of the machine which has this address already, else a new one, after its host."""
    known, where = records.names(), resolved(address)
    for name in known:
        with contextlib.suppress(CoreError):  # whose record makes no sense
            each = records.read(name)
            if (each.host, each.port, each.user) == (where.host, where.port, where.user):
                return name
    label = re.sub(r"[^a-z0-9]+", "-", address.host.split(".")[0].lower()).strip("-")[:25]
    stem = label if re.match(r"[a-z]", label) else "gpu"
    names = [stem] * (stem == label) + [f"{stem}{number}" for number in range(1, len(known) + 2)]
    return next(name for name in names if name not in known)


def plugins_for(config: Config) -> list[str]:
    """Those that gain from another machine's cards: whose environment has PyTorch, and that may run outside of a
    sandbox."""
    found, registry = [], Registry(config.packages)
    for name, (_, folder) in registry.places(config.plugins).items():
        with contextlib.suppress(CoreError, OSError):  # refused: it says so when the server starts
            steps.sources_of(config, Remote(name="any", host="any", user="any", plugins=[name]))
            if steps.needs_torch(folder):
                found.append(name)
    return found


def server_runs(config: Config) -> bool:
    try:
        processes.lock(config.data).close()
    except Conflict:
        return True
    return False


def words_of(text: str, what: str, allowed: Iterable[str] = ()) -> list[str]:
    """A list as it is typed, with commas. Raises InvalidParams."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]  # argparse makes [] of --plugins=--
    allowed = list(allowed)
    if wrong := [word for word in words if allowed and word not in allowed]:
        raise InvalidParams(
            f"{what} can be {', '.join(allowed)}, not {', '.join(wrong)[:100]}.", field=what.lstrip("-")
        )
    return words
