"""Workers on other machines: they reach the server through its door alone, and get jobs by rules. No other machine is
needed: it is a process with folders of its own, behind a cable that can be cut."""

import contextlib
import hashlib
import io
import json
import os
import subprocess

import PIL.Image
import pytest

from core.library.inside import Cache, dial
from core.remote.records import Records, Remote, State
from tests.cable import Cable
from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire

WORK = """
import os

class P(Params):
    seconds: float = param(0, ge=0, le=60, help="How long to work.")
    said: str = param("", help="A file that says when it is done.")

class Drawing(Params):
    model: str = param("", choices_from="models/checkpoint", help="Whatever there is.")

class Work(Plugin):
    def load(self, device):
        self.device = device

    @job()
    def work(self, params: P, ctx: Context) -> Text:
        ctx.progress(0, 1, "working")
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        if params.said:
            open(params.said, "w").close()
        return f"{os.getpid()} {self.device}"

    @job(affinity="model")
    def draw(self, params: Drawing) -> Text:
        return params.model

    @job()
    def turn(self, image: Image) -> Image:
        return image.rotate(180)
"""
LARGE = """
class Large(Plugin):
    @job(memory=500_000_000)
    def large(self) -> Text:
        return "large"
"""
RECORD = Remote(name="gpu1", host="192.0.2.1", user="root", plugins=["work", "large"])
GRACE = 8


@pytest.fixture(scope="module")
def server():
    with serve(
        {"work": WORK, "large": LARGE}, remote_grace_seconds=GRACE, attempts=2, tokens={"anna": "a" * 20}
    ) as running:
        yield running


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


@pytest.fixture
def rule(server, wire):
    """A function that says by which rule jobs run on gpu1, and which models are there."""
    records = Records(server.folder / "data")

    def change(models=(), **rule):
        own = {"rule": RECORD.rule.model_copy(update=rule), "models": list(models)}
        records.write(RECORD.model_copy(update=own))
        wait_until(lambda: [each["rule"] | rule == each["rule"] for each in remotes(wire)] == [True])

    change(when="prefer")
    yield change
    (records.of("gpu1") / "record.json").unlink()
    wait_until(lambda: not remotes(wire))


class Machine:
    """Where the worker of an `attach` runs: `start` it, cut the `cable`."""

    def __init__(self, server, settings, folder, python):
        self.cable = Cable(server, server.folder / "data" / "workers.sock")
        (folder / "door").write_text(self.cable.url.removeprefix("http://"))
        here = {name: str(folder / name) for name in ("door", "blobs", "scratch", "models", "cache")}
        self.settings, self.folder, self._python = settings | here | {"url": "http://127.0.0.1:1"}, folder, python
        self.process = None

    def start(self):
        self.process = subprocess.Popen([self._python, "-m", "core.worker"], stdin=subprocess.PIPE, cwd=ROOT)
        self.process.stdin.write(json.dumps(self.settings).encode() + b"\n")
        self.process.stdin.close()

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def machine(server, wire, folder, device="gpu1/cpu", plugin="work"):
    answer = wire.call("attach", {"plugin": plugin, "device": device})
    made = Machine(server, answer["settings"], folder, answer["python"])
    with made.cable:
        made.start()
        try:
            wait_until(lambda: there(wire, device, plugin))
            yield made
        finally:
            with Wire(server, subscribe=False) as again:
                again.call("detach", {"plugin": plugin, "device": device})
                made.kill()
                here = lambda: [(each["plugin"], each["device"]) for each in again.call("queue")["workers"]]  # noqa: E731
                wait_until(lambda: (plugin, device) not in here())


@pytest.fixture
def gpu1(server, wire, rule, tmp_path):
    with machine(server, wire, tmp_path) as made:
        yield made


def there(wire, device, plugin="work"):
    found = [each for each in wire.call("queue")["workers"] if each["ready"]]
    return [each for each in found if (each["plugin"], each["device"]) == (plugin, device)]


def remotes(wire):
    return wire.call("devices")["remotes"]


def record(wire, job):
    return wire.call("job", {"id": job})["job"]


def where(wire, *jobs):
    wire.ended(*jobs)
    return [record(wire, job)["worker"].partition("@")[2] for job in jobs]


def running(wire, seconds=0.0, **params):
    job = wire.submit("work", {"seconds": seconds, **params})
    wire.until(lambda: [name for name, body in wire.received if name == "progress" and body["id"] == job])
    return job


def png():
    out = io.BytesIO()
    PIL.Image.linear_gradient("L").save(out, "PNG")
    return out.getvalue()


def test_a_job_and_its_pictures_go_through_the_door(wire, gpu1):
    picture = wire.upload(png())["artifact"]
    job = wire.submit("turn", inputs={"image": picture["id"]})
    assert wire.ended(job)["state"] == "done" and where(wire, job) == ["gpu1/cpu"]
    (output,) = wire.call("artifacts", {"job": job})["artifacts"]
    assert PIL.Image.open(io.BytesIO(wire.download(output["id"]).content)).getpixel((0, 0)) == 255
    assert {picture["sha256"], output["sha256"]} == {path.name for path in (gpu1.folder / "cache").iterdir()}
    assert not [path for path in (gpu1.folder / "blobs").rglob("*") if path.is_file()]
    text = wire.submit("work")
    wire.ended(text)
    assert wire.text(record(wire, text)["outputs"][0]) == f"{gpu1.process.pid} cpu"


def test_what_was_read_once_is_not_sent_again(wire, gpu1):
    noise = io.BytesIO()
    PIL.Image.effect_noise((600, 600), 50).save(noise, "PNG")
    picture = wire.upload(noise.getvalue())["artifact"]["id"]
    sent = []
    for _ in range(2):
        before = gpu1.cable.passed
        wire.ended(wire.submit("turn", inputs={"image": picture}, fresh=True))
        sent.append(gpu1.cable.passed - before)
    assert sent[0] - sent[1] > 0.9 * len(noise.getvalue())


def test_results_travel_through_connections_that_are_there(wire, gpu1):
    wire.ended(wire.submit("work", fresh=True))
    before = gpu1.cable.connections
    for _ in range(3):
        wire.ended(wire.submit("work", fresh=True))
    assert gpu1.cable.connections == before


def test_a_job_that_ends_while_the_cable_is_cut_is_told_when_it_is_mended(wire, gpu1, tmp_path):
    job = running(wire, 0.5, said=str(tmp_path / "said"))
    gpu1.cable.cut()
    wait_until((tmp_path / "said").exists)
    wait_until(lambda: not there(wire, "gpu1/cpu"))
    gpu1.cable.mend()
    assert wire.ended(job)["state"] == "done" and wire.ended(job)["attempt"] == 1
    assert wire.text(wire.ended(job)["outputs"][0]).startswith(str(gpu1.process.pid))


def test_a_worker_that_is_to_finish_its_job_may_lose_the_connection_meanwhile(wire, gpu1, tmp_path):
    job = running(wire, 1, said=str(tmp_path / "said"))
    assert wire.call("detach", {"plugin": "work", "device": "gpu1/cpu", "jobs": "finish"})["ok"]
    gpu1.cable.cut()
    wait_until(lambda: not there(wire, "gpu1/cpu"))
    gpu1.cable.mend()
    assert wire.ended(job)["state"] == "done" and wire.ended(job)["attempt"] == 1
    gpu1.process.wait(10)


def test_a_job_of_a_worker_that_stays_away_runs_here(wire, gpu1):
    job = running(wire, 1)
    gpu1.cable.cut()
    wait_until(lambda: not there(wire, "gpu1/cpu"))
    other = wire.submit("work")
    assert where(wire, other) == ["cpu"]  # what is queued does not wait for it
    assert wire.ended(job)["state"] == "done"
    assert (wire.ended(job)["attempt"], where(wire, job)) == (2, ["cpu"])
    assert wire.call("job", {"id": job})["job"].get("deaths") is None
    gpu1.cable.mend()
    wait_until(lambda: there(wire, "gpu1/cpu"))  # it is of use again
    assert where(wire, wire.submit("work")) == ["gpu1/cpu"]


def test_a_job_that_ends_its_process_elsewhere_again_and_again_fails(wire, gpu1, rule):
    rule(when="only")
    job = running(wire, 60)
    for attempt in (1, 2):
        wait_until(
            lambda attempt=attempt: (record(wire, job)["state"], record(wire, job)["attempt"]) == ("running", attempt)
        )
        gpu1.kill()
        gpu1.start()
    assert wire.ended(job)["error"]["code"] == "worker_died"
    assert "2 times" in wire.ended(job)["error"]["message"]
    wait_until(lambda: there(wire, "gpu1/cpu"))
    assert where(wire, wire.submit("work")) == ["gpu1/cpu"]


def test_an_idle_worker_elsewhere_makes_room(server, wire, rule, gpu1, tmp_path):
    rule(when="only")
    wire.ended(wire.submit("work"))
    (tmp_path / "large").mkdir()
    records = Records(server.folder / "data")
    try:
        with machine(server, wire, tmp_path / "large", plugin="large"):
            records.write_state("gpu1", State(devices={"cpu": {"title": "Card", "free_bytes": 10, "total_bytes": 100}}))
            wait_until(lambda: wire.call("devices")["devices"][1]["free_bytes"] == 10)
            assert where(wire, wire.submit("large")) == ["gpu1/cpu"]
            gpu1.process.wait(10)  # there, another one would take its place now
    finally:
        records.write_state("gpu1", State())


def test_jobs_that_fit_only_elsewhere_wait_and_say_so(server, wire, rule, tmp_path):
    rule(when="only", jobs=["tur*", "work.nothing"])
    picture = wire.upload(png())["artifact"]["id"]
    waits = wire.submit("turn", inputs={"image": picture})
    assert where(wire, wire.submit("work")) == ["cpu"]
    assert record(wire, waits)["waits_for"] == [{"remote": "gpu1", "remote_state": "off"}]
    assert wire.call("jobs", {"order": "queue"})["jobs"][0]["waits_for"] == record(wire, waits)["waits_for"]
    with machine(server, wire, tmp_path):
        assert where(wire, waits, wire.submit("work")) == ["gpu1/cpu", "cpu"]
    assert "waits_for" not in record(wire, waits)


def test_jobs_run_elsewhere_when_those_here_are_busy(wire, gpu1, rule):
    rule(when="busy")
    here = running(wire, 60)
    there_, queued = running(wire, 60), wire.submit("work")
    assert [record(wire, job).get("worker") for job in (here, there_)] == ["work@cpu", "work@gpu1/cpu"]
    wire.call("cancel", {"id": there_})
    assert where(wire, queued) == ["gpu1/cpu"]
    wire.call("cancel", {"id": here})
    wire.ended(here)
    assert where(wire, wire.submit("work")) == ["cpu"]


def test_a_rule_can_be_for_a_priority(wire, gpu1, rule):
    rule(when="prefer", priorities=["batch"])
    jobs = [wire.submit("work", priority=priority) for priority in ("batch", "normal", "interactive")]
    assert where(wire, *jobs) == ["gpu1/cpu", "cpu", "cpu"]


def test_a_job_whose_model_is_not_there_runs_here(wire, gpu1, rule):
    rule(models=["checkpoint/dr?am*", "lora/*", "*/[!a]x"], when="only")
    models = ["", "dream.ckpt", "sub/dream.ckpt", "Dream.ckpt", "other.ckpt", "'; --", "bx", "ax"]
    jobs = [wire.submit("draw", {"model": model}) for model in models]
    there = ["gpu1/cpu", "gpu1/cpu", "cpu", "cpu", "cpu", "cpu", "gpu1/cpu", "cpu"]
    assert where(wire, *jobs, wire.submit("work")) == [*there, "gpu1/cpu"]


def test_devices_and_machines_are_told(server, wire, gpu1):
    with Wire(server, token="a" * 20) as anna:
        job = running(wire, 60)
        told, anna_told = wire.call("devices"), anna.call("devices")
        cpu, away = told["devices"][:2]
        assert cpu["name"] == "cpu" and cpu["where"] == "here" and 0 < cpu["free_bytes"] < cpu["total_bytes"]
        assert (away["name"], away["where"], away["state"]) == ("gpu1/cpu", "gpu1", "away")  # no link says otherwise
        assert [each["jobs"] for each in away["workers"]] == [[job]]
        assert [each["jobs"] for each in anna_told["devices"][1]["workers"]] == [[]]
        (remote,) = told["remotes"]
        assert remote["address"] == "root@192.0.2.1:22" and remote["state"] == "off"
        assert not anna_told["remotes"][0].keys() & {"address", "error", "step"}
        wire.submit("work")
        before = len(anna.received)
        gpu1.kill()
        anna.until(lambda: [name for name, _ in anna.received[before:] if name == "devices"])
        for refused in ("remote", "attach"):
            body = {"name": "gpu1", "action": "start"} if refused == "remote" else {"plugin": "work", "device": "cpu"}
            assert anna.call(refused, body)["error"]["code"] == "forbidden"
        wire.call("cancel", {"id": job})
    assert wire.call("remote", {"name": "gpu2", "action": "stop"})["error"]["code"] == "not_found"


@pytest.mark.parametrize("device", ["gpu1", "gpu1/", "/cpu", "GPU/cpu", "gpu1/gpu1/cpu", "g/cuda", "../cpu", "ray/x"])
def test_what_is_no_device_is_refused(wire, device):
    assert wire.call("attach", {"plugin": "work", "device": device})["error"]["code"] == "invalid_params"


def test_a_machine_that_goes_takes_its_workers_along(server, wire, rule, tmp_path):
    with machine(server, wire, tmp_path) as made:
        job = running(wire, 1)
        (server.folder / "data" / "remotes" / "gpu1" / "record.json").unlink()
        assert wire.ended(job)["attempt"] == 2 and where(wire, job) == ["cpu"]
        made.process.wait(10)
        Records(server.folder / "data").write(RECORD)


def test_a_door_that_leads_nowhere_is_an_error_of_the_system(tmp_path):
    (tmp_path / "door").write_text("nonsense")
    for door in ("door", "missing"):
        with pytest.raises(OSError):
            dial(str(tmp_path / door))


def test_the_cache_keeps_what_was_used_last(tmp_path):
    cache, contents = Cache(tmp_path / "cache", 250), [letter * 100 for letter in (b"a", b"b", b"c")]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for name, content in zip(names[:2], contents, strict=False):
        cache.keep(name, content)
    os.utime(tmp_path / "cache" / names[1], (1, 1))
    cache.keep(names[2], contents[2])
    assert cache.read(names[0]) == b"a" * 100 and cache.read(names[1]) is None
    (tmp_path / "cache" / names[0]).write_bytes(b"broken")
    assert cache.read(names[0]) is None
