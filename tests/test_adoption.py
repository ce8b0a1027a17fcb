"""Detached workers outlive the server: they come back with their jobs, and nothing is run or ended twice."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

from tests.serving import ROOT, serve, wait_until
from tests.test_durability import ends
from tests.wire import Wire, alive

WORK = """
import os

class P(Params):
    seconds: float = param(0, ge=0, le=60, help="How long to work.")

class Work(Plugin):
    @job(concurrency=2)
    def work(self, params: P, ctx: Context) -> Text:
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        return str(os.getpid())
"""
HERE = {"plugin": "work", "device": "cpu"}


@contextlib.contextmanager
def process(answer):
    """A worker that somebody has started by hand with the settings that `attach` gave."""
    line = json.dumps(answer["settings"]).encode() + b"\n"
    started = subprocess.Popen([answer["python"], "-m", "core.worker"], stdin=subprocess.PIPE, cwd=ROOT)
    try:
        started.stdin.write(line)
        started.stdin.close()  # a local worker would end now
        yield started
    finally:
        started.kill()
        started.wait()


@contextlib.contextmanager
def attached(wire):
    """A worker that is attached and ready: its process."""
    with process(wire.call("attach", HERE)) as started:
        wait_until(lambda: [each for each in workers(wire) if each["detached"] and each["ready"]])
        yield started


def workers(wire):
    return wire.call("queue")["workers"]


def start_job(wire, seconds):
    job = wire.submit("work", {"seconds": seconds})
    wire.until(lambda: "running" in wire.states(job))
    return job


def done(server, job):
    """(pid of the process that ran it, attempt), with the proof that the job ended once."""
    with Wire(server, since=0) as wire:
        ended = wire.ended(job)
        assert ended["state"] == "done" and ends(wire)[job] == 1
        return int(wire.text(ended["outputs"][0])), ended["attempt"]


def test_running_jobs_go_on_while_the_server_is_killed_and_started():
    with serve({"work": WORK}) as server:
        with Wire(server) as wire, attached(wire) as worker:
            jobs = [start_job(wire, 3), start_job(wire, 3)]
            server.restart()
            assert [done(server, job) for job in jobs] == [(worker.pid, 1)] * 2


@pytest.mark.slow
def test_what_a_worker_finished_while_the_server_was_away_is_delivered():
    with serve({"work": WORK}) as server:
        with Wire(server) as wire, attached(wire) as worker:
            job = start_job(wire, 1)
            server.kill()
            time.sleep(2)
            server.start()
            assert done(server, job) == (worker.pid, 1)


@pytest.mark.slow
def test_a_detached_worker_waits_for_a_server_that_was_stopped_cleanly():
    with serve({"work": WORK}) as server:
        with Wire(server) as wire, attached(wire) as worker:
            job = start_job(wire, 3)
            server.stop()
            server.start()
            assert done(server, job) == (worker.pid, 1)


@pytest.mark.slow
def test_jobs_of_a_worker_that_died_with_the_server_run_elsewhere():
    with serve({"work": WORK}, heartbeat_seconds=6, attempts=1) as server:
        with Wire(server) as wire, attached(wire) as worker:
            job = start_job(wire, 2)
            worker.kill()
            server.restart()
        pid, attempt = done(server, job)
        assert pid != worker.pid and attempt == 2


@pytest.mark.slow
def test_a_worker_that_was_silent_for_too_long_cannot_end_its_job_any_more():
    with serve({"work": WORK}, heartbeat_seconds=6) as server:
        with Wire(server) as wire, attached(wire) as worker:
            job = start_job(wire, 1)
            os.kill(worker.pid, signal.SIGSTOP)
            try:
                wire.ended(job)
            finally:
                os.kill(worker.pid, signal.SIGCONT)
            wait_until(lambda: [each for each in workers(wire) if each["detached"] and each["ready"]])
            pid, attempt = done(server, job)
            assert pid != worker.pid and attempt == 2
            assert done(server, start_job(wire, 0)) == (worker.pid, 1)  # it is of use again


@pytest.mark.slow
def test_detach_ends_the_worker_and_its_job_runs_elsewhere():
    with serve({"work": WORK}) as server, Wire(server) as wire, attached(wire) as worker:
        job = start_job(wire, 2)
        assert wire.call("detach", HERE)["ok"]
        worker.wait(10)
        pid, attempt = done(server, job)
        assert pid != worker.pid and attempt == 2
        assert wire.call("detach", HERE)["error"]["code"] == "not_found"


def test_a_detached_worker_takes_the_place_of_a_local_one():
    with serve({"work": WORK}) as server, Wire(server) as wire:
        first = start_job(wire, 1.5)
        with attached(wire) as worker:
            local, _ = done(server, first)
            assert local != worker.pid
            assert done(server, start_job(wire, 0)) == (worker.pid, 1)
            wait_until(lambda: [each["detached"] for each in workers(wire)] == [True])
            assert not alive(local)


def test_a_job_that_ignores_its_cancel_ends_with_its_detached_worker():
    stubborn = WORK.replace("ctx.raise_if_cancelled()", "pass")
    with serve({"work": stubborn}, cancel_grace_seconds=0.2) as server, Wire(server) as wire, attached(wire) as worker:
        job = start_job(wire, 60)
        wire.call("cancel", {"id": job})
        assert wire.ended(job)["state"] == "cancelled"
        worker.wait(10)


@pytest.mark.slow
def test_what_was_cancelled_while_a_worker_was_away_stops_when_it_is_back(tmp_path):
    telling = WORK.replace("ctx.raise_if_cancelled()", f"ctx.cancelled and open({str(tmp_path / 'heard')!r}, 'w')")
    with serve({"work": telling}, cancel_grace_seconds=0) as server, Wire(server) as wire, attached(wire) as worker:
        job = start_job(wire, 60)
        os.kill(worker.pid, signal.SIGSTOP)
        server.restart()
        with Wire(server) as again:
            again.call("cancel", {"id": job})
            assert again.ended(job)["state"] == "cancelled"
            os.kill(worker.pid, signal.SIGCONT)
            wait_until((tmp_path / "heard").exists)


def test_only_one_worker_is_attached_to_a_device_and_only_the_admin_attaches():
    with serve({"work": WORK}, tokens={"anna": "a" * 20}) as server, Wire(server) as wire:
        with Wire(server, token="a" * 20) as anna:
            assert anna.call("attach", HERE)["error"]["code"] == "forbidden"
            assert anna.call("detach", HERE)["error"]["code"] == "forbidden"
        assert wire.call("attach", HERE)["ok"]
        assert wire.call("attach", HERE)["error"]["code"] == "conflict"
        assert wire.call("attach", HERE | {"plugin": "wrok"})["error"]["code"] == "not_found"
        assert wire.call("attach", HERE | {"device": "side"})["error"]["code"] == "invalid_params"


def test_a_worker_with_a_wrong_token_gets_nothing():
    with serve({"work": WORK}) as server, Wire(server) as wire:
        answer = wire.call("attach", HERE)
        answer["settings"]["token"] += "x"
        with process(answer):
            assert done(server, start_job(wire, 0))[1] == 1
            time.sleep(1)
            assert [each["detached"] for each in workers(wire)] == [False]


def test_a_second_process_with_the_same_token_is_refused():
    with serve({"work": WORK}) as server, Wire(server) as wire:
        answer = wire.call("attach", HERE)
        with process(answer) as first:
            wait_until(lambda: [each for each in workers(wire) if each["ready"]])
            with process(answer) as second:
                time.sleep(2)
                assert done(server, start_job(wire, 0)) == (first.pid, 1) and second.poll() is None
