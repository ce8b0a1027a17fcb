"""Other machines, as the server sees them: for each whose record is on, a process that keeps the connection, a *link*.

`python -m core.remote.link` for a machine that is reached over SSH, `python -m core.remote.cluster` (in an environment
of its own) for the Ray cluster. A link gets its settings as one line of JSON, ends when its stdin closes, and writes
how the machine is into data/remotes/NAME/state.json; what it prints is in data/logs/remote-NAME.log."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import socketio

from core.api import Handler, Name
from core.auth import OWNER, admin_only
from core.errors import Conflict, CoreError, Internal
from core.jobs import Row, Store
from core.library.placing import Rules
from core.ops import devices, environments, processes, sandbox
from core.ops.bootstrap import InstallError
from core.ops.config import Config
from core.ops.detached import Detached
from core.ops.memory import Memory
from core.ops.processes import LocalProcess
from core.remote import spending
from core.remote.ledger import Ledger
from core.remote.records import RAY, Records, Remote, State, changed
from core.workers import Pool

KEEPER = "rented_machines"  # what watches over them stands among the links; no machine can have such a name
PAUSES = (0.5, 1, 2, 5, 10, 30)  # seconds before a link that has ended is started again
GOOD_SECONDS = 60  # one that has lived for so long has not failed at the start
END_SECONDS = 5
log = logging.getLogger(__name__)


@dataclass
class Link:
    """`about` is what it was started for: another one takes its place when that changes."""

    about: Any
    process: LocalProcess
    started: float = field(default_factory=time.monotonic)
    since_ns: int = field(default_factory=time.time_ns)  # a state that was written before is not its own
    kill_at: float | None = None

    def end(self) -> None:
        self.process.ask_to_end()
        self.kill_at = time.monotonic() + END_SECONDS


class Remotes:
    """`look` is called twice a second. `token` is the admin's."""

    def __init__(
        self, config: Config, store: Store, pool: Pool, memory: Memory, detached: Detached, sio: socketio.Server,
        token: str, run_blocking: Callable[..., Any],
    ):  # fmt: skip
        self._config, self._store, self._pool, self._detached = config, store, pool, detached
        self._sio, self._token, self._run_blocking = sio, token, run_blocking
        self._records = Records(config.data)
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._known: dict[str, Remote] = {}
        self._states: dict[str, State] = {}
        self._links: dict[str, Link] = {}
        self._failures: dict[str, tuple[int, float]] = {}  # how often a link has ended, and when to start the next
        self._errors: dict[str, Row] = {}  # why links have ended
        self._left: set[str] | None = None  # machines that are off or gone, whose workers are not waited for; None: all
        self._ledger, self._rents = Ledger(config.data), False  # whether anything is rented, or may be
        self._ray_python: Path | None = None
        self._installing = False
        self.handlers: list[Handler] = [self.remote]
        pool.placing.rules, pool.placing.state_of = self.rules, lambda name: self._state(name).state
        memory.elsewhere = self.free_bytes

    def remote(self, owner: str, name: Name, action: Literal["start", "stop"]) -> Row:
        """Connect to a machine that was deployed, and run jobs there; or stop that: its jobs run elsewhere."""
        admin_only(owner, f"{action} machines")
        record = self._records.read(name)
        if action == "start":
            spending.check_there(record)
        self._records.write(record.model_copy(update={"on": action == "start"}))
        return {"name": name, "on": action == "start"}

    def known(self) -> list[tuple[str, Remote | None, State]]:
        """All machines by name, and the Ray cluster, which has no record."""
        names = [*sorted(self._known), *([RAY] if self._config.pool == "ray" else [])]
        return [(name, self._known.get(name), self._state(name)) for name in names]

    def rules(self) -> Rules:
        """Also of machines that are off: what runs "only" there waits."""
        return self._known

    def is_connected(self, name: str) -> bool:
        return self._state(name).state == "connected"

    def devices(self) -> list[str]:
        """Of all machines, by the names that the server gives them."""
        return [f"{name}/{device}" for name, _, state in self.known() for device in state.devices]

    def about(self, device: str) -> Row:
        """title, free_bytes, total_bytes, as far as its machine tells them."""
        name, _, own = device.rpartition("/")
        told = self._states.get(name, State()).devices.get(own, {})
        return {"title": told.get("title") or own} | {key: told.get(key) for key in ("free_bytes", "total_bytes")}

    def free_bytes(self, device: str) -> int | None:
        return self.about(device)["free_bytes"]

    def _state(self, name: str) -> State:
        """As its link has written it, as long as there is one."""
        state = self._states.get(name, State())
        try:
            spending.check_there(self._known[name])
        except Conflict as error:
            return State(state="failed", error=error.wire(), since=state.since, seen=state.seen)
        except KeyError:
            pass  # the Ray cluster
        link, off = self._links.get(name), name in self._known and not self._known[name].on
        if link and name in self._states and self._stamps.get(self._state_of(name), (0,))[0] >= link.since_ns:
            return state
        if not link and (state.state == "failed" or (name == RAY and self._installing)):
            return state
        if off and state.state == "off":  # its step says why
            return state
        if off:
            return state.model_copy(update={"state": "off", "step": "", "workers": []})
        error = None if link else self._errors.get(name)
        now = "lost" if error else "connecting"
        return state.model_copy(update={"state": now, "step": "", "workers": [], "error": error})

    def look(self) -> None:
        """See what has changed on the disk; start and end links."""
        self._read()
        if self._left:
            self._release()
        wanted = {name: record.model_dump(exclude={"rule"}) for name, record in self._known.items() if record.on}
        if self._config.pool == "ray":
            wanted[RAY] = {}
        if self._rents:
            wanted[KEEPER] = {}
        for name, link in list(self._links.items()):
            code = link.process.exit_code()
            if code is not None:
                del self._links[name]
                self._ended(name, link, code, wanted)
            elif link.kill_at and time.monotonic() > link.kill_at:
                link.process.kill()
            elif not link.kill_at and link.about != wanted.get(name):
                link.end()
        for name in wanted.keys() - self._links.keys():
            if time.monotonic() >= self._failures.get(name, (0, 0))[1] and self._pool.url:
                self._start(name, wanted[name])

    def _read(self) -> None:
        """What is written anew."""
        if self._left is None:  # the first time
            rows = self._store.all("SELECT device FROM workers WHERE device LIKE '%/%'")
            self._left = {devices.machine_of(row["device"]) for row in rows} - ({RAY} & {self._config.pool})
        if self._is_new(self._ledger.path):
            self._rents = bool(self._ledger.open())
        found = {name: self._records.of(name) / "record.json" for name in self._records.names()}
        known = {name: record for name, record in self._known.items() if name in found}
        self._left |= self._known.keys() - known.keys()
        for name, path in found.items():
            if self._is_new(path):
                before = known.get(name)
                try:
                    known[name] = record = self._records.read(name)
                except CoreError as error:
                    log.warning("the machine %s stays as it was: %s", name, error)
                    continue
                if record.on:
                    self._left.discard(name)
                elif before is None or before.on:
                    self._left.add(name)
        self._known = known  # in one piece, as others iterate over it
        for name in [*self._known, RAY]:
            if self._is_new(self._state_of(name)) and (told := self._records.told(name)):
                self._states[name] = told

    def _is_new(self, path: Path) -> bool:
        try:
            said = path.stat()
        except OSError:
            return False
        stamp = (said.st_mtime_ns, said.st_ino)
        known, self._stamps[path] = self._stamps.get(path), stamp
        return known != stamp

    def _state_of(self, name: str) -> Path:
        return self._records.of(name) / "state.json"

    def _release(self) -> None:
        """Nothing of a machine that is off or gone is waited for."""
        for row in self._store.all("SELECT plugin, device FROM workers WHERE device LIKE '%/%'"):
            if devices.machine_of(row["device"]) in self._left:
                self._detached.detach(OWNER, **row)
        self._left.clear()

    def _start(self, name: str, about: Any) -> None:
        python, module = Path(sys.executable), "core.remote.keeper" if name == KEEPER else "core.remote.link"
        if name == RAY:
            python, module = self._ray_python, "core.remote.cluster"
            if python is None:
                self._install_ray()
                return
        data = self._config.data
        settings = {
            "name": name, "data": str(data), "url": self._pool.url, "token": self._token,
            "door": str(sandbox.socket_of(data)),
            "config": self._config.model_dump(mode="json", exclude={"tokens"}),
        }  # fmt: skip
        started = (python, settings, data / "logs" / f"remote-{name}.log", module)
        try:
            self._links[name] = Link(about, self._run_blocking(LocalProcess, *started))
        except OSError as error:  # too many open files, say
            log.warning("the link to %s cannot be started: %s", name, error)
            self._failures[name] = 1, time.monotonic() + PAUSES[-1]

    def _ended(self, name: str, link: Link, code: int, wanted: Row) -> None:
        if link.kill_at or name not in wanted:
            self._failures.pop(name, None)
            self._errors.pop(name, None)
            return
        text = f"the process that keeps the connection has ended (exit code {code}); it is started again."
        self._errors[name] = Internal(text, hint=f"Its log says why: {link.process.log}").wire()
        lived = time.monotonic() - link.started > GOOD_SECONDS
        failures = 0 if lived else self._failures.get(name, (0, 0))[0]
        self._failures[name] = failures + 1, time.monotonic() + PAUSES[min(failures, len(PAUSES) - 1)]
        log.warning("the link to %s has ended (exit code %s); its log: %s", name, code, link.process.log)

    def _install_ray(self) -> None:
        """In the background: it takes minutes, once."""
        if self._installing:
            return

        def install() -> None:
            try:
                self._note_ray(state="preparing", step="installing Ray", error=None)
                where = (environments.RAY.with_suffix(".lock"), self._config.environments)
                self._ray_python = self._run_blocking(environments.ensure_lock, *where)
            except (InstallError, OSError) as error:
                failed = Internal(f"Ray cannot be installed: {error}", hint="It is tried again in 30 s.")
                self._note_ray(state="failed", step="", error=failed.wire())
                self._failures[RAY] = 1, time.monotonic() + PAUSES[-1]
            finally:
                self._installing = False

        self._installing = True
        self._sio.start_background_task(install)

    def _note_ray(self, **columns: Any) -> None:
        self._records.write_state(RAY, changed(self._records.state(RAY), **columns))

    def stop(self) -> None:
        processes.end([link.process for link in self._links.values()])
