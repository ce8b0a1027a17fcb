"""The connection to a machine that is reached over SSH, kept for ever: `python -m core.remote.link`, a child of the
server, which gets its settings as one line of JSON and ends when stdin closes.

It brings the machine up, lets its workers reach the server's door through the connection, sees to it that there is a
worker for each plugin and device, and writes down how the machine is (core/remote/records.py)."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import shlex
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncssh
import requests
from pydantic import BaseModel, Field, ValidationError

from core.errors import (
    Conflict,
    CoreError,
    Forbidden,
    Internal,
    InvalidParams,
    NotFound,
    Timeout,
    Unauthorized,
    from_wire,
)
from core.library import inside
from core.ops import bootstrap
from core.ops.config import Config
from core.ops.devices import LOCAL
from core.remote import spending, steps
from core.remote.connection import SHOWN, connect, login_of, within
from core.remote.records import Records, Remote, changed, device_of

TICK_SECONDS = 2
LOOK_SECONDS = 10  # whether what was copied is another one by now
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.5, 30
REFUSED_PAUSE_SECONDS = 60  # after what only a person can mend, mostly in the record, which begins anew at once
ANSWER_SECONDS = 30  # of the host
STOP_SECONDS = 3
SOON_SECONDS = 60  # a worker that ended within that is started after a longer pause the next time
UNSEEN_SECONDS = 90  # a worker that runs there, and that the server does not know for so long, is begun anew
LOG_BYTES, MOST_LOGS = 10_000_000, 100
LOG_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
log = logging.getLogger("link")

WHY = {"idle": "it had no jobs", "spent": "its money is spent", "stop": "it was told to"}
Worker = tuple[str, str]  # plugin and device, without the machine's name
DeviceName = Annotated[str, Field(pattern=rf"^{LOCAL}$")]
Bytes = Annotated[int, Field(ge=0, le=1 << 60)]
Code = Annotated[int, Field(ge=-(1 << 31), le=1 << 32)]  # of a process that has ended
Said = TypeVar("Said", bound=BaseModel)


class Device(BaseModel):
    title: str = Field(max_length=200)
    free_bytes: Bytes | None
    total_bytes: Bytes | None


class Worked(BaseModel):
    """A worker there."""

    plugin: str
    device: str
    pid: Bytes
    seconds: float
    exit_code: Code | None
    last: str | None = Field(max_length=1000)

    @property
    def key(self) -> Worker:
        return self.plugin, self.device


class Status(BaseModel):
    """What a host tells of itself. The other machine may be anybody's, so it is not taken as it comes."""

    boot: str
    code: str | None
    open: bool
    workers: list[Worked] = Field(max_length=1000)
    devices: dict[DeviceName, Device] = Field(max_length=100)
    logs: dict[str, int]
    sockets: str = ""  # in the answer to hello
    door: str = ""


class Lines(BaseModel):
    """Of a log."""

    text: str
    next: int


class Stopped(Exception):
    """The host has ended by itself, and does not want to be started again: why."""


class Link:
    """`settings`: name (of the machine), data (the server's folder), config (its settings, as JSON), url and token (the
    admin's), door (the path of the socket where workers are let in)."""

    def __init__(self, settings: dict[str, Any]):
        self._name, self.data = settings["name"], Path(settings["data"])
        self._config = Config(**settings["config"])
        self._records = Records(self.data)
        self._folder = self._records.of(self._name)
        self._server = Server(settings["url"], settings["token"])
        self.door = settings["door"]
        self._state = self._records.state(self._name)
        self._host: Host | None = None
        self._ready: steps.Ready | None = None  # None: to be brought up
        self._boot = ""  # of the machine, when it was last brought up
        self._wake = True
        self._sources: Any = None  # what was copied, to see whether it has changed
        self._update: asyncio.Task | None = None
        self._troubles: dict[Any, str] = {}  # by worker, for people
        self._pauses = Pauses()
        self._unseen: dict[Worker, float] = {}  # since when
        self._finishing: set[Worker] = set()  # those that get no further jobs, as there is new code
        self._log_at: dict[str, int] = {}

    async def run(self) -> None:
        """Returns when the machine has stopped itself."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._session()
            except Stopped as said:
                why = str(said) if str(said) in WHY else "stop"
                log.info("the machine has stopped itself: %s", WHY[why])
                self._records.write(self._record().model_copy(update={"on": False}))
                self._tell(state="off", step=f"it has stopped itself: {WHY[why]}", error=None)
                return
            except Exception as error:
                if self._state.state == "connected":
                    pause = FIRST_PAUSE_SECONDS
                known = error if isinstance(error, CoreError) else self._lost(error)
                if not isinstance(error, (asyncssh.Error, OSError, CoreError)):  # a fault of ours, as it seems
                    known = Internal(f"what keeps the connection has failed: {type(error).__name__}: {error}"[:SHOWN])
                    log.exception("this should not happen")
                log.warning("%s", known)
                passing = isinstance(known, Timeout)
                self._tell(state="lost" if passing else "failed", step="", error=known.wire())
                if isinstance(known, (Forbidden, Unauthorized)):
                    pause = REFUSED_PAUSE_SECONDS
            finally:
                if self._update:
                    self._update.cancel()
                self._host = self._update = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)

    async def off(self) -> None:
        """We end. If it is because nothing is to run there any more, the host does, too."""
        with contextlib.suppress(CoreError, OSError, asyncio.TimeoutError):
            if self._host and not self._record().on:
                await asyncio.wait_for(self._host.ask("stop"), STOP_SECONDS)
        self._tell(state="off", step="", error=None)

    def cannot(self, why: str, hint: str) -> None:
        error = Conflict(f"{self._name} cannot be connected: {why}.", hint=hint)
        self._tell(state="failed", step="", error=error.wire())

    def _record(self) -> Remote:
        return self._records.read(self._name)

    def _lost(self, error: Exception | str) -> Timeout:
        said = str(getattr(error, "reason", "") or error).rstrip(".")
        said = said.replace("Connection lost", "the other end closed it")
        return Timeout(f"the connection to {self._name} was lost: {said}.", hint="It is tried again and again.")

    def _tell(self, **columns: Any) -> None:
        """A machine that is not connected has neither devices nor workers that anybody could use."""
        gone = {} if columns.get("state", "connected") == "connected" else {"devices": {}, "workers": []}
        before, self._state = self._state, changed(self._state, **gone | columns)
        if self._state == before:  # a step is told again and again while it goes on
            return
        try:
            self._records.write_state(self._name, self._state)
        except OSError as error:  # the disk is full: what is told is old, and all else goes on
            log.warning("%s", error)

    async def _session(self) -> None:
        """One connection, for as long as it lasts."""
        record = self._record()
        self._tell(state="connecting", step=f"connecting to {record.host}")
        async with await connect(record, login_of(self._folder)) as connection:
            if self._ready is None:
                self._tell(state="preparing")
                await self._bring_up(connection, record)
            try:
                async with Host(connection, self._ready, self._lost) as self._host:
                    await self._serve(connection, self._host, record)
            except (Conflict, NotFound, Internal):  # the host did not start, say, so something there is gone
                self._ready = None
                raise

    async def _bring_up(self, connection: asyncssh.SSHClientConnection, record: Remote) -> None:
        sources, files = await asyncio.to_thread(self._look)
        self._ready = await steps.bring_up(connection, record, sources, lambda step: self._tell(step=step.text))
        self._sources = files

    def _look(self) -> tuple[steps.Sources, Any]:
        """What belongs there, and what it is made of now."""
        sources = steps.sources_of(self._config, self._record())
        stats = [(item.target, item.source.stat()) for item in steps.items_of(sources)]
        return sources, [(target, said.st_mtime_ns, said.st_size) for target, said in stats]

    async def _serve(self, connection: asyncssh.SSHClientConnection, host: "Host", record: Remote) -> None:
        self._tell(step="starting")
        rented = record.rented
        ending = {
            "idle_minutes": record.idle_minutes,
            "seconds_left": spending.seconds_left(rented) if rented else None,
            "command": [self._ready.python, *spending.leaving(rented)] if rented else None,
        }
        hello = {
            "server": self._identity(), "devices": record.devices, "backend": record.torch_backend, "ending": ending,
            "code": self._ready.code, "wake": self._wake,
        }  # fmt: skip
        try:
            said = await host.ask("hello", **hello)
        except InvalidParams as error:  # an older or newer one than we are, which was started before the code there
            await self._stop(host)
            raise Timeout(f"{self._name} starts anew, as its host is of another version: {error}") from error
        if "stopped" in said:
            raise Stopped(said["stopped"])
        told = self._checked(Status, said)
        self._wake = False
        if self._boot not in ("", told.boot):
            self._sources = None  # the machine was restarted, so it is looked at again
        self._boot = told.boot
        await self._forward(connection, host, told.sockets)
        self._unseen.clear()
        self._finishing.clear()
        self._tell(state="connected", step="", error=None)
        looked = time.monotonic()
        while not host.stopping:
            began = time.monotonic()
            status = self._checked(Status, await host.ask("status"))
            trip = time.monotonic() - began
            if not status.open:  # /tmp is cleaned up on some machines
                raise Timeout(f"the socket that leads here from {self._name} was deleted there.")
            await self._keep(host, record, told.door, status)
            if time.monotonic() - looked > LOOK_SECONDS or self._sources is None:
                looked = time.monotonic()
                await self._look_again(connection, record)
            running = [each for each in status.workers if each.exit_code is None]
            self._tell(
                seen=time.time(), round_trip_seconds=round(trip, 4),
                devices={name: each.model_dump() for name, each in status.devices.items()},
                workers=[each.model_dump(include={"plugin", "device", "pid"}) for each in running],
                step=self._state.step if self._update else " ".join(self._troubles.values()),
            )  # fmt: skip
            with contextlib.suppress(OSError):  # the disk here is full
                await self._fetch_logs(host, status.logs)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(host.news.wait(), TICK_SECONDS)
            host.news.clear()
        raise Stopped(host.stopping)

    async def _look_again(self, connection: asyncssh.SSHClientConnection, record: Remote) -> None:
        """What has changed here is copied, while jobs run there."""
        if self._update:
            if self._update.done():
                self._update = None
            return
        try:
            _, files = await asyncio.to_thread(self._look)
        except (CoreError, OSError) as error:
            self._troubles["here"] = str(error)
            return
        self._troubles.pop("here", None)
        if files != self._sources:
            self._update = asyncio.create_task(self._copy_again(connection, record, files))

    async def _copy_again(self, connection: asyncssh.SSHClientConnection, record: Remote, files: Any) -> None:
        try:
            await self._bring_up(connection, record)
            self._troubles.pop("there", None)
        except (asyncssh.Error, OSError, CoreError) as error:
            log.warning("what has changed cannot be copied: %s", error)
            self._troubles["there"] = str(error)
            self._sources = files  # not again and again

    def _checked(self, model: type[Said], said: dict[str, Any]) -> Said:
        try:
            return model(**said)
        except ValidationError as error:
            raise Conflict(f"{self._name} answers what no host of ours does: {str(error)[:SHOWN]}") from error

    def _identity(self) -> str:
        """Who we are to the host, always the same: two servers may not share a folder there."""
        path = self._folder / "id"
        with contextlib.suppress(FileExistsError), path.open("x") as file:
            file.write(uuid.uuid4().hex)
        return path.read_text()

    async def _forward(self, connection: asyncssh.SSHClientConnection, host: "Host", sockets: str) -> None:
        """Let workers reach the door here. The path is a new one for each connection: sshd leaves the old one behind
        when it is cut off, and does not replace it."""
        path = f"{sockets}/{uuid.uuid4().hex[:8]}"
        try:
            forwarding = connection.forward_remote_path(path, self.door)
            await within(ANSWER_SECONDS, forwarding, "no answer to the wish to forward a socket")
            await host.ask("door", path=path)
        except asyncssh.ChannelListenError:
            try:
                forwarding = connection.forward_remote_port_to_path("127.0.0.1", 0, self.door)
                listener = await within(ANSWER_SECONDS, forwarding, "no answer to the wish to forward a port")
            except asyncssh.ChannelListenError as error:
                hint = "Set AllowStreamLocalForwarding or AllowTcpForwarding to yes in sshd_config there."
                text = f"sshd of {self._name} forwards neither sockets nor ports, so workers there cannot reach us."
                raise Forbidden(text, hint=hint) from error
            await host.ask("door", port=listener.get_port())

    async def _keep(self, host: "Host", record: Remote, door: str, status: Status) -> None:
        """See to it that what should run there does, and nothing else."""
        try:
            known = await self._server.ask("GET", "/devices")
        except (CoreError, requests.RequestException) as error:
            return log.warning("the server does not answer: %s", error)
        mine = [each for device in known["devices"] if device["where"] == self._name for each in device["workers"]]
        at_work = any(each["jobs"] for each in mine)
        if at_work or self._update:  # what is queued and may run there does at once; the queue may be paused for days
            await host.ask("busy")
        listed = {(each["plugin"], each["device"].partition("/")[2]) for each in mine}
        if status.code != self._ready.code:
            return await self._end_old(host, listed, at_work)
        there = {each.key: each for each in status.workers}
        wanted = [(plugin, device) for device in status.devices for plugin in record.plugins]
        for worker, about in there.items():
            if worker not in wanted:
                await self._drop(host, worker)
            elif about.exit_code is not None:
                text = f"{about.plugin} on {about.device} has ended (exit code {about.exit_code}): {about.last}"
                log.warning("%s", text)
                if self._pauses.ended(worker, about.seconds):
                    self._troubles[worker] = text
                await self._drop(host, worker, about.exit_code)
            elif worker in listed:
                self._unseen.pop(worker, None)
                self._troubles.pop(worker, None)
            elif time.monotonic() - self._unseen.setdefault(worker, time.monotonic()) > UNSEEN_SECONDS:
                log.warning("the server does not know %s on %s, which runs there: starting it anew", *worker)
                await self._drop(host, worker)
        for worker in wanted:
            runs = worker in there and there[worker].exit_code is None
            if not runs and self._pauses.over(worker):
                await self._start(host, worker, door)

    async def _end_old(self, host: "Host", listed: set[Worker], at_work: bool) -> None:
        """There is new code: workers that are at work end their jobs, and then all is started anew."""
        asked = listed - self._finishing
        for worker in asked:
            with contextlib.suppress(NotFound):
                await self._server.ask("POST", "/workers/detach", self._about(worker) | {"jobs": "finish"})
        self._finishing |= asked
        if not (at_work or asked):  # those that were asked just now may have got a job meanwhile
            log.info("the code there has changed: starting anew")
            await self._stop(host)
            raise Timeout(f"{self._name} starts anew, as its code has changed.")

    async def _stop(self, host: "Host") -> None:
        """So that another one takes its place."""
        self._wake = True
        await host.ask("stop")

    async def _drop(self, host: "Host", worker: Worker, exit_code: int | None = None) -> None:
        """So that its jobs run elsewhere at once. One that has ended by itself may have done so because of its job."""
        self._unseen.pop(worker, None)
        ended = {} if exit_code is None else {"jobs": "blame", "exit_code": exit_code}
        with contextlib.suppress(NotFound):
            await self._server.ask("POST", "/workers/detach", self._about(worker) | ended)
        await host.ask("end", plugin=worker[0], device=worker[1])

    def _about(self, worker: Worker) -> dict[str, str]:
        return {"plugin": worker[0], "device": device_of(self._name, worker[1])}

    async def _start(self, host: "Host", worker: Worker, door: str) -> None:
        plugin, device = worker
        await self._drop(host, worker)  # as the machine was restarted, maybe
        try:
            attached = await self._server.ask("POST", "/workers", self._about(worker))
        except (Conflict, NotFound) as error:  # being installed, refused, removed
            self._pauses.ended(worker, 0)
            self._troubles[worker] = str(error)
            return
        place, folder = self._ready.plugins[plugin], self._ready.folder
        settings = attached["settings"]
        settings |= {
            "shipped_models": self._shipped(settings["shipped_models"]), "folder": place.folder, "device": device,
            "blobs": f"{folder}/cache", "cache": f"{folder}/cache", "scratch": f"{folder}/run/scratch",
            "models": f"{folder}/models", "door": door,
        }  # fmt: skip
        try:
            await host.ask("start", plugin=plugin, device=device, python=place.python, settings=settings)
        except (NotFound, Internal) as error:  # it was deleted, or the disk is full
            self._pauses.ended(worker, 0)
            self._troubles[worker] = f"{plugin} on {device} cannot be started: {error}"
            self._sources = None
            return await self._drop(host, worker)
        log.info("started %s on %s", plugin, device)

    def _shipped(self, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that came with plugins that are there."""
        found, sources = [], steps.sources_of(self._config, self._record()).plugins
        for model in models:
            for name, folder in sources.items():
                path = Path(model["path"])
                if path.is_relative_to(folder) and name in self._ready.plugins:
                    there = Path(self._ready.plugins[name].folder, path.relative_to(folder))
                    found.append(model | {"path": there.as_posix()})
        return found

    async def _fetch_logs(self, host: "Host", sizes: dict[str, int]) -> None:
        """Keep a copy of the logs there, so that they can be read when the machine is gone. It is not trusted to name
        files here."""
        folder = self.data / "logs" / self._name
        kept = {path.stem for path in folder.glob("*.log")}
        for name, size in itertools.islice(sizes.items(), MOST_LOGS):
            if not LOG_NAME.fullmatch(name) or len(kept | {name}) > MOST_LOGS:
                continue
            kept.add(name)
            at, path = self._log_at.get(name), folder / f"{name}.log"
            if at is None:  # of a machine that we come back to, only what follows
                at = 0 if not path.exists() else size
            if size != at:
                said = self._checked(Lines, await host.ask("logs", name=name, at=at if at < size else 0))
                folder.mkdir(parents=True, exist_ok=True)
                if path.exists() and path.stat().st_size > LOG_BYTES:
                    path.write_text("")
                with path.open("a", encoding="utf-8") as file:
                    file.write(said.text)
                at = said.next
            self._log_at[name] = at


class Pauses:
    """How long to wait before a worker is started again: longer and longer while it ends soon."""

    def __init__(self) -> None:
        self._next: dict[Worker, tuple[float, float]] = {}  # pause, and when it is over

    def ended(self, worker: Worker, after_seconds: float) -> bool:
        """Returns whether it did so before, soon after its start."""
        again = worker in self._next and after_seconds < SOON_SECONDS
        pause = 0.0 if after_seconds > SOON_SECONDS else self._next.get(worker, (0.0, 0.0))[0]
        pause = min(max(pause * 2, FIRST_PAUSE_SECONDS), LAST_PAUSE_SECONDS)
        self._next[worker] = pause, time.monotonic() + pause
        return again

    def over(self, worker: Worker) -> bool:
        return time.monotonic() >= self._next.get(worker, (0.0, 0.0))[1]


class Server:
    """The server that we belong to, asked over REST."""

    def __init__(self, url: str, token: str):
        self._url, self._session = f"{url}/api/v1", requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.trust_env = False  # no proxy is between us

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises the error that it answers with."""
        return await asyncio.to_thread(self._ask, method, path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        answer = self._session.request(method, self._url + path, json=body, timeout=ANSWER_SECONDS)
        said = answer.json()
        if not answer.ok:
            raise from_wire(said["error"])
        return said


class Host:
    """What runs there (core/remote/host.py), spoken to through a command."""

    def __init__(self, connection: asyncssh.SSHClientConnection, ready: steps.Ready, lost: Callable[[Any], Timeout]):
        self._connection, self._lost = connection, lost
        code = shlex.quote(f"{ready.folder}/code")
        words = [ready.python, "-m", "core.remote.host", ready.folder]
        self._command = f"cd {code} && exec {shlex.join(words)}"
        self._answers: dict[int, asyncio.Future] = {}
        self._last = 0
        self._said = ""  # what is no JSON
        self._error: CoreError | None = None  # once the connection has ended
        self.news = asyncio.Event()  # something has happened there
        self.stopping: str | None = None

    async def __aenter__(self) -> "Host":
        starting = self._connection.create_process(self._command, stderr=asyncssh.STDOUT, errors="replace")
        self._process = await within(ANSWER_SECONDS, starting, "no channel was opened there")
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._reader.cancel()
        self._process.close()

    async def _read(self) -> None:
        try:
            async for line in self._process.stdout:
                try:
                    message = json.loads(line)
                    answer = self._answers.pop(message.get("id"), None)
                except (ValueError, AttributeError, TypeError):  # what a login script prints, or what went wrong
                    self._said = f"{self._said}{line}"[-SHOWN:]
                    continue
                if answer and not answer.done():
                    answer.set_result(message)
                elif event := message.get("event"):
                    self.stopping = str(message.get("why")) if event == "stopping" else self.stopping
                    self.news.set()
        except (asyncssh.Error, OSError) as error:
            self._said = str(error)
        with contextlib.suppress(asyncssh.Error, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait_closed(), 2)
        text = self._said.strip().rpartition("\n")[2] or "it was closed"
        runs = not self._process.exit_status or self._process.exit_signal
        self._error = self._lost(text) if runs else Conflict(f"the supervisor there does not run: {text}")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._error)
        self._answers.clear()
        self.news.set()

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Its answer. Raises the error that it answers with, and Timeout if there is none."""
        if self._error:
            raise self._error
        self._last += 1
        number, answer = self._last, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._process.stdin.write(json.dumps({"id": number, "do": do} | more) + "\n")
        try:
            said = await asyncio.wait_for(answer, ANSWER_SECONDS)
        except asyncio.TimeoutError as error:
            raise self._lost(f"no answer to {do} within {ANSWER_SECONDS} s") from error
        if said.get("ok") is True:
            return said
        try:
            told = {key: str(said["error"][key])[:SHOWN] for key in ("code", "message")}
            error = from_wire(told | {"hint": str(said["error"].get("hint") or "")[:SHOWN]})
        except (KeyError, TypeError, AttributeError):
            error = Conflict(f"the host there answers {do} with something strange: {str(said)[:SHOWN]}")
        raise error


def main(settings: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    link = Link(settings)
    if not hasattr(socket, "AF_UNIX"):
        return link.cannot("Python has no Unix sockets on this system", "On Windows, run the server inside WSL.")
    with (
        inside.short(Path(settings["door"])) as link.door,
        (Records(link.data).of(settings["name"]) / "link.lock").open("a") as lock,
    ):
        if not bootstrap.try_lock(lock):
            sys.exit(f"another process keeps the connection to {settings['name']}")
        asyncio.run(until_stdin_closes(link))


async def until_stdin_closes(link: Link) -> None:
    """Which it does when the server is gone. The host and its workers go on."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    reading = threading.Thread(target=_read_stdin, args=(loop, closed.set), daemon=True)
    reading.start()
    running, ending = asyncio.create_task(link.run()), asyncio.create_task(closed.wait())
    await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        return running.result()
    await link.off()
    os._exit(0)  # the rest is connections, which the system closes


def _read_stdin(loop: asyncio.AbstractEventLoop, closed: Callable[[], None]) -> None:
    while os.read(0, 65536):
        pass
    loop.call_soon_threadsafe(closed)


if __name__ == "__main__":
    main(json.loads(sys.stdin.buffer.readline()))
