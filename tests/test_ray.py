"""A real Ray cluster of three nodes on this machine: workers on all of them, and what becomes of jobs when these go."""

import hashlib
import io
import json
import os
import signal
import sys

import psutil
import pytest
from PIL import Image, ImageOps

from core.errors import Conflict, InvalidParams
from core.ops import environments
from core.remote import cluster as joining
from tests import tiny
from tests.raycluster import Cluster
from tests.serving import ROOT, serve, wait_until
from tests.test_durability import ends
from tests.wire import Wire, alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray's nodes are told apart by Linux's processes")

WORK = """
import os
from pathlib import Path

class P(Params):
    seconds: float = param(0, ge=0, le=60, help="How long to work.")
    folder: str = param("", help="Where those who work at once meet.")
    number: int = param(1, help="How many.")

class Work(Plugin):
    def load(self, device):
        self.device = device

    @job()
    def work(self, params: P, ctx: Context) -> Text:
        if params.folder:
            (Path(params.folder) / ctx.job_id).touch()
            while len(os.listdir(params.folder)) < params.number:
                ctx.raise_if_cancelled()
                time.sleep(0.01)
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            ctx.progress(1, 2)
            time.sleep(0.05)
        return f"{os.getpid()} {self.device} {os.environ.get('CUDA_VISIBLE_DEVICES')}"

    @job()
    def see(self, image: Image, ctx: Context) -> Image:
        ctx.preview(image)
        ctx.log(f"{image.size}")
        return image.transpose(0)
"""
OWN = """
class Own(Plugin):
    @job()
    def version(self, ctx: Context) -> Text:
        import tinyown
        return f"{tinyown.version} {tinyown.__file__}"
"""


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, {1: ["--num-gpus=1"]}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def server(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    cache, envs = folder / "cache" / "envs", folder / "envs"

    def before_start(place):
        for made in (envs, cache):
            made.mkdir(parents=True)
            for each in ROOT.glob(".envs/*"):
                if each.name.startswith(("worker-", "ray-requirements-")) and each.is_dir():
                    (made / each.name).symlink_to(each)
        own_requirements(place / "plugins" / "own", tiny.make_wheel(folder, "tinyown", "2.5"))

    needs = {"halves": {"num_gpus": 0.5, "num_cpus": 0}, "own": {"num_cpus": 0}, "giant": {"resources": {"gold": 1}}}
    ray = {"address": cluster.address, "num_gpus": 0, "max_workers": 8, "cache": str(cache.parent), "plugins": needs}
    plugins = {"work": WORK, "halves": WORK.replace("Work", "Halves"), "own": OWN, "giant": WORK.replace("Work", "G")}
    with serve(plugins, before_start, pool="ray", ray=ray, environments=envs) as server:
        yield server


def own_requirements(plugin, wheel):
    """As `lock` would write them, without network."""
    plugin.mkdir(parents=True)
    requirements = plugin / "requirements.txt"
    requirements.write_text(f"tinyown @ {wheel.as_uri()}\n")
    named = requirements.read_text().strip()
    digest = environments.digest([requirements, environments.WORKER])
    own = f"{named} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    rest = environments.WORKER.with_suffix(".lock").read_text("utf-8")
    requirements.with_suffix(".lock").write_text(f"# inputs {digest}\n{own}{rest}")


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def state(server):
    return json.loads((server.folder / "data" / "remotes" / "ray" / "state.json").read_text())


def said(wire, ended):
    """What a job of the plugins here returns: the process of its worker, its device, and the cards that it sees."""
    assert ended["state"] == "done", ended
    pid, *rest = wire.text(ended["outputs"][0]).split()
    return int(pid), rest


def start_job(wire, seconds, job="work.work"):
    """A running job, and the process of its worker."""
    job = wire.submit(job, {"seconds": seconds})
    wire.until(lambda: "running" in wire.states(job), 60)
    device = wire.call("job", {"id": job})["job"]["worker"].rpartition("/")[2]
    [worker] = wait_until(lambda: [each for each in state(wire.server)["workers"] if each["device"] == device])
    return job, worker["pid"]


def links(server):
    return [each for each in psutil.Process(server.process.pid).children() if "core.remote.cluster" in each.cmdline()]


def done(server, job):
    """(process of the worker that ended it, attempt), with the proof that it ended once."""
    with Wire(server, since=0) as wire:
        ended = wire.ended(job)
        assert ends(wire)[job] == 1
        return said(wire, ended)[0], ended["attempt"]


def test_a_cluster_of_its_own_ends_with_the_server(tmp_path):
    (tmp_path / "envs").symlink_to(ROOT / ".envs")
    with serve({"work": WORK}, pool="ray", ray={"cache": str(tmp_path)}) as server, Wire(server) as wire:
        assert said(wire, wire.ended(wire.submit("work.work")))[1][0] == "cpu"
        [link] = links(server)
        place = joining._own_place(server.folder / "data" / "remotes" / "ray")
        assert place.is_dir()
        processes = link.children(recursive=True)
        assert "raylet" in [each.name() for each in processes]
    wait_until(lambda: not any(each.is_running() for each in processes))
    assert not place.exists()


def test_workers_of_all_nodes_work_at_once(wire, cluster, tmp_path):
    jobs = [wire.submit("work.work", {"folder": str(tmp_path), "number": 3}) for _ in range(3)]
    pids = [said(wire, ended)[0] for ended in wire.ended(*jobs)]
    assert sorted(map(cluster.node_of, pids)) == [0, 1, 2]


def test_pictures_previews_and_logs_come_through(wire):
    image, file = Image.frombytes("RGB", (600, 600), os.urandom(600 * 600 * 3)), io.BytesIO()
    image.save(file, "PNG")
    job = wire.submit("work.see", inputs={"image": wire.upload(file.getvalue())["artifact"]["id"]})
    made = Image.open(io.BytesIO(wire.download(wire.ended(job)["outputs"][0]).content))
    assert made.tobytes() == ImageOps.mirror(image).tobytes()
    assert {name for name, _ in wire.received if name in ("preview", "log")} == {"preview", "log"}


def test_a_running_job_is_cancelled(wire):
    job, pid = start_job(wire, 60)
    wire.until(lambda: [body for name, body in wire.received if name == "progress" and body["id"] == job])
    wire.call("cancel", {"id": job})
    assert wire.ended(job)["state"] == "cancelled" and alive(pid)


def test_two_workers_share_one_card(wire, cluster, tmp_path):
    jobs = [wire.submit("halves.work", {"folder": str(tmp_path), "number": 2}) for _ in range(2)]
    (one, device), (other, same) = [said(wire, ended) for ended in wire.ended(*jobs)]
    assert one != other and [cluster.node_of(one), cluster.node_of(other)] == [1, 1]
    assert device == same == ["cuda:0", "0"]


def test_a_plugin_has_its_own_environment_on_its_node(wire, server):
    ended = wire.ended(wire.submit("own.version"))
    version, path = wire.text(ended["outputs"][0]).split()
    assert version == "2.5" and "/cache/envs/own-" in path


def test_what_no_node_has_is_told(wire, server):
    job = wire.submit("giant.work")
    told = wait_until(lambda: (state(server)["error"] or {}).get("message"))
    assert told == "no node of the cluster has what a worker of giant takes: CPU 1, gold 1."
    wire.call("cancel", {"id": job})
    wait_until(lambda: not state(server)["error"])


def test_new_settings_of_a_plugin_hold_for_new_workers(wire, server):
    before = said(wire, wire.ended(wire.submit("halves.work")))[0]
    server.write_plugin("halves", WORK.replace("Work", "Halves").replace("{self.device}", "new"))
    wait_until(lambda: not alive(before))
    assert said(wire, wire.ended(wire.submit("halves.work")))[1][0] == "new"


def test_a_job_whose_worker_is_killed_runs_again(wire, server):
    job, pid = start_job(wire, 1)
    os.kill(pid, signal.SIGKILL)
    again, attempt = done(server, job)
    assert again != pid and attempt == 2


def test_a_job_goes_on_while_the_link_is_killed(wire, server):
    job, pid = start_job(wire, 3)
    links(server)[0].kill()
    assert done(server, job) == (pid, 1)


def test_a_job_goes_on_while_the_server_is_killed_and_started(wire, server):
    job, pid = start_job(wire, 3)
    server.restart()
    assert done(server, job) == (pid, 1)


def test_a_job_whose_node_is_lost_runs_on_another(wire, server, cluster, tmp_path):
    jobs = [wire.submit("work.work", {"folder": str(tmp_path), "number": 4}) for _ in range(3)]
    wait_until(lambda: len(os.listdir(tmp_path)) == 3, 60)
    devices = [wire.call("job", {"id": job})["job"]["worker"].rpartition("/")[2] for job in jobs]
    known = lambda: {each["device"]: each["pid"] for each in state(server)["workers"]}  # noqa: E731
    pids = wait_until(lambda: set(devices) <= (found := known()).keys() and found)
    nodes = [cluster.node_of(pids[device]) for device in devices]
    cluster.kill(2)
    lost = jobs[nodes.index(2)]
    wire.until(lambda: "queued" in wire.states(lost)[1:], 60)
    (tmp_path / "go on").touch()
    assert {job: done(server, job)[1] for job in jobs} == {job: 2 if job == lost else 1 for job in jobs}


@pytest.mark.parametrize(
    "address, error, words",
    [
        ("head", InvalidParams, "ray.address must be auto, local or HOST:PORT, got 'head'"),
        ("127.0.0.1:1", Conflict, "nobody answers at 127.0.0.1:1, which should be the head of a Ray cluster"),
    ],
)
def test_a_cluster_that_is_not_there_is_told(tmp_path, address, error, words):
    with pytest.raises(error, match=words):
        joining.join(address, tmp_path)
