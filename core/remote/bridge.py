"""A Ray actor that runs one worker on its node, and carries the bytes between it and the server through Ray's calls.

It is sent to the node whole, so it knows nothing but Python and Ray; the code that the worker runs comes after it. What
it keeps of a node is in the folder `cache` there: code by its hash, environments, inputs."""

import asyncio
import asyncio.subprocess as sub
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

Frame = tuple[str, int, Any]  # open, data, close (with the connection's number), say or ended

PIECE = 256 * 1024  # bytes that are read at once
AHEAD = 8 * 1024 * 1024  # bytes that the driver has not taken yet: then the worker waits
KEPT_SECONDS = 14 * 86400  # code that nobody has used for longer goes
LOOK_SECONDS = 2
PREFIX = "scray-"
MAKE = (
    "import sys; from pathlib import Path; from core.ops import environments as made; "
    "print(made.ensure(Path(sys.argv[1]), Path(sys.argv[2]), torch_backend=sys.argv[3]))"
)


class Bridge:
    """`slot` is what the driver knows it by, and told back by `about`; of it, `code` is a hash, and `told` the device
    that the plugin gets. Without a word of the driver for `grace_seconds` it ends, with its worker."""

    def __init__(self, slot: dict[str, Any], cache: str, grace_seconds: float):
        self.slot, self._grace = slot, grace_seconds
        self._cache = Path(cache).expanduser()
        self._code = self._cache / "code" / slot["code"]
        self._run = _new_folder()
        self._session, self._past = "", {""}
        self._frames, self._ahead, self._fed = [], 0, 0
        self._news = asyncio.Condition()
        self._connections: dict[int, asyncio.StreamWriter] = {}
        self._count = 0
        self._process: sub.Process | None = None
        self._heard = time.monotonic()
        self._tasks: list[Any] = []  # kept, as asyncio does not

    async def about(self) -> dict[str, Any]:
        """What it is, where, and how the device there is. `running`: its worker has been started, maybe long ago."""
        self._heard = time.monotonic()
        self._tasks = self._tasks or [asyncio.ensure_future(self._watch())]
        said = {"node": socket.gethostname(), "pid": self._process and self._process.pid, **self.slot}
        said |= {"running": len(self._tasks) > 1, "has_code": self._code.is_dir()}
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._code)  # it is in use
        return said | (await asyncio.to_thread(self._memory) if said["running"] else {})

    def _memory(self) -> dict[str, Any]:
        if str(self._code) not in sys.path:
            sys.path.insert(0, str(self._code))
        try:
            from core.ops import devices

            return devices.about(self.slot["told"], self.slot["torch_backend"])
        except Exception:  # it is for people to look at; a driver's library may say anything
            return {}

    async def unpack(self, packed: bytes) -> None:
        """Lay the code down, for all workers of this node."""
        await asyncio.to_thread(self._unpack, packed)

    def _unpack(self, packed: bytes) -> None:
        self._code.parent.mkdir(parents=True, exist_ok=True)
        for old in self._code.parent.iterdir():
            if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        part = Path(tempfile.mkdtemp(dir=self._code.parent, prefix="part-"))
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(part)
        try:
            part.rename(self._code)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            if not self._code.is_dir():  # or else another worker of this node was quicker
                raise

    async def start(self, settings: dict[str, Any]) -> None:
        """Make the plugin's environment, if need be, then run its worker. Paths of this node begin with CODE/ in
        `settings`. Raises RuntimeError with the reason, for people."""
        settings = _replaced(settings, {"CODE/": f"{self._code}/"})
        settings |= {"door": str(self._run / "door"), "scratch": str(self._run / "scratch")}
        settings |= {"blobs": str(self._run / "blobs"), "cache": str(self._cache / "blobs")}
        settings |= {"device": self.slot["told"], "detached": True, "held": True}
        python = await self._environment(settings["folder"])
        if not Path(settings["models"]).is_dir():
            self._tell("say", 0, f"There is no folder {settings['models']}: only models that plugins ship are found.")
        server = await asyncio.start_unix_server(self._accept, settings["door"])
        self._tasks += [asyncio.ensure_future(self._work(python, settings)), server]

    async def _environment(self, folder: str) -> str:
        """The Python that runs the plugin in `folder`."""
        words = [sys.executable, "-c", MAKE, folder, str(self._cache / "envs"), self.slot["torch_backend"]]
        making = await asyncio.create_subprocess_exec(
            *words, cwd=self._code, env=_environ(), stdin=sub.DEVNULL, stdout=sub.PIPE, stderr=sub.PIPE
        )
        said: list[str] = []
        async for line in making.stderr:
            said = [*said[-7:], line.decode("utf-8", "replace").rstrip()]
            self._tell("say", 0, said[-1])
        python = (await making.stdout.read()).decode().strip()
        if await making.wait():
            raise RuntimeError("\n".join(said) or f"exit code {making.returncode}")
        return python

    async def _work(self, python: str, settings: dict[str, Any]) -> None:
        """Run the worker until it ends."""
        self._process = await asyncio.create_subprocess_exec(
            python, "-m", "core.worker", cwd=self._code, env=_environ(), start_new_session=True,
            stdin=sub.PIPE, stdout=sub.PIPE, stderr=sub.STDOUT,
        )  # fmt: skip
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")  # stays open: it ends with this process
        while printed := await self._process.stdout.read(PIECE):
            self._tell("say", 0, printed.decode("utf-8", "replace").rstrip())
            await self._room()
        code = await self._process.wait()
        self._kill()
        self._tell("ended", 0, code)

    def _kill(self) -> None:
        """End the worker with all that it has started."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the worker."""
        self._count += 1
        number = self._count
        if not self._session:
            return writer.close()  # nobody could answer; the worker tries again
        self._connections[number] = writer
        self._tell("open", number, None)
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                if self._connections.get(number) is not writer:
                    break
                self._tell("data", number, data)
                await self._room()
        if self._connections.pop(number, None):
            self._tell("close", number, None)
        writer.close()

    def _tell(self, what: str, number: int, data: Any) -> None:
        self._frames.append((what, number, data))
        self._ahead += len(data) if isinstance(data, bytes | str) else 0
        asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _room(self) -> None:
        """Wait until the driver has taken most of what is there."""
        async with self._news:
            await self._news.wait_for(lambda: self._ahead < AHEAD or not self._session)

    async def frames(self, session: str) -> AsyncIterator[list[Frame]]:
        """What the driver is to be told, from now on. The last such call counts: connections of the one before are
        closed, and the worker makes new ones."""
        self._past.add(self._session)
        self._heard, self._session, self._ahead, self._fed = time.monotonic(), session, 0, 0
        self._frames = [frame for frame in self._frames if frame[0] in ("say", "ended")][-100:]
        self._hang_up()
        await self._wake()
        while True:
            async with self._news:
                await self._news.wait_for(lambda: self._frames or self._session != session)
                if self._session != session:
                    return
                taken, self._frames = self._frames, []
            yield taken

    async def feed(self, session: str, number: int, frames: list[Frame], taken: int) -> bool:
        """What the server says to the worker: call `number` of the session, as Ray does not keep their order. `taken`:
        bytes of `frames` that the driver has handed on. False if another session has begun."""
        self._heard = time.monotonic()
        async with self._news:
            mine = lambda: self._session == session and self._fed == number  # noqa: E731
            await self._news.wait_for(lambda: session in self._past or mine())
        if session in self._past:
            return False
        if taken:
            self._ahead -= taken
            await self._wake()
        for what, connection, data in frames:
            if writer := self._connections.get(connection):
                with contextlib.suppress(OSError):
                    if what == "data":
                        writer.write(data)
                        await writer.drain()
                    else:
                        self._connections.pop(connection).close()
        self._fed += 1
        await self._wake()
        return True

    def _hang_up(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    async def _watch(self) -> None:
        """End when the driver stays away."""
        while time.monotonic() - self._heard < self._grace:
            await asyncio.sleep(LOOK_SECONDS)
        await self.end()
        os._exit(0)

    async def end(self) -> None:
        """End the worker, with what it has started, and leave nothing of it: the actor is of no use then."""
        self._kill()
        shutil.rmtree(self._run, ignore_errors=True)


def _new_folder() -> Path:
    """Of this process, with a name that is short, as addresses of Unix sockets are. Those of dead ones go."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(old.name.split("-")[1])
            if old.stat().st_uid == os.getuid() and not _is_alive(pid):
                shutil.rmtree(old)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _replaced(value: Any, starts: dict[str, str]) -> Any:
    """JSON, with other beginnings of texts."""
    if isinstance(value, dict):
        return {key: _replaced(each, starts) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, starts) for each in value]
    for old, new in starts.items():
        if isinstance(value, str) and value.startswith(old):
            return new + value.removeprefix(old)
    return value


def _environ() -> dict[str, str]:
    """What a worker gets of this process's environment: what names cards, but nothing of Ray's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
    return kept | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
