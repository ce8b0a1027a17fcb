"""Memory: what does not fit beside others waits or makes room; what runs out is tried once more, with less."""

from tests.serving import serve, wait_until
from tests.wire import Wire, alive

HUNGRY = """
import resource

class Size(Params):
    megabytes: int = param(0, ge=0, le=4000, help="How much to allocate.")

class Hungry(Plugin):
    def load(self, device):
        self.kept = []
        resource.setrlimit(resource.RLIMIT_DATA, (1_500_000_000, 1_500_000_000))  # more raises MemoryError

    @job()
    def allocate(self, params: Size, ctx: Context) -> Json:
        size = params.megabytes // 4 if ctx.low_memory else params.megabytes
        data = bytearray(size * 1_000_000)
        data[::4096] = b"x" * len(data[::4096])
        return [ctx.low_memory, size]

    @job()
    def keep(self, params: Size) -> Json:
        self.kept.append(b"x" * (params.megabytes * 1_000_000))
        return len(self.kept)

    @job()
    def leak(self, params: Size, ctx: Context) -> Json:
        if not ctx.low_memory:
            self.kept.append(b"x" * (params.megabytes * 1_000_000))
            raise MemoryError()
        return len(self.kept)
"""
SLEEPY = """
class Sleepy(Plugin):
    @job(memory=10**13)  # more than there is
    def large(self, ctx: Context) -> Text:
        time.sleep(0.5)
        return "large"

    @job(memory=500_000_000)
    def medium(self) -> Text:
        return "medium"

    @job()
    def small(self) -> Text:
        return "small"
"""


def workers(wire):
    return {worker["plugin"]: worker["pid"] for worker in wire.call("queue")["workers"]}


def test_a_job_that_runs_out_of_memory_runs_once_more_with_less():
    with serve({"hungry": HUNGRY}) as server, Wire(server) as wire:
        ended = wire.ended(wire.submit("allocate", {"megabytes": 3000}))
        assert wire.download(ended["outputs"][0]).json() == [True, 750]
        record = wire.call("job", {"id": ended["id"]})["job"]
        assert record["attempt"] == 2 and record["metrics"]["peak_bytes"] > 700_000_000


def test_a_job_that_runs_out_of_memory_twice_fails_with_a_hint():
    with serve({"hungry": HUNGRY}) as server, Wire(server) as wire:
        ended = wire.ended(wire.submit("keep", {"megabytes": 3000}))
        assert ended["error"]["code"] == "out_of_memory" and ended["error"]["hint"]
        assert ended["attempt"] == 2


def test_a_worker_that_does_not_give_memory_back_is_replaced():
    with serve({"hungry": HUNGRY}) as server, Wire(server) as wire:
        wire.ended(wire.submit("keep", {"megabytes": 1}))
        before = workers(wire)["hungry"]
        ended = wire.ended(wire.submit("leak", {"megabytes": 700}))
        assert wire.download(ended["outputs"][0]).json() == 0  # in a new process
        assert workers(wire)["hungry"] != before and not alive(before)


def test_an_idle_worker_is_ended_to_make_room():
    with serve({"hungry": HUNGRY, "sleepy": SLEEPY}) as server, Wire(server) as wire:
        wire.ended(wire.submit("keep", {"megabytes": 900}))
        idle = workers(wire)["hungry"]
        assert wire.ended(wire.submit("large"))["state"] == "done"
        assert not alive(idle) and "hungry" not in workers(wire)
        assert "to make room" in server.log


def test_the_reserve_is_not_given_to_jobs():
    with serve({"hungry": HUNGRY, "sleepy": SLEEPY}, reserve_bytes=10**13) as server, Wire(server) as wire:
        wire.ended(wire.submit("keep", {"megabytes": 1}))
        idle = workers(wire)["hungry"]
        assert wire.ended(wire.submit("medium"))["state"] == "done"
        assert not alive(idle)


def test_what_fits_runs_beside_an_idle_worker():
    with serve({"hungry": HUNGRY, "sleepy": SLEEPY}) as server, Wire(server) as wire:
        wire.ended(wire.submit("keep", {"megabytes": 900}))
        idle = workers(wire)["hungry"]
        assert wire.ended(wire.submit("small"))["state"] == "done"
        assert workers(wire)["hungry"] == idle


def test_a_chain_of_many_runs_stage_by_stage():
    with serve({"hungry": HUNGRY, "sleepy": SLEEPY}) as server, Wire(server) as wire:
        wire.ended(wire.submit("keep", {"megabytes": 900}))  # hungry is large now
        wire.call("queue", {"action": "pause"})
        kept = [wire.submit("keep", {"megabytes": 0}) for _ in range(4)]
        large = [wire.submit("large") for _ in range(2)]
        wire.call("queue", {"action": "resume"})
        wire.ended(*kept, *large)
        order = [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "running"]
        assert order[1:] == [*kept, *large]


def test_a_job_larger_than_the_device_is_tried_when_it_is_alone():
    with serve({"sleepy": SLEEPY}) as server, Wire(server) as wire:
        assert wire.ended(wire.submit("large"))["state"] == "done"


def test_the_measured_peak_counts_more_than_the_hint_and_survives_a_restart():
    with serve({"hungry": HUNGRY, "sleepy": SLEEPY}) as server:
        with Wire(server) as wire:
            wire.ended(wire.submit("large"))
            wire.ended(wire.submit("keep", {"megabytes": 900}))
        server.restart()
        with Wire(server) as wire:
            wire.ended(wire.submit("keep", {"megabytes": 900}))
            idle = workers(wire)["hungry"]
            wire.ended(wire.submit("large"))  # takes nearly nothing, as was seen
            wait_until(lambda: "sleepy" in workers(wire))
            assert workers(wire)["hungry"] == idle
