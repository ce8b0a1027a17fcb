"""The link to another machine and the host there, with a real sshd: what is cut off comes back, and nothing is lost."""

import sys
import time

import psutil
import pytest

from core.ops import bootstrap, environments
from core.remote.records import Records, Remote, Rule
from tests import sshd
from tests.serving import ROOT, serve, wait_until
from tests.test_durability import ends
from tests.wire import Wire

WORK = """
import os
from pathlib import Path

class P(Params):
    until: str = param("", help="A file on whose disk it works until that is there.")

class Work(Plugin):
    @job()
    def work(self, params: P, ctx: Context) -> Text:
        ctx.log("begun")
        while params.until and not Path(params.until).exists():
            ctx.raise_if_cancelled()
            ctx.progress(1, 2)
            time.sleep(0.02)
        return f"{os.getpid()} {os.uname().nodename}"

    @job()
    def longer(self, text: Text, ctx: Context) -> Text:
        return text + "!" * 100_000

    @job()
    def die(self, params: P, ctx: Context) -> Text:
        os._exit(3)
"""
NAME = "gpu1"


def install(machine, folder):
    """What takes long to make there: the environments, made here and linked."""
    code = f"{folder}/code"
    machine.run("mkdir", "-p", f"{code}/.venv", f"{code}/.envs")
    made = environments.ensure_lock(ROOT / "requirements.lock", ROOT / ".envs", print).parents[1]
    environments.ensure(ROOT / "plugins" / "script", ROOT / ".envs", print)
    place = machine.home / code.removeprefix(f"/home/{machine.user}/")
    for name in ("bin", "lib", "pyvenv.cfg"):
        (place / ".venv" / name).symlink_to(f"/mnt/envs/{made.name}/{name}")
    lock = ROOT / "requirements.lock"
    installed = f"{lock.name} {bootstrap.fingerprint(lock)}\npython {sys.version_info[0]}.{sys.version_info[1]}\n"
    (place / ".venv" / "installed.txt").write_text(installed)
    machine.link_environments(str((place / ".envs").relative_to(machine.home)), "worker")


class Deployed:
    """A server and a machine that it is to keep a connection to."""

    def __init__(self, server, machine):
        self.server, self.machine = server, machine
        self.records = Records(server.folder / "data")
        folder = self.records.of(NAME)
        folder.mkdir(parents=True)
        (folder / "key").write_bytes(machine.key.read_bytes())
        (folder / "key").chmod(0o600)
        self.write(
            host=machine.host, port=machine.port, user=machine.user, host_key=machine.host_key, plugins=["work"],
            devices=["cpu"], rule=Rule(when="only"), folder=f"/home/{machine.user}/far", on=True,
        )  # fmt: skip
        self.jobs = 0

    def write(self, **columns):
        known = self.records.read(NAME).model_dump() if NAME in self.records.names() else {"name": NAME}
        self.records.write(Remote(**(known | columns)))

    @property
    def state(self):
        return self.records.state(NAME)

    def connected(self, since=0.0):
        """Once it is connected, and was heard of after `since`."""
        wait_until(lambda: self.state.state == "connected" and self.state.seen > since and self.state.workers, 60)

    def link(self):
        """Its process."""
        server = psutil.Process(self.server.process.pid)
        return next(each for each in server.children() if "link" in " ".join(each.cmdline()))

    def workers(self):
        return [each for each in self.machine.processes("core.worker")]

    def supervisor(self):
        return self.machine.processes("--supervise")[0]

    def begin(self, wire):
        """A job that runs there, until `finish`."""
        self.jobs += 1
        job = wire.submit("work", {"until": f"/home/{self.machine.user}/go-{self.jobs}"})
        wire.until(lambda: "running" in wire.states(job))
        wait_until(lambda: self.pid(wire))
        return job

    def pid(self, wire):
        return [each for each in wire.call("queue")["workers"] if each["device"] == f"{NAME}/cpu" and each["jobs"]]

    def finish(self, job):
        """(pid there, attempt) of a job, with the proof that it ended once."""
        (self.machine.home / f"go-{self.jobs}").touch()
        with Wire(self.server, since=0) as wire:
            ended = wire.ended(job)
            assert ended["state"] == "done" and ends(wire)[job] == 1, ended
            pid, node = wire.text(ended["outputs"][0]).split()
            assert node == "rented"
            return int(pid), ended["attempt"]


@pytest.fixture(scope="module")
def deployed():
    with sshd.machine() as machine, serve({"work": WORK}, remote_grace_seconds=60, attempts=2) as server:
        install(machine, f"/home/{machine.user}/far")
        deployed = Deployed(server, machine)
        try:
            deployed.connected()
            yield deployed
        finally:
            print((server.folder / "data" / "logs" / f"remote-{NAME}.log").read_text(), deployed.state)


@pytest.fixture
def wire(deployed):
    with Wire(deployed.server) as wire:
        yield wire


def test_inputs_results_and_what_a_job_tells_travel_through_the_connection(deployed, wire):
    job = deployed.begin(wire)
    wire.until(lambda: {"progress", "log"} <= {name for name, body in wire.received if body.get("id") == job})
    deployed.finish(job)
    first = wire.ended(job)["outputs"][0]
    longer = wire.ended(wire.submit("longer", inputs={"text": first}))
    assert wire.text(longer["outputs"][0]) == wire.text(first) + "!" * 100_000


def test_a_job_there_is_cancelled(deployed, wire):
    job = deployed.begin(wire)
    wire.call("cancel", {"id": job})
    assert wire.ended(job)["state"] == "cancelled"


def test_a_job_goes_on_while_its_connection_is_gone(deployed, wire):
    job, before = deployed.begin(wire), deployed.workers()
    began = time.time()
    deployed.machine.drop()
    deployed.connected(began)
    assert deployed.finish(job)[1] == 1 and deployed.workers() == before


def test_a_job_goes_on_while_the_link_is_killed(deployed, wire):
    job, before = deployed.begin(wire), deployed.workers()
    began = time.time()
    deployed.link().kill()
    deployed.connected(began)
    assert deployed.finish(job)[1] == 1 and deployed.workers() == before


def test_a_job_goes_on_while_the_supervisor_there_is_killed(deployed, wire):
    job, before = deployed.begin(wire), deployed.workers()
    began = time.time()
    deployed.supervisor().kill()
    deployed.connected(began)
    assert deployed.finish(job)[1] == 1 and deployed.workers() == before


def test_a_job_goes_on_while_the_server_is_killed_and_started(deployed):
    with Wire(deployed.server) as wire:
        job, before = deployed.begin(wire), deployed.workers()
    deployed.server.restart()
    assert deployed.finish(job)[1] == 1 and deployed.workers() == before


def test_a_cable_that_is_cut_is_noticed_and_the_job_goes_on(deployed, wire):
    job, before = deployed.begin(wire), deployed.workers()
    deployed.machine.cut()
    wait_until(lambda: deployed.state.state in ("lost", "connecting"))
    began = time.time()
    deployed.machine.mend()
    deployed.connected(began)
    assert deployed.finish(job)[1] == 1 and deployed.workers() == before


def test_a_job_runs_again_when_its_worker_is_killed(deployed, wire):
    job = deployed.begin(wire)
    deployed.workers()[0].kill()
    wire.until(lambda: wire.states(job)[-2:] == ["queued", "running"])
    assert deployed.finish(job)[1] == 2


def test_a_job_that_ends_its_worker_again_and_again_fails(deployed, wire):
    ended = wire.ended(wire.submit("die"))
    assert ended["state"] == "failed" and ended["error"]["code"] == "worker_died"
    assert "2 times (exit code 3)" in ended["error"]["message"]


def test_a_job_runs_again_when_the_machine_was_restarted(deployed, wire):
    job = deployed.begin(wire)
    began = time.time()
    deployed.machine.stop()
    deployed.machine.boot()
    deployed.connected(began)
    assert deployed.finish(job)[1] == 2
