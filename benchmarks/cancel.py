"""How soon a cancel takes effect: in a job that looks between its steps, and in one that never does."""

import random
import time

from benchmarks.cost import percentile
from benchmarks.light import Light
from tests.serving import serve

STEP_SECONDS = 0.1
STEPS = f"""
class Steps(Plugin):
    @job()
    def steps(self, ctx: Context) -> Text:
        for step in range(1000):
            ctx.raise_if_cancelled()
            ctx.progress(step, 1000)
            time.sleep({STEP_SECONDS})
        return "never cancelled"

    @job()
    def deaf(self, ctx: Context) -> Text:
        time.sleep(1000)
        return "never cancelled"
"""


def measure(scale):
    with serve({"steps": STEPS}) as server, Light(server) as client:
        rounds = max(2, int(50 * scale))
        times = [cancel_seconds(client, "steps", random.uniform(0, 2 * STEP_SECONDS)) for _ in range(rounds)]
        yield "running job, p50", percentile(times, 50) * 1000, "ms"
        yield "running job, longest", max(times) * 1000, "ms"
        yield "running job, over one step", max(0, max(times) - STEP_SECONDS) * 1000, "ms"
        yield "job that ignores it", max(cancel_seconds(client, "deaf", 0) for _ in range(rounds // 25 + 1)), "s"


def cancel_seconds(client, job, after):
    """Seconds from a cancel, sent `after` seconds of running, to the event that says cancelled."""
    job = client.submit(job)
    client.until("running")
    time.sleep(after)
    started = time.perf_counter()
    client.call("cancel", {"id": job})
    client.until("cancelled")
    return time.perf_counter() - started
