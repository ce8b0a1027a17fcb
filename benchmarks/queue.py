"""What the queue costs: jobs that do nothing, alone, in a burst, and with 100,000 others before them."""

import contextlib
import time

from benchmarks.cost import cpu_of, median, percentile
from benchmarks.light import Light
from tests.serving import serve

NOOP = """
class NoOp(Plugin):
    @job(concurrency=8)
    def noop(self) -> Text:
        return "x"

    @job()
    def alone(self) -> Text:
        return "x"
"""
FLOW = 1000  # jobs of one message, where only their number matters
ROUNDS = 5  # of each side; the best counts, as what disturbs a measurement only ever adds to it


def measure(scale):
    for durability in ("process", "power"):
        with noop_server(durability) as (server, client):
            alone = [*serial(server, client, scale), *burst(server, client, scale)]
        for metric, value, unit in [*alone, *flat(durability, scale)]:
            yield f"{durability}: {metric}", value, unit


@contextlib.contextmanager
def noop_server(durability):
    """A server with a warm worker, and a client."""
    with serve({"noop": NOOP}, durability=durability) as server, Light(server) as client:
        for _ in range(20):
            client.submit("noop")
            client.until("done")
        yield server, client


def serial(server, client, scale):
    """One job after the other, from sending submit to the arrival of the event that says done."""
    times, answered, count = [], [], max(5, int(1000 * scale))
    with cpu_of(server, client) as cpu:
        for _ in range(count):
            started = time.perf_counter()
            client.submit("noop")
            answered.append(time.perf_counter() - started)
            client.until("done")
            times.append(time.perf_counter() - started)
    yield "serial, p50", percentile(times, 50) * 1000, "ms"
    yield "serial, p99", percentile(times, 99) * 1000, "ms"
    yield "serial, answer to submit, p50", percentile(answered, 50) * 1000, "ms"
    for name, seconds in cpu.items():
        yield f"serial, CPU of the {name}", seconds / count * 1000, "ms/job"


def burst(server, client, scale):
    """Many jobs, each with a submit of its own, sent without waiting for answers. Then the same number, all queued
    before the first one starts; up to 8 in the worker at once, and one at a time."""
    count = max(20, int(3000 * scale))
    with cpu_of(server, client) as cpu:
        started = time.perf_counter()
        for _ in range(count):
            client.ask("submit", {"job": "noop"})
        client.until("done", count)
        both = time.perf_counter() - started
    yield f"{3000:,} submitted and run", count / both, "jobs/s"
    for name, seconds in cpu.items():
        yield f"{3000:,} submitted and run, CPU of the {name}", seconds / count * 1000, "ms/job"
    for job, label in (("noop", "queued"), ("alone", "queued, one at a time")):
        fill(client, count, job)
        with cpu_of(server, client) as cpu:
            run = drain(client, count)
        yield f"{3000:,} {label}", count / run, "jobs/s"
        for name, seconds in cpu.items():
            yield f"{3000:,} {label}, CPU of the {name}", seconds / count * 1000, "ms/job"


def fill(client, count, job="noop"):
    """Queue `count` jobs while the queue is paused."""
    client.call("queue", {"action": "pause"})
    for start in range(0, count, FLOW):
        client.call("flow", {"jobs": [{"job": job}] * min(FLOW, count - start)})
    client.events.clear()


def drain(client, count):
    """Seconds until `count` jobs are done; then the queue is paused again."""
    started = time.perf_counter()
    client.call("queue", {"action": "resume"})
    client.until("done", count)
    seconds = time.perf_counter() - started
    client.call("queue", {"action": "pause"})
    while client.call("queue")["workers"][0]["jobs"]:
        time.sleep(0.01)
    client.events.clear()
    return seconds


def flat(durability, scale):
    """Two servers side by side, one with 100,000 jobs queued and one with next to none, take turns."""
    queued, some = max(50, int(100_000 * scale)), max(20, int(500 * scale))
    with noop_server(durability) as (_, empty), noop_server(durability) as (_, full):
        for client in (empty, full):
            client.call("queue", {"action": "pause"})
        fill(full, queued)
        submits, drains = {empty: [], full: []}, {empty: [], full: []}
        for _ in range(max(1, int(ROUNDS * min(scale, 1)))):
            for client in (empty, full):
                submits[client].append(median([submit_seconds(client) for _ in range(some)]))
            for client in (empty, full):
                drains[client].append(drain(client, some) / some)
    for name, costs in (("submit", submits), ("dispatch", drains)):
        yield f"{name}, empty queue", min(costs[empty]) * 1000, "ms"
        yield f"{name} at {100_000:,}", min(costs[full]) * 1000, "ms"
        yield f"{name} at {100_000:,} / empty", min(costs[full]) / min(costs[empty]), ""


def submit_seconds(client):
    started = time.perf_counter()
    client.submit("noop")
    return time.perf_counter() - started
