"""What people do with jobs after submitting them: look, retry, hold, reorder, pause. Handlers, bound by the API."""

from typing import Any, Literal

from pydantic import StrictBool

from core.api import Handler, Name
from core.auth import admin_only
from core.errors import Conflict, InvalidParams
from core.jobs import TERMINAL, Row, Store, Transaction, now, wire
from core.library.catalogue import Catalogue
from core.library.extending import in_place
from core.library.families import family
from core.library.forecast import place
from core.library.machines import about_worker
from core.library.moving import beside, to_end
from core.library.ranks import edge
from core.library.waiting import release, waits_for
from core.scheduler import Scheduler
from core.workers import Pool

AGING_SECONDS, AGED_AT_ONCE = 600, 200


class Queue:
    def __init__(self, store: Store, catalogue: Catalogue, scheduler: Scheduler, pool: Pool):
        self._store, self._catalogue, self._scheduler, self._pool = store, catalogue, scheduler, pool
        self.handlers: list[Handler] = [
            self.job, self.skip, self.retry, self.hold, self.release, self.move, self.queue,
        ]  # fmt: skip

    def age(self) -> None:
        """Called now and then: what has waited for long rises by a class, to its front."""
        old = "SELECT * FROM jobs INDEXED BY jobs_aging WHERE state = 'queued' AND class > 0 AND aged < ? LIMIT ?"

        def change(tx: Transaction) -> None:
            for row in tx.all(old, now() - AGING_SECONDS, AGED_AT_ONCE):
                front = edge(tx, row["plugin"], row["program"], row["class"] - 1)
                rank = row["rank"] if front is None else front
                tx.update_job(row["id"], ("queued",), rank=rank, aged=now(), **{"class": row["class"] - 1})

        self._store.write(change)

    def job(self, owner: str, id: str) -> Row:
        """One job: its record, the ids of its outputs; while it is queued, its position and eta_seconds, and the
        machine without which it does not run; while it is held or waiting, what it waits for."""
        row = self._store.job(id, owner)
        row["outputs"] = [artifact["id"] for artifact in self._store.outputs(id)]
        if row["state"] in ("held", "waiting"):
            row["waits_for"] = waits_for(self._store.all, row)
        if row["state"] == "queued":
            row |= place(self._store, row, self._pool.placing.width(), self._catalogue)
            row["waits_for"] = self._pool.placing.waits_for(row) or None
        return {"job": wire(row)}

    def skip(self, owner: str, id: str) -> Row:
        """Ask a running job to leave the rest of the picture that it is at and go on with the next; a job that makes
        one thing at a time does not listen. Nothing is stored: a job that has to run again has not heard of it."""
        row = self._store.job(id, owner)
        if row["state"] != "running":
            raise Conflict(f"job {id} is {row['state']}; skip is for jobs that run.", job=id)
        for worker in list(self._pool.workers.values()):
            if worker.ready and (run := worker.runs.get(row["lease"])) and run.message:
                self._pool.send(worker, "skip", {"lease": run.lease})
                return {"job": wire(row)}
        raise Conflict(f"the worker of job {id} cannot be reached just now.", job=id, hint="Ask again in a moment.")

    def retry(
        self, owner: str, id: str, client_ref: Name | None = None,
        params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, extend: StrictBool = False,
    ) -> Row:  # fmt: skip
        """Queue a new job with the parameters and inputs of one that has ended; `params` and `inputs` over them. If it
        is done and nothing is changed, its results are made anew. With `extend`, a program keeps what it has recorded
        and those of its jobs that are done and still wanted; one that has not ended goes on as the same job."""
        row = self._store.job(id, owner)
        if extend and not row["program"]:
            raise Conflict(f"job {id} is no program; only these are extended.", job=id, hint="Leave out extend.")
        if extend and row["state"] not in TERMINAL:
            return {
                "job": wire(in_place(self._store, self._catalogue, self._scheduler, row, params or {}, inputs or {}))
            }
        if row["state"] not in TERMINAL:
            raise Conflict(f"job {id} is {row['state']}; retry is for jobs that have ended.", job=id)
        request = {key: row[key] for key in ("priority", "session", "embed_metadata")}
        fresh = row["state"] == "done" and not params and not inputs and not extend
        request |= {"job": row["name"], "hold": False, "fresh": fresh, "client_ref": client_ref}
        request |= {"extends": id} if extend else {}
        request |= {"params": row["params"] | (params or {}), "inputs": row["inputs"] | (inputs or {})}
        return {"job": wire(self._scheduler.submit([request], owner)[0])}

    def hold(self, owner: str, id: str) -> Row:
        """Keep a job, and its children, from running until `release`. What runs already goes on."""
        self._store.job(id, owner)

        def change(tx: Transaction) -> Row:
            for child in family(tx, id, ("waiting", "queued")):
                tx.update_job(child, ("waiting", "queued"), state="held")
            return tx.update_job(id, ("waiting", "queued"), state="held")

        return {"job": wire(self._store.write(change))}

    def release(self, owner: str, id: str) -> Row:
        """Let a held job, and its children, run."""
        self._store.job(id, owner)

        def change(tx: Transaction) -> list[Row]:
            return [release(tx, job) for job in [id, *family(tx, id, ("held",))]]

        rows = self._store.write(change)
        self._scheduler.dispatch({row["plugin"] for row in rows})
        return {"job": wire(rows[0])}

    def move(
        self, owner: str, id: str, to: Literal["front", "back"] | None = None, before: Name | None = None,
        after: Name | None = None,
    ) -> Row:  # fmt: skip
        """Let a job run before or after all others of its priority, or right before or after another one of yours."""
        if sum(each is not None for each in (to, before, after)) != 1:
            raise InvalidParams("say one of to, before and after.", field="to")
        self._store.job(id, owner)

        def change(tx: Transaction) -> Row:
            row = tx.all("SELECT * FROM jobs WHERE id = ?", id)[0]
            if to:
                row = to_end(tx, row, to)
            else:
                row = beside(tx, row, before or after, before is not None)
            tx.event("queue", {"paused": self._scheduler.paused, "moved": id}, row | {"job": id})
            return row

        return {"job": wire(self._store.write(change))}

    def queue(self, owner: str, action: Literal["status", "pause", "resume"] = "status") -> Row:
        """Whether the queue is paused, how many jobs are queued, and the workers, with your own jobs. `pause` lets
        running jobs finish."""
        if action != "status":
            admin_only(owner, f"{action} the queue")
            paused = action == "pause"

            def change(tx: Transaction) -> None:
                tx.insert("meta", {"key": "paused", "value": "yes" if paused else "no"}, "OR REPLACE")
                tx.event("queue", {"paused": paused}, {})

            self._store.write(change)
            self._scheduler.paused = paused
            self._scheduler.dispatch({*self._catalogue.plugins})
        queued = self._store.all("SELECT count(*) AS jobs FROM jobs WHERE state = 'queued'")[0]["jobs"]
        problem = self._store.problem
        return {
            "paused": self._scheduler.paused,
            "queued": queued,
            "workers": [about_worker(worker, owner) for worker in list(self._pool.workers.values())],
        } | ({"problem": problem.wire()} if problem else {})
