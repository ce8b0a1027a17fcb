"""Nothing that a client can ask for stops the others for long, and the detector of that sees what does."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from benchmarks.light import Light
from core.jobs import Store
from tests import hub
from tests.serving import ROOT, serve
from tests.wire import Wire

BLOCKED = """
import hashlib, sys, time
from core.rest import serving
sleep = time.sleep
serving.patch()
import eventlet
run_blocking = serving.blocking_runner("eventlet")
listener, address, port = serving.listen("127.0.0.1", 0)
eventlet.spawn(serving.serve, listener, lambda environ, start: [], "eventlet")
eventlet.sleep(0.1)

def compute():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass

{action}
eventlet.sleep(0.1)
"""
MANY = """
class P(Params):
    text: str = param("hello", help="Text.")
    numbers: list[float] = param([], help="Numbers.")

class Many(Plugin):
    @job(concurrency=4)
    def many(self, params: P) -> Text:
        return params.text
"""

COUNT = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
# 200,000 jobs: the first is held and every tenth's parent, two have failed, the others are done. An id is a number.
FILLED = f"""
{COUNT} INSERT INTO jobs (id, name, plugin, state, priority, class, rank, owner, session, parent, key, params, inputs,
    embed_metadata, aged, created, queued, finished)
SELECT printf('%026d', i), 'many.many', 'many', iif(i = 1, 'held', iif(i < 4, 'failed', 'done')), 'normal', 1, i,
    'local', iif(i % 1000, iif(i % 2, 'a', 'b'), 'c'), iif(i % 10 = 5, printf('%026d', 1), NULL), i, '{{}}', '{{}}',
    'none', i, i, i, iif(i > 1, i, NULL) FROM n;
{COUNT} INSERT INTO artifacts (id, job, idx, kind, sha256, size_bytes, mime, owner, session, facts, created)
SELECT printf('%026d.0', i), printf('%026d', i), 0, 'text', 'x', 1, 'text/plain', 'local', 'a', '{{}}', i FROM n;
{COUNT} INSERT INTO sessions (id, owner, name, created)
SELECT printf('%06d', i), 'local', 'many', i / 7 FROM n WHERE i <= 100000;
"""


def filled(folder):
    """A queue in which much has been done."""
    (folder / "data").mkdir()
    Store(folder / "data" / "jobs.db", False, lambda function, *args: function(*args), print).close()
    with closing(sqlite3.connect(folder / "data" / "jobs.db")) as db:
        db.executescript(f"BEGIN; {FILLED} COMMIT;")


@pytest.mark.parametrize(
    "action, blocks",
    [
        ("sleep(0.2)", True),
        ("compute()", True),
        ("run_blocking(sum, range(30_000_000))", True),  # C code that holds Python's lock stops the hub from a thread
        ("run_blocking(sleep, 0.2)", False),
        ("run_blocking(compute)", False),
        ("eventlet.sleep(0.2)", False),
        ("for _ in range(20): sum(range(500_000)); eventlet.sleep(0)", False),
    ],
)
def test_the_detector_sees_what_blocks_the_hub_and_nothing_else(tmp_path, action, blocks):
    (tmp_path / "script.py").write_text(BLOCKED.format(action=action))
    command = [sys.executable, "-W", "ignore", "-m", "tests.hub", str(tmp_path / "script.py")]
    for _ in range(3):  # on a busy machine a thread may be kept from letting go of the interpreter
        done = subprocess.run(  # Linux gives a session its share, however many processes others have
            command, cwd=ROOT, capture_output=True, text=True, timeout=60, start_new_session=True
        )
        if bool(hub.blocks(done.stderr)) == blocks:
            break
    assert bool(hub.blocks(done.stderr)) == blocks, done.stderr
    assert not done.returncode


def test_large_requests_do_not_stop_the_others():
    """The server checks itself at the end, see tests/serving.py."""
    with serve({"many": MANY}) as server, Wire(server) as wire:
        wire.call("queue", {"action": "pause"})
        jobs = [{"job": "many", "params": {"text": f"number {number}"}} for number in range(10_000)]
        assert len(wire.call("flow", {"jobs": jobs}, timeout=120)["jobs"]) == 10_000
        assert wire.call("flow", {"jobs": [*jobs[1:], {"job": "nothing"}]})["error"]["code"] == "unknown_job"
        assert len(wire.call("jobs", {"limit": 1000})["jobs"]) == 1000
        numbers = wire.call("submit", {"job": "many", "params": {"numbers": [0.5] * 150_000}})
        assert numbers["ok"], numbers
        with Wire(server, since=0) as late:
            late.until(lambda: len(late.state_events()) >= 10_000, 60)


def test_a_message_of_too_many_values_is_refused_by_its_event():
    with serve({"many": MANY}) as server, Wire(server) as wire:
        answer = wire.call("submit", {"job": "many", "params": {"numbers": [1] * 1_000_000}})
        assert answer["error"]["code"] == "too_large" and "300,000 values" in answer["error"]["message"]
        assert wire.call("hello")["ok"]


def test_a_page_of_large_records_ends_early_and_the_next_goes_on():
    with serve({"many": MANY}) as server, Wire(server) as wire:
        wire.call("queue", {"action": "pause"})
        jobs = [wire.submit("many", {"text": "x" * 900_000}) for _ in range(12)]
        found = wire.call("jobs", {"limit": 1000})["jobs"]
        assert 0 < len(found) < 12
        while page := wire.call("jobs", {"limit": 1000, "before": found[-1]["id"]})["jobs"]:
            found += page
        assert [job["id"] for job in found] == jobs[::-1]


def test_many_small_messages_at_once_let_the_others_have_their_turn():
    with serve({"many": MANY}) as server, Light(server) as client:
        last = [client.ask("submit", {"job": "many", "hold": True}) for _ in range(2000)][-1]
        while last not in client.answers:
            client.receive()


@pytest.mark.slow
def test_lists_are_found_however_much_there_is():
    one, two = f"{1:026}", f"{2:026}"
    with serve({"many": MANY}, before_start=filled) as server, Wire(server) as wire:
        found = lambda event, **filters: [each["id"] for each in wire.call(event, filters)[event]]  # noqa: E731
        assert found("jobs", state="failed") == [f"{3:026}", two] and found("jobs", state="queued") == []
        assert found("jobs", state="failed", session="b") == [two]
        assert found("jobs", state="done", session="nothing") == []
        rare = found("jobs", state="done", session="c", limit=1_000)
        assert rare == [f"{1000 * number:026}" for number in range(200, 0, -1)]
        assert found("jobs", parent=one, limit=2) == [f"{199_995:026}", f"{199_985:026}"]
        assert found("jobs", parent=two) == found("jobs", parent=one, state="failed") == []
        assert found("artifacts", job=two) == found("artifacts", job=two, session="a") == [f"{two}.0"]
        assert found("artifacts", job=two, session="b") == []
        first = found("sessions")
        assert first == [f"{number:06}" for number in range(100_000, 99_950, -1)]
        assert found("sessions", before=first[-1], limit=1_000) == [f"{99_950 - number:06}" for number in range(1_000)]
        assert wire.call("sessions", {"before": "nothing"})["error"]["code"] == "not_found"
        assert wire.call("cancel", {"id": one})["ok"] and found("jobs", state="cancelled") == [one]
