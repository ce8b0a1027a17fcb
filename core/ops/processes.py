"""Worker processes of this machine: started with their settings, killed with all that they started."""

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from core.errors import Conflict
from core.library.catalogue import Catalogue, PluginInfo
from core.ops import bootstrap, devices, sandbox
from core.ops.config import ROOT, Config

GONE = -1  # in place of an exit code that nobody can know
LOG_BYTES = 10_000_000  # a plugin that prints without end loses what it printed, not our disk


def lock(data: Path) -> TextIO:
    """The lock on the data folder, held until it is closed. Raises Conflict if another server has it."""
    data.mkdir(parents=True, exist_ok=True)
    file = (data / "lock").open("a+")
    if not bootstrap.try_lock(file):
        file.close()
        hint = "Stop that one, or choose another folder with --data."
        raise Conflict(f"another server uses the folder {data}.", hint=hint)
    return file


def settings(config: Config, catalogue: Catalogue, plugin: PluginInfo) -> dict[str, Any]:
    """What a worker has to know before it connects."""
    return {
        "plugin": plugin.name, "folder": str(plugin.folder), "blobs": str(config.data / "blobs"),
        "fsync": config.durability == "power", "scratch": str(config.data / "scratch"), "models": str(config.models),
        "max_message_bytes": config.max_message_bytes, "plugin_settings": plugin.settings,
        "shipped_models": catalogue.shipped_models(), "fetchable_models": catalogue.fetchable_models(),
        "sandbox": sandbox.about(config.data, plugin),
    }  # fmt: skip


def start(
    config: Config, catalogue: Catalogue, plugin: PluginInfo, device: str, url: str
) -> "tuple[str, LocalProcess]":
    """A worker of this machine, and its token. Raises OSError."""
    token, log = secrets.token_urlsafe(24), config.data / "logs" / f"{plugin.name}-{device.replace(':', '')}.log"
    known = {"url": url, "token": token, "device": devices.told(device)}
    several = sum(each.startswith("cpu:") for each in config.devices) if device.startswith("cpu:") else 1
    threads = {"OMP_NUM_THREADS": str(max(os.cpu_count() // several, 1))} if several > 1 else {}
    return token, LocalProcess(plugin.python, settings(config, catalogue, plugin) | known, log, environment=threads)


def end(processes: "list[LocalProcess | DetachedProcess]") -> None:
    """A closed stdin tells them to end, and after 2 s they are killed. Detached ones wait for the next server."""
    deadline = time.monotonic() + 2
    processes = [process for process in processes if not process.detached]
    for process in processes:
        process.ask_to_end()
    for process in processes:
        while process.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()


class LocalProcess:
    """`python -m module` under `python`, in a process group of its own; what it prints goes to `log`.

    `settings` reach it through stdin, which stays open: when it closes, the process ends."""

    detached = False

    def __init__(
        self, python: Path, settings: dict[str, Any], log: Path, module: str = "core.worker",
        environment: dict[str, str] | None = None,
    ):  # fmt: skip
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = (environment or {}) | os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        command = [str(python), "-m", module]
        if settings.get("sandbox"):
            command, settings = sandbox.of_worker(python, module, settings)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT, start_new_session=True,
                env=environment,
            )  # fmt: skip
        self.pid = self._process.pid
        try:
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already, as `exit_code` will say

    def exit_code(self) -> int | None:
        """None while it runs. Called often, so this is where the log is kept short."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            os.truncate(self.log, 0)  # opened for appending, so the process goes on at the new end
        return self._process.poll()

    def ask_to_end(self) -> None:
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass

    def kill(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL) if os.name == "posix" else self._process.kill()
        except (ProcessLookupError, PermissionError):  # ended already; macOS says the second of a zombie
            pass


class DetachedProcess:
    """A process that somebody else has started, maybe elsewhere: all that we have of it is a connection.

    `disconnect()` tells it to end, if it can hear that, and ends the connection."""

    detached, pid, log = True, None, "its log, where it runs"

    def __init__(self, disconnect: Callable[[], None]):
        self._disconnect, self._code = disconnect, None
        self.instance: str | None = None  # what it calls itself: so two with the same token are told apart

    def exit_code(self) -> int | None:
        return self._code

    def ask_to_end(self) -> None:
        self.kill()

    def kill(self, code: int = GONE) -> None:
        """`code` is its exit code, if whoever has started it has seen how it ended."""
        if self._code is None:
            self._code = code
            self._disconnect()
