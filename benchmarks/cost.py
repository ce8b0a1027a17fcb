"""What the processes of a server cost while something happens: CPU seconds, and medians of times."""

import contextlib
import statistics

import psutil


def percentile(values, percent):
    """The value that `percent` of the values do not exceed; `values` must not be empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values):
    return statistics.median(values)


def cpu_seconds(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@contextlib.contextmanager
def cpu_of(server, client):
    """Fills a dict with the CPU seconds that the server and its workers used inside the `with`."""
    pids = {"server": [server.process.pid], "worker": [each["pid"] for each in client.call("queue")["workers"]]}
    before = {name: sum(map(cpu_seconds, each)) for name, each in pids.items()}
    used = {}
    yield used
    used |= {name: sum(map(cpu_seconds, each)) - before[name] for name, each in pids.items()}
