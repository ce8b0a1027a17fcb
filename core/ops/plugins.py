"""Which plugins there are: those found at the start, and what comes, changes and goes while the server runs."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import socketio

from core.errors import CoreError
from core.jobs import Store
from core.library import apps
from core.library.catalogue import Catalogue, PluginInfo
from core.library.models import Models
from core.library.near import did_you_mean
from core.library.reuse import note_anew
from core.ops import devices, discovery
from core.ops.config import Config
from core.ops.packages.fetches import Fetches
from core.ops.packages.managing import Packages
from core.ops.packages.registry import Registry
from core.ops.settings import Settings
from core.remote.records import RAY
from core.scheduler import Scheduler
from core.workers import Pool

QUIET_SECONDS = 1  # for that long nothing in a folder may change before it is read: copies take a while
RESTS = 20  # times as long as a look has kept a processor
FOLLOWS = "as another one has changed"  # in place of a stamp
AT_ONCE = 4  # plugins loaded while the server runs: each may keep a thread for long


class Plugins:
    """`discover` and `load_all` are called at the start, `look` several times a second from then on."""

    def __init__(
        self, config: Config, catalogue: Catalogue, store: Store, scheduler: Scheduler, pool: Pool,
        sio: socketio.Server, run_blocking: Callable[..., Any],
    ):  # fmt: skip
        self._config, self._catalogue, self._store = config, catalogue, store
        self._scheduler, self._pool, self._sio, self._run_blocking = scheduler, pool, sio, run_blocking
        self._registry = Registry(config.packages)
        self._places: set[Path] = set()  # where plugins are to be loaded from
        self._seen: dict[Path, tuple[str, float]] = {}  # by folder: its stamp, and since when it is that
        self._starting: set[Path] = set()  # what `load_all` has not come to yet
        self._loading: set[Path] = set()
        self._rests_until = 0.0
        self.note: Callable[[str, str], None] = lambda plugin, text: None  # for whoever reads logs; set by the server
        catalogue.extra_models = apps.folders(config.extra_model_paths)
        self.handlers = [
            *Settings(config, catalogue, self.configured, run_blocking).handlers,
            *Packages(config, store, sio, run_blocking, lambda name, line: self.note(name, line)).handlers,
            *Fetches(config, catalogue, store, sio, run_blocking).handlers,
        ]

    def discover(self) -> None:
        """Find all plugins; what is installed and described is there from the first moment."""
        for folder, stamp in self._stamps()[0].items():
            info = self._place(folder)
            info.stamp = stamp
            self.load(info, print, install=False)
            if info.status == "installing":
                self._starting.add(folder)

    def load_all(self, say: Callable[[str], None]) -> None:
        """Install the environments that are missing, one after the other; everybody is told about each plugin."""
        known = self._catalogue.plugins
        for name in sorted(self._config.plugin_settings.keys() - known.keys()):
            say(f"config.toml has settings for {name}, which is no plugin.{did_you_mean(name, known)}")
        for each in self._config.extra_model_paths:
            if not each.path.is_dir():
                say(f"{each.path} of extra_model_paths is not there (now).")
        for info in list(known.values()):
            self.load(info, say)
            self._starting.discard(info.folder)
            self._tell(info)
        self._catalogue.renew = Looking(self._renew)
        self._scheduler.dispatch({*self._catalogue.plugins})

    def load(self, info: PluginInfo, say: Callable[[str], None], install: bool = True) -> None:
        def tell(line: str) -> None:
            say(line)
            self.note(info.name, line)

        discovery.load(info, self._config, self._catalogue, tell, self._run_blocking, install)

    def look(self) -> None:
        """See which folders have come, changed or gone, and are quiet since."""
        if time.monotonic() < self._rests_until:
            return
        stamps, seconds = self._run_blocking(self._stamps)
        self._rests_until = time.monotonic() + RESTS * seconds
        known = {info.folder: info for info in self._catalogue.plugins.values()}
        links = self._registry.read().links.values()  # who works on one waits for it, and saves whole files
        self._seen = {folder: seen for folder, seen in self._seen.items() if folder in stamps or folder in known}
        for folder in {**stamps, **known}:
            stamp, moment = stamps.get(folder, "gone"), time.monotonic()
            if self._seen.get(folder, ("", 0))[0] != stamp:
                self._seen[folder] = stamp, moment
            quiet = 0 if folder in links else QUIET_SECONDS
            if moment - self._seen[folder][1] < quiet or folder in self._starting | self._loading:
                continue
            if stamp == "gone":
                if folder.name not in {other.name for other in stamps.keys() - known.keys()}:  # another release comes
                    self._remove(known[folder])
            elif (folder not in known or known[folder].stamp != stamp) and len(self._loading) < AT_ONCE:
                self._loading.add(folder)
                self._sio.start_background_task(self._load, folder)

    def _stamps(self) -> tuple[dict[Path, str], float]:
        """Those of all plugins; one that is disabled or enabled has another stamp than before."""
        found, seconds = discovery.stamps(self._config.plugins, self._registry.folders(), self._config.allow_code)
        self._places = {*found}
        return {folder: stamp + " disabled" * self._disabled(folder) for folder, stamp in found.items()}, seconds

    def _disabled(self, folder: Path) -> bool:
        return folder.name in self._registry.read().disabled

    def _load(self, folder: Path) -> None:
        """Load a plugin that has come or changed. From the moment it is read, nothing runs that was meant for the files
        before: its workers end when they have done what they are at, and its other jobs wait."""
        known, shipped = self._at(folder), self._catalogue.shipped_models()
        by_itself = not known or known.stamp != FOLLOWS
        try:
            disabled = self._disabled(folder)
            stamp = self._run_blocking(discovery.stamp, folder) + " disabled" * disabled
            if known:
                known.stamp = stamp
                ready = known.status == "ready" and not disabled
                if ready and self._run_blocking(discovery.same_code, known, self._config):
                    return
            info = self._place(folder)
            info.stamp = stamp
            self._retire(info.name)
            if info.status == "installing":
                self._tell(info)
                self.load(info, _say)
            self._tell(info)
        finally:
            self._loading.discard(folder)
        for line in said(info):
            print(line, flush=True)
        if by_itself:
            self._look_again(lambda other: other.manifest.get("environment", {}).get("share") == info.name)
        self._consequences(info, shipped)

    def configured(self, info: PluginInfo, settings: bool) -> None:
        """Announce a plugin anew, whose defaults, bounds or (`settings`) settings are other ones now."""
        if info.status == "refused":
            info.stamp = FOLLOWS  # maybe because of them
        if info.status != "ready":
            return
        if settings:  # nothing runs with the new ones in a worker that has the old ones
            info.status = "installing"
            self._retire(info.name)
            self._store.write(lambda tx: note_anew(tx, info.name))
        try:
            discovery.announce(info, self._config, self._catalogue, self._run_blocking, run_it=True)
        except (CoreError, OSError, ValueError, TypeError) as error:
            info.status, info.error = "refused", str(error).removeprefix(f"{info.name}: ")
        self._tell(info)
        self._scheduler.dispatch({info.name})

    def _remove(self, info: PluginInfo) -> None:
        """Its jobs that are queued stay, and wait for it to come back."""
        shipped = self._catalogue.shipped_models()
        self._catalogue.withdraw(info)
        self._retire(info.name)
        self._tell(info)
        print(f"removed   {info.name}", flush=True)
        self._look_again(lambda other: info.name in (other.name, other.manifest.get("environment", {}).get("share")))
        self._consequences(info, shipped)

    def _look_again(self, depends: Callable[[PluginInfo], bool]) -> None:
        """Another plugin has come, changed or gone, so those that depend on it may be other ones, too."""
        for other in self._catalogue.plugins.values():
            if depends(other):
                other.stamp = FOLLOWS

    def _consequences(self, changed: PluginInfo, shipped: list[dict[str, Any]]) -> None:
        """`shipped` were the models of all plugins before: workers have been told of them at their start."""
        if shipped != self._catalogue.shipped_models():
            self._retire()
            self._catalogue.renew()
        self._scheduler.dispatch({changed.name})

    def _retire(self, plugin: str | None = None) -> None:
        """The workers of a plugin (or all) get no further jobs. One that somebody has attached is that person's;
        in a Ray cluster nobody has."""
        for worker in list(self._pool.workers.values()):
            ours = not worker.process.detached or devices.machine_of(worker.device) == RAY
            if plugin in (None, worker.plugin) and ours:
                worker.retired = True

    def _at(self, folder: Path) -> PluginInfo | None:
        return next((info for info in self._catalogue.plugins.values() if info.folder == folder), None)

    def _place(self, folder: Path) -> PluginInfo:
        """The plugin of a folder, with what its plugin.toml says now, in the catalogue: under its name, or as refused
        under its folder if another one has the name."""
        name = discovery.printable(folder.name)
        before = (each for each in self._catalogue.plugins.values() if each.name == name)
        left = next((each for each in before if each.folder not in self._places), None)  # by a release to the next
        info = self._at(folder) or left or PluginInfo(name, folder)
        info.folder = folder
        discovery.read_manifest(info)
        if info.status == "installing" and self._disabled(folder):
            info.status = "disabled"
        others = {name: other for name, other in self._catalogue.plugins.items() if other is not info}
        key = info.name
        if other := others.get(info.name):
            info.status, info.error, key = "refused", f"{other.folder} has that name already.", str(folder)
        self._catalogue.plugins = others | {key: info}
        return info

    def _tell(self, info: PluginInfo) -> None:
        about = info.brief()
        self._store.write(lambda tx: tx.event("plugins", about, {}))
        for note in info.notes:
            self.note(info.name, note)

    def _renew(self) -> None:
        """Announce anew what depends on models, where these have come, gone or changed since. Else it costs a look."""
        models = Models(self._config.models, self._catalogue.shipped_models())
        for info in list(self._catalogue.plugins.values()):
            if info.status != "ready" or "jobs_from" not in info.manifest:
                continue
            if self._run_blocking(discovery.made_from, info, models) == info.made_from:
                continue
            info.renewing = True
            try:
                discovery.announce(info, self._config, self._catalogue, self._run_blocking, run_it=True)
            except (CoreError, OSError, ValueError, TypeError) as error:  # the jobs that there were stay
                info.notes = [f"What has changed in {self._config.models} is not announced: {error}"]
            finally:
                info.renewing = False
            self._tell(info)


def said(info: PluginInfo) -> Iterator[str]:
    """The lines about a plugin that the server prints."""
    jobs = ", ".join(job["name"] for job in info.jobs) or "no jobs yet"
    lines = {"ready": f"plugin    {info.name}: {jobs}", "disabled": f"disabled  {info.name}"}
    yield lines.get(info.status, f"refused   {info.name}: {info.error}")
    for note in info.notes:
        yield f"          {note}"


def _say(line: str) -> None:
    print(f"          {line}", flush=True)


class Looking:
    """Calling it has `look` run once after the call, and never twice at a time. Who calls waits for it, but not for
    longer than `seconds`: a client whose request is not answered for long would be thought lost."""

    def __init__(self, look: Callable[[], None], seconds: float = 10):
        self._look, self._seconds = look, seconds
        self._guard, self._ended = threading.Lock(), threading.Event()
        self._ended.set()

    def __call__(self) -> None:
        deadline, mine = time.monotonic() + self._seconds, False
        while not mine and time.monotonic() < deadline:  # one that runs already may have looked a moment too early
            with self._guard:
                if mine := self._ended.is_set():
                    self._ended = threading.Event()
                    threading.Thread(target=self._run, args=(self._ended,), daemon=True).start()
                ended = self._ended
            ended.wait(max(0, deadline - time.monotonic()))

    def _run(self, ended: threading.Event) -> None:
        try:
            self._look()
        finally:
            ended.set()
