"""How a program is extended: asked again with other parameters or inputs, and what it has is kept.

One that has not ended goes on with them from the top. One that has ended goes on as a new job: what was recorded is
copied, and jobs of the earlier one that are done count as its own where they are asked for again as they were. Of a
program in place, `extends` is its own id."""

import json

from core.errors import Conflict
from core.jobs import Row, Store, Transaction, now
from core.library.catalogue import Catalogue
from core.library.checking import check_all
from core.library.converting import Converted
from core.library.inputs import Inputs
from core.scheduler import Scheduler

# Jobs of the earlier ones by their keys, the oldest program's first: of those that did not end well only programs, from
# which others can go on.
EARLIER = """WITH RECURSIVE chain(id) AS (
    SELECT extends FROM jobs WHERE id = ?1 UNION
    SELECT extends FROM chain JOIN jobs ON jobs.id = chain.id WHERE extends IS NOT NULL
) SELECT jobs.*, EXISTS (SELECT 1 FROM artifacts WHERE artifacts.job = jobs.id) AS kept
FROM chain CROSS JOIN jobs ON jobs.parent = chain.id
WHERE chain.id != ?1 AND key IN (SELECT value FROM json_each(?2)) AND finished IS NOT NULL
AND (program OR state = 'done')
ORDER BY jobs.parent"""
UNFINISHED = ("held", "waiting", "queued", "running")


def in_place(store: Store, catalogue: Catalogue, scheduler: Scheduler, row: Row, params: Row, inputs: Row) -> Row:
    """Let an unfinished program run again from the top, with `params` and `inputs` over those that it had. Its jobs
    that went wrong are forgotten."""
    job, id = catalogue.wanted(row["name"]), row["id"]
    complete, given = job.check(row["params"] | params), job.check_inputs(row["inputs"] | inputs)

    def change(tx: Transaction) -> tuple[Row, Row]:
        checks = Inputs(tx, catalogue, row["owner"])
        references = checks.check(job, given)
        if any(isinstance(item, Converted) for items in references.values() for item in items):
            raise Conflict(f"job {id} has not ended; until then its inputs have to fit as they are.", job=id)
        old, missing = tx.all("SELECT * FROM jobs WHERE id = ?", id)[0], checks.unfinished(references)
        if old["cancel"]:
            raise Conflict(f"job {id} is being cancelled.", job=id)
        tx.all("DELETE FROM waits WHERE job = ?", id)
        for each in missing:
            tx.insert("waits", {"job": id, "needs": each})
        tx.all("UPDATE jobs SET key = NULL WHERE parent = ? AND state IN ('failed', 'cancelled')", id)
        state = "held" if old["state"] == "held" else "waiting" if missing else "queued"
        columns = {"params": complete, "inputs": references, "extends": old["extends"] or id, "state": state}
        columns |= {"queued": now(), "lease": None, "worker": None, "reuse": job.reuse(complete, False), "digest": None}
        columns["attempt"] = old["attempt"] - (old["state"] == "running")
        return old, tx.update_job(id, UNFINISHED, **columns)

    old, new = store.write(change)
    if old["lease"]:
        scheduler.stop_running(old)
    scheduler.dispatch({new["plugin"]})
    return new


def take_over(
    store: Store, catalogue: Catalogue, scheduler: Scheduler, program: Row, requests: dict[str, Row],
    found: dict[str, Row],
) -> dict[str, Row]:  # fmt: skip
    """Of what an extended program asks for, by key, the jobs that are there as they are asked for. Of `found`, its own,
    others are cancelled and forgotten. A request for a program that is not there goes on from an earlier one."""
    rows = store.all(EARLIER, program["id"], json.dumps([key for key in requests if key not in found]))
    there = {row["key"]: row for row in rows} | found
    kept, taken, others = {}, [], []
    wanted = [requests[key] for key in there]
    for _, request, job, params, inputs in check_all(catalogue, wanted, False):
        row, key = there[request["key"]], request["key"]
        same = (row["name"], row["params"]) == (job.name, params) and _given(store, catalogue, row, inputs) == inputs
        if same and (key in found or (row["state"] == "done" and row["kept"])):
            kept[key] = row
            taken += [] if key in found else [row["id"]]
        elif key in found:
            others.append(row)
        elif row["program"] and row["name"] == job.name:
            request["extends"] = row["id"]
    for row in others:
        if row["finished"] is None:
            scheduler.cancel(row["id"])
        elif row["program"]:
            requests[row["key"]]["extends"] = row["id"]
    if taken or others:

        def change(tx: Transaction) -> None:
            for id in taken:
                tx.insert("taken", {"program": program["id"], "child": id}, "OR IGNORE")
            for row in others:
                tx.all("UPDATE jobs SET key = NULL WHERE id = ?", row["id"])

        store.write(change)
    return kept


def _given(store: Store, catalogue: Catalogue, row: Row, wanted: Row) -> Row:
    """The inputs of a job as it was asked for, before the server put converters in between."""
    if row["inputs"] == wanted:
        return wanted
    given: Row = {name: [] for name in row["inputs"]}
    for name, item in [(name, item) for name, items in row["inputs"].items() for item in items]:
        source = isinstance(item, dict) and store.one("SELECT name, key, inputs FROM jobs WHERE id = ?", item["job"])
        known = source and source["key"] is None and catalogue.jobs.get(source["name"])
        before = [each for items in source["inputs"].values() for each in items] if source else []
        given[name] += before if known and known.about["converts"] else [item]
    return given
