"""What is acknowledged survives kill -9 of the server and of workers, and nothing has two ends."""

import os
import signal

import pytest

from tests.serving import serve, wait_until
from tests.wire import TERMINAL, Wire, alive

SLOW = """
class SlowParams(Params):
    seconds: float = param(0.2, ge=0, le=60, help="How long to work.")
    text: str = param("x", help="What to return.")

class Slow(Plugin):
    @job(concurrency=3)
    def slow(self, params: SlowParams, ctx: Context) -> Text:
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        return params.text

    @job()
    def twice(self, text: Text) -> Text:
        return text * 2

    @job()
    def several(self, ctx: Context) -> list[Text]:
        for number in range(3):
            yield f"part {number}"
            time.sleep(0.3)
"""


def workers(wire):
    return wire.call("queue")["workers"]


def ends(wire):
    """How often each job has ended, from the complete history of events."""
    counts = {}
    for _, name, body in wire.state_events():
        if name == "job" and body["state"] in TERMINAL:
            counts[body["id"]] = counts.get(body["id"], 0) + 1
    return counts


@pytest.mark.parametrize("durability", ["process", "power"])
def test_jobs_survive_the_death_of_the_server(durability):
    with serve({"slow": SLOW}, durability=durability) as server:
        with Wire(server) as wire:
            running = wire.submit("slow", {"seconds": 1, "text": "ran"})
            wire.until(lambda: "running" in wire.states(running))
            queued = [wire.submit("slow", {"seconds": 0, "text": str(k)}) for k in range(10)]
            chained = wire.submit("twice", inputs={"text": {"job": running}})
            held = wire.submit("slow", hold=True)
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            texts = [wire.text(end["outputs"][0]) for end in wire.ended(running, chained, *queued)]
            assert texts == ["ran", "ranran", *map(str, range(10))]
            assert wire.call("job", {"id": held})["job"]["state"] == "held"
            assert set(ends(wire).values()) == {1}
            assert wire.call("job", {"id": running})["job"]["attempt"] == 2


@pytest.mark.slow
def test_a_worker_that_dies_with_several_jobs_inside_costs_none_of_them():
    with serve({"slow": SLOW}) as server, Wire(server) as wire:
        jobs = [wire.submit("slow", {"seconds": 1, "text": str(k)}) for k in range(3)]
        wire.until(lambda: all("running" in wire.states(job) for job in jobs))
        os.kill(workers(wire)[0]["pid"], signal.SIGKILL)
        assert [wire.text(end["outputs"][0]) for end in wire.ended(*jobs)] == ["0", "1", "2"]
        assert set(ends(wire).values()) == {1}


def test_streamed_outputs_are_replaced_by_a_later_attempt_not_doubled():
    with serve({"slow": SLOW}) as server, Wire(server) as wire:
        job = wire.submit("several")
        wire.until(lambda: any(name == "artifact" for name, _ in wire.received))
        os.kill(workers(wire)[0]["pid"], signal.SIGKILL)
        ended = wire.ended(job)
        assert [wire.text(output) for output in ended["outputs"]] == ["part 0", "part 1", "part 2"]
        assert len(wire.call("artifacts", {"job": job})["artifacts"]) == 3


def test_workers_end_with_their_server():
    with serve({"slow": SLOW}) as server:
        with Wire(server) as wire:
            wire.ended(wire.submit("slow", {"seconds": 0}))
            pid = workers(wire)[0]["pid"]
        server.kill()
        wait_until(lambda: not alive(pid), 5)


def test_a_cancel_that_was_acknowledged_holds_after_a_restart():
    with serve({"slow": SLOW}) as server:
        with Wire(server) as wire:
            job = wire.submit("slow", {"seconds": 30})
            wire.until(lambda: "running" in wire.states(job))
            worker = workers(wire)[0]["pid"]
            os.kill(worker, signal.SIGSTOP)  # it cannot hear the cancel
            assert wire.call("cancel", {"id": job})["ok"]
            server.kill()
            os.kill(worker, signal.SIGCONT)
        server.restart()
        with Wire(server, since=0) as wire:
            assert wire.ended(job)["state"] == "cancelled"


@pytest.mark.slow
@pytest.mark.parametrize("on_start, paused", [("run", False), ("pause", True), ("last", True)])
def test_on_start_says_whether_a_paused_queue_goes_on(on_start, paused):
    with serve({"slow": SLOW}, on_start=on_start) as server:
        with Wire(server) as wire:
            wire.call("queue", {"action": "pause"})
            job = wire.submit("slow", {"seconds": 0})
        server.restart()
        with Wire(server) as wire:
            assert wire.call("queue")["paused"] is paused
            wire.call("queue", {"action": "resume"})
            wire.until(lambda: wire.call("job", {"id": job})["job"]["state"] == "done")
