"""How a release of a plugin comes, goes back and goes: beside what runs, and with one switch at the end.

Whatever is killed or fails before the switch has changed nothing; what it leaves behind, the next command removes."""

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from packaging.version import InvalidVersion, Version

from core.errors import Conflict, InvalidParams, NotFound, PluginError
from core.library.catalogue import PluginInfo
from core.library.near import did_you_mean
from core.ops import bootstrap, discovery, environments
from core.ops.config import Config
from core.ops.conformance import selftest
from core.ops.packages import sources
from core.ops.packages.indexes import Entry, Indexes, is_name, verify
from core.ops.packages.inspection import Report, inspect
from core.ops.packages.registry import Installed, Registry, Release
from core.ops.packages.sources import Fetched, Source

RELEASE = re.compile(r".+-[0-9a-f]{12}")  # else it is nothing that was put there here
KEEP = 3  # releases of a plugin: the one that runs and those to go back to
LET_GO_SECONDS = 10  # that the workers of a server which runs have to leave an environment that is removed
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What to install: the content with the `hash`, if that is known; `entry`, if an index says what it has to be."""

    source: Source
    hash: str | None = None
    entry: Entry | None = None


def look_up(text: str, ref: str | None, hash: str | None, config: Config) -> Wanted:
    """What somebody means by a source or a name. Raises CoreError."""
    if not is_name(text):
        return Wanted(sources.parse(text, ref), hash)
    if ref:
        raise InvalidParams(f"{text} is looked up in an index, which has versions and no refs: say {text}@VERSION.")
    entry = Indexes(config).find(text)
    return Wanted(entry.source, hash, entry)


class Installer:
    """`say` gets a line for each long step, `show` what is found out about a plugin; `ask` raises if one says no."""

    def __init__(self, config: Config, registry: Registry, say: Say, show: Say, ask: Callable[[str], None]):
        self._config, self._registry = config, registry
        self._say, self._show, self._ask = say, show, ask
        self._staging = registry.folder / ".staging"

    def install(self, wanted: Wanted, only: str | None = None) -> Release | None:
        """Bring a release in; None if it is the one that runs already. `only` is the name that the plugin must have.
        Raises CoreError or InstallError; then nothing has changed."""
        self.tidy()
        with self._staged() as (place, held):
            fetched = sources.fetch(wanted.source, place / "fetched", self._say, held)
            if wanted.entry:  # an update looks that up again
                fetched = replace(fetched, source=wanted.entry.name, ref=None)
            return self._bring(fetched, place, only, wanted)

    def update(self, name: str, ref: str | None = None, hash: str | None = None) -> Release | None:
        """Bring in the newest of where a plugin came from, or what `ref` names there."""
        return self.install(self.newest(name, ref, hash), only=name)

    def newest(self, name: str, ref: str | None = None, hash: str | None = None) -> Wanted:
        """What an update of a plugin would bring in."""
        release = self._installed(name).release
        self._say(f"Looking for what is new of {name} in {release.source}.")
        if is_name(release.source):
            return look_up(release.source, ref, hash, self._config)
        return Wanted(self._newest(name, release, ref), hash)

    def relock(self, name: str) -> Release | None:
        """The release that runs with the newest packages that its requirements allow, as a release of its own."""
        self.tidy()
        release = self._installed(name).release
        folder = self._registry.place(name, release.id)
        with self._staged() as (place, held):
            fetched = sources.fetch(Source("folder", str(folder)), place / "fetched", self._say, held)
            self._say(f"Locking the requirements of {name}.")
            environments.lock(fetched.folder, build=discovery.may_build(fetched.folder, self._config))
            fetched = Fetched(fetched.folder, release.source, release.ref, release.commit)
            return self._bring(fetched, place, name)

    def rollback(self, name: str, to: str | None = None) -> Release:
        """Switch to the release before the one that runs, or to the release or version `to`."""
        self.tidy()
        with self._alone(name):
            installed = self._installed(name)
            ids = [release.id for release in installed.releases]
            before = installed.releases[: ids.index(installed.active)]
            known = ", ".join(ids)
            if not to and not before:
                hint = f"Its releases are {known}; say --to RELEASE." if len(ids) > 1 else None
                raise Conflict(f"{name} has no release before {installed.active}.", hint=hint)
            named = [each for each in installed.releases if to in (each.id, each.version)] if to else before[-1:]
            if len(named) != 1:
                raise NotFound(f"{name} has no such release {to[:100]!r}, or several. Its releases are {known}.")
            release = named[0]
            if release.id == installed.active:
                raise Conflict(f"{name} {release.id} is what runs now.")
            self._ready(self._registry.place(name, release.id))
            with self._registry.change(self._say) as state:
                state.plugins[name].active = release.id
        return release

    def uninstall(self, name: str) -> None:
        """Remove all releases of a plugin and their environments. Results and models stay."""
        self.tidy()
        installed = self._installed(name)
        self._show(f"uninstall {name} {', '.join(release.version for release in installed.releases)}")
        for other in self._sharing(name):
            self._show(f"warning   {other} uses its environment, and does not run without it")
        self._ask("Uninstall?")
        with self._alone(name):
            with self._registry.change(self._say) as state:
                installed = state.plugins.pop(name, installed)
                state.disabled = [each for each in state.disabled if each != name]
            for release in installed.releases:
                self._drop(self._registry.place(name, release.id))
            with contextlib.suppress(OSError):
                (self._registry.folder / name).rmdir()

    def tidy(self) -> None:
        """Remove what killed or failed commands have left: what nobody holds, and no state names."""
        with bootstrap.only_one(self._staging / ".lock", self._say):
            for path in self._staging.glob("*.lock"):
                with _free(path) as free:
                    if free:
                        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                if free:
                    path.unlink(missing_ok=True)
        for folder in [path for path in self._registry.folder.glob("[!.]*") if path.is_dir()]:
            with _free(self._lock_of(folder.name)) as free:
                if not free:
                    continue
                installed = self._registry.read().plugins.get(folder.name)
                kept = {release.id for release in installed.releases} if installed else set()
                for release in folder.iterdir():
                    if release.name not in kept and RELEASE.fullmatch(release.name):
                        self._drop(release / folder.name)
                if not kept:
                    with contextlib.suppress(OSError):
                        folder.rmdir()

    def _bring(self, fetched: Fetched, place: Path, only: str | None, wanted: Wanted | None = None) -> Release | None:
        """Look at what was fetched, show it, ask, and make it the release that runs."""
        report = inspect(fetched.folder)
        name = report.name
        before = self._registry.read().plugins.get(name)
        for line in report.lines():
            self._show(line)
        self._check(report, fetched.source, only)
        if wanted and wanted.entry:
            verify(wanted.entry, report)
        if wanted and wanted.hash and report.hash != wanted.hash:
            text = f"this is not what was looked at: its hash is {report.hash}, and {wanted.hash} was asked for."
            raise Conflict(text, hint="Look at what has changed before you install it.")
        release = _release(report, fetched)
        if before and before.active == release.id:
            self._say(f"{name} {release.version} with this content is installed already.")
            with self._registry.change(self._say) as state:  # updates come from where it was asked for last
                if name in state.plugins:
                    about = {"source": fetched.source, "ref": fetched.ref, "commit": fetched.commit}
                    vars(state.plugins[name].release).update(about)
            return None
        old = self._registry.place(name, before.active) if before else None
        known = inspect(old) if old else None
        for line in changes(known, report) if known else ():
            self._show(line)
        self._ask("Update?" if before else "Install?")
        with self._alone(name):
            folder = self._placed(fetched.folder, release, place)
            try:
                if known and not report.locked:
                    for line in different_packages(known.packages, inspect(folder).packages):
                        self._show(line)
                info = self._ready(folder)
                if old:
                    self._tell_of_parameters(old, info)
                self._say(f"Testing {name} {release.version}.")
                selftest(folder, self._config, self._say)
                self._switch(name, release)
            except BaseException:  # also Ctrl-C
                self._forget(name, release)
                if before:
                    self._say(f"{name} {before.release.version} ({before.active}) stays what runs.")
                raise
        with contextlib.suppress(OSError):
            self.tidy()  # the releases that nobody goes back to any more
        return release

    def _check(self, report: Report, source: str, only: str | None) -> None:
        name = report.name
        if report.errors:
            raise InvalidParams(f"{name or 'it'} cannot be installed: {' '.join(report.errors)}")
        if only and name != only:
            raise Conflict(f"{source} is the plugin {name} now, and not {only} any more.")
        for root in self._config.plugins:
            if (root / name / "__init__.py").exists():
                hint = "Move that folder away first, or give one of them another name."
                raise Conflict(f"there is a plugin {name} in {root} already.", hint=hint)
        for other in self._registry.read().plugins:
            if other != name and other.lower() == name.lower():
                raise Conflict(f"{other} is installed, whose name differs from {name} in capitals only.")

    def _placed(self, fetched: Path, release: Release, place: Path) -> Path:
        """The folder of a release, complete from the moment on that it is there."""
        folder = self._registry.place(fetched.name, release.id)
        installed = self._registry.read().plugins.get(fetched.name)
        if installed and release.id in [each.id for each in installed.releases]:
            return folder
        whole = place / "release"
        whole.mkdir()
        fetched.rename(whole / fetched.name)
        self._locked(whole / fetched.name)
        if folder.parent.exists():
            shutil.rmtree(folder.parent)
        folder.parent.parent.mkdir(exist_ok=True)
        whole.rename(folder.parent)
        return folder

    def _locked(self, folder: Path) -> None:
        """Lock requirements that are not; where they are locked for another version of the worker, near to that."""
        if "share" in environments.environment_settings(folder):
            return
        recipe = environments.recipe_of(folder)
        if not recipe.requirements.is_relative_to(folder) or (recipe.lock.exists() and environments.matches(recipe)):
            return
        self._say(f"Locking the requirements of {folder.name}.")
        with _way_out():
            environments.lock(folder, keep=True, build=discovery.may_build(folder, self._config))

    def _ready(self, folder: Path) -> PluginInfo:
        """Make the release's environment and have it describe itself there. Raises PluginError with the reason."""
        info = discovery.loaded(folder, self._config, self._say)
        if info.status != "ready":
            raise PluginError(f"{folder.name} cannot be used: {info.error}")
        return info

    def _tell_of_parameters(self, old: Path, info: PluginInfo) -> None:
        """What the jobs of the new release say of themselves, beside those of the one that runs."""
        before = discovery.loaded(old, self._config, lambda line: None, install=False)
        jobs = {job["name"]: job["params"].get("properties", {}) for job in info.jobs}
        for job in before.jobs:
            gone = job["params"].get("properties", {}).keys() - jobs.get(job["name"], {}).keys()
            if job["name"] in jobs and gone:
                self._show(f"changed   {job['name']} has no {', '.join(sorted(gone))} any more")

    def _switch(self, name: str, release: Release) -> None:
        with self._registry.change(self._say) as state:
            order = []
            if installed := state.plugins.get(name):
                others = [each for each in installed.releases if each.id not in (release.id, installed.active)]
                order = [*others, installed.release]
            order.append(release)
            state.plugins[name] = Installed(active=release.id, releases=order[-KEEP:])

    def _forget(self, name: str, release: Release) -> None:
        installed = self._registry.read().plugins.get(name)
        if not installed or release.id not in [each.id for each in installed.releases]:
            self._drop(self._registry.place(name, release.id))
            if not installed:
                with contextlib.suppress(OSError):
                    (self._registry.folder / name).rmdir()

    def _drop(self, folder: Path) -> None:
        """Remove a release that no state names, and first its environment, which nobody would find without it."""
        environment = self._environment(folder, own=True)
        if environment and environment.exists() and environment not in map(self._environment, self._folders()):
            deadline = time.monotonic() + LET_GO_SECONDS
            while _in_use(environment) and time.monotonic() < deadline:
                time.sleep(0.2)
            if _in_use(environment):
                self._say(f"{environment} is in use, so it stays. Delete it once no job of {folder.name} runs.")
            else:
                with bootstrap.only_one(environment.with_name(f"{environment.name}.lock"), self._say):
                    (environment / "complete").unlink(missing_ok=True)
                    shutil.rmtree(environment, ignore_errors=True)
        shutil.rmtree(folder.parent, ignore_errors=True)

    def _folders(self) -> set[Path]:
        """Those of all plugins and releases that there are."""
        state = self._registry.read()
        found = {self._registry.place(name, each.id) for name, own in state.plugins.items() for each in own.releases}
        found |= {path.parent for root in self._config.plugins for path in root.glob("*/plugin.toml")}
        return found | {*state.links.values()}

    def _environment(self, folder: Path, own: bool = False) -> Path | None:
        """The folder of a plugin's environment; with `own`, only if it is made of the plugin's requirements."""
        with contextlib.suppress(bootstrap.InstallError, OSError, TypeError, ValueError):
            recipe = environments.recipe_of(folder, self._config.torch_backend)
            if not own or recipe.requirements.is_relative_to(folder):
                return recipe.folder(self._config.environments.resolve())
        return None

    def _sharing(self, name: str) -> list[str]:
        found = set()
        for folder in self._folders():
            with contextlib.suppress(bootstrap.InstallError, OSError):
                if environments.environment_settings(folder).get("share") == name:
                    found.add(folder.name)
        return sorted(found)

    def _installed(self, name: str) -> Installed:
        plugins = self._registry.read().plugins
        if name not in plugins:
            near = did_you_mean(name, plugins) or f" Installed are {', '.join(sorted(plugins)) or 'none'}."
            hint = None
            if any((root / name / "plugin.toml").exists() for root in self._config.plugins):
                hint = "It is a folder of plugins/, which you change and remove yourself."
            raise NotFound(f"no plugin {name[:100]!r} is installed.{near}", hint=hint)
        return plugins[name]

    def _newest(self, name: str, release: Release, ref: str | None) -> Source:
        """Where to look for what comes after a release: of tags, the one with the highest version."""
        source = sources.parse(release.source, ref or release.ref)
        if ref or source.ref is None:
            return source
        tags = sources.tags(source.place)
        if source.ref in tags:
            return replace(source, ref=_highest([*tags, source.ref], source.ref))
        if release.commit and release.commit.startswith(source.ref):
            text = f"{name} was installed at the commit {source.ref}, which stays what it is."
            raise Conflict(text, hint=f"Say what to take instead: --ref TAG. Its last tags: {', '.join(tags[-5:])}.")
        return source

    def _lock_of(self, name: str) -> Path:
        return self._registry.folder / f".{name}.lock"

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Nobody else changes that plugin meanwhile."""
        with bootstrap.only_one(self._lock_of(name), self._say):
            yield

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[Path, Any]]:
        """A folder of our own, and the lock that shows that we are still there."""
        place = self._staging / uuid.uuid4().hex
        lock = place.with_suffix(".lock")
        with contextlib.ExitStack() as stack:
            with bootstrap.only_one(self._staging / ".lock", self._say):  # nobody tidies before it is held
                held = stack.enter_context(bootstrap.only_one(lock, self._say))
                place.mkdir()
            try:
                yield place, held
            finally:
                shutil.rmtree(place, ignore_errors=True)
                lock.unlink(missing_ok=True)


def _release(report: Report, fetched: Fetched) -> Release:
    return Release(
        id=f"{report.version}-{report.hash[:12]}", version=report.version, hash=report.hash, source=fetched.source,
        ref=fetched.ref, commit=fetched.commit, licence=report.licence or None, installed_at=time.time(),
    )  # fmt: skip


def changes(old: Report, new: Report) -> Iterator[str]:
    """What is different in a new release, before any of it runs."""
    if old.version != new.version:
        yield f"update    {old.version} -> {new.version}"
    else:
        yield f"update    {new.version} with other content"
    if old.licence != new.licence:
        yield f"changed   licence: {old.licence or 'none'} -> {new.licence or 'none'}"
    for job in old.jobs.keys() - new.jobs.keys():
        yield f"gone      job {job}"
    for job, seen in new.jobs.items():
        if job not in old.jobs:
            yield f"new       job {job} {seen}"
        elif old.jobs[job] != seen:
            yield f"changed   job {job} {old.jobs[job]} -> {seen}"
    known = {(finding.kind, finding.where.partition(":")[0], finding.text) for finding in old.warnings}
    for finding in new.warnings:
        if (finding.kind, finding.where.partition(":")[0], finding.text) not in known:
            yield f"new       warning: {finding.where}  {finding.text}"
    yield from different_packages(old.packages, new.packages) if new.locked else ()


def different_packages(old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"new       package {name} {new[name]}"
        elif name not in new:
            yield f"gone      package {name} {old[name]}"
        elif old[name] != new[name]:
            yield f"changed   package {name} {old[name]} -> {new[name]}"


def _highest(tags: list[str], current: str) -> str:
    """The tag with the highest version; those of versions before a release count only if `current` is one."""
    found = {}
    for tag in tags:
        with contextlib.suppress(InvalidVersion):
            found[tag] = Version(re.sub(r"^\D*[vV-](?=\d)", "", tag))
    early = current in found and found[current].is_prerelease
    return max((tag for tag in found if early or not found[tag].is_prerelease), key=found.get, default=current)


@contextlib.contextmanager
def _way_out() -> Iterator[None]:
    """Requirements that contradict the worker's own have a way out that uv does not know."""
    try:
        yield
    except bootstrap.InstallError as error:
        text = str(error)
        if re.search(r"pydantic[<=~! ]*(<|==|~=|<=)\s*[12]\b", text):
            text += (
                "\nThe worker that runs a plugin needs pydantic 2 (worker-requirements.txt). pydantic 2 has version 1 "
                "inside: its author can import pydantic.v1, or run what needs pydantic 1 as a program of its own."
            )
        raise bootstrap.InstallError(text) from error


@contextlib.contextmanager
def _free(path: Path) -> Iterator[bool]:
    """Whether nobody holds the lock file at `path`; then it is held."""
    with path.open("a+") as file:
        yield bootstrap.try_lock(file)


def _in_use(environment: Path) -> bool:
    inside = f"{environment}{os.sep}"
    return any(
        any(word.startswith(inside) for word in process.info["cmdline"] or ())
        for process in psutil.process_iter(["cmdline"])
    )
