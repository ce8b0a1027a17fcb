"""Skip reaches the running job that it is for, as often as it is asked, and nobody else."""

import os
import signal

import pytest

from tests.serving import serve
from tests.wire import Wire

DRAW = """
class DrawParams(Params):
    pictures: int = param(3, ge=1, le=9, help="How many pictures.")
    seconds: float = param(20, ge=0, le=60, help="How long one takes.")

class Draw(Plugin):
    @job(concurrency=4)
    def draw(self, params: DrawParams, ctx: Context) -> list[Text]:
        for number in range(params.pictures):
            before, end = ctx.skips, time.monotonic() + params.seconds
            ctx.progress(number, params.pictures, f"picture {number}")  # a new phase is told at once
            while time.monotonic() < end and ctx.skips == before:
                ctx.raise_if_cancelled()
                time.sleep(0.01)
            yield f"{number} skipped" if ctx.skips > before else f"{number} drawn"

    @job(concurrency=4)
    def counts(self, params: DrawParams, ctx: Context) -> Json:
        ctx.progress(0, 1, "draw")
        while ctx.skips < params.pictures:
            time.sleep(0.01)
        return ctx.skips

    @job(program=True)
    def both(self, ctx: Context) -> list[Text]:
        return [each for child in ctx.gather([ctx.submit("draw", {"pictures": 1})]) for each in child.outputs]
"""


@pytest.fixture(scope="module")
def server():
    with serve({"draw": DRAW}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def at(wire, job, step):
    told = lambda: [(body["id"], body["step"]) for name, body in wire.received if name == "progress"]  # noqa: E731
    wire.until(lambda: (job, step) in told())


def texts(wire, job):
    return [wire.text(output) for output in wire.ended(job)["outputs"]]


def test_the_job_goes_on_with_its_next_picture_and_its_neighbour_with_its_own(wire):
    skipped, neighbour = wire.submit("draw", {"pictures": 2}), wire.submit("draw", {"pictures": 1, "seconds": 2})
    at(wire, skipped, 0), at(wire, neighbour, 0)
    answer = wire.call("skip", {"id": skipped})
    assert answer["job"]["id"] == skipped and answer["job"]["state"] == "running"
    at(wire, skipped, 1)
    wire.call("skip", {"id": skipped})
    assert texts(wire, skipped) == ["0 skipped", "1 skipped"]
    assert texts(wire, neighbour) == ["0 drawn"]
    assert wire.call("job", {"id": skipped})["job"]["state"] == "done"


def test_every_time_counts(wire):
    job = wire.submit("counts", {"pictures": 3})
    at(wire, job, 0)
    assert all(wire.call("skip", {"id": job})["ok"] for _ in range(3))
    assert texts(wire, job) == ["3"]


def test_what_does_not_run_cannot_be_skipped(wire):
    held, done = wire.submit("draw", hold=True), wire.submit("draw", {"seconds": 0})
    wire.ended(done)
    for job, state in ((held, "held"), (done, "done")):
        error = wire.call("skip", {"id": job})["error"]
        assert error["code"] == "conflict" and error["job"] == job
        assert error["message"] == f"job {job} is {state}; skip is for jobs that run."
    assert wire.call("skip", {"id": "nothing"})["error"]["code"] == "not_found"
    wire.call("cancel", {"id": held})


def test_a_program_that_waits_is_not_skipped_but_its_child_can_be(wire):
    program = wire.submit("both")
    wire.until(lambda: wire.states(program)[-1:] == ["waiting"])
    child = wire.call("jobs", {"parent": program})["jobs"][0]["id"]
    at(wire, child, 0)
    assert wire.call("skip", {"id": program})["error"]["code"] == "conflict"
    wire.call("skip", {"id": child})
    assert texts(wire, program) == ["0 skipped"]


def test_a_job_of_somebody_else_is_not_there():
    with serve({"draw": DRAW}, tokens={"bot": "a-long-enough-token"}) as server, Wire(server) as wire:
        job = wire.submit("draw", {"pictures": 1})
        at(wire, job, 0)
        with Wire(server, token="a-long-enough-token", subscribe=False) as bot:
            assert bot.call("skip", {"id": job})["error"]["code"] == "not_found"
        wire.call("skip", {"id": job})
        assert texts(wire, job) == ["0 skipped"]


def test_one_whose_worker_has_died_has_to_be_asked_again():
    with serve({"draw": DRAW}) as server, Wire(server) as wire:
        job = wire.submit("draw", {"pictures": 2})
        at(wire, job, 0)
        wire.call("skip", {"id": job})
        at(wire, job, 1)
        os.kill(wire.call("queue")["workers"][0]["pid"], signal.SIGKILL)
        wire.received.clear()
        for step in (0, 1):
            at(wire, job, step)
            assert wire.call("skip", {"id": job})["ok"]
        assert texts(wire, job) == ["0 skipped", "1 skipped"]  # by a new worker, which knew of no skip
