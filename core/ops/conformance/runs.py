"""Runs jobs of one plugin at a server that is our own, and notes how each has ended."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from clients import python as client
from core.ops.conformance import values
from core.ops.conformance.private import Private

Row = dict[str, Any]
COLD_SECONDS = 90  # for a worker to start and to load its first model
LOOK_SECONDS = 5  # whether the server is there still
STOP_SECONDS = 10  # beside cancel_grace_seconds
SHORT_SECONDS = 0.2  # a job that is done sooner can hardly be caught running


@dataclass
class Run:
    """How one run of a job has ended: done, failed, cancelled, refused before it was stored, or cut short by us."""

    params: Row
    inputs: Row
    state: str = "refused"
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    outputs: list[tuple[str, Any]] = field(default_factory=list)  # kind and bytes; of a light job the values
    metrics: Row = field(default_factory=dict)
    progress: list[Row] = field(default_factory=list)
    label: str = ""  # what is tried with it


class Runner:
    """`seconds` is how long jobs are tried, `grace` how long the server gives them to stop."""

    def __init__(self, server: Private, name: str, seconds: float, grace: float):
        self._server, self._client, self._name = server, server.client, name
        self._seconds, self.patience = seconds, grace + STOP_SECONDS  # until a job has stopped
        self.cold = True  # no worker runs yet
        self._progress: dict[str, list[Row]] = {}
        self._uploads: dict[tuple[str, int], str] = {}  # artifacts, by kind and number
        self._client.on_event(self._heard)

    def _heard(self, event: str, body: Row) -> None:
        if event == "progress":
            self._progress.setdefault(body["id"], []).append(body)

    def run(self, about: Row, params: Row, inputs: Row, seconds: float | None = None) -> Run:
        seconds = seconds or COLD_SECONDS * self.cold + 2 * self._seconds
        return self.run_all(about, [(params, inputs)], seconds)[0]

    def run_all(self, about: Row, wanted: list[tuple[Row, Row]], seconds: float) -> list[Run]:
        """Beside each other, as far as the job allows; those that are not done in time are cancelled."""
        runs, jobs, deadline = [Run(*each) for each in wanted], {}, time.monotonic() + seconds
        for number, run in enumerate(runs):
            try:
                if about["light"]:
                    self._call(about, run)
                else:
                    jobs[number] = self.submit(about["name"], run.params, run.inputs)
            except client.ServerError as error:
                run.code, run.message = error.code, str(error)
        for number, job in jobs.items():
            self._follow(job, runs[number], deadline)
            self.cold = False
            if about["program"]:  # its record does not count what it waits for
                runs[number].seconds = time.monotonic() - deadline + seconds
        return runs

    def _call(self, about: Row, run: Run) -> None:
        started = time.monotonic()
        found = self._client.light(f"{self._name}.{about['name']}", run.params, run.inputs)
        run.state, run.seconds = "done", time.monotonic() - started
        run.outputs = [(about["output"]["kind"], value) for value in found]

    def _follow(self, job: client.Job, run: Run, deadline: float) -> None:
        try:
            self.end(job, max(deadline - time.monotonic(), 0.1))
            cut = False
        except TimeoutError:
            cut = True
            with contextlib.suppress(client.Conflict):  # it is done just now
                job.cancel()
            with contextlib.suppress(TimeoutError):
                self.end(job, self.patience)
        record = job.refresh().record
        run.state = "cut" if cut and job.state == "cancelled" else job.state
        run.metrics = record.get("metrics") or {}
        run.seconds = (record["finished"] or 0) - (record["started"] or record["finished"] or 0)
        run.progress = self._progress.pop(job.id, [])
        if job.error and run.state != "cut":
            run.code, run.message = job.error.code, str(job.error)
        elif run.state not in (*client.TERMINAL, "cut"):
            run.state, run.code, run.message = "failed", "timeout", "it does not stop when it is cancelled"
        elif run.state == "cut" and record["attempt"] > 1:
            run.state, run.code, run.message = "failed", "worker_died", "its worker died under it"
        if run.state == "done":
            run.outputs = [(each.kind, each.bytes()) for each in job.outputs]

    def submit(self, name: str, params: Row, inputs: Row) -> client.Job:
        return self._client.submit(f"{self._name}.{name}", params, inputs, fresh=True, embed_metadata="none")

    def end(self, job: client.Job, seconds: float) -> None:
        """Wait for it. Raises TimeoutError; Unreachable if the server is gone."""
        deadline = time.monotonic() + seconds
        while job.state not in client.TERMINAL:
            with contextlib.suppress(TimeoutError):
                for _ in job.events(min(max(deadline - time.monotonic(), 0.1), LOOK_SECONDS)):
                    pass
                return
            if not self._server.running:
                raise client.Unreachable("the server was ended by it.")
            if time.monotonic() > deadline:
                raise TimeoutError

    def begin(self, name: str, params: Row, inputs: Row, seconds: float) -> client.Job:
        """A job that is in the middle: it has told of progress, or runs for a third of the time that it takes."""
        job = self.submit(name, params, inputs)
        with contextlib.suppress(TimeoutError):
            for _ in job.events(COLD_SECONDS):
                if job.state == "running" or job.state in client.TERMINAL:
                    break
        deadline = time.monotonic() + min(seconds / 3, 2)
        while seconds > SHORT_SECONDS and time.monotonic() < deadline and job.id not in self._progress:
            time.sleep(0.02)
        return job

    def code_of(self, about: Row, params: Row, inputs: Row) -> str:
        """The code of the error that it is answered with, or "no error"; then it is cancelled before it runs."""
        try:
            if about["light"]:
                self._client.light(f"{self._name}.{about['name']}", params, inputs)
            else:
                self._client.submit(f"{self._name}.{about['name']}", params, inputs, hold=True).cancel()
            return "no error"
        except client.ServerError as error:
            return error.code

    def upload(self, kind: str, number: int) -> str:
        if (kind, number) not in self._uploads:
            _, content = values.inputs(kind)[number]
            self._uploads[kind, number] = self._client.upload(content, kind=kind).id
        return self._uploads[kind, number]
