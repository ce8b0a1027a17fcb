"""Who runs next, and every step of a job's life that a person or another job causes.

Order: highest priority class first, inside it by rank, with a bounded preference for jobs whose model is warm. A new
job's rank is one more than its owner's last one and than that of the job now in front: so owners take turns, and each
owner's jobs run oldest first. Jobs that have waited for long rise by a class. All of this is in the store, so
nothing has to be rebuilt after a start."""

import json
from collections.abc import Callable
from typing import Any

from core.errors import Cancelled, Conflict, InvalidParams, QueueFull
from core.jobs import PRIORITIES, Row, Store, Transaction, new_id, now
from core.library.catalogue import Catalogue, JobType
from core.library.checking import Checked, check_all
from core.library.converting import insert
from core.library.families import cancel_children, cancel_family
from core.library.inputs import Inputs, References
from core.library.placing import Some, first
from core.library.ranks import rank_of_new
from core.library.waiting import After, settle
from core.ops.config import Config

LOOK_AHEAD = 4  # ranks that a warm job may overtake
CONVERTER = dict.fromkeys(("id", "client_ref", "key", "extends")) | {"hold": False, "fresh": False}  # what is its own
GLANCE = "id, name, plugin, priority, class, rank, warmth, queued, attempt, alone, low_memory"  # decides who is next


class Scheduler:
    """Moves jobs between their states. `dispatch`, `stop_running` and `tell_progress` are the worker pool's."""

    def __init__(self, config: Config, store: Store, catalogue: Catalogue):
        self._config, self._store, self._catalogue = config, store, catalogue
        last = store.one("SELECT value FROM meta WHERE key = 'paused'") or {"value": "no"}
        self.paused = config.on_start == "pause" or (config.on_start == "last" and last["value"] == "yes")
        self.dispatch: Callable[[set[str]], None] = lambda plugins: None
        self.stop_running: Callable[[Row], None] = lambda row: None
        self.tell_progress: Callable[[str], None] = lambda program: None

    def recover(self, adopted: set[str]) -> int:
        """After a start: jobs that ran are queued again, not counting against them, but for those whose workers may
        come back with them. Returns how many are unfinished."""
        for row in self._store.all("SELECT id, lease, cancel FROM jobs WHERE state = 'running'"):
            if row["cancel"]:
                self.end(row["id"], "cancelled", error=Cancelled("the job was cancelled.", job=row["id"]).wire())
            elif row["id"] not in adopted:
                self.requeue(row["id"], row["lease"])
        return self._store.all("SELECT coalesce(sum(unfinished), 0) AS jobs FROM lanes")[0]["jobs"]

    def submit(self, requests: list[Row], owner: str, lease: str | None = None, flow: bool = False) -> list[Row]:
        """Accept all of `requests` or refuse all. Returns the records, after they are on the disk. Errors in a `flow`
        say in which job they are.

        A request: id (local name, optional), job, params, inputs, priority, session, client_ref, hold, fresh,
        embed_metadata.
        An input is an artifact's id, {"job": id or local name of an earlier one, "index": k}, or a list of these;
        with "review": "picked" in it, it takes what a person has picked of that job's outputs, and waits for that.
        What does not fit goes through a converter, if there is exactly one: `converters` of a record are these jobs.
        Those of a program, which has the `lease`, also have parent and key; a program has what it `extends`, if any."""
        checked = check_all(self._catalogue, requests, flow)
        rows = self._store.write(lambda tx: self._add_all(tx, checked, owner, lease))
        names = [name for row in rows for name in (row["name"], *(row.get("converters") or {}).values())]
        self.dispatch({name.partition(".")[0] for name in names})
        return rows

    def _add_all(self, tx: Transaction, checked: list[Checked], owner: str, lease: str | None) -> list[Row]:
        if lease and not tx.one("SELECT id FROM jobs WHERE state = 'running' AND lease = ? AND cancel IS NULL", lease):
            raise Cancelled("the program was cancelled, or runs elsewhere.")
        new, inputs, rows = 0, Inputs(tx, self._catalogue, owner, bool(lease)), []

        def add(request: Row, job: JobType, params: Row, references: References) -> Row:
            converters = insert(references, lambda by, given: add(request | CONVERTER, by, by.check({}), given))
            unfinished = inputs.unfinished(references)
            row = self._add(tx, request, job, params, references, unfinished, owner)
            return row | {"converters": converters or None}

        for place, request, job, params, given in checked:
            references = inputs.check(job, given, place)
            known, name = self._known(tx, request, owner), request.get("id")
            rows.append(known or add(request, job, params, references))
            new += 0 if known else 1 + len(rows[-1]["converters"] or ())
            if name in inputs.local:
                raise InvalidParams(f"two jobs of the flow are called {name!r}.", field=f"{place}id")
            inputs.local[name or rows[-1]["id"]] = rows[-1]
        settle(tx, After(), *inputs.bad)
        if new and (count := self._count(tx, owner)) > self._config.max_queued:
            raise QueueFull(f"{owner} has {count - new:,} unfinished jobs, the limit is {self._config.max_queued:,}.")
        return rows

    def _known(self, tx: Transaction, request: Row, owner: str) -> Row | None:
        """The job that an equal request has made before."""
        if parent := request.get("parent"):
            return tx.one("SELECT * FROM jobs WHERE parent = ? AND key = ?", parent, request["key"])
        ref = request.get("client_ref")
        return tx.one("SELECT * FROM jobs WHERE owner = ? AND client_ref = ?", owner, ref) if ref else None

    def _count(self, tx: Transaction, owner: str) -> int:
        return tx.all("SELECT coalesce(sum(unfinished), 0) AS jobs FROM lanes WHERE owner = ?", owner)[0]["jobs"]

    def _add(
        self, tx: Transaction, request: Row, job: JobType, params: Row, inputs: Row, unfinished: list[str], owner: str
    ) -> Row:
        plugin, priority, time = job.plugin.name, request["priority"], now()
        row = {
            "id": new_id(), "name": job.name, "plugin": plugin, "priority": priority,
            "class": PRIORITIES.index(priority), "rank": rank_of_new(tx, owner, job, priority),
            "state": "held" if request["hold"] else "waiting" if unfinished else "queued", "owner": owner,
            "session": request["session"], "client_ref": request.get("client_ref"), "params": params, "inputs": inputs,
            "embed_metadata": request["embed_metadata"], "version": job.plugin.manifest.get("version"),
            "warmth": json.dumps(job.warmth(params)), "created": time, "queued": time, "aged": time,
            "attempt": 0, "program": int(job.about["program"]),
            "extends": request.get("extends"), "parent": request.get("parent"), "key": request.get("key"),
            "reuse": job.reuse(params, request["fresh"]),
        }  # fmt: skip
        tx.add_session(row["session"], owner)
        tx.add_job(row)
        for other in unfinished:
            tx.insert("waits", {"job": row["id"], "needs": other})
        return row

    def next(self, plugin: str, program: bool, warm: str | None, some: Some | None = None) -> Row | None:
        """The queued job (or program) that a worker with the model `warm` should run now, of all or of `some`."""
        queued = f"SELECT {GLANCE} FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ? AND reuse IS NULL"
        near = self._store.all(*first(LOOK_AHEAD, some, queued, plugin, program))
        for row in near:
            overtakes = row["class"] == near[0]["class"] and row["rank"] < near[0]["rank"] + LOOK_AHEAD
            if row["warmth"] == warm and overtakes:
                return row
        return next(iter(near), None)

    def queued(self, plugin: str, program: bool, some: Some | None = None) -> int:
        """How many jobs (or programs) of a plugin are queued, counted up to a few."""
        queued = f"SELECT {GLANCE} FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ?"
        return len(self._store.all(*first(16, some, queued, plugin, program)))

    def end(
        self, job: str, state: str, *, states: tuple[str, ...] = ("running",),
        also: Callable[[Transaction], Row | None] | None = None, **columns: Any,
    ) -> Row:  # fmt: skip
        """The one way into a terminal state; `also` writes what belongs to it in the same transaction, and may return
        columns that count more than those given."""
        after = After()

        def change(tx: Transaction) -> Row:
            known = {"state": state, "finished": now(), "lease": None} | columns
            row = tx.update_job(job, states, **known | ((also and also(tx)) or {}))
            settle(tx, after, row)
            if row["state"] != "done" or row["extends"]:  # which may not have asked for all of them again
                cancel_children(tx, after, job)
            return row

        row = self._store.write(change)
        self.follow_up(after)
        return row

    def follow_up(self, after: After) -> None:
        for row in after.stopped:
            self.stop_running(row)
        self.dispatch(after.plugins)
        for parent in after.parents - {None}:
            self.tell_progress(parent)

    def requeue(self, job: str, lease: str, alone: bool = False, deaths: int = 0, low_memory: bool = False) -> None:
        """A running job whose worker is gone runs again, `alone` if it may have been the cause. One for which the
        memory did not suffice runs with `low_memory`. Raises Conflict if it is to be cancelled."""
        columns = {"state": "queued", "lease": None, "worker": None, "alone": int(alone)}
        columns |= {"low_memory": 1} if low_memory else {}

        def change(tx: Transaction) -> None:
            row = tx.leased(job, lease)
            if row["cancel"]:
                raise Conflict(f"job {job} is being cancelled.", job=job)
            tx.update_job(job, ("running",), deaths=row["deaths"] + deaths, **columns)

        self._store.write(change)

    def cancel(self, job: str, keep_partial: bool = False) -> Row:
        """Cancel a job, and its children, in any unfinished state. Those that run are told to stop; their terminal
        events come when they have."""
        after = After()
        row = self._store.write(lambda tx: cancel_family(tx, after, job, keep_partial))
        self.follow_up(after)
        return row
