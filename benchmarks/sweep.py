"""What a sweep of 10,000 cells costs: how soon it stands, its plan, and how the server answers meanwhile."""

import contextlib
import threading
import time

from benchmarks.cost import percentile
from benchmarks.light import Light
from tests.serving import ROOT, serve

PAINTER = """
import PIL.Image

class Cell(Params):
    across: int = param(0, help="Column.")
    down: int = param(0, help="Row.")

class Painter(Plugin):
    @job(concurrency=8)
    def paint(self, params: Cell) -> Image:
        return PIL.Image.new("RGB", (8, 8), (params.across % 256, params.down % 256, 0))

    @job(concurrency=8)
    def nothing(self) -> Text:
        return ""
"""
SIDE = 100
PAUSE_SECONDS = 0.02  # between the calls of the one who watches
LONGEST_SECONDS = 1200


def measure(scale):
    side = max(3, round(SIDE * scale**0.5))
    axes = [{"parameter": name, "values": f"1-{side}"} for name in ("across", "down")]
    request = {"job": "sweeps.sweep", "params": {"job": "painter.paint", "axes": axes}}
    plugins = {"sweeps": ROOT / "plugins" / "sweeps", "painter": PAINTER}
    with serve(plugins) as server, Light(server, subscribe=False) as client:
        client.call("plan", request)  # starts the process of programs
        started = time.perf_counter()
        planned = client.call("plan", request)["plan"]["jobs"]
        yield f"plan of {SIDE**2:,} cells", time.perf_counter() - started, "s"
        assert len(planned) == side**2
        with watched(server) as calls:
            started = time.perf_counter()
            program = client.call("submit", request)["job"]["id"]
            wait(client, program, lambda job: (job.get("children") or 0) >= side**2)
            yield f"{SIDE**2:,} cells submitted", time.perf_counter() - started, "s"
            wait(client, program, lambda job: job["state"] == "done")
            yield f"{SIDE**2:,} cells drawn, with their grid", time.perf_counter() - started, "s"
        for name, times in sorted(calls.items()):
            yield f"meanwhile: {name}, p50", percentile(times, 50) * 1000, "ms"
            yield f"meanwhile: {name}, p99", percentile(times, 99) * 1000, "ms"
        every = [each for times in calls.values() for each in times]
        yield "meanwhile: all calls, p99", percentile(every, 99) * 1000, "ms"


@contextlib.contextmanager
def watched(server):
    """Times of calls by name, of somebody who looks and asks for other things all the time."""
    times = {name: [] for name in ("queue", "jobs", "submit", "artifacts")}
    ended = threading.Event()

    def look():
        requests = {"jobs": {"limit": 20}, "submit": {"job": "painter.nothing", "priority": "interactive"}}
        requests |= {"queue": {}, "artifacts": {"limit": 20}}
        with Light(server, subscribe=False) as client:
            while not ended.is_set():
                for name, fields in requests.items():
                    started = time.perf_counter()
                    client.call(name, fields)
                    times[name].append(time.perf_counter() - started)
                    time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()


def wait(client, program, reached):
    deadline = time.monotonic() + LONGEST_SECONDS
    while not reached(job := client.call("job", {"id": program})["job"]):
        if job["state"] in ("failed", "cancelled") or time.monotonic() > deadline:
            raise RuntimeError(f"the sweep did not end well: {job['state']} {job.get('error')}")
        time.sleep(0.05)
