"""What an input means: checked when a job is submitted, looked up when it runs.

A reference is an artifact's id, {"job": id} for all outputs of another job, or {"job": id, "index": k} for one."""

from typing import Any

from core.errors import DependencyFailed, InvalidParams, NotFound, TypeMismatch, UnknownArtifact
from core.jobs import TERMINAL, Row, Store, Transaction
from core.library.catalogue import Catalogue, JobType
from core.types import fits


class Inputs:
    """Checks the inputs of the jobs of one submit; `local` are the earlier ones of the flow, by their local names."""

    def __init__(self, tx: Transaction, catalogue: Catalogue, owner: str):
        self._tx, self._catalogue, self._owner = tx, catalogue, owner
        self.local: dict[str, Row] = {}

    def check(self, job: JobType, inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The references with local names replaced; raises if one does not exist or does not fit."""
        return {name: [self._check(job, name, item) for item in items] for name, items in inputs.items()}

    def _check(self, job: JobType, name: str, item: Any) -> Any:
        source = None
        if isinstance(item, str):
            source = self._tx.one("SELECT owner, kind FROM artifacts WHERE id = ?", item)
        elif isinstance(item, dict) and isinstance(item.get("job"), str) and isinstance(item.get("index", 0), int):
            found = self.local.get(item["job"]) or self._tx.one("SELECT * FROM jobs WHERE id = ?", item["job"])
            if found:
                item = {"job": found["id"]} | ({"index": item["index"]} if "index" in item else {})
                source = {**found, "kind": self._catalogue.find(found["name"]).about["output"]["kind"]}
        else:
            raise InvalidParams(f'{job.name}: {name} must be an artifact\'s id or {{"job": id}}.', field=name)
        if source is None or source["owner"] != self._owner:
            text = f"{job.name}: for {name} there is no {str(item)[:100]!r}. Upload it first."
            raise UnknownArtifact(text, field=name)
        wanted = job.about["inputs"][name]["kind"]
        if not fits(source["kind"], wanted):
            raise TypeMismatch(f"{job.name}: {name} takes {wanted}, this is {source['kind']}.", field=name)
        return item

    def unfinished(self, inputs: dict[str, list[Any]]) -> list[str]:
        """The jobs that have to end first. Raises DependencyFailed if one has ended badly."""
        needs = {item["job"] for items in inputs.values() for item in items if isinstance(item, dict)}
        states = {job: self._tx.all("SELECT state FROM jobs WHERE id = ?", job)[0]["state"] for job in needs}
        for job, state in states.items():
            if state in ("failed", "cancelled"):
                raise failed(job, state)
        return [job for job, state in states.items() if state not in TERMINAL]


def failed(job: str, state: str) -> DependencyFailed:
    text = f"job {job}, whose result is needed, is {state}."
    return DependencyFailed(text, field="inputs", hint="Retry that one, then submit this one with the new job's id.")


def look_up(store: Store, inputs: dict[str, list[Any]]) -> dict[str, list[Row]]:
    """The artifacts behind the references; raises NotFound."""
    return {name: [each for item in items for each in _look_up(store, item)] for name, items in inputs.items()}


def _look_up(store: Store, item: Any) -> list[Row]:
    if isinstance(item, str):
        rows = store.all("SELECT * FROM artifacts WHERE id = ?", item)
    else:
        rows = [row for row in store.outputs(item["job"]) if row["idx"] == item.get("index", row["idx"])]
    if not rows:
        raise NotFound(f"the input {item} is not there (any more).", hint="Submit the job with another input.")
    return [{key: row[key] for key in ("id", "kind", "sha256")} for row in rows]
