"""What pictures cost through the whole stack, for 1 to 16 clients at once, beside diffusers' pipeline by itself."""

import json
import subprocess
import time

import psutil

from benchmarks import pictures
from benchmarks.cost import cpu_of, median, percentile
from benchmarks.pictures import MODELS, PROMPT, connected, submit, timed

ROUNDS = {1: 24, 2: 8, 4: 6, 8: 5, 16: 3}  # by the number of clients
TRIED, TRYING = (1, 8), 0.1  # below that scale only these, which have goals
SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ 2M SDE", "DPM++ SDE", "UniPC", "DDIM")
PROMPTS = (PROMPT, "a green star", "a (blue:1.3) square on a [red|white] background", "a ring AND a yellow background")
STEPS = (10, 15, 20, 30)
PEOPLE = 16
SWITCHES = 10


def measure(scale):
    steps = max(2, int(20 * min(scale, 1)))
    with pictures.both_sides() as (server, bare):
        for count, rounds in ROUNDS.items():
            if scale < TRYING and count not in TRIED:
                continue
            with connected(server, count) as clients:
                yield from together(server, clients, bare, max(1, int(rounds * scale)), steps)
        with connected(server, 1) as (client,):
            yield from mixed(client, max(1, int(4 * scale)), min(scale, 1))
        with connected(server, 1) as (client,):
            yield from memory(client, max(2, int(SWITCHES * min(scale, 1))))
        python = bare.python
    if bare.device != "cpu":
        yield from networks(python, bare.device, scale)


def together(server, clients, bare, rounds, steps):
    """So many pictures at once, each of a client of its own. What is compared takes turns, so that what slows the
    machine slows all."""
    count, seed = len(clients), 1000
    if rounds > 1:  # the first time takes longer
        draw(clients, steps, seed)
        bare.seconds(count, steps, seed)
    ours, alone, batch, singles = [], [], [], []
    with cpu_of(server, clients[0]) as cpu:
        for seed in range(0, rounds * count, count):
            ours.append(timed(lambda seed=seed: draw(clients, steps, seed)) / count)
            singles.append(bare.seconds(1, steps, seed))
            if count == 8:
                alone.append(timed(lambda seed=seed: [draw([each], steps, seed) for each in clients]) / count)
            if count > 1:
                batch.append(bare.seconds(count, steps, seed) / count)
    name = f"{count} at once"
    yield name, 1 / median(ours), "images/s"
    yield f"{name} / the pipeline one after the other", ratio(singles, ours), ""
    if batch:
        yield f"{name} / the pipeline's batch of {count}", ratio(batch, ours), ""
        yield f"the pipeline's batch of {count}", 1 / median(batch), "images/s"
    else:
        yield "the pipeline one after the other", 1 / median(singles), "images/s"
        yield "1 at once, CPU of the server", cpu["server"] / rounds * 1000, "ms/job"
    if alone:
        yield f"{name} / one after the other", ratio(alone, ours), ""


def ratio(theirs, ours):
    """How many times as fast ours is: the median over the rounds."""
    return median([their / our for their, our in zip(theirs, ours, strict=True)])


def draw(clients, steps, seed):
    for client in clients:
        client.events.clear()
    ids = [submit(client, steps, seed + k) for k, client in enumerate(clients)]
    for client in clients:  # each follows all jobs
        wait_for(client, ids)


def wait_for(client, ids):
    missing = set(ids)
    while missing:
        missing -= set(client.until("done"))


def mixed(client, jobs, share):
    """Many people draw so many pictures each, one after the other, no two alike; how long each waits for its own."""
    left = dict.fromkeys(range(PEOPLE), jobs)
    begun, seconds, number, started = {}, [], 0, time.perf_counter()

    def begin(k):
        nonlocal number
        number += 1
        left[k] -= 1
        since, steps = time.perf_counter(), max(1, int(STEPS[number % len(STEPS)] * share))
        wanted = {"prompt": PROMPTS[number % len(PROMPTS)], "sampler": SAMPLERS[number % len(SAMPLERS)]}
        begun[submit(client, steps, number, **wanted)] = k, since

    for k in left:
        begin(k)
    while begun:
        (id,) = client.until("done")
        if id in begun:
            k, since = begun.pop(id)
            seconds.append(time.perf_counter() - since)
            if left[k]:
                begin(k)
    yield f"{PEOPLE} clients, mixed", len(seconds) / (time.perf_counter() - started), "images/s"
    yield f"{PEOPLE} clients, mixed: a picture, p50", percentile(seconds, 50), "s"
    yield f"{PEOPLE} clients, mixed: a picture, p99", percentile(seconds, 99), "s"


def memory(client, switches):
    """A model that is loaded, and one that is not; what many switches leave behind."""
    worker = psutil.Process(client.call("queue")["workers"][0]["pid"])

    def draw_with(model):
        return timed(lambda: wait_for(client, [submit(client, 1, 0, model=model)]))

    for model in MODELS:
        draw_with(model)
    hits = [draw_with(MODELS[k % 2]) for k in range(switches)]
    resident, misses = [], []
    for k in range(switches):
        wait_for(client, [submit(client, job="unload_models")])
        misses.append(draw_with(MODELS[k % 2]))
        resident.append(worker.memory_info().rss / 1e6)
    yield "switch to a model that is loaded", median(hits) * 1000, "ms"
    yield "switch to a model that is not", median(misses) * 1000, "ms"
    yield "worker's memory after ten switches / after the first", resident[-1] / resident[0], ""
    yield "worker's memory", resident[-1], "MB"
    if peak := peak_bytes(worker.pid):
        yield "worker's memory, peak", peak / 1e6, "MB"


def peak_bytes(pid):
    """The most that the process ever had, where the system tells."""
    try:
        lines = open(f"/proc/{pid}/status").read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def networks(python, device, scale):
    """UNets of the published sizes with random weights, on a GPU: what a step takes there."""
    command = [str(python), "-W", "ignore", "-m", "benchmarks.networks", device, str(scale)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=pictures.ROOT) as process:
        for line in process.stdout:
            yield tuple(json.loads(line))
    if process.returncode:
        raise RuntimeError(f"benchmarks/networks.py has ended with exit code {process.returncode}")
