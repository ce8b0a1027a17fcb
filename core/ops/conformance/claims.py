"""The claims that a plugin is tested for, one after the other, by a client of a real server."""

import contextlib
import itertools
import json
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from clients import python as client
from core.errors import CoreError
from core.ops.config import ROOT
from core.ops.conformance import values
from core.ops.conformance.manifest import Test
from core.ops.conformance.private import Private
from core.ops.conformance.report import Report
from core.ops.conformance.runs import COLD_SECONDS, STOP_SECONDS, Row, Run, Runner
from core.types import KINDS

UNTYPED = {"plugin_error", "worker_died", "timeout", "internal"}  # codes of what a plugin should have said itself
NEEDS = {"model_not_found": "it needs a model", "unknown_job": "it needs a job of another plugin"}
IMPORT_SECONDS, IMPORT_LIMIT = 2, 60  # of a processor; until it is given up
QUICK_SECONDS = 20  # for all jobs together
KILLED = "its worker was stopped"  # as core/ops/watchdog.py says it
AGAIN = 3  # times that an equal job is run
BAIT = "outside.safetensors"
KEPT_BYTES = 64_000_000  # by which memory may grow meanwhile
SHOWN = 3  # failures of one claim


class Kit:
    """`folder` is the plugin's, `grace` the seconds that a job has to stop."""

    def __init__(
        self, server: Private, folder: Path, name: str, test: Test, report: Report, quick: bool, grace: float
    ):  # fmt: skip
        self._server, self._client, self._folder = server, server.client, folder
        self._runner = Runner(server, name, test.seconds, grace)
        self._name, self._test, self._report, self._quick = name, test, report, quick
        self._longest: tuple[str, Run] | None = None  # of all jobs that can be run again
        self._jobs: list[Row] = []

    def describes_itself(self) -> bool:
        plugin = next((each for each in self._client.plugins() if each["name"] == self._name), None)
        if not plugin or plugin["status"] != "ready":
            why = plugin["error"] if plugin else "the server does not load it: has it an __init__.py?"
            self._report.fails("describes itself", str(why).rstrip("."))
            return False
        self._jobs, self._sandboxed = plugin["jobs"], plugin.get("sandbox", False)
        many = f"{len(self._jobs)} job{'s' * (len(self._jobs) != 1)}"
        self._report.passes(f"describes itself: {many}")
        if not self._quick and (silent := [job["name"] for job in self._jobs if not job["help"]]):
            self._report.fails("says what its jobs are for", f"{', '.join(silent)}", "Write docstrings.")
        if unknown := self._test.jobs.keys() - {job["name"] for job in self._jobs}:
            names = ", ".join(sorted(unknown))
            self._report.fails("[test] names its jobs", f"it has no {names}", "Correct plugin.toml.")
        return True

    def imports_lightly(self, python: Path) -> None:
        claim, answer = "imports lightly", self._server.scratch / "importing.json"
        log = answer.with_suffix(".log")
        command = [str(python), "-B", "-m", "core.ops.conformance.importing", str(self._folder), str(answer)]
        if self._sandboxed:
            from core.ops import sandbox

            answer.touch()
            command = sandbox.command(command, [python.parents[1], self._folder], write=[answer])
        try:
            with log.open("wb") as said:  # no pipe: what it starts could keep that open
                done = subprocess.run(
                    command, cwd=ROOT, timeout=IMPORT_LIMIT, stdin=subprocess.DEVNULL, stdout=said, stderr=said
                )
        except subprocess.TimeoutExpired:
            return self._report.fails(claim, f"it takes longer than {IMPORT_LIMIT} s")
        if done.returncode or not answer.exists() or not answer.stat().st_size:
            lines = log.read_text("utf-8", "replace").splitlines() or ["it ends the process"]
            return self._report.fails(claim, lines[-1][:500])
        found = json.loads(answer.read_text("utf-8"))
        if found["heavy"]:
            hint = "Import them inside the functions that use them."
            return self._report.fails(claim, f"importing it imports {', '.join(found['heavy'])}", hint)
        if found["did"]:
            hint = "Do that in load() or in the job."
            return self._report.fails(claim, f"importing it {'; '.join(found['did'])}", hint)
        if found["seconds"] > IMPORT_SECONDS:
            return self._report.fails(claim, f"it takes {found['seconds']:.1f} s of a processor")
        self._report.passes(f"{claim}, writes nothing, uses no network", found["seconds"])

    def try_jobs(self) -> None:
        deadline, late = time.monotonic() + QUICK_SECONDS, []
        for about in self._jobs:
            if skip := self._test.of(about["name"]).skip:
                self._report.leaves(about["name"], skip)
            elif self._quick and time.monotonic() > deadline:
                late.append(about["name"])
            else:
                self._try(about, deadline)
        if late:
            self._report.leaves(", ".join(late), f"the {QUICK_SECONDS} s for all jobs are over")

    def _try(self, about: Row, deadline: float) -> None:
        job, test = about["name"], self._test.of(about["name"])
        params = values.Parameters(about["params"], self._choices, test.params)
        self._refuses(about, params)
        inputs = {name: self._first_input(name, port, test.inputs) for name, port in about["inputs"].items()}
        inputs = {name: given for name, given in inputs.items() if given}
        cold = self._runner.cold
        first = self._runner.run(
            about, params.base(), inputs, max(deadline - time.monotonic(), 5) if self._quick else None
        )
        if not self._runs(about, first) or self._quick:
            return
        if cold and first.state == "done":  # how long it takes when all is loaded
            first = self._runner.run(about, first.params, inputs)
        runs = [first, *self._valid(about, params, first), *self._all_inputs(about, first, test.inputs)]
        self._stays_inside(about, params, first.inputs)
        self._tells_progress(about, runs)
        if about["light"]:
            return
        self._plans(about, first)
        repeats = self._repeats(about, first)
        slowest = max((run for run in runs if run.state in ("done", "cut")), key=lambda run: run.seconds)
        if repeats and (not self._longest or self._longest[1].seconds < first.seconds):
            self._longest = job, first
        self._cancels(about, slowest, first.seconds)

    def _runs(self, about: Row, run: Run) -> bool:
        """Whether it makes sense to go on with it."""
        claim = f"{about['name']}: runs"
        if run.state == "done" and not (problem := _problem(about, run)):
            self._report.passes(f"{claim}, returns {_wanted(about['output'])}", run.seconds)
            return True
        if run.state == "done":
            self._report.fails(claim, problem, "Return what the method's annotation says.")
        elif run.state == "cut":
            hint = f"say smaller parameters in [test.jobs.{about['name']}.params] of plugin.toml"
            self._report.leaves(claim, f"it is not done in {run.seconds:.0f} s; {hint}")
            return not self._quick
        elif run.code in NEEDS:
            self._report.leaves(claim, f"{NEEDS[run.code]}: {run.message}")
        elif run.code in UNTYPED or run.code == "type_mismatch":
            self._report.fails(claim, f"{run.code}: {run.message}")
        else:
            hint = f"say others in [test.jobs.{about['name']}] of plugin.toml"
            self._report.leaves(claim, f"it refuses what was made up for it ({run.message}); {hint}")
        return False

    def _refuses(self, about: Row, params: values.Parameters) -> None:
        claim, wrong, newest = f"{about['name']}: refuses what is not allowed", [], self._newest()
        tried = 0
        for name, given in params.invalid():
            tried += 1
            if (code := self._runner.code_of(about, given, {})) != "invalid_params":
                wrong.append(f"{name}={_short(given.get(name))} is answered with {code}")
        for name, port in about["inputs"].items():
            kind = "audio" if port["kind"] != "audio" else "image"
            tried += 1
            code = self._runner.code_of(about, params.base(), {name: self._runner.upload(kind, 0)})
            if code not in ("type_mismatch", "invalid_params"):  # the second if others are missing
                wrong.append(f"{kind} for {name} is answered with {code}")
        if self._newest() != newest:
            wrong.append("a job was made nevertheless")
        if wrong:
            self._report.fails(claim, "; ".join(wrong[:SHOWN]))
        else:
            self._report.passes(f"{claim}: {tried} bad values")

    def _valid(self, about: Row, params: values.Parameters, first: Run) -> list[Run]:
        """Edges of each parameter and mixtures, for as long as the test may take."""
        claim, deadline = f"{about['name']}: takes all that it announces", time.monotonic() + self._test.seconds
        sets = iter(params.valid())
        runs: list[Run] = []
        beside = max(1, min(about["concurrency"], 8)) if first.seconds < 1 else 1
        while (left := deadline - time.monotonic()) > 0:
            chunk = list(itertools.islice(sets, beside))
            if not chunk:
                break
            most = max(self._test.seconds / 4, 3 * first.seconds)
            runs += self._runner.run_all(about, [(each, first.inputs) for each in chunk], min(left, most))
            if any(run.state == "cut" for run in runs):  # one that takes long keeps those beside it waiting
                beside = 1
        if runs:
            self._judge(claim, about, params.base(), runs, sum(1 for _ in sets))
        return runs

    def _stays_inside(self, about: Row, params: values.Parameters, inputs: Row) -> None:
        """A name with a path out of the folder of models is answered as one that is unknown."""
        claim = f"{about['name']}: no name leads out of the models"
        (self._server.scratch / BAIT).write_bytes(b"no weights")
        for kind, name in params.kinds().items():
            (self._server.scratch / "models" / kind).mkdir(parents=True, exist_ok=True)
            named = [params.with_model(name, model) for model in (f"no/such/{BAIT}", f"../../{BAIT}")]
            if all(named):
                unknown, hostile = (self._runner.run(about, each, inputs) for each in named)
                if unknown.code != hostile.code:
                    text = f"{name} = ../../{BAIT} is answered with {hostile.code or hostile.state}"
                    self._report.fails(claim, text, "Ask ctx.models.path for files.")

    def _all_inputs(self, about: Row, first: Run, given: Row) -> list[Run]:
        claim, tried = f"{about['name']}: takes all that its inputs may be", []
        for name, port in about["inputs"].items():
            kind = port["kind"]
            for number, (label, _) in enumerate(values.inputs(kind)):
                if number or name not in first.inputs:
                    tried.append((f"{label} as {name}", first.inputs | {name: [self._runner.upload(kind, number)]}))
            if port["list"]:
                tried.append((f"two for {name}", first.inputs | {name: [self._runner.upload(kind, 0)] * 2}))
        deadline, runs = time.monotonic() + self._test.seconds, []
        for label, inputs in tried:
            if (left := deadline - time.monotonic()) < 0:
                break
            runs += self._runner.run_all(about, [(first.params, inputs)], left)
            runs[-1].label = label
        if runs:
            self._judge(claim, about, first.params, runs, len(tried) - len(runs))
        return runs

    def _judge(self, claim: str, about: Row, base: Row, runs: list[Run], left: int) -> None:
        """Each of the runs has to be done, with outputs as announced, or refused in words of the plugin's own."""
        bad = []
        for run in runs:
            other = {key: value for key, value in run.params.items() if base.get(key, base) != value}
            given = [run.label] if run.label else [f"{key}={_short(value)}" for key, value in other.items()]
            if problem := _problem(about, run) if run.state == "done" else run.code in UNTYPED and run.message:
                bad.append(f"with {' '.join(given)[:200]}: {problem}")
        if bad:
            hint = "Raise InvalidParams, BadImage ... for what cannot be done."
            return self._report.fails(claim, "; ".join(bad[:SHOWN]), hint)
        states = [run.state for run in runs]
        if {*states} <= {"cut"}:
            return self._report.leaves(claim, f"nothing was done within {self._test.seconds:.0f} s")
        told = f"{len(runs)} tried, {states.count('done')} done"
        refused = states.count("failed") + states.count("refused")
        for many, what in ((refused, "refused"), (states.count("cut"), "cut short"), (left, "not begun in time")):
            told += f", {many} {what}" * bool(many)
        self._report.passes(f"{claim}: {told}")

    def _tells_progress(self, about: Row, runs: list[Run]) -> None:
        claim, told = f"{about['name']}: progress grows and is finite", [run for run in runs if run.progress]
        if problems := [problem for run in told if (problem := _crooked(run.progress))]:
            self._report.fails(claim, problems[0])
        elif told:
            self._report.passes(claim)

    def _plans(self, about: Row, first: Run) -> None:
        """What a plan promises is what a run has made."""
        if not about["plans"] or first.state != "done" or about["program"]:
            return
        claim = f"{about['name']}: makes what it plans"
        try:
            count = self._client.plan(self._full(about), first.params, first.inputs)["count"]
        except client.ServerError as error:
            return self._report.fails(claim, str(error))
        if count not in (None, len(first.outputs)):
            return self._report.fails(claim, f"the plan has {count} outputs, the run {len(first.outputs)}")
        self._report.passes(claim)

    def _repeats(self, about: Row, first: Run) -> bool:
        """Equal jobs give equal results where that is promised, and memory stays. Whether it can be run again."""
        hints = (schema.get("ui", {}) for schema in about["params"].get("properties", {}).values())
        seeded = any(hint.get("widget") == "seed" for hint in hints)
        if first.state != "done" or first.seconds > self._test.seconds / AGAIN:
            return first.state == "done"
        runs = [self._runner.run(about, first.params, first.inputs) for _ in range(AGAIN)]
        if any(run.state != "done" for run in runs):
            ended = next(run for run in runs if run.state != "done")
            if ended.code in UNTYPED:
                self._report.fails(f"{about['name']}: runs again", f"the same job is {ended.state}: {ended.message}")
            return False  # what it makes is there already, say
        if about["reuse"] or seeded:
            claim = f"{about['name']}: " + ("equal jobs give" if about["reuse"] else "the same seed gives")
            if any(run.outputs != first.outputs for run in runs):
                hint = ", or take off reuse=True" * about["reuse"]
                self._report.fails(f"{claim} equal results", "two runs differ", f"Draw all chance from a seed{hint}.")
            else:
                self._report.passes(f"{claim} equal results")
        grown = runs[-1].metrics.get("memory_bytes", 0) - runs[0].metrics.get("memory_bytes", 0)
        if grown > KEPT_BYTES:
            many = f"{grown / 1e6:.0f} MB in {AGAIN - 1} equal runs"
            self._report.fails(f"{about['name']}: keeps no memory", many, "Does something hold on to results?")
        return True

    def _cancels(self, about: Row, slowest: Run, usual: float) -> None:
        """`usual` seconds the job takes alone; `slowest` may have had others beside it."""
        claim = f"{about['name']}: cancel is bounded"
        job = self._runner.begin(about["name"], slowest.params, slowest.inputs, usual)
        started = time.monotonic()
        try:
            job.cancel()
            self._runner.end(job, self._runner.patience)
        except client.Conflict:
            return self._report.leaves(claim, f"it is done too soon ({slowest.seconds:.2f} s)")
        except TimeoutError:
            return self._report.fails(claim, f"it still runs after {time.monotonic() - started:.0f} s")
        if job.state != "cancelled":
            return self._report.leaves(claim, f"it was {job.state} before it was told")
        seconds = time.monotonic() - started
        if KILLED in str(job.error):
            hint = "Call ctx.raise_if_cancelled() in its loop."
            return self._report.fails(claim, f"its worker had to be killed after {seconds:.0f} s", hint)
        self._report.passes(claim, seconds)

    def survives_a_crash(self) -> None:
        """Its worker is killed in the middle of a job: that runs again, and the next one as if nothing had been."""
        claim = "a killed worker costs nothing"
        if self._quick or not self._longest:
            return
        name, run = self._longest
        job, limit = self._runner.begin(name, run.params, run.inputs, run.seconds), COLD_SECONDS + 3 * run.seconds
        for process in self._server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        other = self._runner.submit(name, run.params, run.inputs)
        try:
            for each in (job, other):
                self._runner.end(each, limit)
        except TimeoutError:
            return self._report.fails(claim, f"{name} was not done again in {limit:.0f} s")
        if bad := [each for each in (job, other) if each.state != "done"]:
            return self._report.fails(claim, f"{name} is {bad[0].state} afterwards: {bad[0].error}")
        again = job.refresh().record["attempt"] > 1
        told = "ran again" if again else "is too quick to be caught, the next one ran"
        self._report.passes(f"{claim}: {name} {told}")

    def ends(self) -> None:
        """With the server, and nothing of it stays behind. The last claim: the server is gone then."""
        if self._quick:
            return
        there, used = [], 0
        for worker in self._server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                there += [worker, *worker.children(recursive=True)]
                used = sum(each.memory_info().rss for each in there)
        self._server.end()
        gone, alive = psutil.wait_procs(there, timeout=STOP_SECONDS / 2)
        alive = [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        if alive:
            names = ", ".join(f"{each.name()} ({each.pid})" for each in alive)
            self._report.fails("ends with the server", f"{names} stays", "End in unload() what load() has started.")
            for each in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        elif there:
            self._report.passes(f"ends with the server: its memory is free again ({used / 1e6:.0f} MB)")

    def _full(self, about: Row) -> str:
        return f"{self._name}.{about['name']}"

    def _choices(self, source: str) -> list[str]:
        with contextlib.suppress(client.ServerError):
            return self._client.choices(source)
        return []

    def _newest(self) -> str | None:
        return next((job.id for job in self._client.jobs(limit=1)), None)

    def _first_input(self, name: str, port: Row, given: Row) -> list[str]:
        if name in given:
            paths = [given[name]] if isinstance(given[name], str) else given[name]
            return [self._client.upload(self._folder / path, kind=port["kind"]).id for path in paths]
        return [] if port["optional"] else [self._runner.upload(port["kind"], 0)]


def _problem(about: Row, run: Run) -> str | None:
    """What is wrong with the outputs of a run that is done."""
    kind = about["output"]["kind"]
    if wrong := {found for found, _ in run.outputs} - {kind}:
        return f"it returns {', '.join(wrong)} in place of {kind}"
    if about["light"]:
        if kind == "text" and not all(isinstance(value, str) for _, value in run.outputs):
            return "it returns something else than text"
        return None
    if not about["output"]["list"] and not run.outputs:
        return "it returns nothing"
    for _, data in run.outputs:
        try:
            KINDS[kind].decode(data)
        except CoreError as error:
            return str(error)
    return None


def _crooked(told: list[Row]) -> str | None:
    """What is wrong with the progress of a job."""
    before: Row = {}
    for each in told:
        step, total, phase = each["step"], each["total"], each["phase"]
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in (step, total)):
            return f"step {step!r} of {total!r} in {phase!r}"
        if not 0 <= step <= total:
            return f"step {step} of {total} in {phase!r}"
        same = before and (before["phase"], before["total"]) == (phase, total)
        if same and step < before["step"] < total and step > 0:  # the next picture begins at 0 again
            return f"after step {before['step']} comes {step} of {total} in {phase!r}"
        before = each
    return None


def _wanted(port: Row) -> str:
    return f"a list of {port['kind']}" if port["list"] else port["kind"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"
