"""The queue as a page shows it: in the order in which it runs, with places, and with what a person moves in it."""

import contextlib
import sqlite3
import time

import pytest

from tests.serving import serve
from tests.wire import Wire

PLUGIN = """
class Work(Params):
    seconds: float = param(0, ge=0, le=60, help="How long it takes.")

class Works(Plugin):
    @job()
    def work(self, params: Work) -> Text:
        time.sleep(params.seconds)
        return "done"

    @job()
    def after(self, text: Text) -> Text:
        return text
"""
BOT = "a token that nobody would guess"


@pytest.fixture(scope="module")
def server():
    with serve(
        {"works": PLUGIN, "more": PLUGIN}, tokens={"bot": BOT}, on_start="last", cancel_grace_seconds=0
    ) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire
        left = [wire.call("cancel", {"id": job})["job"] for job in ids(wire, limit=1000)]
        wire.ended(*(job["id"] for job in left)) if left else None
        wire.call("queue", {"action": "resume"})


def listed(wire, **fields):
    answer = wire.call("jobs", {"order": "queue", **fields})
    assert answer["ok"], answer
    return answer


def ids(wire, **fields):
    return [job["id"] for job in listed(wire, **fields)["jobs"]]


def pause(wire):
    assert wire.call("queue", {"action": "pause"})["ok"]


def test_the_queue_lists_what_runs_then_what_will_run_then_what_waits(wire):
    running = wire.submit("works.work", {"seconds": 60})
    wire.until(lambda: "running" in wire.states(running))
    held = wire.submit("works.work", hold=True)
    waiting = wire.submit("works.after", inputs={"text": {"job": held}})
    later, sooner = wire.submit("works.work", priority="batch"), wire.submit("works.work", priority="interactive")
    answer = listed(wire)
    assert [job["id"] for job in answer["jobs"]] == [running, sooner, later, waiting, held] and answer["total"] == 5
    assert [job.get("position") for job in answer["jobs"]] == [None, 0, 1, None, None]
    assert answer["jobs"][3]["waits_for"] == [{"job": held, "state": "held"}]
    assert answer["jobs"][4]["waits_for"] == [{"person": "release"}]
    assert all("outputs" not in job and job["params"] is not None for job in answer["jobs"])


def test_places_in_the_list_are_those_of_each_job(wire):
    wire.ended(wire.submit("works.work", {"seconds": 0.2}))
    pause(wire)
    jobs = [wire.submit("works.work") for _ in range(4)]
    for job in listed(wire)["jobs"]:
        alone = wire.call("job", {"id": job["id"]})["job"]
        assert (job["position"], job["eta_seconds"]) == (alone["position"], alone["eta_seconds"])
    assert ids(wire) == jobs and listed(wire)["jobs"][3]["eta_seconds"] > 0.8


def test_jobs_of_several_plugins_are_listed_by_when_they_begin(wire):
    wire.ended(wire.submit("works.work", {"seconds": 0.5}), wire.submit("more.work"))
    pause(wire)
    slow = [wire.submit("works.work") for _ in range(2)]
    quick = [wire.submit("more.work") for _ in range(3)]
    assert ids(wire) == [slow[0], *quick, slow[1]]


def test_the_queue_can_be_narrowed_and_counts_what_it_does_not_list(server, wire):
    pause(wire)
    mine = [wire.submit("works.work", session="mine") for _ in range(3)]
    other, held = wire.submit("works.work"), wire.submit("works.work", hold=True)
    with Wire(server, token=BOT) as bot:
        theirs = bot.submit("works.work", priority="interactive")
        assert ids(bot) == [theirs]
    answer = listed(wire, session="mine", limit=2)
    assert [job["id"] for job in answer["jobs"]] == mine[:2] and answer["total"] == 3
    assert [job["position"] for job in answer["jobs"]] == [1, 2]  # somebody else's is ahead
    assert ids(wire, state="held") == [held] and ids(wire, state="queued", session="default") == [other]
    assert listed(wire, state="queued")["total"] == 4 and listed(wire, parent="none")["total"] == 0


@pytest.mark.parametrize("fields, field", [({"before": "x"}, "before"), ({"state": "done"}, "state")])
def test_the_queue_has_no_pages_and_nothing_that_has_ended(wire, fields, field):
    error = wire.call("jobs", {"order": "queue", **fields})["error"]
    assert (error["code"], error["field"]) == ("invalid_params", field)


def test_a_queue_of_10_000_is_told_quickly():
    with serve({"works": PLUGIN}, on_start="pause") as server, Wire(server) as wire:
        wire.call("flow", {"jobs": [{"job": "works.work"}] * 10_000}, timeout=100)
        seconds = []
        for _ in range(3):  # other tests take the cores now and then
            started = time.monotonic()
            answer = listed(wire, limit=200)
            seconds.append(time.monotonic() - started)
    assert [job["position"] for job in answer["jobs"]] == [*range(200)]
    assert answer["total"] == 10_000 and min(seconds) < 0.5, seconds


# What a person moves


def test_a_job_is_moved_right_before_or_after_another_and_runs_there(wire):
    pause(wire)
    a, b, c, d = (wire.submit("works.work") for _ in range(4))
    assert wire.call("move", {"id": d, "before": b})["ok"] and ids(wire) == [a, d, b, c]
    assert wire.call("move", {"id": a, "after": b})["ok"] and ids(wire) == [d, b, a, c]
    assert wire.call("move", {"id": d, "after": c})["ok"] and ids(wire) == [b, a, c, d]
    assert wire.call("move", {"id": c, "before": b})["ok"] and ids(wire) == [c, b, a, d]
    wire.call("queue", {"action": "resume"})
    wire.ended(a, b, c, d)
    started = [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "running"]
    assert started == [c, b, a, d]


def test_a_new_job_comes_after_those_that_were_moved(wire):
    pause(wire)
    a, b = wire.submit("works.work"), wire.submit("works.work")
    wire.call("move", {"id": a, "after": b})
    assert ids(wire) == [b, a] and [b, a, wire.submit("works.work")] == ids(wire)


def test_200_moves_into_the_same_gap_keep_their_order(wire):
    pause(wire)
    first, last = wire.submit("works.work"), wire.submit("works.work")
    moved = [job["id"] for job in wire.call("flow", {"jobs": [{"job": "works.work"}] * 200})["jobs"]]
    for job in moved:
        assert wire.call("move", {"id": job, "before": last})["ok"]
    assert ids(wire, limit=300) == [first, *moved, last]
    for job in moved:
        assert wire.call("move", {"id": job, "after": first})["ok"]
    assert ids(wire, limit=300) == [first, *reversed(moved), last]


def test_jobs_of_one_rank_make_room_for_one_that_is_moved_between(server, wire):
    """As those are that have risen by a class, all at once."""
    pause(wire)
    jobs = [job["id"] for job in wire.call("flow", {"jobs": [{"job": "works.work"}] * 300})["jobs"]]
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "jobs.db")) as db, db:
        db.execute("UPDATE jobs SET rank = 7 WHERE state = 'queued'")
    assert ids(wire, limit=300) == jobs
    wire.call("move", {"id": jobs[0], "after": jobs[150]})
    assert ids(wire, limit=300) == [*jobs[1:151], jobs[0], *jobs[151:]]
    wire.call("move", {"id": jobs[299], "before": jobs[151]})
    assert ids(wire, limit=300) == [*jobs[1:151], jobs[0], jobs[299], *jobs[151:299]]


def test_a_move_is_told_to_all_tabs_of_its_owner_and_nobody_else(server, wire):
    pause(wire)
    a, b = wire.submit("works.work"), wire.submit("works.work", session="mine")
    with Wire(server) as tab, Wire(server, subscribe=False) as session, Wire(server, token=BOT) as bot:
        session.call("subscribe", {"session": "mine"})
        wire.call("move", {"id": b, "before": a})
        told = [body for _, name, body in tab.until(tab.state_events) if name == "queue"]
        assert [(body["moved"], body["paused"]) for body in told] == [(b, True)]
        session.until(session.state_events)
        bot.ended(bot.call("cancel", {"id": bot.submit("works.work")})["job"]["id"])
        assert all(name == "job" for _, name, _ in bot.state_events())


@pytest.mark.parametrize(
    "fields, code, field, says",
    [
        ({}, "invalid_params", "to", "one of to, before and after"),
        ({"to": "front", "before": "x"}, "invalid_params", "to", "one of to, before and after"),
        ({"before": "nope"}, "not_found", "before", "there is no job nope"),
        ({"before": "{own}"}, "invalid_params", "before", "cannot be moved before itself"),
        ({"after": "{theirs}"}, "not_found", "after", "there is no job"),
        ({"after": "{batch}"}, "conflict", "after", "each priority keeps its order"),
        ({"before": "{other}"}, "conflict", "before", "Each plugin has a queue of its own"),
        ({"before": "{ended}"}, "conflict", "before", "is cancelled. Jobs are moved beside others that are held"),
    ],
)
def test_a_move_that_cannot_be_says_what_can(server, wire, fields, code, field, says):
    pause(wire)
    with Wire(server, token=BOT) as bot:
        theirs = bot.submit("works.work")
        known = {"own": wire.submit("works.work"), "theirs": theirs, "other": wire.submit("more.work")}
        known |= {"batch": wire.submit("works.work", priority="batch"), "ended": wire.submit("works.work")}
        wire.call("cancel", {"id": known["ended"]})
        error = wire.call("move", {"id": known["own"], **{key: text.format(**known) for key, text in fields.items()}})
        bot.call("cancel", {"id": theirs})
    assert (error["error"]["code"], error["error"]["field"]) == (code, field) and says in error["error"]["message"]


def test_a_job_that_has_risen_by_a_class_lets_others_of_its_priority_beside_it(server, wire):
    pause(wire)
    risen, other = (wire.submit("works.work", priority="batch") for _ in range(2))
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "jobs.db")) as db, db:
        db.execute("UPDATE jobs SET class = 1 WHERE id = ?", (risen,))
    normal = wire.submit("works.work")
    assert ids(wire)[2] == other
    assert wire.call("move", {"id": other, "before": risen})["ok"]
    assert ids(wire) == [other, risen, normal]


def test_a_move_survives_a_kill(server):
    with Wire(server) as wire:
        pause(wire)
        a, b, c = (wire.submit("works.work") for _ in range(3))
        wire.call("move", {"id": c, "before": b})
    server.restart()
    with Wire(server, since=0) as wire:
        assert ids(wire) == [a, c, b]
        wire.call("queue", {"action": "resume"})
        wire.ended(a, b, c)
