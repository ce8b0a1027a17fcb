"""Light jobs, answered at once by a plugin's side process: no queue, no record. And plans: what a submit would make."""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import Any

import pydantic
import socketio

from core.api import Handler
from core.errors import Cancelled, Conflict, InvalidParams, PluginError, Timeout, WorkerDied, from_wire
from core.jobs import Row, Store, new_id
from core.library import plain
from core.library.catalogue import Catalogue, JobType, PluginInfo
from core.library.children import SIDE
from core.library.converting import Converted
from core.library.forecast import mean_seconds
from core.library.inputs import Inputs, look_up
from core.library.results import outcome
from core.library.runs import Worker
from core.workers import NAMESPACE, Pool

START_SECONDS, CALL_SECONDS = 60, 10  # that the start of the process and an answer may take


class PlannedJob(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    job: str
    params: dict[str, Any]
    inputs: dict[str, Any]
    key: str
    hold: bool
    fresh: bool


class Planned(pydantic.BaseModel):
    """What a plugin may answer."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    params: dict[str, Any] | None = None
    outputs: list[dict[str, Any]] | None = None
    jobs: list[PlannedJob] | None = None


class Light:
    """`handlers` are bound by the API: each is called as `handler(owner, **request)`."""

    def __init__(
        self, store: Store, catalogue: Catalogue, pool: Pool, sio: socketio.Server, run_blocking: Callable[..., Any]
    ):
        self._store, self._catalogue, self._pool, self._run_blocking = store, catalogue, pool, run_blocking
        sio.on("answered", self._answered, namespace=NAMESPACE)
        sio.on("announced", self._announced, namespace=NAMESPACE)
        self.handlers: list[Handler] = [self.call, self.plan]

    def call(
        self, owner: str, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None
    ) -> Row:
        """Run a light job now, even while the queue is paused. `outputs`: what it returns, texts and JSON values."""
        known = self._catalogue.wanted(job)
        if not known.about["light"]:
            raise InvalidParams(f"{known.name} is not a light job. Send it with submit.", field="job")
        complete, references = self._check(owner, known, params, inputs)
        return {"outputs": self._ask("call", known, complete, look_up(self._store, references))}

    def plan(
        self, owner: str, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None
    ) -> Row:
        """What a submit would make, without making it: `params` as they would be used, `count` of outputs and
        `eta_seconds` of work where they are known; `outputs` (facts of each, the seed ...) where the plugin can tell;
        of a program, the `jobs` it begins with."""
        known = self._catalogue.wanted(job)
        complete, references = self._check(owner, known, params, inputs)
        found = look_up(self._store, references)
        ports, output = known.about["inputs"], known.about["output"]
        runs = math.prod(len(items) for name, items in found.items() if items and not ports[name]["list"])
        plan: Row = {"params": complete, "count": None if output["list"] else runs}
        if known.about["plans"] or known.about["program"]:
            plan |= self._run_blocking(_checked, known, self._ask("plan", known, complete, found))
        if "outputs" in plan:
            plan["count"] = len(plan["outputs"])
        names = Counter(each["job"] for each in plan.get("jobs", [])) or {known.name: 1}
        means = {name: mean_seconds(self._store.all, self._catalogue.find(name).name) for name in names}
        unknown = None in means.values()
        plan["eta_seconds"] = None if unknown else round(sum(means[name] * names[name] for name in names), 1)
        return {"plan": {"job": known.name} | plan}

    def _check(self, owner: str, job: JobType, params: Row | None, inputs: Row | None) -> tuple[Row, dict[str, Any]]:
        complete, given = job.check(params or {}), job.check_inputs(inputs or {})
        checks = Inputs(self._store, self._catalogue, owner)
        references = checks.check(job, given)
        for name, item in [(name, item) for name, items in references.items() for item in items]:
            if isinstance(item, Converted):
                text = f"{job.name}: {name} does not take this, but what {item.by.name} makes of it."
                raise Conflict(text, field=name, hint=f"Submit {item.by.name} first, and plan with its result.")
        if waits := checks.unfinished(references):
            raise Conflict(f"job {waits[0]}, whose result is needed, has not ended yet. Ask again when it has.")
        return complete, references

    def _ask(self, kind: str, job: JobType, params: Row, inputs: dict[str, list[Row]]) -> Any:
        message = {
            "id": "", "name": job.name, "params": params, "inputs": inputs, "light": kind, "embed_metadata": "none",
            "session": "", "version": "", "program": job.about["program"], "low_memory": 0,
        }  # fmt: skip
        value = self._call(job.plugin, message)
        stored = value.get("stored") if isinstance(value, dict) else None
        return self._run_blocking(self._read, stored) if re.fullmatch(r"[0-9a-f]{64}", str(stored)) else value

    def _read(self, blob: str) -> Any:
        """An answer that was too large for a message."""
        return json.loads(self._pool.blobs.read(blob))

    def _call(self, plugin: PluginInfo, message: Row, again: bool = True) -> Any:
        """What the side process of a plugin answers. Raises Timeout, WorkerDied or what the plugin raised."""
        if plugin.status != "ready":
            raise PluginError(f"{plugin.name} is {plugin.status}.", hint="Ask again later.")
        worker = self._side(plugin.name)
        if not worker:
            raise PluginError(f"the side process of {plugin.name} could not be started.")
        lease, answer = new_id(), Future()
        worker.calls[lease] = message | {"lease": lease}, answer
        self._pool.send(worker, "run", worker.calls[lease][0])
        try:
            return answer.result(CALL_SECONDS)
        except futures.TimeoutError as error:
            worker.ended_by_us = True  # it may never come back from this call
            worker.process.kill()
            raise Timeout(f"{message['name']} gave no answer within {CALL_SECONDS} s.") from error
        except WorkerDied:
            if worker.ended_by_us and again:  # for the sake of another call
                return self._call(plugin, message, again=False)
            raise
        finally:
            worker.calls.pop(lease, None)

    def _side(self, plugin: str) -> Worker | None:
        """The side process of a plugin, ready to answer; started if it is not there."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = [each for each in list(self._pool.workers.values()) if (each.plugin, each.device) == (plugin, SIDE)]
            found = [each for each in found if not each.retired and not each.ended_by_us]
            usable = [each for each in found if each.process.exit_code() is None]
            if usable and usable[0].ready:
                return usable[0]
            info = self._catalogue.plugins.get(plugin)
            if not usable and info and info.status == "ready":
                self._pool.start(plugin, SIDE)
            elif not usable:
                return None
            time.sleep(0.02)
        return None

    def _answered(self, sid: str, message: Any = None, *rest: Any) -> bool:
        """The worker sends it until this returns."""
        message = plain.mapping(message)
        worker, said = self._pool.worker(sid), outcome(message, self._pool.blobs)
        call = worker and worker.calls.get(str(message.get("lease")))
        if call and not call[1].done():
            call[1].set_exception(from_wire(said.error)) if said.error else call[1].set_result(said.value)
        return True

    def _announced(self, sid: str, message: Any = None, *rest: Any) -> Row:
        """What a worker asks about other plugins, in programs, light calls and plans."""

        def act() -> Row:
            if self._pool.worker(sid) is None:
                raise Cancelled("this worker is not known any more.")
            if name := plain.mapping(message).get("job"):
                known = self._catalogue.wanted(str(name))
                return {"announced": known.about | {"name": known.name}}
            return {"names": sorted(name for name, known in self._catalogue.jobs.items() if not known.about["light"])}

        return plain.answer("announced", act)


def _checked(job: JobType, planned: Any) -> Row:
    """What a plugin has planned; raises PluginError if that is no plan."""
    try:
        Planned.model_validate(planned)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        text = f"the plan of {job.name} is none: {'.'.join(map(str, problem['loc']))} {problem['msg']}"[:500]
        hint = 'The plugin may return {"params": {...}, "outputs": [facts of each]}, or None.'
        raise PluginError(f"{text}.", hint=hint) from error
    return {key: value for key, value in planned.items() if value is not None}
