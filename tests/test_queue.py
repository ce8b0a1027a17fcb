"""The queue as a page shows it: in the order in which it runs, with places, and with what a person moves in it."""

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
        left = [wire.call("cancel", {"id": job})["job"] for job in ids(wire)]
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
        wire.call("flow", {"jobs": [{"job": "works.work"}] * 10_000})
        started = time.monotonic()
        answer = listed(wire, limit=200)
        seconds = time.monotonic() - started
    assert [job["position"] for job in answer["jobs"]] == [*range(200)]
    assert answer["total"] == 10_000 and seconds < 0.5, seconds
