"""Which devices jobs are offered to: by rules of machines, by what is loaded where, by who has least to do."""

import sqlite3
import time
from types import SimpleNamespace

import pytest

from core.library.catalogue import PluginInfo
from core.library.children import SIDE
from core.library.placing import LOOKED_AT, Placing, Some, first
from core.remote.records import Remote, Rule

GLANCE = "SELECT id, name, priority, class, rank FROM jobs WHERE plugin = ?"
NAMES = ("draw", "drift", "write")
WORK = PluginInfo("work", None, jobs=[{"name": name, "params": {}, "affinity": None} for name in NAMES])


@pytest.fixture
def ask():
    """Jobs of the plugin work by number: every tenth writes, the others draw; odd ones are of the class normal."""
    with sqlite3.connect(":memory:") as store:
        store.execute(
            "CREATE TABLE jobs (id INTEGER, name TEXT, priority TEXT, plugin TEXT, class INTEGER, rank INTEGER)"
        )
        rows = [
            (k, "work.draw" if (k + 1) % 10 else "work.write", "normal" if k % 2 else "interactive", "work", k % 2, k)
            for k in range(5000)
        ]
        store.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", rows)
        yield lambda *asked: [row[0] for row in store.execute(asked[0], asked[1:])]


def record(plugin="work", **rule):
    return Remote(name="gpu1", host="192.0.2.1", user="root", plugins=[plugin], rule=Rule(**rule))


def condition(**rule):
    placing = Placing(["cpu"], False, {}, lambda *given: None)
    placing.rules = lambda: {"gpu1": record(**rule)}
    mine = {"gpu1/cuda:0": worker("gpu1/cuda:0")}
    return next(some for device, some in placing.offers(WORK, mine) if device in mine)


def worker(device, runs=0, warm=None, ready=True):
    process = SimpleNamespace(detached="/" in device)
    return SimpleNamespace(
        device=device, plugin="work", runs=dict.fromkeys(range(runs)), warm=warm, ready=ready, ended_by_us=False,
        process=process, full=False,
    )  # fmt: skip


def test_all_jobs_are_asked_for_in_order(ask):
    assert ask(*first(3, None, GLANCE, "work")) == [0, 2, 4]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({}, [0, 2, 4]),
        ({"jobs": ["draw"]}, [0, 2, 4]),
        ({"jobs": ["work.dr*"]}, [0, 2, 4]),
        ({"jobs": ["w*"], "priorities": ["interactive"]}, [0, 2, 4]),  # work.draw begins so, too
        ({"priorities": ["batch"]}, []),
        ({"jobs": ["nothing"]}, []),
        ({"jobs": ["wri?e", "nothing"], "priorities": ["interactive"]}, []),
    ],
)
def test_a_rule_chooses_jobs_by_name_and_priority(ask, rule, found):
    assert ask(*first(3, condition(**rule), GLANCE, "work")) == found


def test_only_the_first_jobs_are_looked_at(ask):
    assert LOOKED_AT == 1000  # interactive ones; those that write are normal, so none of them is among these
    assert ask(*first(3, condition(jobs=["write"]), GLANCE, "work")) == []
    assert ask(*first(3, Some("name = 'work.draw'", (), 998), GLANCE, "work")) == [1996, 1998]


def offers(placing, mine, jobs):
    """Where so many jobs go, each taken by the first that is offered one; and where workers were asked for."""
    taken, asked = [], []
    for device, _ in placing.offers(WORK, mine):
        if device not in mine:
            asked.append(device)
        elif jobs > len(taken) and mine[device].ready and len(mine[device].runs) < 4:
            mine[device].runs[object()] = None
            taken.append(device)
    return taken, asked


def test_who_has_least_to_do_gets_the_next_job():
    mine = {"cuda:0": worker("cuda:0", runs=2), "cuda:1": worker("cuda:1"), SIDE: worker(SIDE)}
    placing = Placing(["cuda:0", "cuda:1"], False, {}, lambda *given: None)
    taken, asked = offers(placing, mine, 4)
    assert taken == ["cuda:1", "cuda:1", "cuda:0", "cuda:1"] and not asked


def test_a_worker_is_asked_for_before_others_get_more_than_one_job():
    mine = {"cuda:0": worker("cuda:0", runs=1)}
    placing = Placing(["cuda:0", "cuda:1"], False, {}, lambda *given: None)
    assert [device for device, _ in placing.offers(WORK, mine)] == ["cuda:1", "cuda:0", SIDE]


def test_jobs_are_left_to_a_worker_that_is_starting():
    mine = {"cuda:0": worker("cuda:0", runs=2), "cuda:1": worker("cuda:1", ready=False)}
    placing = Placing(["cuda:0", "cuda:1"], False, mine, lambda *given: None)
    found = {device: some for device, some in placing.offers(WORK, mine)}
    assert found["cuda:0"].left_to_others == 3  # so that both have three


def test_where_the_model_is_loaded_comes_first():
    mine = {name: worker(name, warm=warm) for name, warm in (("cuda:0", "a"), ("cuda:1", "b"))}
    placing = Placing([*mine], False, {}, lambda *given: {"warmth": "b"})
    assert next(iter(placing.offers(WORK, mine)))[0] == "cuda:1"


def test_machines_come_first_or_last_as_their_rules_say():
    mine = {name: worker(name) for name in ("cpu", "near/cuda:0", "far/cuda:0", "ray/3")}
    placing = Placing(["cpu"], False, {}, lambda *given: None)
    placing.rules = lambda: {"far": record(when="busy"), "near": record(), "x": record("other")}
    order = [device for device, _ in placing.offers(WORK, mine)]
    assert [*dict.fromkeys(order)] == ["near/cuda:0", "cpu", "ray/3", "far/cuda:0", SIDE]


def test_what_a_machine_alone_may_run_is_not_offered_here(ask):
    placing = Placing(["cpu"], False, {}, lambda *given: None)
    placing.rules = lambda: {"gpu1": record(when="only", jobs=["draw"])}
    here = {device: some for device, some in placing.offers(WORK, {})}
    assert ask(*first(2, here["cpu"], GLANCE.replace("plugin", "class = 1 AND plugin"), "work")) == [9, 19]
    job = {"name": "work.draw", "plugin": "work", "priority": "normal", "program": 0}
    assert placing.waits_for(job) == [{"remote": "gpu1", "remote_state": "off"}]
    assert not placing.waits_for(job | {"name": "work.write"}) and not placing.waits_for(job | {"program": 1})
    placing.state_of = lambda machine: "connected"
    assert placing.waits_for(job) == []


def test_with_ray_only_sandboxed_plugins_run_here():
    placing = Placing(["cpu"], True, {}, lambda *given: None)
    mine = {"ray/0": worker("ray/0")}
    assert "cpu" not in [device for device, _ in placing.offers(WORK, mine)]
    boxed = PluginInfo("boxed", None, sandbox=True)
    assert "cpu" in [device for device, _ in placing.offers(boxed, {})]


def test_a_choice_among_many_devices_is_quick():
    mine = {f"cuda:{k}": worker(f"cuda:{k}", runs=4) for k in range(64)}
    placing = Placing([*mine], False, mine, lambda *given: None)
    started = time.process_time()
    assert offers(placing, mine, 100) == ([], [SIDE])
    assert time.process_time() - started < 0.5
