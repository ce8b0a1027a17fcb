"""Who runs next, and every step of a job's life that a person or another job causes.

Order: highest priority class first (a class gains one rank per AGING_SECONDS of waiting), owners in turn inside it,
oldest first, with a bounded preference for jobs whose model the worker has warm."""

import bisect
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.catalogue import Catalogue, JobType
from core.config import Config
from core.errors import Cancelled, Conflict, DependencyFailed, InvalidParams, QueueFull, TypeMismatch, UnknownArtifact
from core.jobs import PRIORITIES, UNFINISHED, Row, Store, Transaction, new_id, now
from core.types import fits

AGING_SECONDS = 600
LOOK_AHEAD = 4  # jobs that a warm one may overtake


@dataclass
class Entry:
    """A queued job, as far as the choice needs it. `alone`: it was there when a worker died."""

    id: str
    plugin: str
    priority: int
    owner: str
    rank: float
    queued: float
    attempt: int
    warmth: Any
    concurrency: int
    alone: bool = False


class Ready:
    """The queued jobs: a list for each plugin, priority and owner, sorted by rank."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[int, dict[str, list[tuple[float, str]]]]] = {}
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def plugins(self) -> dict[str, int]:
        """How many jobs are queued for each plugin."""
        return {
            plugin: sum(len(lane) for owners in lanes.values() for lane in owners.values())
            for plugin, lanes in self._lanes.items()
        }

    def add(self, entry: Entry) -> None:
        self.remove(entry.id)
        self._entries[entry.id] = entry
        lane = self._lanes.setdefault(entry.plugin, {}).setdefault(entry.priority, {}).setdefault(entry.owner, [])
        bisect.insort(lane, (entry.rank, entry.id))

    def remove(self, job: str) -> Entry | None:
        entry = self._entries.pop(job, None)
        if entry:
            lanes = self._lanes[entry.plugin]
            lane = lanes[entry.priority][entry.owner]
            del lane[bisect.bisect_left(lane, (entry.rank, entry.id))]
            if not lane:
                del lanes[entry.priority][entry.owner]
            if not lanes[entry.priority]:
                del lanes[entry.priority]
            if not lanes:
                del self._lanes[entry.plugin]
        return entry

    def take(self, plugin: str, warm: Any, accepts: Callable[[Entry], bool]) -> Entry | None:
        """The next job for a worker with the model `warm` that `accepts` it; its owner goes to the end of the row."""
        for priority in sorted(self._lanes.get(plugin, {}), key=lambda priority: self._aged(plugin, priority)):
            owners = self._lanes[plugin][priority]
            for owner in list(owners):
                near = [self._entries[job] for _, job in itertools.islice(owners[owner], LOOK_AHEAD)]
                choice = next((entry for entry in near if entry.warmth == warm), near[0])
                if accepts(choice):
                    owners[owner] = owners.pop(owner)
                    return self.remove(choice.id)
        return None

    def position(self, job: str) -> int | None:
        """How many jobs of the same plugin run before this one, if nothing changes."""
        if job not in self._entries:
            return None
        mine = self._entries[job]
        lanes = self._lanes[mine.plugin]
        before = sum(len(lane) for priority in lanes if priority < mine.priority for lane in lanes[priority].values())
        place = bisect.bisect_left(lanes[mine.priority][mine.owner], (mine.rank, mine.id))
        others = (lane for owner, lane in lanes[mine.priority].items() if owner != mine.owner)
        return before + place + sum(min(len(lane), place) for lane in others)

    def _aged(self, plugin: str, priority: int) -> float:
        oldest = min(self._entries[lane[0][1]].queued for lane in self._lanes[plugin][priority].values())
        return priority - (now() - oldest) / AGING_SECONDS


class Scheduler:
    """Moves jobs between their states. `dispatch` and `stop_running` belong to the worker pool, set by it."""

    def __init__(self, config: Config, store: Store, catalogue: Catalogue):
        self._config, self._store, self._catalogue = config, store, catalogue
        self.ready = Ready()
        self.lock = threading.RLock()
        self._waits: dict[str, set[str]] = {}  # job: those it waits for
        self._dependents: dict[str, set[str]] = {}  # job: those that wait for it
        self._unfinished: dict[str, int] = {}  # owner: jobs
        self.paused = config.on_start == "pause" or (config.on_start == "last" and store.meta("paused") == "yes")
        self.dispatch: Callable[[], None] = lambda: None
        self.stop_running: Callable[[Row], None] = lambda row: None

    def recover(self) -> int:
        """After a start: jobs that ran are queued again, not counting against them. Returns how many are unfinished."""
        for row in self._store.all("SELECT id, cancel FROM jobs WHERE state = 'running'"):
            if row["cancel"]:
                self.end(
                    row["id"],
                    "cancelled",
                    error=Cancelled("the job was cancelled; the server stopped meanwhile.").wire(),
                )
            else:
                self._change(row["id"], ("running",), "queued", lease=None, worker=None)
        counts = self._store.all(f"SELECT owner, count(*) AS jobs FROM jobs WHERE state IN {UNFINISHED} GROUP BY owner")
        self._unfinished = {row["owner"]: row["jobs"] for row in counts}
        return sum(self._unfinished.values())

    def admit(self, plugin: str) -> None:
        """The plugin is ready: take up its stored jobs."""
        with self.lock:
            sql = "SELECT * FROM jobs WHERE plugin = ? AND state IN ('queued', 'waiting') ORDER BY rank"
            for row in self._store.all(sql, plugin):
                self._place(row)
        self.dispatch()

    def submit(self, requests: list[dict[str, Any]], owner: str) -> list[Row]:
        """Accept all of `requests` or refuse all. Returns the records, after they are on the disk.

        A request: id (local name, optional), job, params, inputs, priority, session, client_ref, hold, embed_metadata,
        parent, key. An input is an artifact's id, {"job": id or local name, "index": k} or a list of these."""
        if self._unfinished.get(owner, 0) + len(requests) > self._config.max_queued:
            raise QueueFull(
                f"{owner} has {self._unfinished[owner]:,} unfinished jobs, the limit is {self._config.max_queued:,}."
            )
        local: dict[str, Row] = {}
        rows = []
        for request in requests:
            row = self._checked_row(request, owner, local)
            if name := request.get("id"):
                if name in local:
                    raise InvalidParams(f"two jobs of the flow are called {name!r}.", field="id")
                local[name] = row
            rows.append(row)
        fresh = self._store.write(lambda tx: [self._add(tx, row) for row in rows])
        with self.lock:
            for index, row in enumerate(fresh):
                if row is rows[index]:
                    self._unfinished[owner] = self._unfinished.get(owner, 0) + 1
                    self._place(row)
        self.dispatch()
        return fresh

    def _add(self, tx: Transaction, row: Row) -> Row:
        if row["client_ref"]:  # submitted before: the same job
            known = tx.one("SELECT * FROM jobs WHERE owner = ? AND client_ref = ?", row["owner"], row["client_ref"])
            if known:
                return known
        tx.insert(
            "sessions",
            {"id": row["session"], "name": row["session"], "owner": row["owner"], "created": now()},
            "OR IGNORE",
        )
        tx.add_job(row)
        return row

    def _checked_row(self, request: dict[str, Any], owner: str, local: dict[str, Row]) -> Row:
        job = self._catalogue.find(request["job"])
        params = self._catalogue.check(job, request.get("params") or {})
        inputs = self._checked_inputs(job, request.get("inputs") or {}, owner, local)
        if request.get("priority", "normal") not in PRIORITIES:
            raise InvalidParams(f"priority must be one of {', '.join(PRIORITIES)}.", field="priority")
        time = now()
        state = "held" if request.get("hold") else "waiting" if _references(inputs) else "queued"
        return {
            "id": new_id(), "name": job.name, "plugin": job.plugin.name, "state": state,
            "priority": request.get("priority", "normal"), "rank": time, "owner": owner,
            "session": request.get("session") or "default", "client_ref": request.get("client_ref"),
            "parent": request.get("parent"), "key": request.get("key"), "params": params, "inputs": inputs,
            "embed_metadata": request.get("embed_metadata", "full"), "created": time, "queued": time,
            "attempt": 0, "deaths": 0, "version": job.plugin.manifest.get("version"),
        }  # fmt: skip

    def _checked_inputs(
        self, job: JobType, inputs: dict[str, Any], owner: str, local: dict[str, Row]
    ) -> dict[str, Any]:
        ports = job.about["inputs"]
        if unknown := inputs.keys() - ports.keys():
            raise InvalidParams(
                f"{job.name} has no input {', '.join(unknown)}. It has {', '.join(ports) or 'none'}.", field="inputs"
            )
        checked = {}
        for name, port in ports.items():
            given = inputs.get(name)
            items = given if isinstance(given, list) else [] if given is None else [given]
            if not items and not port["optional"]:
                raise InvalidParams(
                    f"{job.name} needs the input {name} ({port['kind']}). Send an artifact's id.", field=name
                )
            checked[name] = [self._checked_reference(job, name, port["kind"], item, owner, local) for item in items]
        return checked

    def _checked_reference(
        self, job: JobType, name: str, wanted: str, item: Any, owner: str, local: dict[str, Row]
    ) -> str | dict[str, Any]:
        if isinstance(item, dict) and isinstance(item.get("job"), str) and isinstance(item.get("index", 0), int):
            source = local.get(item["job"]) or self._store.job(item["job"])
            kind = self._catalogue.find(source["name"]).output_kind
            item = {**item, "job": source["id"]}
        elif isinstance(item, str):
            source = self._store.one("SELECT * FROM artifacts WHERE id = ?", item)
            if source is None:
                raise UnknownArtifact(f"{job.name}: there is no artifact {item[:100]!r}. Upload it first.", field=name)
            kind = source["kind"]
        else:
            raise InvalidParams(f'{job.name}: input {name} must be an artifact\'s id or {{"job": id}}.', field=name)
        if source["owner"] != owner:
            raise UnknownArtifact(f"{job.name}: input {name} belongs to somebody else.", field=name)
        if not fits(kind, wanted):
            raise TypeMismatch(f"{job.name}: input {name} takes {wanted}, this is {kind}.", field=name)
        return item

    def _place(self, row: Row) -> None:
        """Put a queued job into the ready row, or a waiting one behind those that it waits for."""
        if row["state"] == "queued":
            self.ready.add(self._entry(row))
        elif row["state"] == "waiting":
            needed = _references(row["inputs"])
            self._waits[row["id"]] = set(needed)
            for other in needed:
                self._dependents.setdefault(other, set()).add(row["id"])
            for other in needed:
                state = self._store.job(other)["state"]
                if state not in UNFINISHED:
                    self._settle(row["id"], other, state)

    def _entry(self, row: Row, alone: bool = False) -> Entry:
        about = self._catalogue.find(row["name"]).about
        return Entry(
            row["id"], row["plugin"], PRIORITIES.index(row["priority"]), row["owner"], row["rank"],
            row["queued"], row["attempt"], row["params"].get(about["affinity"]), about["concurrency"], alone,
        )  # fmt: skip

    def end(
        self, job: str, state: str, *, states: tuple[str, ...] = ("running",), also: Any = None, **columns: Any
    ) -> Row:
        """The one way into a terminal state; `also(tx)` writes what belongs to it in the same transaction."""

        def change(tx: Transaction) -> Row:
            if also:
                also(tx)
            return tx.update_job(job, states, state=state, finished=now(), lease=None, **columns)

        row = self._store.write(change)
        with self.lock:
            self.ready.remove(job)
            self._unfinished[row["owner"]] = self._unfinished.get(row["owner"], 1) - 1
            self._waits.pop(job, None)
            dependents = self._dependents.pop(job, set())
        for dependent in dependents:
            self._settle(dependent, job, state)
        return row

    def _settle(self, job: str, other: str, state: str) -> None:
        """`job` waited for `other`, which has ended in `state`."""
        if job not in self._waits:
            return
        if state != "done":
            error = DependencyFailed(
                f"job {other}, whose result this one needs, is {state}.", hint="Retry that one first."
            )
            self.end(job, "failed", states=("waiting",), error=error.wire())
            return
        self._waits[job].discard(other)
        if not self._waits[job]:
            del self._waits[job]
            self.ready.add(self._entry(self._change(job, ("waiting",), "queued", queued=now())))

    def _change(self, job: str, states: tuple[str, ...], state: str, **columns: Any) -> Row:
        return self._store.write(lambda tx: tx.update_job(job, states, state=state, **columns))

    def requeue(self, job: str, alone: bool = False, deaths: int = 0) -> None:
        """A running job whose worker is gone runs again, `alone` if it may have been the cause."""
        row = self._store.job(job)
        row = self._change(job, ("running",), "queued", lease=None, worker=None, deaths=row["deaths"] + deaths)
        with self.lock:
            self.ready.add(self._entry(row, alone))

    def cancel(self, job: str, keep_partial: bool = False) -> Row:
        """Cancel in any unfinished state. A running job is told to stop; its terminal event comes when it has."""
        try:
            error = Cancelled("the job was cancelled before it ran.", job=job).wire()
            return self.end(job, "cancelled", states=("held", "waiting", "queued"), error=error)
        except Conflict:
            cancel = "keep" if keep_partial else "discard"
            row = self._store.write(lambda tx: tx.update_job(job, ("running",), cancel=cancel))
            self.stop_running(row)
            return row

    def retry(self, job: str) -> Row:
        """A new job with the stored parameters and inputs of one that has ended."""
        row = self._store.job(job)
        if row["state"] in UNFINISHED:
            raise Conflict(f"job {job} is {row['state']}; retry is for jobs that have ended.", job=job)
        keep = ("params", "inputs", "priority", "session", "embed_metadata")
        return self.submit([{"job": row["name"]} | {key: row[key] for key in keep}], row["owner"])[0]

    def hold(self, job: str) -> Row:
        row = self._change(job, ("waiting", "queued"), "held")
        with self.lock:
            self.ready.remove(job)
            self._waits.pop(job, None)
        return row

    def release(self, job: str) -> Row:
        row = self._store.job(job)
        row = self._change(job, ("held",), "waiting" if _references(row["inputs"]) else "queued", queued=now())
        with self.lock:
            self._place(row)
        self.dispatch()
        return row

    def move(self, job: str, front: bool) -> Row:
        """To the front or the back of what its owner has queued in its priority."""
        row = self._store.job(job)
        edge = self._store.one(
            f"SELECT {'min(rank) - 1' if front else 'max(rank) + 1'} AS rank FROM jobs "
            "WHERE state = 'queued' AND owner = ? AND priority = ?", row["owner"], row["priority"],
        )  # fmt: skip
        rank = row["rank"] if edge["rank"] is None else edge["rank"]
        row = self._store.write(lambda tx: tx.update_job(job, ("held", "waiting", "queued"), rank=rank))
        with self.lock:
            if self.ready.remove(job):
                self.ready.add(self._entry(row))
        return row

    def pause(self, paused: bool) -> None:
        def change(tx: Transaction) -> None:
            tx.insert("meta", {"key": "paused", "value": "yes" if paused else "no"}, "OR REPLACE")
            tx.event("queue", {"paused": paused})

        self._store.write(change)
        self.paused = paused
        self.dispatch()


def _references(inputs: dict[str, Any]) -> list[str]:
    return [item["job"] for items in inputs.values() for item in items if isinstance(item, dict)]
