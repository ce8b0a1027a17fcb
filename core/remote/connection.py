"""Connections over SSH: whose key the other machine may have, who logs in, and what is wrong if it does not work."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import posixpath
import shlex
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from core.errors import Conflict, CoreError, Forbidden, InvalidParams, Timeout, Unauthorized
from core.remote.records import Remote

CONNECT_SECONDS = 15
LOGIN_SECONDS = 30
ASKING_SECONDS = 300  # to log in, where somebody is asked for a password
ANSWER_SECONDS = 60
KEEPALIVE_SECONDS, KEEPALIVES = 3, 2  # a connection that is dead is noticed after 9 s
PASSWORD = "STABLE_CORE_SSH_PASSWORD"  # the environment variable
TRIES = 3  # of a passphrase or a password that somebody types
PROXY = "ssh.runpod.io"  # gives a terminal and nothing else
HOST_KEYS = "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"
HOST_KEYS += "rsa-sha2-512", "rsa-sha2-256"
CIPHERS = "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"  # the fastest first
CIPHERS += "aes256-ctr", "aes128-ctr"
SHOWN = 300  # characters of what another machine says
MOST_SAID = 16_000_000  # characters that are kept of it
T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """How to log in: what is None is not tried. `agent`: with the keys of the SSH agent or, if none runs, of ~/.ssh.
    `ask` gets the question for a passphrase or a password and answers."""

    key: Path | None = None
    agent: bool = False
    password: str | None = None
    ask: Callable[[str], str] | None = None


def login_of(folder: Path) -> Login:
    """As the link logs in: with the machine's own key, which is in its folder here."""
    return Login(folder / "key")


async def connect(record: Remote, login: Login, expected: str | None = None) -> asyncssh.SSHClientConnection:
    """A connection to a machine that has the record's host key, or `expected` (its fingerprint, SHA256:...) if there is
    none yet; without either it is trusted, as `host_key` tells. Raises CoreErrors: Timeout where it cannot be reached,
    Forbidden where its host key is another one, Unauthorized where it does not let us in."""
    if record.host.lower().rstrip(".") == PROXY:
        hint = (
            "In RunPod's console, under Connect, take the line of `SSH over exposed TCP` (the pod needs port 22/tcp)."
        )
        raise Conflict(f"{PROXY} gives a terminal only: nothing can be copied or forwarded through it.", hint=hint)
    keys = [await _private_key(login)] if login.key else None
    client = _Client(record, login, expected)
    try:
        return await _open(record, client, keys, login)
    except asyncssh.HostKeyNotVerifiable as error:
        raise client.refused() from error
    except asyncssh.PermissionDenied as error:
        raise client.not_let_in() from error
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise _unreachable(record, f"no answer within {CONNECT_SECONDS} s") from error
    except (asyncssh.ConnectionLost, ConnectionResetError) as error:
        raise client.too_late() or _unreachable(record, str(error)) from error
    except socket.gaierror as error:
        raise _unreachable(record, f"no such host ({error.strerror})") from error
    except asyncssh.Error as error:
        if error.code == asyncssh.DISC_PROTOCOL_ERROR and "authentication" in error.reason:  # too many ways were tried
            raise client.not_let_in() from error
        raise _unreachable(record, error.reason) from error
    except OSError as error:
        raise _unreachable(record, os.strerror(error.errno) if error.errno else str(error)) from error
    except ValueError as error:  # of what a record may say
        raise _unreachable(record, f"that cannot be its host and user ({error})") from error


async def _open(record: Remote, client: "_Client", keys: list | None, login: Login) -> asyncssh.SSHClientConnection:
    pinned = [_public(record.host_key)] if record.host_key else []
    kind = pinned[0].get_algorithm().removeprefix("ssh-") if pinned else ""
    kinds = sorted(HOST_KEYS, key=lambda name: kind not in name)  # of several keys, the one that we know
    opening = asyncssh.connect(
        record.host, record.port, username=record.user, config=None, known_hosts=(pinned, [], []),
        server_host_key_algs=kinds, encryption_algs=CIPHERS, client_factory=lambda: client,
        client_keys=keys or (() if login.agent else None),
        agent_path=() if login.agent else None, gss_auth=False, gss_kex=False, x509_trusted_certs=None,
        host_based_auth=False, keepalive_interval=KEEPALIVE_SECONDS, keepalive_count_max=KEEPALIVES,
        connect_timeout=None, login_timeout=ASKING_SECONDS if login.ask else LOGIN_SECONDS,
    )  # fmt: skip
    return await client.in_time(opening)


class _Client(asyncssh.SSHClient):
    """What asyncssh asks while it connects."""

    def __init__(self, record: Remote, login: Login, expected: str | None):
        self._record, self._login, self._expected = record, login, expected
        self._seen: asyncssh.SSHKey | None = None
        self._given = (
            {"password", "kbdint"} if login.password else set()
        )  # ways in which the password is still to be tried
        self._asked, self._prompted = 0, True
        self._somebody, self._waiting = asyncio.Event(), False  # was asked; has not answered yet

    async def in_time(self, opening: Awaitable[asyncssh.SSHClientConnection]) -> asyncssh.SSHClientConnection:
        """It has CONNECT_SECONDS, but who is asked for a password may take their time. Raises TimeoutError."""
        opened, asked = asyncio.ensure_future(opening), asyncio.ensure_future(self._somebody.wait())
        try:
            await asyncio.wait({opened, asked}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not opened.done() and not self._somebody.is_set():
                raise asyncio.TimeoutError
            return await opened
        finally:
            opened.cancel()
            asked.cancel()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Called for a key that is not the pinned one."""
        self._seen = key
        return not self._record.host_key and self._expected in (None, key.get_fingerprint())

    def refused(self) -> CoreError:
        where, seen = _where(self._record), self._seen.get_fingerprint() if self._seen else "one of another type"
        if not self._record.host_key:
            hint = "If the fingerprint is right, this is another machine, or somebody between here and there."
            return Forbidden(f"the host key of {where} is {seen}, not {self._expected}: not connected.", hint=hint)
        text = (
            f"{self._record.name} ({where}) has another host key than at the first contact: it was "
            f"{fingerprint(self._record.host_key)} and is {seen} now. Nothing was sent to it: it may have been made "
            f"anew, or be another machine that got its address, or somebody between here and there."
        )
        return Forbidden(text, hint=f"If you know why: python3 server.py deploy trust {self._record.name}")

    def not_let_in(self) -> CoreError:
        tried = [f"the key {self._login.key}"] * bool(self._login.key) + ["the agent's keys"] * self._login.agent
        tried += ["the password"] * bool(self._login.password or self._asked)
        text = f"{_where(self._record)} does not let {self._record.user} in with {' or '.join(tried) or 'nothing'}."
        hint = f"Is the user right? Other ways: --key FILE, an SSH agent, or a password, asked for or in {PASSWORD}."
        return Unauthorized(text, hint=hint)

    def too_late(self) -> CoreError | None:
        """If the connection was closed while somebody typed."""
        text = f"{_where(self._record)} closed the connection while it waited for what was to be typed."
        hint = f"Most give two minutes: run the same command again. {PASSWORD} holds a password beforehand."
        return Unauthorized(text, hint=hint) if self._waiting else None

    async def password_auth_requested(self) -> str | None:
        return await self._next_password("password")

    def kbdint_auth_requested(self) -> str | None:
        """Called again when it has failed: there may be nothing to be asked."""
        prompted, self._prompted = self._prompted, False
        return "" if prompted and (self._given or self._login.ask and self._asked < TRIES) else None

    async def kbdint_challenge_received(self, name: str, instructions: str, lang: str, prompts: Any) -> list | None:
        answers = []
        for prompt, _ in prompts:
            self._prompted = True
            if "password" in prompt.lower():
                answers.append(await self._next_password("kbdint"))
            else:  # a second factor
                answers.append(await self._ask(prompt) if self._login.ask else None)
        return None if None in answers else answers

    async def _next_password(self, way: str) -> str | None:
        """The one that was given, once; then as somebody types it."""
        if way in self._given:
            self._given.remove(way)
            return self._login.password
        if self._login.password or not self._login.ask or self._asked == TRIES:
            return None
        self._asked += 1
        return await self._ask(f"Password of {_where(self._record)}: ")

    async def _ask(self, question: str) -> str:
        self._waiting = True
        self._somebody.set()
        answer = await _answer(self._login, question)
        self._waiting = False
        return answer


async def _private_key(login: Login) -> asyncssh.SSHKey:
    passphrase = None
    for asked in range(TRIES + 1):
        try:
            return asyncssh.read_private_key(login.key, passphrase)
        except OSError as error:
            raise InvalidParams(f"the key {login.key} cannot be read: {error.strerror}.", field="key") from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            if "passphrase" not in str(error).lower() and not isinstance(error, asyncssh.KeyEncryptionError):
                hint = "Name the private one: the file without .pub."
                raise InvalidParams(
                    f"{login.key} is no private key of SSH: {error}.", field="key", hint=hint
                ) from error
            if not login.ask or asked == TRIES:
                text = f"the key {login.key} has a passphrase" + (", and this is not it." if asked else ".")
                hint = "Load it into an agent (ssh-add), or type it where the command runs in a terminal."
                raise Unauthorized(text, hint=hint) from error
        passphrase = await _answer(login, f"Passphrase of {login.key}: ")
    raise AssertionError("unreachable")


async def _answer(login: Login, question: str) -> str:
    """What somebody types, in a thread that is not waited for: Ctrl-C would have to wait for what they type."""
    answer: concurrent.futures.Future[str] = concurrent.futures.Future()

    def ask() -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits any more
            try:
                answer.set_result(login.ask(question))
            except Exception as error:
                answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return await asyncio.wrap_future(answer)


def _where(record: Remote) -> str:
    host = f"[{record.host}]" if ":" in record.host else record.host
    return f"{record.user}@{host}:{record.port}"


def _unreachable(record: Remote, said: str) -> Timeout:
    hint = "Is it on, and are address and port those of its SSH server? Rented machines get new ones when they restart."
    return Timeout(f"{record.name} ({_where(record)}) cannot be reached: {said.rstrip('.')}.", hint=hint)


async def shown_key(record: Remote) -> str:
    """The host key that the machine shows now, whoever may log in. Raises Timeout."""
    try:
        key = await asyncio.wait_for(
            asyncssh.get_server_host_key(record.host, record.port, config=None), CONNECT_SECONDS
        )
    except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
        raise _unreachable(record, getattr(error, "strerror", None) or str(error) or "no answer") from error
    except ValueError as error:  # of what a record may say
        raise _unreachable(record, f"that cannot be its host and user ({error})") from error
    if key is None:
        raise _unreachable(record, "it shows no host key")
    return " ".join(key.export_public_key().decode().split()[:2])


def host_key(connection: asyncssh.SSHClientConnection) -> str:
    """The key of the machine at the other end, as a record pins it: "ssh-ed25519 AAAA..."."""
    return " ".join(connection.get_server_host_key().export_public_key().decode().split()[:2])


def fingerprint(key: str) -> str:
    """SHA256:... of a public key as in a record. Raises Conflict."""
    return _public(key).get_fingerprint()


def _public(key: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(key)
    except ValueError as error:
        raise Conflict(f"{key[:100]!r} in the machine's record is no host key: {error}.") from error


async def run_json(
    connection: asyncssh.SSHClientConnection, words: list[str], stdin: str = "", seconds: float = ANSWER_SECONDS
) -> Any:
    """What a command there prints as its last line, read as JSON. Raises Timeout, and Conflict with what it said."""
    done, command = await run(connection, words, stdin, seconds), shlex.join(words)
    lines = done.stdout.strip().splitlines()  # what a login script prints comes before it
    with contextlib.suppress(ValueError):
        if lines and done.exit_status == 0:
            return json.loads(lines[-1])
    said = (done.stderr.strip() or done.stdout.strip() or "nothing")[-SHOWN:]
    raise Conflict(f"`{command[:SHOWN]}` ended there with code {done.exit_status}, saying: {said}")


@dataclass(frozen=True)
class Done:
    """A command that has ended. What it said beyond MOST_SAID is left out."""

    exit_status: int | None
    stdout: str
    stderr: str


async def run(
    connection: asyncssh.SSHClientConnection, words: list[str], stdin: str = "", seconds: float = ANSWER_SECONDS
) -> Done:
    """A command there when it has ended, however. Raises Timeout, or Forbidden where there are no commands."""
    command = shlex.join(words)

    async def ended(process: asyncssh.SSHClientProcess) -> Done:
        out, err, _ = await asyncio.gather(text_of(process.stdout), text_of(process.stderr), process.wait_closed())
        return Done(process.exit_status, out, err)

    try:
        async with started(connection, command, errors="replace") as process:
            with contextlib.suppress(BrokenPipeError):  # it may end without reading
                process.stdin.write(stdin)
                process.stdin.write_eof()
            return await within(seconds, ended(process), f"no answer to `{command[:SHOWN]}`")
    except asyncssh.ChannelOpenError as error:
        raise Forbidden(f"the machine runs no commands over SSH: {error.reason}.") from error
    except (asyncssh.Error, OSError) as error:
        raise Timeout(f"the connection was lost during `{command[:SHOWN]}`: {error}.") from error


async def text_of(stream: asyncssh.SSHReader) -> str:
    """All that is read from it, and kept as far as MOST_SAID."""
    kept = ""
    while data := await stream.read(1 << 16):
        kept += data[: MOST_SAID - len(kept)]
    return kept


@contextlib.asynccontextmanager
async def started(
    connection: asyncssh.SSHClientConnection, command: str, **options: Any
) -> AsyncIterator[asyncssh.SSHClientProcess]:
    """A command there, while the block runs. It is not waited for that the other end agrees to its end: it may be
    anybody. Raises Timeout."""
    process = await within(ANSWER_SECONDS, connection.create_process(command, **options), "no channel was opened there")
    try:
        yield process
    finally:
        process.close()


async def within(seconds: float, work: Awaitable[T], failed: str) -> T:
    """Its result. Raises Timeout, also where `work` cannot be cancelled before the connection ends."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    raise Timeout(f"{failed} within {seconds:g} s.")


def own_key(folder: Path, name: str) -> str:
    """The public half, as a line, of the key in a machine's folder (key, 0600, and key.pub), made if need be."""
    private, public = folder / "key", folder / "key.pub"
    if not private.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = folder / f"key.{uuid.uuid4().hex}"
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"stable-core {name}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.export_private_key())
        new.replace(private)
    line = asyncssh.read_private_key(private).export_public_key().decode().strip()
    public.write_text(line + "\n", "utf-8")
    return line


AUTHORIZED = ".ssh/authorized_keys"  # in the home there


async def authorize(connection: asyncssh.SSHClientConnection, line: str) -> None:
    """Let whoever has this key log in there, for anything but a terminal. Once is enough. Raises Timeout."""
    await within(ANSWER_SECONDS, _authorize(connection, line), "no answer to what SFTP asked")


async def _authorize(connection: asyncssh.SSHClientConnection, line: str) -> None:
    async with connection.start_sftp_client() as sftp:
        if not await sftp.exists(".ssh"):
            await sftp.mkdir(".ssh", asyncssh.SFTPAttrs(permissions=0o700))
        lines = await _authorized(sftp)
        if any(_same(line, each) for each in lines):
            return
        async with sftp.open(AUTHORIZED, "a", asyncssh.SFTPAttrs(permissions=0o600), encoding="utf-8") as file:
            await file.write(("\n" if lines and lines[-1] else "") + f"restrict,port-forwarding {line}\n")


async def revoke(connection: asyncssh.SSHClientConnection, line: str) -> bool:
    """Take the key back; returns whether it was there. Raises Timeout."""
    return await within(ANSWER_SECONDS, _revoke(connection, line), "no answer to what SFTP asked")


async def _revoke(connection: asyncssh.SSHClientConnection, line: str) -> bool:
    async with connection.start_sftp_client() as sftp:
        lines = await _authorized(sftp)
        kept = [each for each in lines if not _same(line, each)]
        if kept == lines:
            return False
        path = await sftp.realpath(AUTHORIZED)  # it may be a link
        new = posixpath.join(posixpath.dirname(path), f"authorized_keys.{uuid.uuid4().hex}")
        attributes = asyncssh.SFTPAttrs(permissions=(await sftp.stat(path)).permissions & 0o777)
        async with sftp.open(new, "w", attributes, encoding="utf-8", errors="surrogateescape") as file:
            await file.write("\n".join(kept))
        await sftp.posix_rename(new, path)
        return True


async def _authorized(sftp: asyncssh.SFTPClient) -> list[str]:
    """The lines of the file; the last one is empty if it ends as it should."""
    if not await sftp.exists(AUTHORIZED):
        return []
    async with sftp.open(AUTHORIZED, "r", encoding="utf-8", errors="surrogateescape") as file:
        text = await file.read(MOST_SAID)
    if len(text) == MOST_SAID:
        raise Conflict(f"~/{AUTHORIZED} there is too large to be one.")
    return text.split("\n")


def _same(line: str, other: str) -> bool:
    return line.split()[1] in other.split()
