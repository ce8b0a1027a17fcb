"""Who runs next: owners take turns, priorities, aging, warm models, places in the queue."""

import contextlib
import sqlite3

import pytest

from tests.serving import serve
from tests.wire import Wire

WORK = """
class Work(Params):
    model: str = param("a", help="Which model.")
    seconds: float = param(0, ge=0, le=60, help="How long it takes.")

class Works(Plugin):
    @job(affinity="model")
    def work(self, params: Work) -> Text:
        time.sleep(params.seconds)
        return params.model

    @job(concurrency=8)
    def many(self, params: Work) -> Text:
        time.sleep(params.seconds)
        return params.model

    @job(program=True)
    def whole(self, params: Work, ctx: Context) -> Text:
        ctx.gather([ctx.submit("work", params.model_dump())])
        return params.model

    @job(affinity="model")
    def after(self, text: Text, params: Work) -> Text:
        return text
"""
BOT = "a token that nobody would guess"


@pytest.fixture(scope="module")
def server():
    with serve({"works": WORK}, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        wire.call("queue", {"action": "pause"})
        yield wire
        wire.call("queue", {"action": "resume"})


def run(wire, *others):
    """Let the queue go, and return the ids of all jobs in the order in which they started."""
    wire.call("queue", {"action": "resume"})
    for each in (wire, *others):
        jobs = {body["id"] for _, name, body in each.state_events() if name == "job"}
        each.ended(*jobs)
    started = [
        (seq, body["id"])
        for each in (wire, *others)
        for seq, name, body in each.state_events()
        if name == "job" and body["state"] == "running"
    ]
    return [job for _, job in sorted(started)]


def test_a_flood_of_one_owner_does_not_delay_another(server, wire):
    flood = [wire.submit("work") for _ in range(60)]
    with Wire(server, BOT) as bot:
        few = [bot.submit("work") for _ in range(5)]
        order = run(wire, bot)
    assert order.index(few[-1]) <= 11  # one after the other
    assert [job for job in order if job in flood] == flood and [job for job in order if job in few] == few


def test_an_owner_who_comes_late_is_served_at_once_and_not_all_at_once(server, wire):
    wire.call("queue", {"action": "resume"})
    first = [wire.submit("work", {"seconds": 0.05}) for _ in range(30)]
    wire.ended(first[4])
    with Wire(server, BOT) as bot:
        late = [bot.submit("work", {"seconds": 0.05}) for _ in range(5)]
        order = run(wire, bot)
    places = [order.index(job) for job in late]
    assert places[0] < 15 and all(later - earlier <= 2 for earlier, later in zip(places, places[1:], strict=False))
    assert places[-1] < 29


def test_owners_do_not_see_each_other(server, wire):
    job = wire.submit("work")
    with Wire(server, BOT) as bot:
        assert bot.call("hello")["owner"] == "bot" and bot.call("hello")["rights"] == []
        assert bot.call("job", {"id": job})["error"]["code"] == "not_found"
        assert bot.call("cancel", {"id": job})["error"]["code"] == "not_found"
        assert bot.call("queue", {"action": "resume"})["error"]["code"] == "forbidden"
        run(wire)
        assert not [body for name, body in bot.received if name == "job"]


def test_higher_priorities_run_first_and_equal_ones_in_order(wire):
    batch, normal, interactive = [
        [wire.submit("work", priority=priority) for _ in range(3)] for priority in ("batch", "normal", "interactive")
    ]
    assert run(wire) == interactive + normal + batch


def test_a_job_that_has_waited_for_long_rises_by_a_class(server, wire):
    old = wire.submit("work", priority="batch")
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "jobs.db")) as db:
        db.execute("UPDATE jobs SET aged = aged - 700 WHERE id = ?", (old,))
        db.commit()
    normal = [wire.submit("work") for _ in range(3)]
    wire.until(lambda: wire.call("job", {"id": old})["job"]["position"] == 0, 15)
    assert run(wire) == [old, *normal]


def test_jobs_with_a_warm_model_go_first_but_not_for_ever(wire):
    first = [wire.submit("work", {"model": "a"})]
    mixed = [wire.submit("work", {"model": "ba"[k % 2]}) for k in range(12)]
    order = run(wire)
    models = "".join("a" if job in first or mixed.index(job) % 2 else "b" for job in order)
    switches = sum(before != after for before, after in zip(models, models[1:], strict=False))
    assert switches < 6  # in the order of arrival there would be 12
    places = [order.index(job) - (mixed.index(job) + 1) for job in mixed]
    assert max(places) <= 4  # nobody is overtaken by more than the look-ahead


def test_a_job_tells_its_place_and_when_it_will_be_done(wire):
    wire.call("queue", {"action": "resume"})
    wire.ended(wire.submit("work", {"seconds": 0.3}))
    wire.call("queue", {"action": "pause"})
    jobs = [wire.submit("work") for _ in range(3)]
    records = [wire.call("job", {"id": job})["job"] for job in jobs]
    assert [record["position"] for record in records] == [0, 1, 2]
    etas = [record["eta_seconds"] for record in records]
    assert etas[0] > 0 and etas == sorted(etas)
    run(wire)


def test_jobs_that_run_at_once_are_forecast_at_once_and_a_program_from_its_submit(wire):
    wire.call("queue", {"action": "resume"})
    wire.ended(wire.submit("many", {"seconds": 0.3}), wire.submit("whole", {"seconds": 0.5}))
    wire.call("queue", {"action": "pause"})
    etas = [wire.call("job", {"id": wire.submit("many")})["job"]["eta_seconds"] for _ in range(9)]
    assert etas[8] == pytest.approx(2 * etas[0], abs=0.1)  # eight are ahead and run together
    assert wire.call("job", {"id": wire.submit("whole")})["job"]["eta_seconds"] >= 0.5
    run(wire)


def test_what_is_held_or_waits_takes_no_place_in_the_queue(wire):
    held = wire.submit("work", hold=True)
    waiting = wire.submit("after", inputs={"text": {"job": held}})
    queued = wire.submit("work")
    assert wire.call("job", {"id": queued})["job"]["position"] == 0
    wire.call("queue", {"action": "resume"})
    wire.ended(queued)
    assert wire.states(waiting) == ["waiting"]
    wire.call("release", {"id": held})
    wire.ended(held, waiting)


def test_the_workers_of_others_tell_nothing_of_their_jobs(wire, server):
    def seen(by):
        return next(each for each in by.call("queue")["workers"] if each["device"] == "cpu")

    wire.call("queue", {"action": "resume"})
    with Wire(server, BOT) as bot:
        running = wire.submit("work", {"model": "secret", "seconds": 2})
        wire.until(lambda: seen(wire)["jobs"] == [running])
        assert seen(wire)["warm"] == "secret" and seen(wire)["pid"]
        assert not {"pid", "warm"} & seen(bot).keys() and seen(bot)["jobs"] == []
        own = bot.submit("work", {"seconds": 1})
        bot.until(lambda: seen(bot)["jobs"] == [own])
