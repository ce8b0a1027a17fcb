"""A machine from nothing to its first picture, and what goes wrong with machines: every job ends once, and it is said
what is the matter. The tests follow one another, with one machine that is deployed to once."""

import io
import os
import socket
from pathlib import Path

import PIL.Image
import psutil
import pytest

from tests import sshd
from tests.deployed import DEVICE, NAME, command, connected, deploy, state, workers
from tests.serving import ROOT, serve, wait_until
from tests.test_durability import ends
from tests.wire import Wire

pytestmark = [pytest.mark.slow, pytest.mark.torch]
WORK = """
import os
import socket
from pathlib import Path

class P(Params):
    until: str = param("", help="Name of a file in the home folder to wait for.")

class Work(Plugin):
    @job(concurrency=2)
    def work(self, params: P, ctx: Context) -> Text:
        while params.until and not (Path.home() / params.until).exists():
            ctx.raise_if_cancelled()
            time.sleep(0.02)
        return f"{socket.gethostname()} {os.getpid()}"
"""
PLUGINS = "work", "stable_diffusion"


@pytest.fixture(scope="module")
def machine():
    with sshd.machine() as machine:
        machine.link_environments(f".stable-core/{NAME}/code/.envs", "stable_diffusion")
        yield machine


@pytest.fixture(scope="module")
def server(machine, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        plugins = {"work": WORK, "stable_diffusion": ROOT / "plugins" / "stable_diffusion"}
        with serve(plugins, remote_grace_seconds=60) as server:
            yield server


@pytest.fixture
def wire(server):
    with Wire(server, since=0) as wire:
        yield wire


class Job:
    """A job that runs on the machine and ends when it is let."""

    def __init__(self, machine, wire):
        self.machine, self.wire = machine, wire
        self.id = wire.submit("work", {"until": (name := f"go-{os.urandom(4).hex()}")})
        self.files = [machine.home / name, Path(os.environ["HOME"]) / name]
        wire.until(lambda: "running" in wire.states(self.id))
        assert [each["jobs"] for each in workers(wire) if self.id in each["jobs"]]

    def let(self):
        for file in self.files:
            file.touch()

    def ended(self, server):
        """(where it ran, attempt), with the proof that it ended once."""
        with Wire(server, since=0) as wire:
            end = wire.ended(self.id)
            assert end["state"] == "done" and ends(wire)[self.id] == 1, end
            return wire.text(end["outputs"][0]).split()[0], end["attempt"]


def again(server, since):
    """Wait until the machine is connected once more, after a time at which it was."""
    wait_until(lambda: state(server).state == "connected" and state(server).since > since, 90)


def test_a_full_disk_is_found_before_anything_is_copied(server, machine):
    machine.fill(left=20_000_000)
    said = deploy(server, machine, *PLUGINS)
    machine.free()
    assert said.returncode == 1 and "disk" in said.stderr, said
    assert not [*machine.home.rglob("*.py")]


def test_from_nothing_to_the_first_picture(server, machine, wire):
    said = deploy(server, machine, *PLUGINS, words=["--host-key", machine.fingerprint])
    assert said.returncode == 0, said
    connected(server, wire, *PLUGINS)
    end = wire.ended(wire.submit("txt2img", {"prompt": "a red circle", "steps": 2, "seed": 1}))
    assert end["state"] == "done", end
    assert wire.call("job", {"id": end["id"]})["job"]["worker"] == f"stable_diffusion@{DEVICE}"
    assert PIL.Image.open(io.BytesIO(wire.download(end["outputs"][0]).content)).size == (128, 128)


def test_a_machine_whose_disk_is_full_still_draws(server, machine, wire):
    machine.fill()
    end = wire.ended(wire.submit("txt2img", {"prompt": "a blue circle", "steps": 2, "seed": 2}))
    machine.free()
    assert end["state"] == "done", end


def test_a_job_goes_on_while_its_connection_is_killed(server, machine, wire):
    job, since = Job(machine, wire), state(server).since
    machine.drop()
    again(server, since)
    job.let()
    assert job.ended(server) == ("rented", 1)


def test_what_a_job_has_made_while_the_cable_was_cut_arrives(server, machine, wire):
    job, since = Job(machine, wire), state(server).since
    machine.cut()
    job.let()
    wait_until(lambda: state(server).state == "lost")
    assert "Server not responding" in state(server).error["message"]
    machine.mend()
    again(server, since)
    assert job.ended(server) == ("rented", 1)


def test_a_job_whose_worker_was_killed_there_runs_again(server, machine, wire):
    job = Job(machine, wire)
    machine.run("kill", "-9", str(next(each["pid"] for each in state(server).workers if each["plugin"] == "work")))
    wire.until(lambda: wire.states(job.id).count("running") == 2)
    job.let()
    assert job.ended(server)[1] == 2
    connected(server, wire, *PLUGINS)


def test_a_job_goes_on_while_what_holds_the_connection_is_killed(server, machine, wire):
    job, since = Job(machine, wire), state(server).since
    children = psutil.Process(server.process.pid).children()
    next(each for each in children if "core.remote.link" in each.cmdline()).kill()
    again(server, since)
    job.let()
    assert job.ended(server) == ("rented", 1)


def test_a_job_goes_on_while_the_server_is_killed_and_started(server, machine, wire):
    job, since = Job(machine, wire), state(server).since
    server.restart()
    job.let()
    assert job.ended(server) == ("rented", 1)
    again(server, since)


def test_a_job_on_a_machine_that_reboots_runs_again(server, machine, wire):
    job, since = Job(machine, wire), state(server).since
    machine.stop()
    machine.boot()
    again(server, since)
    job.let()
    assert job.ended(server)[1] == 2
    connected(server, wire, *PLUGINS)


def test_a_changed_host_key_is_refused_until_it_is_trusted(server, machine, wire):
    job, since, old = Job(machine, wire), state(server).since, machine.fingerprint
    machine.new_host_key()
    machine.drop()
    wait_until(lambda: state(server).state == "failed")
    error = state(server).error
    assert error["code"] == "forbidden" and f"deploy trust {NAME}" in error["hint"]
    assert old in error["message"] and machine.fingerprint in error["message"]
    assert command(server, "trust", NAME, "--yes").returncode == 0
    again(server, since)
    job.let()
    assert job.ended(server) == ("rented", 1)


def test_jobs_of_a_machine_that_stays_away_run_here(server, machine):
    settings = server.folder / "config.toml"
    settings.write_text(settings.read_text().replace("remote_grace_seconds = 60", "remote_grace_seconds = 1"))
    server.restart()
    with Wire(server, since=0) as wire:
        connected(server, wire, *PLUGINS)
        job = Job(machine, wire)
        machine.stop()
        wire.until(lambda: wire.states(job.id).count("running") == 2)
        job.let()
        assert job.ended(server) == (socket.gethostname(), 2)
        machine.boot()


def test_what_was_destroyed_leaves_nothing(server, machine, wire):
    connected(server, wire, *PLUGINS)
    said = command(server, "destroy", NAME, "--yes")
    assert said.returncode == 0, said
    assert not (machine.home / ".stable-core" / NAME).exists()
    wait_until(lambda: not machine.processes("core."))
    assert len((machine.home / ".ssh/authorized_keys").read_text().splitlines()) == 1
    assert not workers(wire) and not (server.folder / "data/remotes" / NAME).exists()
