"""Who runs next, and every step of a job's life that a person or another job causes.

Order: highest priority class first, inside it by rank, with a bounded preference for jobs whose model is warm. A new
job's rank is one more than its owner's last one and than that of the job now in front: so owners take turns, and each
owner's jobs run oldest first. Jobs that have waited for AGING_SECONDS rise by a class. All of this is in the store, so
nothing has to be rebuilt after a start."""

import json
from collections.abc import Callable
from typing import Any

from core.catalogue import Catalogue, JobType
from core.config import Config
from core.errors import Cancelled, Conflict, DependencyFailed, InvalidParams, QueueFull, TypeMismatch, UnknownArtifact
from core.jobs import PRIORITIES, UNFINISHED, Row, Store, Transaction, new_id, now
from core.types import fits

AGING_SECONDS = 600
LOOK_AHEAD = 4  # jobs among which a warm one may overtake


class Scheduler:
    """Moves jobs between their states. `dispatch` and `stop_running` are the worker pool's, set by it."""

    def __init__(self, config: Config, store: Store, catalogue: Catalogue):
        self._config, self._store, self._catalogue = config, store, catalogue
        last = store.one("SELECT value FROM meta WHERE key = 'paused'") or {"value": "no"}
        self.paused = config.on_start == "pause" or (config.on_start == "last" and last["value"] == "yes")
        self.dispatch: Callable[[set[str]], None] = lambda plugins: None
        self.stop_running: Callable[[Row], None] = lambda row: None

    def recover(self) -> int:
        """After a start: jobs that ran are queued again, not counting against them. Returns how many are unfinished."""
        for row in self._store.all("SELECT id, cancel FROM jobs WHERE state = 'running'"):
            if row["cancel"]:
                self.end(row["id"], "cancelled", error=Cancelled("the job was cancelled.", job=row["id"]).wire())
            else:
                self.requeue(row["id"])
        return self._store.all("SELECT coalesce(sum(unfinished), 0) AS jobs FROM lanes")[0]["jobs"]

    def submit(self, requests: list[Row], owner: str) -> list[Row]:
        """Accept all of `requests` or refuse all. Returns the records, after they are on the disk.

        A request: id (local name, optional), job, params, inputs, priority, session, client_ref, hold, embed_metadata.
        An input is an artifact's id, {"job": id or local name of an earlier one, "index": k}, or a list of these."""
        checked = []
        for request in requests:
            job = self._catalogue.find(request["job"])
            checked.append((request, job, job.check(request["params"]), job.check_inputs(request["inputs"])))
        rows = self._store.write(lambda tx: self._add_all(tx, checked, owner))
        self.dispatch({row["plugin"] for row in rows})
        return rows

    def _add_all(self, tx: Transaction, checked: list[tuple[Row, JobType, Row, Row]], owner: str) -> list[Row]:
        count = tx.all("SELECT coalesce(sum(unfinished), 0) AS jobs FROM lanes WHERE owner = ?", owner)[0]["jobs"]
        if count + len(checked) > self._config.max_queued:
            raise QueueFull(f"{owner} has {count:,} unfinished jobs, the limit is {self._config.max_queued:,}.")
        local: dict[str, Row] = {}
        rows = []
        for request, job, params, inputs in checked:
            references = {
                name: [self._reference(tx, job, name, item, owner, local) for item in items]
                for name, items in inputs.items()
            }
            rows.append(self._add(tx, request, job, params, references, owner))
            if (name := request.get("id")) in local:
                raise InvalidParams(f"two jobs of the flow are called {name!r}.", field="id")
            local[request.get("id") or rows[-1]["id"]] = rows[-1]
        return rows

    def _add(self, tx: Transaction, request: Row, job: JobType, params: Row, inputs: Row, owner: str) -> Row:
        if ref := request.get("client_ref"):  # submitted before: the same job
            if known := tx.one("SELECT * FROM jobs WHERE owner = ? AND client_ref = ?", owner, ref):
                return known
        needs = {item["job"] for items in inputs.values() for item in items if isinstance(item, dict)}
        unfinished = [other for other in needs if self._unfinished(tx, other)]
        plugin, priority, time = job.plugin.name, request["priority"], now()
        lane = "SELECT rank FROM lanes WHERE owner = ? AND plugin = ? AND priority = ?"
        front = "SELECT rank FROM jobs WHERE state = 'queued' AND plugin = ? AND class = ? ORDER BY rank LIMIT 1"
        class_ = PRIORITIES.index(priority)
        ranks = tx.all(lane, owner, plugin, priority) + tx.all(front, plugin, class_)
        row = {
            "id": new_id(), "name": job.name, "plugin": plugin, "priority": priority, "class": class_,
            "state": "held" if request["hold"] else "waiting" if unfinished else "queued",
            "rank": max((row["rank"] for row in ranks), default=0) + 1, "owner": owner, "session": request["session"],
            "client_ref": ref, "params": params, "inputs": inputs, "embed_metadata": request["embed_metadata"],
            "version": job.plugin.manifest.get("version"), "warmth": json.dumps(params.get(job.about["affinity"])),
            "created": time, "queued": time, "attempt": 0,
        }  # fmt: skip
        session = {"id": row["session"], "owner": owner, "name": row["session"], "created": time}
        tx.insert("sessions", session, "OR IGNORE")
        tx.add_job(row)
        for other in unfinished:
            tx.insert("waits", {"job": row["id"], "needs": other})
        return row

    def _unfinished(self, tx: Transaction, job: str) -> bool:
        state = tx.all("SELECT state FROM jobs WHERE id = ?", job)[0]["state"]
        if state in ("failed", "cancelled"):
            raise DependencyFailed(f"job {job}, whose result is needed, is {state}. Retry it first.", field="inputs")
        return state in UNFINISHED

    def _reference(self, tx: Transaction, job: JobType, name: str, item: Any, owner: str, local: dict[str, Row]) -> Any:
        """An input's reference with local names replaced; raises if it does not exist or does not fit."""
        wanted, source = job.about["inputs"][name]["kind"], None
        if isinstance(item, str):
            source = tx.one("SELECT owner, kind FROM artifacts WHERE id = ?", item)
        elif isinstance(item, dict) and isinstance(item.get("job"), str) and isinstance(item.get("index", 0), int):
            source = local.get(item["job"]) or tx.one("SELECT * FROM jobs WHERE id = ?", item["job"])
            if source:
                item = {**item, "job": source["id"]}
                source = {**source, "kind": self._catalogue.find(source["name"]).about["output"]["kind"]}
        else:
            raise InvalidParams(f'{job.name}: {name} must be an artifact\'s id or {{"job": id}}.', field=name)
        if source is None or source["owner"] != owner:
            raise UnknownArtifact(
                f"{job.name}: for {name} there is no {str(item)[:100]!r}. Upload it first.", field=name
            )
        if not fits(source["kind"], wanted):
            raise TypeMismatch(f"{job.name}: {name} takes {wanted}, this is {source['kind']}.", field=name)
        return item

    def next(self, plugin: str, warm: str | None) -> Row | None:
        """The queued job that a worker with the model `warm` should run now."""
        near = self._store.all(
            "SELECT * FROM jobs WHERE state = 'queued' AND plugin = ? ORDER BY class, rank LIMIT ?", plugin, LOOK_AHEAD
        )
        same = (row for row in near if row["warmth"] == warm and row["class"] == near[0]["class"])
        return next(same, None) or next(iter(near), None)

    def queued(self, plugin: str) -> int:
        """How many jobs of a plugin are queued, counted up to a few."""
        sql = "SELECT id FROM jobs WHERE state = 'queued' AND plugin = ? LIMIT 16"
        return len(self._store.all(sql, plugin))

    def age(self) -> None:
        """Called now and then: what has waited for long rises by a class."""
        sql = "UPDATE jobs SET class = class - 1, queued = ? WHERE state = 'queued' AND class > 0 AND queued < ?"
        self._store.write(lambda tx: tx.all(sql, now(), now() - AGING_SECONDS))

    def end(
        self, job: str, state: str, *, states: tuple[str, ...] = ("running",),
        also: Callable[[Transaction], None] | None = None, **columns: Any,
    ) -> Row:  # fmt: skip
        """The one way into a terminal state; `also` writes what belongs to it in the same transaction."""
        settled: set[str] = set()

        def change(tx: Transaction) -> Row:
            if also:
                also(tx)
            row = tx.update_job(job, states, state=state, finished=now(), lease=None, **columns)
            settled.update(self._settle(tx, row))
            return row

        row = self._store.write(change)
        self.dispatch({row["plugin"], *settled})
        return row

    def _settle(self, tx: Transaction, row: Row) -> set[str]:
        """Those that waited for `row`: queued if it is done and was the last one, else failed, and so on down.

        Returns the plugins that have new queued jobs."""
        ended, plugins = [row], set()
        while ended:
            row = ended.pop()
            for job in [each["job"] for each in tx.all("DELETE FROM waits WHERE needs = ? RETURNING job", row["id"])]:
                if row["state"] != "done":
                    text = f"job {row['id']}, whose result this one needs, is {row['state']}. Retry that one first."
                    error = DependencyFailed(text, job=job).wire()
                    columns = {"state": "failed", "finished": now(), "error": error}
                    ended.append(tx.update_job(job, ("waiting", "held"), **columns))
                elif tx.one("SELECT id FROM jobs WHERE id = ? AND state = 'waiting'", job):
                    if not tx.one("SELECT job FROM waits WHERE job = ?", job):
                        plugins.add(tx.update_job(job, ("waiting",), state="queued", queued=now())["plugin"])
        return plugins

    def _change(self, job: str, states: tuple[str, ...], **columns: Any) -> Row:
        return self._store.write(lambda tx: tx.update_job(job, states, **columns))

    def requeue(self, job: str, alone: bool = False, deaths: int = 0) -> None:
        """A running job whose worker is gone runs again, `alone` if it may have been the cause."""
        deaths += self._store.job(job)["deaths"]
        self._change(job, ("running",), state="queued", lease=None, worker=None, alone=int(alone), deaths=deaths)

    def cancel(self, job: str, keep_partial: bool = False) -> Row:
        """Cancel in any unfinished state. A running job is told to stop; its terminal event comes when it has."""
        try:
            error = Cancelled("the job was cancelled before it ran.", job=job).wire()
            row = self.end(job, "cancelled", states=("held", "waiting", "queued"), error=error)
        except Conflict:
            row = self._change(job, ("running",), cancel="keep" if keep_partial else "discard")
            self.stop_running(row)
        return row
