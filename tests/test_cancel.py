"""Cancel is bounded in every state a job can be in, touches that job alone, and the watchdog ends what hangs."""

import os
import signal
import time

import pytest

from tests.serving import ROOT, serve, wait_until
from tests.wire import TERMINAL, Wire, alive

WORK = """
class Work(Params):
    seconds: float = param(30, ge=0, le=60, help="How long it takes.")

class Works(Plugin):
    @job(concurrency=4)
    def listens(self, params: Work, ctx: Context) -> Text:
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.progress(0, 1, "sample")
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        return "whole"

    @job(concurrency=4)
    def deaf(self, params: Work, ctx: Context) -> Text:
        ctx.progress(0, 1, "sample")
        time.sleep(params.seconds)
        return "whole"

    @job()
    def streams(self, params: Work, ctx: Context) -> list[Text]:
        for number in range(100):
            if ctx.cancelled and ctx.keep_partial:
                return
            ctx.raise_if_cancelled()
            yield str(number)
            time.sleep(0.05)

    @job()
    def finishes(self, params: Work, ctx: Context) -> list[Text]:
        ctx.progress(0, 1, "sample")
        while not ctx.cancelled:
            time.sleep(0.01)
        for number in range(4):
            time.sleep(params.seconds)
            yield str(number)

    @job()
    def after(self, text: Text) -> Text:
        return text
"""
LOADS = """
class Loads(Plugin):
    def load(self, device):
        time.sleep({seconds})

    @job()
    def work(self, ctx: Context) -> Text:
        ctx.raise_if_cancelled()
        return "done"
"""


@pytest.fixture(scope="module")
def server():
    with serve({"works": WORK}, cancel_grace_seconds=1) as server:
        with Wire(server) as wire:
            wire.ended(wire.submit("listens", {"seconds": 0}))  # a worker is there
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def running(wire, *jobs):
    said = lambda: {body["id"] for name, body in wire.received if name == "progress"}  # noqa: E731
    wire.until(lambda: said() >= set(jobs))


def cancelled(wire, job, **more):
    """Cancel, and how long it took until the terminal event."""
    before = time.monotonic()
    assert wire.call("cancel", {"id": job, **more})["ok"]
    assert wire.ended(job)["state"] == "cancelled"
    assert sum(state in TERMINAL for state in wire.states(job)) == 1
    return time.monotonic() - before


def test_in_every_state_before_it_runs(wire):
    blocker = wire.submit("listens")
    running(wire, blocker)
    wire.call("queue", {"action": "pause"})
    held, queued = wire.submit("listens", hold=True), wire.submit("listens")
    waiting = wire.submit("after", inputs={"text": {"job": queued}})
    last = wire.submit("after", inputs={"text": {"job": waiting}})
    for job in (held, waiting, queued):
        assert cancelled(wire, job) < 1
        assert "running" not in wire.states(job)
    assert wire.ended(last)["error"]["code"] == "dependency_failed"
    wire.call("queue", {"action": "resume"})
    cancelled(wire, blocker)


def test_mid_step_only_that_job_ends(wire):
    jobs = [wire.submit("listens") for _ in range(3)]
    running(wire, *jobs)
    assert cancelled(wire, jobs[1]) < 1
    assert [wire.states(job)[-1] for job in jobs] == ["running", "cancelled", "running"]
    for job in (jobs[0], jobs[2]):
        cancelled(wire, job)
        assert wire.call("job", {"id": job})["job"]["attempt"] == 1


def test_what_is_kept_may_take_its_time_as_long_as_it_comes(wire):
    slow = wire.submit("finishes", {"seconds": 0.5})  # four times that is more than the grace
    wire.until(lambda: any(name == "progress" and body["id"] == slow for name, body in wire.received))
    wire.call("cancel", {"id": slow, "keep_partial": True})
    ended = wire.ended(slow)
    assert [wire.text(output) for output in ended["outputs"]] == ["0", "1", "2", "3"]
    assert ended["error"]["message"] == "the job was cancelled."


def test_what_is_kept_does_not_come_for_ever_if_it_is_cancelled_for_good(wire):
    slow = wire.submit("finishes", {"seconds": 0.6})
    wire.until(lambda: any(name == "progress" and body["id"] == slow for name, body in wire.received))
    wire.call("cancel", {"id": slow, "keep_partial": True})
    wire.until(lambda: any(name == "artifact" and body.get("job") == slow for name, body in wire.received))
    wire.call("cancel", {"id": slow})
    assert wire.ended(slow)["outputs"] == []


def test_a_deaf_job_is_killed_within_the_grace_and_its_neighbours_run_again_without_blame(wire):
    deaf, neighbour = wire.submit("deaf"), wire.submit("listens", {"seconds": 2})
    running(wire, deaf, neighbour)
    assert cancelled(wire, deaf) < 1 + 2
    assert wire.text(wire.ended(neighbour)["outputs"][0]) == "whole"
    assert wire.call("job", {"id": neighbour})["job"]["attempt"] == 2


def test_between_outputs_what_is_there_is_kept_or_discarded(wire):
    for keep in (True, False):
        job = wire.submit("streams")
        wire.until(lambda job=job: any(name == "artifact" and body["job"] == job for name, body in wire.received))
        cancelled(wire, job, keep_partial=keep)
        outputs = wire.call("artifacts", {"job": job})["artifacts"]
        assert bool(outputs) is keep
        told = [body for name, body in wire.received if name == "artifact" and body["job"] == job]
        assert bool([body for body in told if body.get("deleted")]) is not keep


def test_twice_and_after_the_end(wire):
    job = wire.submit("listens")
    running(wire, job)
    wire.call("cancel", {"id": job})
    again = wire.call("cancel", {"id": job})
    assert again["ok"] or again["error"]["code"] == "conflict"
    assert wire.ended(job)["state"] == "cancelled"
    assert wire.call("cancel", {"id": job})["error"]["code"] == "conflict"
    assert wire.states(job).count("cancelled") == 1


def test_a_cancel_that_races_with_the_end_gives_one_end(wire):
    jobs = [wire.submit("listens", {"seconds": 0.02}) for _ in range(20)]
    asked = []
    for job in jobs:
        time.sleep(0.005)
        if wire.call("cancel", {"id": job})["ok"]:
            asked.append(job)
    ends = wire.ended(*jobs)
    assert {end["id"] for end in ends if end["state"] == "cancelled"} == {*asked}  # what was acknowledged holds
    assert all(sum(state in TERMINAL for state in wire.states(job)) == 1 for job in jobs)


def test_while_its_worker_starts():
    with serve({"works": WORK}) as server, Wire(server) as wire:
        job = wire.submit("listens")  # nothing runs yet
        assert cancelled(wire, job) < 1
        assert "running" not in wire.states(job)


def test_while_its_plugin_loads():
    with serve({"loads": LOADS.format(seconds=1.5)}, cancel_grace_seconds=5) as server, Wire(server) as wire:
        job = wire.submit("work")
        wire.until(lambda: "running" in wire.states(job))
        pid = wire.call("queue")["workers"][0]["pid"]
        assert cancelled(wire, job) < 5  # it hears it when the load is over
        assert wire.text(wire.ended(wire.submit("work"))["outputs"][0]) == "done"
        assert wire.call("queue")["workers"][0]["pid"] == pid


def test_a_cancel_is_heard_by_a_worker_that_was_frozen(wire):
    job = wire.submit("listens")
    running(wire, job)
    pid = wire.call("queue")["workers"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert cancelled(wire, job) < 1 + 2
    wait_until(lambda: not alive(pid))


def test_a_load_that_hangs_times_out_and_the_worker_is_ended():
    with serve({"loads": LOADS.format(seconds=300)}, stall_seconds=1.5) as server, Wire(server) as wire:
        job = wire.submit("work")
        wire.until(lambda: "running" in wire.states(job))
        pid = wire.call("queue")["workers"][0]["pid"]
        assert wire.ended(job)["error"]["code"] == "timeout"
        wait_until(lambda: not alive(pid))


def test_a_silent_worker_is_killed_and_its_job_runs_again():
    with serve({"works": WORK}, heartbeat_seconds=6) as server, Wire(server) as wire:
        job = wire.submit("listens", {"seconds": 0.5})
        running(wire, job)
        pid = wire.call("queue")["workers"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert wire.text(wire.ended(job)["outputs"][0]) == "whole"
        assert wire.call("job", {"id": job})["job"]["attempt"] == 2 and not alive(pid)


def test_a_program_that_waits_for_long_is_not_taken_for_stalled():
    source = """
class Waits(Plugin):
    @job(program=True)
    def waits(self, ctx: Context) -> list[Text]:
        return list(ctx.gather([ctx.submit("works")])[0].outputs)

    @job()
    def works(self, ctx: Context) -> Text:
        for step in range(12):
            ctx.progress(step, 12)
            time.sleep(0.25)
        return "whole"
"""
    with serve({"waits": source}, stall_seconds=1.5) as server, Wire(server) as wire:
        assert wire.text(wire.ended(wire.submit("waits"))["outputs"][0]) == "whole"


@pytest.mark.torch
def test_a_picture_in_each_of_its_phases():
    with serve({"stable_diffusion": ROOT / "plugins" / "stable_diffusion"}) as server, Wire(server) as wire:
        for phase in ("load", "sample", "decode"):
            job = wire.submit("txt2img", {"steps": 150 if phase == "sample" else 1, "batch_size": 20})
            said = lambda job=job: [  # noqa: E731
                body["phase"] for name, body in wire.received if name == "progress" and body["id"] == job
            ]
            reached = lambda said=said, phase=phase: phase == "load" or phase in said()  # noqa: E731
            wire.until(lambda job=job, reached=reached: "running" in wire.states(job) and reached(), 60)
            cancelled(wire, job)
            assert len(wire.call("artifacts", {"job": job})["artifacts"]) == 0
            assert wire.ended(wire.submit("txt2img", {"steps": 1}), seconds=120)["state"] == "done"
