"""How a program, inside its worker, submits jobs and waits for them: it asks the server, and is run again later.

A program is run from the top each time that jobs it gathered have ended, and after a restart. Whatever it asks for is
kept under its key, so each time it gets the same answers and arrives where it was."""

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core.errors import DependencyFailed, InvalidParams

SIDE = "side"  # in place of a device: the process of a plugin for its programs and light jobs
REQUESTS_AT_ONCE, BYTES_AT_ONCE = 500, 50_000  # in one message, whose limit is 100,000 at least


@dataclass(frozen=True)
class Artifact:
    """A stored result: `ctx.read` gives its value, `ctx.submit` takes it as an input, a program may return it."""

    id: str
    kind: str
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Child:
    """A job that a program has submitted. `outputs` and `error` are there once it has ended, so after `ctx.gather`.

    As an input of another job it stands for all its outputs, which that job then waits for."""

    id: str
    state: str
    outputs: tuple[Artifact, ...] = ()
    error: dict[str, Any] | None = None


class Waiting(BaseException):
    """Leaves a program until the jobs with these ids have ended. Raised by `ctx.gather`; not to be caught."""

    def __init__(self, jobs: list[str]):
        super().__init__(f"waits for {len(jobs)} jobs")
        self.jobs = jobs


class Children:
    """`ask(event, body)` gives the server's answer; it may be asked twice for the same."""

    def __init__(self, ask: Callable[[str, dict[str, Any]], dict[str, Any]]):
        self._ask = ask
        self.begin(0)

    def begin(self, call: int) -> None:
        """The method is called once for each item of an input that takes one; each call has keys of its own."""
        self._prefix = f"{call}/" if call else ""
        self._numbers = itertools.count(1)

    def submit(self, requests: Iterable[dict[str, Any]]) -> list[Child]:
        children = []
        for chunk in _chunks([self._request(**request) for request in requests]):
            for about in self._ask("children", {"requests": chunk})["children"]:
                outputs = tuple(Artifact(**output) for output in about.pop("outputs"))
                children.append(Child(**about, outputs=outputs))
        return children

    def _request(
        self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None,
        key: str | None = None, hold: bool = False, fresh: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        key = self._prefix + (key or f"#{next(self._numbers)}")
        named = {name: reference(value) for name, value in (inputs or {}).items() if value is not None}
        return {"job": job, "params": params or {}, "inputs": named, "key": key, "hold": hold, "fresh": fresh}

    def gather(self, children: Iterable[Child], allow_failed: bool) -> list[Child]:
        found = list(children)
        if unfinished := [child.id for child in found if child.state not in ("done", "failed", "cancelled")]:
            raise Waiting(unfinished)
        bad = [child for child in found if child.state != "done"]
        if bad and not allow_failed:
            why = (bad[0].error or {}).get("message", "")
            text = f"{len(bad)} of {len(found)} jobs did not end well; the first, {bad[0].id}, is {bad[0].state}: {why}"
            raise DependencyFailed(text[:1_000], hint="With allow_failed=True a program goes on without them.")
        return found

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        asked = {"key": self._prefix + key}
        answer = self._ask("once", asked)
        return (answer if "value" in answer else self._ask("once", asked | {"value": compute()}))["value"]

    def seed(self, key: str) -> int:
        return self.once(f"seed/{key}", lambda: random.SystemRandom().randrange(1 << 32))


def reference(value: Any) -> Any:
    """An input as the wire has it: of a Child, an Artifact, an id, or a list of these."""
    if isinstance(value, list | tuple):
        return [reference(item) for item in value]
    return {"job": value.id} if isinstance(value, Child) else value.id if isinstance(value, Artifact) else value


def _chunks(requests: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk, size = [], 0
    for request in requests:
        try:
            more = len(json.dumps(request, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            text = f"{request['job']}: params and inputs of a submitted job must be JSON: {error}."
            raise InvalidParams(text) from error
        if chunk and (len(chunk) == REQUESTS_AT_ONCE or size + more > BYTES_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += more
    if chunk:
        yield chunk


class Rehearsal:
    """The server's part while a program is only planned: nothing is submitted, the requests are kept."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def ask(self, event: str, body: dict[str, Any]) -> dict[str, Any]:
        if event == "once":
            return {"value": body["value"]} if "value" in body else {}
        first = len(self.requests)
        self.requests += body["requests"]
        planned = range(first, len(self.requests))
        return {"children": [{"id": f"planned {number}", "state": "queued", "outputs": []} for number in planned]}
