"""Jobs that need not run: an equal one of the same owner is done, and its results are given again.

A job that says so (`@job(reuse=True)`) is looked at once, when it is queued and before a worker can have it. Equal are
jobs with one digest, over all that decides the result: name, version and code of the plugin, its settings, parameters,
the inputs' bytes, what metadata are wanted, and the names, sizes and times of all files that models are read from."""

import contextlib
import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import socketio

from core.artifacts import Blobs
from core.errors import Conflict, CoreError
from core.jobs import Row, Store, Transaction, now
from core.library.catalogue import Catalogue
from core.library.fair import fairly
from core.library.inputs import look_up
from core.ops.config import Config
from core.scheduler import Scheduler
from core.workers import Pool

AT_ONCE = 200  # jobs looked at with one look at the models
EARLIER = 10  # equal jobs that are considered, the newest first
WAITING = "FROM jobs WHERE state = 'queued' AND reuse IS NOT NULL AND plugin = ?"
log = logging.getLogger(__name__)
NAMELESS = {"name": None, "path": None}  # a program may have named the other
FIRST = f"SELECT * {WAITING} ORDER BY class, rank LIMIT ?"
PLACE = "program, class, rank, rowid"  # as the index has them
NEXT = f"""SELECT {PLACE} FROM jobs WHERE state = 'queued' AND plugin = ? AND ({PLACE}) > (?, ?, ?, ?)
    ORDER BY {PLACE} LIMIT ?"""
ANEW = """UPDATE jobs SET reuse = 'fresh', digest = NULL
    WHERE rowid IN (SELECT value FROM json_each(?)) AND digest IS NOT NULL"""


class Reuse:
    """`look` is called by the pool before it hands out jobs. `exported(row, outputs)` gets the results that are given
    again, for the outputs folder: each job has its files there."""

    def __init__(
        self, config: Config, store: Store, catalogue: Catalogue, scheduler: Scheduler, pool: Pool, blobs: Blobs,
        sio: socketio.Server, run_blocking: Callable[..., Any], exported: Callable[[Row, list[Row]], None],
    ):  # fmt: skip
        self._config, self._store, self._catalogue, self._scheduler = config, store, catalogue, scheduler
        self._pool, self._blobs, self._sio = pool, blobs, sio
        self._run_blocking, self._exported = run_blocking, exported
        self._looking, self._next, self._wanted = threading.Lock(), False, set[str]()
        pool.look = self.look

    def look(self, plugins: Iterable[str]) -> None:
        """Look at the jobs of these plugins that are queued and were not looked at yet, without keeping the caller.
        One at a time does that, and at most one more waits to see what has come meanwhile."""
        with contextlib.suppress(CoreError):  # the store cannot be read: the watchdog has us asked again
            for plugin in plugins:
                if self._ready(plugin) and self._store.one(f"SELECT id {WAITING} LIMIT 1", plugin):
                    self._wanted.add(plugin)
        if self._wanted and not self._next:
            self._next = True
            self._sio.start_background_task(self._look)

    def _look(self) -> None:
        with self._looking:
            self._next = False
            try:
                while self._wanted:  # which may grow meanwhile
                    plugin = self._wanted.pop()
                    while self._ready(plugin) and (rows := self._store.all(FIRST, plugin, AT_ONCE)):
                        self._settle(plugin, rows)
                        self._pool.dispatch({plugin})
            except Exception:  # the disk is full, say: the watchdog has everything looked at again
                log.exception("looking for equal jobs failed")

    def _ready(self, plugin: str) -> bool:
        return plugin in self._catalogue.plugins and self._catalogue.plugins[plugin].status == "ready"

    def _basis(self, plugin: str) -> Any:
        """What digests are made of besides jobs and models. It changes before jobs are to be noted anew."""
        info = self._catalogue.plugins.get(plugin)
        return info and (info.status, info.content, info.settings)

    def _settle(self, plugin: str, rows: list[Row]) -> None:
        """Each of the plugin's jobs is done with the results of an equal one, or may run, or is looked at again because
        the plugin is another one by now."""
        basis = self._basis(plugin)
        shipped = self._catalogue.shipped_models()
        folders = [self._config.models, *(Path(model["path"]) for model in shipped)]
        but = [self._config.models / model["kind"] for model in shipped if "suffixes" in model]  # data of programs
        state = self._run_blocking(state_of, folders, but)
        digests, rest = {}, []
        for row in fairly(rows):
            digests[row["id"]] = self._digest(row, state)
            if not self._give(row, digests[row["id"]]):
                rest.append(row)

        def change(tx: Transaction) -> None:
            if self._basis(plugin) != basis:
                return
            for row in rest:  # whatever was done to it meanwhile, it is looked at only once
                tx.all("UPDATE jobs SET reuse = NULL, digest = ? WHERE id = ?", digests[row["id"]], row["id"])

        self._store.write(change)

    def _digest(self, row: Row, models: str) -> str | None:
        known = self._catalogue.jobs.get(row["name"])
        try:
            found = look_up(self._store, row["inputs"])
        except CoreError:  # it is gone, as whoever runs the job will see
            return None
        if not known or not known.about["reuse"]:  # the plugin is another one by now
            return None
        inputs = {name: [(each["kind"], each["sha256"]) for each in items] for name, items in found.items()}
        parts = [row["name"], row["version"], known.plugin.content, known.plugin.settings, plain(row["params"]), inputs]
        text = json.dumps([*parts, row["embed_metadata"], models], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _give(self, row: Row, digest: str | None) -> bool:
        """Whether there was an equal job, so that this one is done."""
        if row["reuse"] != "look" or digest is None or not self._equal(self._store, row, digest):
            return False

        def give(tx: Transaction) -> Row:
            found = self._equal(tx, row, digest)
            if not found:
                raise Conflict(f"the job whose results {row['id']} was to have is gone.")
            earlier, outputs = found
            parents = [each["id"] for items in look_up(tx, row["inputs"]).values() for each in items]
            for output in outputs:
                own = {"id": f"{row['id']}.{output['idx']}", "job": row["id"], "session": row["session"]}
                tx.add_artifact(output | own | {"review": "new", "created": now()} | NAMELESS, parents)
            drawn_by = (earlier["metrics"] or {}).get("reused_from", earlier["id"])
            return {"metrics": {"reused_from": drawn_by}}

        try:
            columns = {"digest": digest, "reuse": None}
            ended = self._scheduler.end(row["id"], "done", states=("queued",), also=give, **columns)
        except Conflict:  # or it was cancelled, held ...
            return False
        self._exported(ended, self._store.outputs(ended["id"]))
        return True

    def _equal(self, db: Transaction | Store, row: Row, digest: str) -> tuple[Row, list[Row]] | None:
        """The newest equal job that is done and all of whose results can be given again, and these."""
        sql = "SELECT * FROM jobs WHERE owner = ? AND digest = ? AND +state = 'done' ORDER BY id DESC LIMIT ?"
        for earlier in db.all(sql, row["owner"], digest, EARLIER):
            outputs = db.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", earlier["id"])
            if all(self._usable(output) for output in outputs):
                return earlier, outputs
        return None

    def _usable(self, output: Row) -> bool:
        whole = output["review"] != "rejected" and not output["facts"].get("partial")
        return whole and self._blobs.path(output["sha256"]).is_file()


def plain(params: Row) -> Row:
    """The same however it was written: 7 for 7.0."""

    def number(text: str) -> int | float:
        return int(value) if (value := float(text)).is_integer() else value

    return json.loads(json.dumps(params), parse_float=number)


def state_of(folders: list[Path], but: Iterable[Path] = ()) -> str:
    """A hash of the names, sizes and times of all that is in these folders (or files), but for what is in `but`; also
    behind links. It changes with every file that comes, goes, moves or is written, whatever the clocks say, and does
    not come back: folders have their times, too. Names that begin with a dot do not count: those are notes of programs,
    which may keep them in `folders` themselves. Reads no file; may take long."""
    digest, seen, waiting = hashlib.sha256(), set(), [str(folder) for folder in folders]
    tops, left_out = {*waiting}, {str(path) for path in but}
    while waiting:
        if (path := waiting.pop()) in left_out:
            continue
        try:
            about = os.stat(path)
            inside = sorted(os.listdir(path)) if stat.S_ISDIR(about.st_mode) else None
        except OSError as error:  # a link that leads nowhere, or not for us to read
            digest.update(f"{path!r} {error.errno}\n".encode())
            continue
        place = (about.st_dev, about.st_ino)
        if inside is None or path not in tops:
            numbers = (*place, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            digest.update(f"{path!r} {numbers}\n".encode())
        if inside and place not in seen:  # links may lead in a circle
            seen.add(place)
            waiting += [os.path.join(path, name) for name in inside if not name.startswith(".")]
    return digest.hexdigest()


def note_anew(tx: Transaction, plugin: str) -> None:
    """What was noted of its queued jobs is not true any more: it will be noted anew, and they run."""
    after = [-1, -1, 0, 0]
    while rows := tx.all(NEXT, plugin, *after, AT_ONCE):
        tx.all(ANEW, json.dumps([row["rowid"] for row in rows]))
        after = [*rows[-1].values()]
