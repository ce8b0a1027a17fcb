"""What many clients cost: how late the last of 1,000 learns of a job's progress, and whether any misses something."""

import contextlib
import selectors
import time

from benchmarks.cost import cpu_of, percentile
from benchmarks.light import Light
from tests.serving import serve

# The phase carries the time; a new phase is told at once, whatever the throttle.
TELLER = """
class TellParams(Params):
    times: int = param(10, ge=0, le=1000, help="How often to tell.")

class Teller(Plugin):
    @job()
    def tell(self, params: TellParams, ctx: Context) -> Text:
        for number in range(params.times):
            ctx.progress(number, params.times, f"{time.time():.6f}")
            time.sleep(0.5)
        return "told"
"""


def measure(scale):
    clients, times = max(10, int(1000 * scale)), max(3, int(40 * scale))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serve({"teller": TELLER}))
        asker = stack.enter_context(Light(server, subscribe=False))
        selector = stack.enter_context(selectors.DefaultSelector())
        listeners = [stack.enter_context(Light(server)) for _ in range(clients)]
        for listener in listeners:
            selector.register(listener.socket, selectors.EVENT_READ, listener)
        asker.submit("tell", times=0)  # starts the worker
        follow(selector, clients)
        with cpu_of(server, asker) as cpu:
            started = time.perf_counter()
            asker.submit("tell", times=times)
            late, told = follow(selector, clients)
            seconds = time.perf_counter() - started
    yield "progress to all, p50", percentile(late, 50) * 1000, "ms"
    yield "progress to all, p99", percentile(late, 99) * 1000, "ms"
    yield "progress to all, last", max(late) * 1000, "ms"
    yield "events dropped", clients * times - len(late), ""
    yield "events sent", told / seconds, "events/s"
    yield "CPU of the server", cpu["server"] / seconds * 100, "%"


def follow(selector, clients):
    """Until every client knows that the job is done: how late each progress came to each, and how much was told."""
    late, done, told = [], 0, 0
    while done < clients:
        arrived = selector.select(60)
        if not arrived:
            raise RuntimeError(f"{clients - done} clients were not told the end within 60 s")
        for key, _ in arrived:
            listener = key.data
            listener.receive()
            moment = time.time()
            for name, body in listener.events:
                if name == "progress":
                    late.append(moment - float(body["phase"]))
                done += name == "job" and body["state"] == "done"
            told += len(listener.events)
            listener.events.clear()
    return late, told
