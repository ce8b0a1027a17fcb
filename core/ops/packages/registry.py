"""Which packages are installed, which of their releases is active, and which plugins are switched off: one small file.

`packages/installed.json` is replaced as a whole, so whoever reads it sees the state before a change or the one after.
A release is a folder `packages/NAME/RELEASE/NAME` that never changes."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pydantic

from core.errors import Conflict
from core.ops import bootstrap


class Release(pydantic.BaseModel):
    """One version of a plugin as it was fetched: `id` is its folder, `source` what it was asked for by."""

    id: str
    version: str
    hash: str
    source: str
    ref: str | None = None
    commit: str | None = None
    licence: str | None = None
    installed_at: float


class Installed(pydantic.BaseModel):
    """`releases` in the order of their installation; `active` is the id of the one that runs."""

    active: str
    releases: list[Release]

    @property
    def release(self) -> Release:
        return next(each for each in self.releases if each.id == self.active)


class State(pydantic.BaseModel):
    """`disabled` may name plugins of any folder; `links` are folders that somebody develops a plugin in."""

    plugins: dict[str, Installed] = {}
    disabled: list[str] = []
    links: dict[str, Path] = {}


class Registry:
    """The state in a folder of packages. Several processes may read and change it."""

    def __init__(self, folder: Path):
        self.folder, self._file = folder, folder / "installed.json"
        self._seen: tuple[tuple[int, int, int] | None, State] = (None, State())
        self._reading = threading.Lock()

    def read(self) -> State:
        """The state now; not to be changed. Raises Conflict if the file is not what we wrote."""
        with self._reading:
            try:
                about = self._file.stat()
            except FileNotFoundError:
                return State()
            version = (about.st_mtime_ns, about.st_size, about.st_ino)
            if version != self._seen[0]:
                try:
                    self._seen = version, State.model_validate_json(self._file.read_bytes())
                except pydantic.ValidationError as error:
                    problem = error.errors()[0]["msg"]
                    text = f"{self._file} is not the list of installed plugins any more: {problem}."
                    raise Conflict(text, hint="Bring back a copy of it, or delete it and install again.") from error
            return self._seen[1]

    @contextlib.contextmanager
    def change(self, say: Callable[[str], None] = bootstrap.say) -> Iterator[State]:
        """The state, to be changed: what it is at the end of the block counts from then on, for everybody. If the block
        fails, nothing has changed. Who else changes it waits."""
        with bootstrap.only_one(self.folder / ".lock", say):
            state = self.read().model_copy(deep=True)
            yield state
            part = self._file.with_name(".installed.json")
            with part.open("w", encoding="utf-8") as file:
                file.write(state.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._file)

    def place(self, name: str, release: str) -> Path:
        """The folder of a release."""
        return self.folder / name / release / name

    def places(self, roots: list[Path]) -> dict[str, tuple[str, Path]]:
        """By name, where each plugin is: in a folder of `roots`, installed, or linked for development."""
        found = {}
        for root in roots:
            found |= {path.parent.name: ("folder", path.parent) for path in sorted(root.glob("[!.]*/plugin.toml"))}
        links = self.read().links
        found |= {name: ("linked" if name in links else "installed", path) for name, path in self.folders().items()}
        return dict(sorted(found.items()))

    def folders(self) -> dict[str, Path]:
        """By name, the plugins that are to be loaded: linked ones, else the active releases."""
        state = self.read()
        return {name: self.place(name, each.active) for name, each in state.plugins.items()} | state.links
