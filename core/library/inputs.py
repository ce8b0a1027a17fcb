"""What an input means: checked when a job is submitted, looked up when it runs.

A reference is an artifact's id, {"job": id} for all outputs of another job, or {"job": id, "index": k} for one. With
"review": "picked" it is a review gate: a person has to look at these outputs first, and only the picked ones count."""

from typing import Any

from core.auth import admin_only
from core.errors import CoreError, DependencyFailed, InvalidParams, NotFound, TypeMismatch, UnknownArtifact
from core.jobs import Row, Store, Transaction
from core.library.catalogue import Catalogue, JobType
from core.library.checking import placed
from core.library.converting import Converted, converter
from core.types import fits

References = dict[str, list[Any]]


class Inputs:
    """Checks the inputs of the jobs of one submit; `local` are the earlier ones of the flow, by their local names. A
    `program` may need jobs that have ended badly while it submits others: these are `bad`, to be settled."""

    def __init__(self, tx: Transaction | Store, catalogue: Catalogue, owner: str, program: bool = False):
        self._tx, self._catalogue, self._owner, self._program = tx, catalogue, owner, program
        self.bad: list[Row] = []
        self.local: dict[str, Row] = {}
        self._converters: dict[tuple[str, str, str], JobType] = {}  # by job, and the kinds given and wanted

    def check(self, job: JobType, inputs: References, place: str = "") -> References:
        """The references with local names replaced, those that one converter makes fit as Converted; raises if one does
        not exist or does not fit, Forbidden if the job is the admin's. `place` as in core/library/checking.py."""
        if not job.plugin.offered_to(self._owner):
            admin_only(self._owner, f"run {job.name}")
        try:
            return {name: [self._check(job, name, item) for item in items] for name, items in inputs.items()}
        except CoreError as error:
            raise placed(error, place) from error

    def _check(self, job: JobType, name: str, item: Any) -> Any:
        source = None
        if isinstance(item, str):
            source = self._tx.one("SELECT owner, kind FROM artifacts WHERE id = ?", item)
        elif _is_reference(item):
            found = self.local.get(item["job"]) or self._tx.one("SELECT * FROM jobs WHERE id = ?", item["job"])
            if found:
                item = {**item, "job": found["id"]}
                source = {**found, "kind": self._catalogue.find(found["name"]).about["output"]["kind"]}
        else:
            text = f'{job.name}: {name} must be an artifact\'s id, {{"job": id}} or {{"job": id, "index": number}}; '
            raise InvalidParams(text + 'to the latter two, "review": "picked" may be added.', field=name)
        if source is None or source["owner"] != self._owner:
            text = f"{job.name}: for {name} there is no {str(item)[:100]!r}. Upload it first."
            raise UnknownArtifact(text, field=name)
        wanted = job.about["inputs"][name]["kind"]
        if not fits(source["kind"], wanted):
            return Converted(item, self._converter(job, name, source["kind"], wanted))
        return item

    def _converter(self, job: JobType, name: str, given: str, wanted: str) -> JobType:
        key = (job.name, given, wanted)
        try:
            known = self._converters.get(key)
            self._converters[key] = known or converter(self._catalogue, given, wanted, job, self._owner)
        except TypeMismatch as error:
            text = f"{job.name}: {name} takes {wanted}, this is {given}. {error}"
            raise TypeMismatch(text, field=name, hint=error.extra["hint"]) from None
        return self._converters[key]

    def unfinished(self, inputs: References) -> list[str]:
        """The jobs that have to end first, and the artifacts that have to be reviewed. Raises DependencyFailed if a job
        has ended badly or nothing was picked."""
        needs = {item["job"] for items in inputs.values() for item in items if isinstance(item, dict)}
        sql = "SELECT id, state, plugin, parent FROM jobs WHERE id = ?"
        jobs = [self._tx.all(sql, job)[0] for job in needs]
        bad = [job for job in jobs if job["state"] in ("failed", "cancelled")]
        if bad and not self._program:
            raise failed(bad[0]["id"], bad[0]["state"])
        self.bad += bad
        missing = [job["id"] for job in jobs if job["state"] != "done"]
        gated = gate(self._tx, inputs)
        if gated and (missing or "new" in gated.values()):
            return missing + [*gated]
        if gated is not None and not missing:
            look_up(self._tx, inputs)
        return missing


def _is_reference(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("job"), str)
        and isinstance(item.get("index", 0), int)
        and item.get("review", "picked") == "picked"
        and item.keys() <= {"job", "index", "review"}
    )


def failed(job: str, state: str) -> DependencyFailed:
    text = f"job {job}, whose result is needed, is {state}."
    return DependencyFailed(text, field="inputs", hint="Retry that one, then submit this one with the new job's id.")


def gate(db: Transaction | Store, inputs: References, job: str | None = None) -> dict[str, str] | None:
    """The review states, by artifact, of the outputs that a person has to look at first: of all jobs that are done, or
    of one `job`. None if the inputs ask for no review."""
    items = [item for items in inputs.values() for item in items if isinstance(item, dict) and "review" in item]
    if not items:
        return None
    return {row["id"]: row["review"] for item in items if job in (None, item["job"]) for row in _outputs(db, item)}


def look_up(db: Transaction | Store, inputs: References) -> dict[str, list[Row]]:
    """The artifacts behind the references; raises NotFound, or DependencyFailed if nothing was picked."""
    found = {name: [each for item in items for each in _look_up(db, item)] for name, items in inputs.items()}
    for name, rows in found.items():
        if inputs[name] and not rows:
            jobs = ", ".join(item["job"] for item in inputs[name])
            raise DependencyFailed(
                f"nothing was picked: {name} takes the picked results of {jobs}, and there is none.",
                field="inputs", hint="Pick one with `review`, then retry this job.",
            )  # fmt: skip
    return found


def _look_up(db: Transaction | Store, item: Any) -> list[Row]:
    if isinstance(item, str):
        rows = db.all("SELECT * FROM artifacts WHERE id = ?", item)
    else:
        rows = _outputs(db, item)
    if isinstance(item, dict) and "review" in item:
        rows = [row for row in rows if row["review"] == "picked"]
    elif not rows:
        raise NotFound(f"the input {item} is not there (any more).", hint="Submit the job with another input.")
    return [{key: row[key] for key in ("id", "kind", "sha256", "facts", "name")} for row in rows]


def _outputs(db: Transaction | Store, item: Row) -> list[Row]:
    rows = db.all("SELECT * FROM artifacts WHERE job = ? ORDER BY idx", item["job"])
    return [row for row in rows if row["idx"] == item.get("index", row["idx"])]
