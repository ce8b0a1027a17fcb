"""What a worker costs that is elsewhere: behind SSH, on a machine in namespaces of its own, or in a Ray cluster."""

import contextlib
import os
import tempfile
import time

import pytest
import requests

from benchmarks.cost import percentile
from benchmarks.light import Light
from tests import deployed, sshd
from tests.raycluster import Cluster
from tests.serving import serve

WORK = """
import os

class P(Params):
    seconds: float = param(0, ge=0, le=60, help="How long to sleep.")

class Far(Plugin):
    @job()
    def noop(self) -> Text:
        return "x"

    @job()
    def sleeping(self, params: P) -> Text:
        time.sleep(params.seconds)
        return "x"

    @job()
    def megabyte(self) -> Text:
        return os.urandom(500_000).hex()

    @job()
    def length(self, text: Text) -> Text:
        return str(len(text))
"""


SLEEP_SECONDS = 0.25


def measure(scale):
    with serve({"far": WORK}) as server:
        with Light(server) as client:
            here = yield from jobs(server, client, "here", scale)
        with there(), sshd.machine() as machine:
            said = deployed.deploy(server, machine, "far", words=["--when", "only"])
            if said.returncode:
                raise RuntimeError(said.stderr)
            with Light(server) as client:
                deployed.connected(server, client, "far")
                yield "SSH: more for a no-op", (yield from jobs(server, client, "SSH", scale)) - here, "ms"
    speeds = {}
    for nodes in (1, 3):
        where = f"Ray, {nodes} node{'s' * (nodes > 1)}"
        with there(), ray(nodes) as (server, client):
            client.call("flow", {"jobs": [{"job": "sleeping", "params": {"seconds": SLEEP_SECONDS}}] * nodes * 8})
            client.until("done", nodes * 8)
            if nodes == 1:
                yield f"{where}: more for a no-op", (yield from jobs(server, client, where, scale)) - here, "ms"
            speeds[nodes] = throughput(client, nodes, scale)
        yield f"{where}: jobs that sleep {SLEEP_SECONDS} s", speeds[nodes], "jobs/s"
    yield "Ray: jobs that sleep, 3 nodes / 1", speeds[3] / speeds[1], ""


@contextlib.contextmanager
def there():
    """Tests are skipped where there can be no such machine; this is no test."""
    try:
        yield
    except pytest.skip.Exception as reason:
        raise RuntimeError(f"this cannot be measured here: {reason}") from None


@contextlib.contextmanager
def ray(nodes):
    """A server whose jobs run on a cluster of this machine, with a worker on each node."""
    with tempfile.TemporaryDirectory() as cache, Cluster(nodes) as cluster:
        settings = {"address": cluster.address, "num_gpus": 0, "max_workers": nodes, "cache": cache}
        with serve({"far": WORK}, pool="ray", ray=settings) as server, Light(server) as client:
            yield server, client


def throughput(client, nodes, scale):
    """Of jobs that all wait already."""
    count = nodes * max(4, int(40 * scale))
    client.call("queue", {"action": "pause"})
    client.call("flow", {"jobs": [{"job": "sleeping", "params": {"seconds": SLEEP_SECONDS}}] * count})
    started = time.perf_counter()
    client.call("queue", {"action": "resume"})
    client.until("done", count)
    return count / (time.perf_counter() - started)


def jobs(server, client, where, scale):
    """One job after the other, from sending submit to the arrival of the event that says done. Returns what a no-op
    takes, in ms."""
    warm(client)
    times = [seconds(client, "noop") for _ in range(max(5, int(500 * scale)))]
    noop = percentile(times, 50) * 1000
    yield f"{where}: no-op, p50", noop, "ms"
    yield f"{where}: no-op, p99", percentile(times, 99) * 1000, "ms"
    some = max(2, int(30 * scale))
    times = [seconds(client, "megabyte") for _ in range(some)]
    yield f"{where}: result of 1 MB, p50", percentile(times, 50) * 1000, "ms"
    times = [seconds(client, "length", {"text": upload(server)}) for _ in range(some)]
    yield f"{where}: input of 1 MB, p50", percentile(times, 50) * 1000, "ms"
    return noop


def warm(client):
    for _ in range(20):
        seconds(client, "noop")


def seconds(client, job, inputs=None):
    started = time.perf_counter()
    client.call("submit", {"job": job, "inputs": inputs or {}})
    client.until("done")
    return time.perf_counter() - started


def upload(server):
    data, headers = os.urandom(500_000).hex(), {"Authorization": f"Bearer {server.token}"}
    return requests.put(f"{server.url}/artifacts", data, params={"kind": "text"}, headers=headers).json()["artifact"][
        "id"
    ]
