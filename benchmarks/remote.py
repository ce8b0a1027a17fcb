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
JOBS = {"noop": ("no-op", 500), "megabyte": ("result of 1 MB", 30), "length": ("input of 1 MB", 30)}
WARM = 10  # jobs that are not counted


def measure(scale):
    with serve({"far": WORK}) as server, serve({"far": WORK}) as beside:
        with there(), sshd.machine() as machine:
            said = deployed.deploy(server, machine, "far", words=["--when", "only"])
            if said.returncode:
                raise RuntimeError(said.stderr)
            with Light(server) as client:
                deployed.connected(server, client, "far")
            yield from compared("SSH", server, beside, scale)
    speeds = {}
    for nodes in (1, 3):
        where = f"Ray, {nodes} node{'s' * (nodes > 1)}"
        with there(), ray(nodes) as server:
            speeds[nodes] = throughput(server, nodes, scale)
            yield f"{where}: jobs that sleep {SLEEP_SECONDS} s", speeds[nodes], "jobs/s"
            if nodes == 1:
                with serve({"far": WORK}) as beside:
                    yield from compared(where, server, beside, scale)
    yield "Ray: jobs that sleep, 3 nodes / 1", speeds[3] / speeds[1], ""


def compared(where, server, beside, scale):
    """Jobs of a server whose worker is elsewhere, and of one whose worker is here, in turns, one after the other: from
    sending submit to the arrival of the event that says done."""
    with Light(server) as far, Light(beside) as near:
        for job, (metric, count) in JOBS.items():
            times = {server: [], beside: []}
            for turn in range(WARM + max(5, int(count * scale))):
                for each, client in ((server, far), (beside, near)):
                    inputs = {"text": upload(each)} if job == "length" else {}
                    started = time.perf_counter()
                    client.call("submit", {"job": job, "inputs": inputs})
                    client.until("done")
                    if turn >= WARM:
                        times[each].append((time.perf_counter() - started) * 1000)
            away, here = (percentile(times[each], 50) for each in (server, beside))
            yield f"{where}: {metric}, p50", away, "ms"
            yield f"{where}: {metric} here, p50", here, "ms"
            yield f"{where}: {metric}, more than here", away - here, "ms"


@contextlib.contextmanager
def there():
    """Tests are skipped where there can be no such machine; this is no test."""
    try:
        yield
    except pytest.skip.Exception as reason:
        raise RuntimeError(f"this cannot be measured here: {reason}") from None


@contextlib.contextmanager
def ray(nodes):
    """A server whose jobs run on a cluster of this machine."""
    with tempfile.TemporaryDirectory() as cache, Cluster(nodes) as cluster:
        settings = {"address": cluster.address, "num_gpus": 0, "max_workers": nodes, "cache": cache}
        with serve({"far": WORK}, pool="ray", ray=settings) as server:
            yield server


def throughput(server, nodes, scale):
    """Of jobs that all wait already, by a worker on each node."""
    count = nodes * max(4, int(40 * scale))
    with Light(server) as client:
        for _ in range(2):  # the first time workers are started
            client.call("queue", {"action": "pause"})
            client.call("flow", {"jobs": [{"job": "sleeping", "params": {"seconds": SLEEP_SECONDS}}] * count})
            started = time.perf_counter()
            client.call("queue", {"action": "resume"})
            client.until("done", count)
    return count / (time.perf_counter() - started)


def upload(server):
    data, headers = os.urandom(500_000).hex(), {"Authorization": f"Bearer {server.token}"}
    return requests.put(f"{server.url}/artifacts", data, params={"kind": "text"}, headers=headers).json()["artifact"][
        "id"
    ]
