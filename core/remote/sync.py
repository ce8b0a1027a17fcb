"""Copies files to another machine by their hashes: only what differs, going on where it stopped, whole or not at all.

core/remote/scripts/receive.py is at the other end, several times at once, each in a channel of its own. Files arrive as
NAME.part and take their names when their hash is right. What is there and not wanted any more goes."""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import shlex
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from core.errors import Conflict, Internal
from core.ops.bootstrap import size
from core.remote.connection import started

SCRIPT = Path(__file__).parent / "scripts" / "receive.py"
START = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv.pop(1))), 'receive.py', 'exec'))"
ANSWERS = {"offsets", "done", "wrong", "marked", "error"}
CHANNELS = 4  # at once; a machine allows 10 in one connection, if nobody has changed that
BYTES_A_CHANNEL = 4_000_000  # with less than that to send, one is as quick
CHUNK = 1 << 18
HASHED = 100_000_000  # bytes; of a larger file, hashing is told


@dataclass(frozen=True)
class Item:
    """A file here and where it belongs there, relative to the machine's folder, with slashes."""

    source: Path
    target: str


@dataclass(frozen=True)
class Plan:
    """What is to be sent: bytes that are there already, by target; and the sizes and hashes of all files."""

    wanted: dict[str, tuple[int, str]]
    offsets: dict[str, int]
    free_bytes: int
    mark: Any  # what was noted there last, None at first

    @property
    def missing_bytes(self) -> int:
        return sum(self.wanted[target][0] - offset for target, offset in self.offsets.items())

    @property
    def code(self) -> str:
        """A hash of the files that are code."""
        lines = [f"{target} {sha256}" for target, (_, sha256) in self.wanted.items() if target.startswith("code/")]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


Tell = Callable[[str, int, int], None]  # what is being done, bytes done, bytes of all


class Hashes:
    """Hashes of files here, kept in `file`, by path, size and time of change: models take minutes to read."""

    def __init__(self, file: Path):
        self._file, self._known, self._stopped = file, {}, False

    def stop(self) -> None:
        """Whoever waits for `of` in another thread waits no more."""
        self._stopped = True

    def of(self, items: Iterable[Item], tell: Tell) -> dict[str, tuple[int, str]]:
        """(size, sha256) of each, by target. Raises OSError."""
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(self._file.read_text("utf-8"))
        new, found = False, {}
        for item in items:
            about, path = item.source.stat(), str(item.source.absolute())
            stamp = [about.st_size, about.st_mtime_ns]
            if self._known.get(path, [])[:2] != stamp:
                if about.st_size > HASHED:
                    tell(f"hashing {item.source.name}", 0, 0)
                self._known[path], new = [*stamp, self._sha256(item.source)], True
            found[item.target] = (about.st_size, self._known[path][2])
        if new:
            self._keep()
        return found

    def _sha256(self, path: Path) -> str:
        found = hashlib.sha256()
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                found.update(data)
                if self._stopped:
                    raise InterruptedError(f"hashing {path} was stopped")
        return found.hexdigest()

    def _keep(self) -> None:
        known = {path: about for path, about in self._known.items() if os.path.exists(path)}
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._file.with_name(f"{self._file.name}.{uuid.uuid4().hex}")
        new.write_text(json.dumps(known), "utf-8")
        new.replace(self._file)


@contextlib.asynccontextmanager
async def receiver(connection: asyncssh.SSHClientConnection, python: str, folder: str) -> AsyncIterator["Receiver"]:
    """The script at the other end, for as long as the block runs."""
    script = SCRIPT.read_bytes()
    words = [python, "-c", START, str(len(script)), folder]
    async with started(connection, shlex.join(words), encoding=None) as process:
        with contextlib.suppress(BrokenPipeError):  # there is no such Python; `answer` says so
            process.stdin.write(script)
        yield Receiver(process, folder)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write_eof()


class Receiver:
    def __init__(self, process: asyncssh.SSHClientProcess, folder: str):
        self._process, self._folder = process, folder

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Raises Conflict, as `answer` does."""
        await self._say(message)
        return await self.answer()

    async def plan(self, wanted: dict[str, tuple[int, str]], owned: list[str]) -> Plan:
        """What of `wanted` is missing. In the folders `owned`, what is not wanted is removed."""
        answer = await self.ask({"plan": wanted, "owned": owned})
        try:
            offsets = {target: int(offset) for target, offset in answer["offsets"].items()}
            plan = Plan(wanted, offsets, int(answer["free_bytes"]), answer["mark"])
            if any(not 0 <= offset <= wanted[target][0] for target, offset in offsets.items()):
                raise ValueError("it has more of a file than there is")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Conflict(f"the other machine answers nonsense: {error}.") from error
        return plan

    async def mark(self, value: Any) -> None:
        """Note something there, which later plans tell."""
        await self.ask({"mark": value})

    async def send(self, item: Item, offset: int, total: int, sha256: str, sent: Callable[[int], None]) -> None:
        """Begin to answer is not waited for. Raises Conflict if the file here becomes shorter meanwhile."""
        await self._say({"file": item.target, "offset": offset, "size": total, "sha256": sha256})
        with item.source.open("rb") as file:
            file.seek(offset)
            while offset < total:
                data = await asyncio.to_thread(file.read, min(CHUNK, total - offset))
                if not data:
                    raise changed(item)
                with contextlib.suppress(BrokenPipeError):  # `answer` knows why
                    self._process.stdin.write(data)
                    await self._process.stdin.drain()
                offset += len(data)
                sent(len(data))

    async def answer(self) -> dict[str, Any]:
        """Raises Conflict if something is wrong there: its disk is full, a link leads out of the folder."""
        async for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # what a login prints
                found = json.loads(line)
                if isinstance(found, dict) and found.keys() & ANSWERS:
                    if "error" in found:
                        raise self._wrong(found)
                    return found
        said = (await self._process.stderr.read(1 << 16)).decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Internal(
            f"what receives files on the other machine has ended: {' '.join(said)[:300] or 'it said nothing'}.",
            hint="Run the same command again; it goes on where it stopped.",
        )

    def _wrong(self, found: dict[str, Any]) -> Conflict:
        if found["errno"] in (errno.ENOSPC, errno.EDQUOT):
            free = "" if found["free_bytes"] is None else f": {size(found['free_bytes'])} are free"
            text = f"the disk of {self._folder} on the other machine is full{free}."
            return Conflict(text, hint="Free some space there, choose a larger disk, or copy fewer models.")
        return Conflict(f"the other machine cannot write to {self._folder}: {found['error']}.")

    async def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()


def changed(item: Item) -> Conflict:
    return Conflict(
        f"{item.source} was changed while it was copied.", hint="Run the same command again when it is whole."
    )


async def copy(
    connection: asyncssh.SSHClientConnection, python: str, folder: str, items: list[Item], plan: Plan, tell: Tell
) -> int:
    """Send what the plan misses; returns how many bytes that were. Raises Conflict, Internal, asyncssh.Error, and
    OSError of files here; cancelled or not, what has arrived stays."""
    left = deque(item for item in items if item.target in plan.offsets)
    total, done = plan.missing_bytes, 0

    async def serve() -> None:
        async with receiver(connection, python, folder) as there:
            waiting: asyncio.Queue[tuple[Item, bool] | None] = asyncio.Queue()
            again: list[Item] = []

            async def send(item: Item, offset: int) -> None:
                def sent(number: int) -> None:
                    nonlocal done
                    done += number
                    tell(item.target, done, total)

                tell(item.target, done, total)
                await there.send(item, offset, *plan.wanted[item.target], sent)
                await waiting.put((item, offset > 0))

            async def send_all() -> None:
                while left:
                    item = left.popleft()
                    await send(item, plan.offsets[item.target])
                await waiting.put(None)

            async def hear() -> None:
                while about := await waiting.get():
                    if "wrong" in await there.answer():
                        if not about[1]:
                            raise changed(about[0])
                        again.append(about[0])  # it went on from what was of another file

            await together(send_all(), hear())
            for item in again:
                await send(item, 0)
            await waiting.put(None)
            await hear()

    if left:
        channels = min(CHANNELS, len(left), 1 + total // BYTES_A_CHANNEL)
        await together(*(serve() for _ in range(channels)))
    return done


async def together(*work: Any) -> None:
    """All at once. If one fails, the others are cancelled, and its error is raised when they have ended."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
