"""The link to another machine and the host there, with a real sshd; tests/test_remote.py breaks more of it."""

import json
import subprocess
import sys
import time

import psutil
import pytest

from core.ops import bootstrap, environments
from core.ops.config import load
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
        print("hello from the plugin", flush=True)
        while params.until and not Path(params.until).exists():
            ctx.raise_if_cancelled()
            ctx.progress(1, 2)
            time.sleep(0.02)
        return os.uname().nodename

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
        return self.machine.processes("core.worker")

    def supervisor(self):
        return self.machine.processes("--supervise")[0]

    def ask(self, *requests):
        """What the host there answers to somebody who is not the link."""
        lines = "".join(json.dumps(each) + "\n" for each in requests)
        command = 'cd /home/artist/far/code && printf %s "$0" | .venv/bin/python -m core.remote.host "$PWD/.."'
        said = self.machine.run("sh", "-c", command, lines)
        return [json.loads(line) for line in said.splitlines()]

    def begin(self, wire):
        """A job that runs there, until `finish`."""
        self.jobs += 1
        job = wire.submit("work", {"until": f"/home/{self.machine.user}/go-{self.jobs}"})
        wire.until(lambda: "running" in wire.states(job))
        return job

    def finish(self, job):
        """The attempt of a job that has run there, with the proof that it ended once."""
        (self.machine.home / f"go-{self.jobs}").touch()
        with Wire(self.server, since=0) as wire:
            ended = wire.ended(job)
            assert ended["state"] == "done" and ends(wire)[job] == 1, ended
            assert wire.text(ended["outputs"][0]) == "rented"
            return ended["attempt"]


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
    assert deployed.finish(job) == 1 and deployed.workers() == before


def test_a_job_goes_on_while_the_supervisor_there_is_killed(deployed, wire):
    job, before = deployed.begin(wire), deployed.workers()
    began = time.time()
    deployed.supervisor().kill()
    deployed.connected(began)
    assert deployed.finish(job) == 1 and deployed.workers() == before


def test_a_job_that_ends_its_worker_again_and_again_fails(deployed, wire):
    ended = wire.ended(wire.submit("die"))
    assert ended["state"] == "failed" and ended["error"]["code"] == "worker_died"
    assert "2 times (exit code 3)" in ended["error"]["message"]


def test_where_sshd_forwards_no_sockets_a_port_is_taken(deployed, wire):
    began = time.time()
    deployed.machine.configure(AllowStreamLocalForwarding="no")
    deployed.machine.drop()
    deployed.connected(began)
    assert deployed.machine.run("sh", "-c", "cat /tmp/stable-core-*/door").startswith("127.0.0.1:")
    assert deployed.finish(deployed.begin(wire)) == 1


def test_where_sshd_forwards_nothing_that_is_said(deployed):
    deployed.machine.configure(AllowStreamLocalForwarding="no", AllowTcpForwarding="no")
    deployed.machine.drop()
    error = wait_until(lambda: deployed.state.state == "failed" and deployed.state.error)
    assert "door" not in deployed.machine.run("sh", "-c", "ls /tmp/stable-core-*")  # whose port anybody could take
    deployed.machine.configure()
    began = time.time()
    deployed.link().kill()  # which would wait a minute
    deployed.connected(began)
    assert error["code"] == "forbidden" and "forwards neither sockets nor ports" in error["message"]
    assert "AllowStreamLocalForwarding" in error["hint"]


def test_new_code_comes_when_the_jobs_with_the_old_one_have_ended(deployed, wire):
    job, before = deployed.begin(wire), deployed.workers()
    deployed.server.write_plugin("work", WORK.replace('"!"', '"?"'))
    there = deployed.machine.home / "far" / "code" / "plugins" / "work" / "__init__.py"
    wait_until(lambda: '"?"' in there.read_text())
    assert deployed.finish(job) == 1
    wait_until(lambda: deployed.workers() and deployed.workers() != before)
    longer = wire.ended(wire.submit("longer", inputs={"text": wire.ended(job)["outputs"][0]}))
    assert wire.text(longer["outputs"][0]).endswith("??")


def test_a_second_link_and_a_second_server_are_refused(deployed):
    config = load(deployed.server.folder / "config.toml", {}).model_dump(mode="json", exclude={"tokens"})
    settings = {"name": NAME, "data": config["data"], "config": config, "url": "http://x", "token": "x", "door": "x"}
    words = [sys.executable, "-m", "core.remote.link"]
    second = subprocess.run(words, input=json.dumps(settings), capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert second.returncode == 1 and "another process keeps the connection to gpu1" in second.stderr
    hello = {"server": "another", "devices": ["cpu"], "backend": "cpu", "ending": {}, "code": "1", "wake": True}
    (answer,) = deployed.ask({"do": "hello", **hello})
    assert (
        answer["error"]["code"] == "conflict" and "another server uses /home/artist/far" in answer["error"]["message"]
    )
    assert "--name NAME" in answer["error"]["hint"] and deployed.state.state == "connected"


def test_the_host_says_what_is_wrong_with_a_request_and_lives_on(deployed):
    bad = [{}, {"do": "dance"}, {"do": "start", "plugin": "x"}, {"do": "logs", "name": "../../.ssh/authorized_keys"}]
    bad += [{"do": "logs", "name": "none"}, {"do": ["status"]}, [1], {"do": "door", "path": 1}]
    answers = deployed.ask(*bad, {"do": "status"})
    assert [each["ok"] for each in answers] == [False] * len(bad) + [True]
    assert "do must be one of hello, " in answers[1]["error"]["message"]
    assert answers[3]["error"]["message"] == "'../../.ssh/authorized_keys' is no name of a log."
    assert len(answers[-1]["workers"]) == 1


def test_logs_of_workers_are_kept_here(deployed):
    log = deployed.server.folder / "data" / "logs" / NAME / "work-cpu.log"
    wait_until(lambda: log.exists() and "hello from the plugin" in log.read_text())


def test_it_stops_and_starts_when_it_is_told_to(deployed, wire):
    assert wire.call("remote", {"name": NAME, "action": "stop"})["ok"]
    wait_until(lambda: deployed.state.state == "off" and not deployed.machine.processes("core."))
    began = time.time()
    assert wire.call("remote", {"name": NAME, "action": "start"})["ok"]
    deployed.connected(began)


def test_without_jobs_that_run_it_stops_itself_and_says_so(deployed, wire):
    wire.call("queue", {"action": "pause"})
    wire.submit("work")  # which may wait for days
    deployed.write(idle_minutes=0.01)
    wait_until(lambda: deployed.state.step == "it has stopped itself: it had no jobs")
    wait_until(lambda: not deployed.machine.processes("core."))
    assert deployed.state.state == "off" and not deployed.records.read(NAME).on
