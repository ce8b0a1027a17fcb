"""The host of another machine, run here: it is there once, and ends when its money or its patience is at an end."""

import json
import os
import subprocess
import sys

import pytest

from tests.serving import ROOT, wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it has no Unix sockets that Python knows")
HELLO = {"do": "hello", "server": "me", "devices": ["cpu"], "backend": "cpu", "code": "1", "wake": True}
ENDING = {"idle_minutes": 30, "seconds_left": None, "command": None}


class Line:
    """A connection to the host of a folder."""

    def __init__(self, folder):
        words = [sys.executable, "-m", "core.remote.host", str(folder)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, **message):
        self.send(message)
        return self.hear()

    def close(self):
        """Returns when the other side has, too."""
        self.process.communicate(timeout=30)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    line = Line(tmp_path)
    line.send({"do": "stop"})
    line.close()


def test_whoever_comes_first_starts_the_only_one(folder):
    lines = [Line(folder) for _ in range(4)]
    for line in lines:
        line.send({"do": "status"})
    assert len({line.hear()["host"] for line in lines}) == 1
    for line in lines:
        line.close()


def test_it_ends_the_machine_when_its_money_is_spent_and_stays_away_until_it_is_woken(folder):
    command = ["sh", "-c", f"echo ended >> {folder}/machine"]
    line = Line(folder)
    told = line.ask(**HELLO, ending=ENDING | {"seconds_left": 0.2, "command": command})
    assert told["ok"] and told["devices"].keys() == {"cpu"}
    assert line.hear() == {"event": "stopping", "why": "spent"}
    line.close()
    wait_until(lambda: not os.path.exists(told["sockets"]))
    assert (folder / "machine").read_text() == "ended\n"
    again = Line(folder)
    assert again.ask(**HELLO | {"wake": False}, ending=ENDING) == {"id": None, "ok": True, "stopped": "spent"}
    again.close()
    woken = Line(folder)
    assert "stopped" not in woken.ask(**HELLO, ending=ENDING)
    woken.close()


def test_a_connection_that_is_made_again_and_again_is_no_use_of_it(folder):
    line, ending = Line(folder), ENDING | {"idle_minutes": 0.02}
    assert line.ask(**HELLO, ending=ending)["ok"]
    again = HELLO | {"wake": False}
    wait_until(lambda: line.ask(**again, ending=ending) == {"event": "stopping", "why": "idle"})
    line.close()


def test_a_worker_that_cannot_live_is_told_with_its_last_words(folder):
    line = Line(folder)
    line.ask(**HELLO, ending=ENDING)
    missing = line.ask(do="start", plugin="x", device="cpu", python="/none", settings={})
    assert missing["error"]["message"] == "/none is not there."
    started = line.ask(do="start", plugin="x", device="cpu", python=sys.executable, settings={"detached": True})
    assert started["worker"]["exit_code"] is None
    ended = line.hear()
    assert ended["event"] == "ended" and ended["worker"]["exit_code"] == 1
    assert ended["worker"]["last"] == "KeyError: 'folder'"
    line.close()
