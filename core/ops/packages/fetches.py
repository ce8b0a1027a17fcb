"""Has models fetched that plugins name: one after the other, each by a process of its own; everybody sees how far."""

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import socketio
from pydantic import Field

from core.api import EVERYONE, Handler
from core.auth import admin_only
from core.errors import Conflict, CoreError, Internal, InvalidParams, NotFound
from core.jobs import Row, Store
from core.library.catalogue import Catalogue
from core.library.declared import DeclaredModel, fetchable
from core.library.near import did_you_mean
from core.ops import processes
from core.ops.config import Config

STEP_SECONDS = 0.3
log = logging.getLogger(__name__)


class Fetches:
    """What was asked for is told by `models`, with each offer, and by the events `models` and `fetching`."""

    def __init__(
        self, config: Config, catalogue: Catalogue, store: Store, sio: socketio.Server, run_blocking: Callable[..., Any]
    ):
        self._config, self._catalogue, self._store = config, catalogue, store
        self._sio, self._run_blocking = sio, run_blocking
        self._queued: dict[str, DeclaredModel] = {}
        self._working, self._guard = False, threading.Lock()
        self.handlers: list[Handler] = [self.fetch_model]

    def fetch_model(
        self, owner: str, id: Annotated[str, Field(max_length=400)], licence: str | None = None,
        plugin: str | None = None, stop: bool = False,
    ) -> Row:  # fmt: skip
        """Have a model fetched that a plugin names, an `id` of `fetchable` in `models`; or stop that. `licence` has to
        be the one told there: so somebody has seen it."""
        admin_only(owner, "fetch models")
        if stop:
            return {"fetch": self._stop(id)}
        offers = [(info.name, info.manifest) for info in list(self._catalogue.plugins.values()) if info.manifest]
        model = find(offers, id, plugin)
        if licence != model.licence:
            told = f"its licence is {model.licence}" if model.licence else "the plugin does not tell its licence"
            hint = "Who fetches it has to accept that: send what is told as licence, null if nothing is."
            raise InvalidParams(f"{id}: {told}.", field="licence", hint=hint)
        if self._catalogue.fetches.get(id, {}).get("state") not in ("queued", "running"):
            self._note(id, state="queued", phase="", done_bytes=0, total_bytes=model.size_bytes, error=None)
            with self._guard:
                self._queued[id] = model
                begin, self._working = not self._working, True
            if begin:
                self._sio.start_background_task(self._work)
        return {"fetch": self._catalogue.fetches[id]}

    def _stop(self, id: str) -> Row:
        """What is there of it stays, and the next fetch goes on from there."""
        if self._catalogue.fetches.get(id, {}).get("state") not in ("queued", "running"):
            raise Conflict(f"{id[:400]} is not being fetched.")
        with self._guard:
            self._queued.pop(id, None)
        self._note(id, state="cancelled")
        return self._catalogue.fetches[id]

    def _work(self) -> None:
        while True:
            with self._guard:
                self._working = bool(self._queued)
                if not self._queued:
                    return
                id = next(iter(self._queued))
                model = self._queued.pop(id)
            try:
                self._fetch(id, model)
            except (OSError, CoreError) as error:  # the disk is full, say
                log.exception("fetching %s failed", id)
                with contextlib.suppress(CoreError):
                    self._note(id, state="failed", error=Internal(f"{id} cannot be fetched: {error}").wire())

    def _fetch(self, id: str, model: DeclaredModel) -> None:
        said_in = self._config.data / "logs" / "fetch.log"
        said_in.unlink(missing_ok=True)
        settings = {"model": model.model_dump(), "folder": str(self._config.models)}
        settings["shipped"] = self._catalogue.shipped_models()
        started = (Path(sys.executable), settings, said_in, "core.ops.packages.fetching")
        process = self._run_blocking(processes.LocalProcess, *started)
        try:
            if self._catalogue.fetches[id]["state"] == "queued":  # nobody has stopped it meanwhile
                self._note(id, state="running")
            code = None
            while code is None and self._is_running(id):
                time.sleep(STEP_SECONDS)
                code = process.exit_code()
                said = self._run_blocking(_last_line, said_in)
                if said and self._is_running(id):
                    self._note(id, **said)
            if self._is_running(id):
                hint = f"Its log says why: {said_in}. Fetch it again: it goes on from there."
                error = Internal(f"fetching {id} has ended too soon (exit code {code}).", hint=hint)
                self._note(id, state="failed", error=error.wire())
        finally:
            process.kill()

    def _is_running(self, id: str) -> bool:
        """Not if somebody has stopped it."""
        return self._catalogue.fetches[id]["state"] == "running"

    def _note(self, id: str, **changes: Any) -> None:
        """Tell everybody: of a new state by an event that is kept, of how far it is by one that is not."""
        before = self._catalogue.fetches.get(id, {})
        now = before | {"id": id} | changes
        self._catalogue.fetches[id] = now
        if now.get("state") != before.get("state"):
            self._store.write(lambda tx: tx.event("models", {"kinds": [id.partition("/")[0]]}, {}))
        if now != before:
            self._sio.emit("fetching", now, to=EVERYONE)


def find(offers: list[tuple[str, Row]], id: str, plugin: str | None = None) -> DeclaredModel:
    """The model that plugins, by name and manifest, name so. Raises NotFound, or Conflict if they mean several."""
    named = [(name, model) for name, manifest in offers for model in fetchable(manifest)]
    found = {(model.sha256 or model.address, name): model for name, model in named if model.id == id}
    if plugin is not None:
        found = {key: model for key, model in found.items() if key[1] == plugin}
    if not found:
        known = [model.id for name, model in named if plugin in (None, name)]
        allowed = did_you_mean(id, known) or f" Known are {', '.join(known[:10]) or 'none'}."
        raise NotFound(
            f"{plugin or 'no plugin'} names {'no' if plugin else 'a'} model {id[:400]!r}.{allowed}", field="id"
        )
    if len({of for of, _ in found}) > 1:
        names = " and ".join(name for _, name in found)
        raise Conflict(f"{names} each mean another file by {id}.", field="plugin", hint="Say which plugin's.")
    return next(iter(found.values()))


def _last_line(log: Path) -> Row | None:
    """What the process has said last, if it is whole; the log may hold a traceback, too."""
    for line in reversed(log.read_text("utf-8", "replace").splitlines()[-20:] if log.exists() else []):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            return said
    return None
