"""What a worker may say about the end of a job. It runs plugin code, so its words are checked like a client's."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from core.artifacts import Blobs
from core.errors import CODES, InvalidParams, PluginError, TooLarge
from core.jobs import Transaction, now
from core.library import plain
from core.library.runs import Run
from core.types import KINDS


class Output(pydantic.BaseModel):
    """One result: a blob and what is known of it."""

    index: int = Field(ge=0, lt=1 << 31)
    kind: Literal[tuple(KINDS)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0, le=1 << 53)
    facts: dict[str, Any]
    source: str | None = None  # the artifact that a program hands on

    def row(self, job: dict[str, Any], created: float) -> dict[str, Any]:
        """The artifact of `job` that this output is."""
        about = {"id": f"{job['id']}.{self.index}", "job": job["id"], "idx": self.index, "created": created}
        about |= {"owner": job["owner"], "session": job["session"], "review": "new", "mime": KINDS[self.kind].mime}
        return about | self.model_dump(include={"kind", "sha256", "size_bytes", "facts"})


class Problem(TypedDict):
    """What `CoreError.wire` gives."""

    code: Literal[tuple(CODES)]
    message: str
    field: NotRequired[str]
    hint: NotRequired[str]
    job: NotRequired[str]
    errors: NotRequired[list[dict[str, str]]]


Metric = Annotated[float, Field(ge=-1e15, le=1e15)]  # so that sums of them are finite, and the store can hold them


class Outcome(pydantic.BaseModel):
    state: Literal["done", "failed", "cancelled", "waiting"]
    outputs: Annotated[list[Output], Field(max_length=100_000)]
    error: Problem | None
    metrics: dict[str, Metric | None]
    waits_for: Annotated[list[str], Field(max_length=200_000)] = []  # the children that a program gathers
    value: Any = None  # what a light job returns


def outcome(message: dict[str, Any], blobs: Blobs) -> Outcome:
    """What the message says; if it makes no sense, that the job has failed."""
    try:
        plain.check(message)
        said = Outcome.model_validate(message)
        missing = [output.sha256 for output in said.outputs if not blobs.path(output.sha256).is_file()]
        problem = f"the bytes of {missing[0]} are not there" if missing else ""
        if (said.state == "failed") > bool(said.error) or (said.state == "done" and said.error):
            problem = f"it is {said.state}, and its error is {said.error}"
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (InvalidParams, TooLarge) as error:
        problem = str(error)
    if problem:
        error = PluginError(f"its worker sent a result that makes no sense: {problem}.")
        return Outcome(state="failed", outputs=[], error=error.wire(), metrics={})
    return said


def memory_bytes(message: dict[str, Any]) -> int | None:
    """What the message says of its worker's memory; None if that is nothing or no sense."""
    metrics = message.get("metrics")
    said = message.get("memory_bytes", metrics.get("memory_bytes") if isinstance(metrics, dict) else None)
    return said if isinstance(said, int) and 0 <= said < 1 << 53 else None


def leases(message: dict[str, Any]) -> list[str]:
    """The jobs that a worker says it knows of."""
    said = message.get("leases")
    return [str(lease) for lease in said] if isinstance(said, list) else []


def add_outputs(tx: Transaction, run: Run, outputs: list[Output]) -> None:
    """Store them as artifacts of the job that runs, made from its inputs, or handed on by it."""
    parents = [artifact["id"] for items in run.message["inputs"].values() for artifact in items]
    for output in outputs:
        found = "SELECT id AS source, name FROM artifacts WHERE id = ? AND owner = ?"
        source = output.source and tx.one(found, output.source, run.job["owner"])
        row = output.row(run.job, now()) | (source or {"name": None})
        tx.add_artifact(row, [source["source"]] if source else parents)
