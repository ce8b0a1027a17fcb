"""A queue that cannot be read or written gives a clear stop or a typed error, and is whole when that is mended."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest

from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire

SAY = """
class P(Params):
    text: str = param("x", help="What to return.")
    seconds: float = param(0, ge=0, le=60, help="How long to work.")

class Say(Plugin):
    @job()
    def say(self, params: P) -> Text:
        time.sleep(params.seconds)
        return params.text
"""


def start(data):
    command = [sys.executable, "server.py", "--data", str(data), "--port", "0"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def some_queue(path):
    from core.jobs import Store

    path.parent.mkdir()
    Store(path, False, lambda function, *args: function(*args), print).close()


def fill(path, start, data):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"this is no database" * 1000),
        lambda path: fill(path, 0, b"garbage" * 20),
        lambda path: fill(path, 4096, b"\xff" * (path.stat().st_size - 4096)),
        lambda path: os.truncate(path, 4096),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["not a database", "header", "middle", "truncated", "a folder"],
)
def test_a_corrupt_queue_stops_the_start_and_is_left_alone(tmp_path, harm):
    path = tmp_path / "data" / "jobs.db"
    some_queue(path)
    harm(path)
    before = path.is_file() and path.read_bytes()
    done = start(path.parent)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "the queue" in done.stderr and "move the file away to start empty" in done.stderr
    assert (path.is_file() and path.read_bytes()) == before


def test_a_queue_that_another_process_writes_to_stops_the_start(tmp_path):
    path = tmp_path / "data" / "jobs.db"
    some_queue(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("DELETE FROM events")
        done = start(path.parent)
    assert done.returncode == 1 and "database is locked" in done.stderr and "Traceback" not in done.stderr


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs Linux and the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_up(folder):
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_stops_the_start_with_what_to_do(tmp_path):
    with small_disk(tmp_path / "data", "64k") as data:
        done = start(data)
        assert done.returncode == 1 and "Traceback" not in done.stderr and "Free some disk space" in done.stderr


@pytest.mark.slow
def test_a_disk_that_fills_up_refuses_submits_and_work_goes_on_when_there_is_space(tmp_path):
    with small_disk(tmp_path / "data", "6m") as data, serve({"say": SAY}, data=data) as server, Wire(server) as wire:
        wire.ended(wire.submit("say"))
        running = wire.submit("say", {"text": "running", "seconds": 2})
        queued = wire.submit("say", {"text": "queued"})
        wire.until(lambda: "running" in wire.states(running))
        fill_up(data)
        refused = wait_until(lambda: not (answer := wire.call("submit", {"job": "say"}))["ok"] and answer["error"])
        assert refused["code"] == "internal" and "Free some disk space" in refused["hint"]
        known = {job["id"] for job in wire.call("jobs", {"limit": 1000})["jobs"]}
        with contextlib.suppress(AssertionError):
            wire.ended(running, seconds=4)  # how it ended is kept by its worker, or has found the last place
        assert wire.call("queue")["problem"] == refused
        (data / "filler").unlink()
        ended, later = wire.ended(running, queued)
        assert ended["state"] == "failed" and "disk" in ended["error"]["message"]  # there was no place for its result
        assert wire.text(later["outputs"][0]) == "queued"
        wire.ended(*known)
        assert {job["id"] for job in wire.call("jobs", {"limit": 1000})["jobs"]} == known
        assert "problem" not in wire.call("queue")
