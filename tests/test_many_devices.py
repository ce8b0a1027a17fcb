"""Several devices at once: a worker for each, jobs shared out between them, and a death on one leaves the others be."""

import json
import os
import signal
import subprocess
import sys

import pytest

from core.errors import InvalidParams
from core.ops import config
from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire, alive

WORK = """
import os

class P(Params):
    model: str = param("a", help="What has to be loaded.")

class Work(Plugin):
    @job(concurrency=4, affinity="model")
    def work(self, params: P, ctx: Context) -> Text:
        ctx.progress(0, 1, "working")
        while not ctx.cancelled:
            time.sleep(0.01)
        ctx.raise_if_cancelled()
        return ""

    @job(concurrency=4, affinity="model")
    def quick(self, params: P) -> Text:
        return f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}"
"""


@pytest.fixture(scope="module")
def server():
    with serve({"work": WORK}, devices=["cpu:0", "cpu:1"], attempts=5) as running:
        yield running


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def at_work(wire, *jobs):
    """Where jobs are running, by job."""
    told = [body["id"] for name, body in wire.received if name == "progress"]
    workers = {each["device"]: each for each in wire.call("queue")["workers"]} if set(jobs) <= set(told) else {}
    found = {job: (name, each["pid"]) for name, each in workers.items() for job in each["jobs"] if job in jobs}
    return found if len(found) == len(jobs) else None


def test_two_jobs_run_at_once_each_in_a_process_of_its_own(wire):
    jobs = [wire.submit("work") for _ in range(4)]
    wait_until(lambda: at_work(wire, *jobs))
    found = at_work(wire, *jobs)
    assert sorted(device for device, _ in found.values()) == ["cpu:0"] * 2 + ["cpu:1"] * 2
    assert len({pid for _, pid in found.values()}) == 2
    for job in jobs:
        wire.call("cancel", {"id": job})
    wire.ended(*jobs)


def test_a_death_on_one_device_leaves_the_other_be(wire):
    jobs = [wire.submit("work") for _ in range(2)]
    wait_until(lambda: at_work(wire, *jobs))
    (first, pid), (second, other) = (at_work(wire, *jobs)[job] for job in jobs)
    assert first != second and pid != other
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: wire.states(jobs[0]) == ["queued", "running"] * 2)
    assert wire.states(jobs[1]) == ["queued", "running"] and alive(other)
    for job in jobs:
        wire.call("cancel", {"id": job})
    wire.ended(*jobs)


def test_a_job_goes_where_its_model_is_loaded(wire):
    wait_until(lambda: len([each for each in wire.call("queue")["workers"] if each["ready"]]) == 2)
    wire.call("queue", {"action": "pause"})
    both = [wire.submit("quick", {"model": model}) for model in "ab"]
    wire.call("queue", {"action": "resume"})
    wire.ended(*both)
    where = dict(zip("ab", (wire.call("job", {"id": job})["job"]["worker"] for job in both), strict=True))
    assert where["a"] != where["b"]
    for model in "abbaab":
        job = wire.submit("quick", {"model": model})
        wire.ended(job)
        assert wire.call("job", {"id": job})["job"]["worker"] == where[model]


def test_they_share_the_processors_threads(wire):
    job = wire.submit("quick")
    expected = os.environ.get("OMP_NUM_THREADS", str(max(os.cpu_count() // 2, 1)))
    assert wire.text(wire.ended(job)["outputs"][0]).split()[1] == expected


def test_status_tells_what_a_server_does(server, wire, tmp_path):
    job = wire.submit("work")
    wait_until(lambda: at_work(wire, job))

    def status(*words):
        environment = os.environ | {"XDG_CONFIG_HOME": str(server.folder / "config")}
        command = [sys.executable, "server.py", "status", "--config", str(server.folder / "config.toml"), *words]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    told = status().stdout
    assert server.url in told and "cpu:1" in told and job in told
    found = json.loads(status("--json").stdout)
    assert [each["name"] for each in found["devices"]] == ["cpu:0", "cpu:1"] and found["paused"] is False
    nobody = status("--data", str(tmp_path / "none"))
    assert nobody.returncode == 1 and "no server is running with the data folder" in nobody.stderr
    assert not (tmp_path / "none").exists()
    wire.call("cancel", {"id": job})


@pytest.mark.parametrize("bad", ["gpu", "cuda", "cuda:x", "cpu:-1", "gpu1/cpu", "", "cpu:0 "])
def test_what_is_no_device_is_refused_by_name(tmp_path, bad):
    (tmp_path / "config.toml").write_text(f"devices = [{json.dumps(bad)}]")
    with pytest.raises(InvalidParams, match="is no device; allowed are auto, cpu, cpu:0, cuda:0, xpu:0 and mps"):
        config.load(tmp_path / "config.toml", {})


def test_a_device_that_is_named_twice_is_refused(tmp_path):
    (tmp_path / "config.toml").write_text('devices = ["cpu", "cpu"]')
    with pytest.raises(InvalidParams, match="cpu is named twice; two workers on the processor are cpu:0 and cpu:1"):
        config.load(tmp_path / "config.toml", {})
