"""How a program, inside its worker, submits jobs and waits for them: it asks the server, and is run again later.

A program is run from the top each time that jobs it gathered have ended, and after a restart. Whatever it asks for is
kept under its key, so each time it gets the same answers and arrives where it was."""

import hashlib
import itertools
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from core.errors import DependencyFailed, InvalidParams, TooLarge

SIDE = "side"  # in place of a device: the process of a plugin for its programs and light jobs
REQUESTS_AT_ONCE, NAMES_AT_ONCE, BYTES_AT_ONCE = 50, 100, 50_000  # in one message, whose limit is 100,000 at least
MAX_ASKED, MAX_PLANNED = 200_000_000, 30_000_000  # characters of all jobs that a program submits, or that a plan shows
ENDED, REMEMBERED = ("done", "failed", "cancelled"), 16  # programs, in one process


@dataclass(frozen=True)
class Artifact:
    """A stored result: `ctx.read` gives its value, `ctx.submit` takes it as an input, a program may return it."""

    id: str
    kind: str
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)
    name: str | None = None  # that a program has given it, or of an uploaded file


@dataclass(frozen=True)
class Child:
    """A job that a program has submitted. `outputs` and `error` are there once it has ended, so after `ctx.gather`.

    As an input of another job it stands for all its outputs, which that job then waits for."""

    id: str
    state: str
    outputs: tuple[Artifact, ...] = ()
    error: dict[str, Any] | None = None


class Waiting(BaseException):
    """Leaves a program until the jobs with these ids have ended, the artifacts with these ids are reviewed, and the
    time has come that is written as `until`. Raised by `ctx.gather`, `ctx.review` and `ctx.wait`; not to be caught."""

    def __init__(self, needs: list[str]):
        super().__init__(f"waits for {len(needs)} jobs or reviews")
        self.needs = needs


def until(seconds: float) -> str:
    """A time, in seconds since 1970, as programs need it; later ones sort behind."""
    return f"until {seconds:014.3f}"


class Programming:
    """What a program may ask of the core. It is run again from the top whenever what it waits for is there: see
    docs/plugins.md."""

    _children: "Children"

    def submit(
        self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None,
        key: str | None = None, hold: bool = False, fresh: bool = False,
    ) -> Child:  # fmt: skip
        """Submit a job, once for each `key` (by default its number in the order of asking). Inputs are Artifacts,
        Children (their outputs, waited for), ids, or lists of these. Owner, session and priority are the program's.
        `fresh` runs it even if an equal job is done."""
        request = {"job": job, "params": params, "inputs": inputs, "key": key, "hold": hold, "fresh": fresh}
        return self.submit_all([request])[0]

    def submit_all(self, requests: Iterable[dict[str, Any]]) -> list[Child]:
        """Submit many at once: dicts with the arguments of `submit`."""
        return self._children.submit(requests)

    def gather(self, children: Iterable[Child], allow_failed: bool = False) -> list[Child]:
        """The children with their outputs, once all have ended. Raises DependencyFailed if some ended badly, unless
        `allow_failed`."""
        return self._children.gather(children, allow_failed)

    def review(self, artifacts: Iterable[Artifact], key: str | None = None) -> list[str]:
        """What a person thinks of each, "picked" or "rejected": waited for, and then kept under the key (by default
        its number in the order of asking), whatever they think later. In a plan everything is rejected."""
        return self._children.review(artifacts, key)

    def wait(self, seconds: float, key: str = "wait") -> None:
        """Go on when so many seconds are over since this was asked for the first time, also over restarts. Holds no
        worker meanwhile."""
        self._children.wait(seconds, key)

    def name(self, artifact: Artifact, path: str) -> str:
        """Call a result "folder/stem": its file lies there in the outputs folder. Returns the path that it has got,
        with a suffix, and with " (2)" if there was another of that name."""
        return self.name_all([(artifact, path)])[0]

    def name_all(self, names: Iterable[tuple[Artifact, str]]) -> list[str]:
        """Name many at once."""
        return self._children.name(names)

    def link_all(self, pairs: Iterable[tuple[Artifact, Artifact]]) -> None:
        """Note of each first one that it was made from the second one, which was no input of its job: lineage goes
        through it, as it does from a drawing to a variation with another seed."""
        self._children.link(pairs)

    def lineage(
        self, artifact: Artifact, direction: Literal["ancestors", "descendants", "siblings"] = "ancestors",
        depth: int = 20, limit: int = 200,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """What a result was made from, or what was made of it, the nearest first: each as {"artifact": Artifact,
        "parents": ids, "depth", "job_name", "review", "name"}. It may be more the next time; a plan has none."""
        return self._children.lineage(artifact, direction, depth, limit)

    def announced(self, job: str) -> dict[str, Any]:
        """What a job is, by its full or short name, as `plugins` tells it: its full "name", "help", "inputs", "output",
        the JSON Schema of its "params" ... Raises UnknownJob. Light jobs may ask, too."""
        return self._children.ask("announced", {"job": job})["announced"]

    def announced_names(self) -> list[str]:
        """PLUGIN.JOB of all jobs that can be submitted."""
        return self._children.ask("announced", {})["names"]

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """What `compute()` gave the first time, as JSON; computed only then."""
        return self._children.once(key, compute)

    def seed(self, key: str) -> int:
        """A random seed, 0 to 2**32 - 1, the same each time for the same key. Thousands are cheap."""
        return self._children.seed(key)


@dataclass
class Memory:
    """What a process knows of a program that it has run before, so that nothing is asked or shown again."""

    children: dict[str, tuple[int, Child]] = field(default_factory=dict)  # by key, with a hash of the request
    keys: dict[str, str] = field(default_factory=dict)  # by id
    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # by artifact: as it was asked for, as it is
    passed: int = -1  # how often it did not have to wait, the last time


class Children:
    """What the program `job` asks; `ask(event, body)` gives the server's answer and may be asked twice for the same."""

    memories: OrderedDict[str, Memory] = OrderedDict()  # by program; the latest are kept

    def __init__(self, ask: Callable[[str, dict[str, Any]], dict[str, Any]], job: str = ""):
        self.ask, self._job, self.passed = ask, job, 0
        self._memory = self.memories.get(job) or Memory()
        self._seen = self._memory.passed
        self._size, self.most = 0, MAX_ASKED
        self._told: dict[str, Child] = {}  # by id, as this run was told that they are
        self.unseen: Callable[[], None] | None = None  # shows a preview that came too soon after another
        self.begin(0)

    def begin(self, call: int) -> None:
        """The method is called once for each item of an input that takes one; each call has keys of its own."""
        self._prefix = f"{call}/" if call else ""
        self._numbers, self._reviews = itertools.count(1), itertools.count(1)
        self._basis: str | None = None  # of seeds

    @property
    def goes_on(self) -> bool:
        """Whether it is beyond the place where it had to wait the last time."""
        return self.passed > self._seen

    def _wait(self, needs: list[str]) -> Waiting:
        self._memory.passed = self.passed
        if self.unseen:
            self.unseen()
        return Waiting(needs)

    def submit(self, requests: Iterable[dict[str, Any]]) -> list[Child]:
        asked = []
        for request in [self._request(**request) for request in requests]:
            asked.append((request, _text(request)))
            self._size += len(asked[-1][1])
            if self._size > self.most:
                text = f"what the jobs of this program are asked for has over {self.most:,} characters in all."
                raise TooLarge(text, hint="Ask for fewer jobs at once, or for shorter texts.")
        known = self._memory.children
        fresh = [(request, text) for request, text in asked if known.get(request["key"], (0,))[0] != hash(text)]
        found = {request["key"]: known[request["key"]][1] for request, text in asked if request["key"] in known}
        for chunk in _chunks(fresh):
            told = self.ask("children", {"requests": [request for request, _ in chunk]})["children"]
            for (request, text), child in zip(chunk, map(_child, told), strict=True):
                found[request["key"]] = child
                self._told[child.id] = child
                self._remember(request["key"], hash(text), child)
        return [found[request["key"]] for request, _ in asked]

    def _remember(self, key: str, text: int, child: Child) -> None:
        if child.state in ("failed", "cancelled"):  # it may be tried again, as another job
            self._memory.keys.pop(child.id, None)
            self._memory.children.pop(key, None)
            return
        self._memory.children[key], self._memory.keys[child.id] = (text, child), key
        if self._job:
            self.memories[self._job] = self._memory
            self.memories.move_to_end(self._job)
            while len(self.memories) > REMEMBERED:
                self.memories.popitem(last=False)

    def forget(self) -> None:
        self.memories.pop(self._job, None)

    def _request(
        self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None,
        key: str | None = None, hold: bool = False, fresh: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        key = self._prefix + (key or f"#{next(self._numbers)}")
        named = {name: reference(value) for name, value in (inputs or {}).items() if value is not None}
        return {"job": job, "params": params or {}, "inputs": named, "key": key, "hold": hold, "fresh": fresh}

    def gather(self, children: Iterable[Child], allow_failed: bool) -> list[Child]:
        found = [self._told.get(child.id, child) for child in children]
        self._look([child.id for child in found if child.state not in ENDED])
        found = [self._told.get(child.id, child) for child in found]
        self.passed += 1
        bad = [child for child in found if child.state != "done"]
        if bad and not allow_failed:
            why = (bad[0].error or {}).get("message", "")
            text = f"{len(bad)} of {len(found)} jobs did not end well; the first, {bad[0].id}, is {bad[0].state}: {why}"
            raise DependencyFailed(text[:1_000], hint="With allow_failed=True a program goes on without them.")
        return found

    def _look(self, unfinished: list[str]) -> None:
        """See how they have ended. The last ones come first: as long as one of them has not, no other matters."""
        if waits := [id for id in unfinished if id in self._told]:
            raise self._wait(waits[-REQUESTS_AT_ONCE:])
        for chunk in reversed([*_slices(unfinished, REQUESTS_AT_ONCE)]):
            told = {about["id"]: _child(about) for about in self.ask("states", {"ids": chunk})["children"]}
            if told.keys() < set(chunk):  # the program was extended, and does without them
                self.forget()
                raise Waiting([])
            self._told |= told
            for id, child in told.items():
                if key := self._memory.keys.get(id):
                    self._remember(key, self._memory.children[key][0], child)
            if waits := [child.id for child in told.values() if child.state not in ENDED]:
                raise self._wait(waits)

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        asked = {"key": self._prefix + key}
        answer = self.ask("once", asked)
        return (answer if "value" in answer else self.ask("once", asked | {"value": compute()}))["value"]

    def seed(self, key: str) -> int:
        """Made of the key and of one number that is kept, so that asking for thousands costs nothing."""
        self._basis = self._basis or self.once("ctx.seed", lambda: secrets.token_hex(16))
        return int(hashlib.sha256(f"{self._basis}/{key}".encode()).hexdigest()[:8], 16)

    def review(self, artifacts: Iterable[Artifact], key: str | None) -> list[str]:
        ids, said = [artifact.id for artifact in artifacts], {}
        key = self._prefix + (key or f"#{next(self._reviews)}")
        for number, chunk in enumerate(_slices(ids)):
            said |= self.ask("review", {"key": f"{key}/{number}", "artifacts": chunk})["said"]
        if missing := [id for id in ids if id not in said]:
            raise self._wait(missing)
        self.passed += 1
        return [said[id] for id in ids]

    def wait(self, seconds: float, key: str) -> None:
        end = self.once(f"until/{key}", lambda: time.time() + seconds)
        if time.time() < end:
            raise self._wait([until(end)])

    def name(self, names: Iterable[tuple[Artifact, str]]) -> list[str]:
        asked, known = [(artifact.id, path) for artifact, path in names], self._memory.names
        found: dict[tuple[str, str], str] = {}
        for chunk in _slices([(id, path) for id, path in asked if known.get(id, ("", ""))[0] != path]):
            told = self.ask("name", {"names": [{"artifact": id, "path": path} for id, path in chunk]})["paths"]
            found |= zip(chunk, told, strict=True)
            known |= {id: (path, given) for (id, path), given in zip(chunk, told, strict=True)}
        return [found.get((id, path)) or known[id][1] for id, path in asked]

    def link(self, pairs: Iterable[tuple[Artifact, Artifact]]) -> None:
        for chunk in _slices([{"artifact": artifact.id, "source": source.id} for artifact, source in pairs]):
            self.ask("link", {"links": chunk})

    def lineage(self, artifact: Artifact, direction: str, depth: int, limit: int) -> list[dict[str, Any]]:
        asked = {"id": artifact.id, "direction": direction, "depth": depth, "limit": limit}
        return [row | {"artifact": Artifact(**row["artifact"])} for row in self.ask("lineage", asked)["artifacts"]]


def _slices(items: list[Any], size: int = NAMES_AT_ONCE) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _child(about: dict[str, Any]) -> Child:
    return Child(**about | {"outputs": tuple(Artifact(**output) for output in about["outputs"])})


def reference(value: Any) -> Any:
    """An input as the wire has it: of a Child, an Artifact, an id, or a list of these."""
    if isinstance(value, list | tuple):
        return [reference(item) for item in value]
    return {"job": value.id} if isinstance(value, Child) else value.id if isinstance(value, Artifact) else value


def _text(request: dict[str, Any]) -> str:
    try:
        return json.dumps(request, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        text = f"{request['job']}: params and inputs of a submitted job must be JSON: {error}."
        raise InvalidParams(text) from error


def _chunks(requests: list[tuple[dict[str, Any], str]]) -> Iterator[list[tuple[dict[str, Any], str]]]:
    chunk, size = [], 0
    for request, text in requests:
        if chunk and (len(chunk) == REQUESTS_AT_ONCE or size + len(text) > BYTES_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append((request, text))
        size += len(text)
    if chunk:
        yield chunk


class Rehearsal:
    """The server's part while a program is only planned: nothing is submitted, the requests are kept."""

    def __init__(self, ask: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self._ask = ask
        self.requests: list[dict[str, Any]] = []

    def ask(self, event: str, body: dict[str, Any]) -> dict[str, Any]:
        if event == "once":
            return {"value": body["value"]} if "value" in body else {}
        if event == "review":
            return {"said": dict.fromkeys(body["artifacts"], "rejected")}
        if event == "name":
            return {"paths": [each["path"] for each in body["names"]]}
        if event in ("lineage", "link"):
            return {"artifacts": []}
        if event == "announced":
            return self._ask(event, body)
        if event == "states":
            return {"children": [{"id": id, "state": "queued", "outputs": []} for id in body["ids"]]}
        first = len(self.requests)
        self.requests += body["requests"]
        planned = range(first, len(self.requests))
        return {"children": [{"id": f"planned {number}", "state": "queued", "outputs": []} for number in planned]}
