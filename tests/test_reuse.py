"""What was made already is given again to equal jobs, and to no others."""

import io
import json
import os
import time
from types import SimpleNamespace

import PIL.Image
import pytest

from core.jobs import Store, new_id
from core.library.reuse import AT_ONCE, Reuse, note_anew, state_of
from tests.serving import serve, wait_until
from tests.wire import Wire

# Each run shows in what it returns, though it says that equal jobs have equal results.
SOURCE = """
class Unit(Params):
    seed: int = param(-1, widget="seed", help="Another seed.")
    weight: float = param(1.0, help="How much.")
class P(Params):
    text: str = param("", help="What to say.")
    seed: int = param(7, widget="seed", help="The seed.")
    strength: float = param(0.0, help="How much of the variation.")
    variation_seed: int = param(-1, widget="seed", visible_if={"strength": True}, help="Where it goes.")
    units: list[Unit] = param([], help="Further seeds.")
    style: str = param("plain", help="Style.")
class S(Params):
    loud: bool = param(False, help="Loud.")
class Say(Plugin):
    settings: S
    @job(reuse=True)
    def say(self, text: Text | None, params: P, ctx: Context) -> Text:
        return Result(f"{text} {params.text} {time.time_ns()}", {"partial": True} if params.text == "half" else {})
    @job(reuse=True)
    def several(self, params: P) -> list[Text]:
        return [f"{k} {time.time_ns()}" for k in range(3)]
    @job(reuse=True)
    def fails(self, params: P) -> Text:
        raise InvalidParams("no")
    @job()
    def always(self, params: P) -> Text:
        return str(time.time_ns())
    @job(reuse=True)
    def draw(self, params: P) -> Image:
        import PIL.Image
        return PIL.Image.new("RGB", (8, 8), (time.time_ns() % 256, 0, 0))
    @job(program=True)
    def twice(self, params: P, ctx: Context) -> list[Text]:
        one = ctx.gather([ctx.submit("say", {"text": "child"}, key="one")])
        two = ctx.gather([ctx.submit("say", {"text": "child"}, key="two", fresh=params.text == "fresh")])
        return [each.outputs[0] for each in one + two]
"""


@pytest.fixture(scope="module")
def server():
    with serve({"say": SOURCE}) as running:
        yield running


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def run(wire, job="say", params=None, **more):
    """(the id of a job that is done, whether it ran, its results)"""
    id = wire.submit(job, params, **more)
    outputs = wire.ended(id)["outputs"]
    states = wire.states(id)
    assert states[0] in ("queued", "waiting") and states.count("done") == 1
    return id, "running" in states, [wire.text(output) for output in outputs]


def test_an_equal_job_is_done_without_being_run(wire):
    first, ran, said = run(wire, params={"text": "hello"})
    again, ran_again, said_again = run(wire, params={"text": "hello", "strength": 0, "style": "plain"})
    assert ran and not ran_again and said_again == said
    record = wire.call("job", {"id": again})["job"]
    assert record["metrics"] == {"reused_from": first} and record["outputs"] == [f"{again}.0"]
    artifact = wire.call("artifact", {"id": f"{again}.0"})["artifact"]
    assert (artifact["job"], artifact["review"]) == (again, "new")
    third, *_ = run(wire, params={"text": "hello"})
    assert wire.call("job", {"id": third})["job"]["metrics"] == {"reused_from": first}


def test_all_events_of_a_job_that_is_given_results_can_be_replayed(server, wire):
    run(wire, "several", {"text": "events"})
    since = wire.state_events()[-1][0]
    again, ran, _ = run(wire, "several", {"text": "events"})
    with Wire(server, since=since) as late:
        late.ended(again)
        assert not ran and [name for _, name, _ in late.state_events()] == ["job", *["artifact"] * 3, "job"]
        assert late.states(again) == ["queued", "done"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"params": {"text": "a"}}, {"params": {"text": "b"}}),
        ({"params": {"seed": -1}}, {"params": {"seed": -1}}),
        ({"params": {"strength": 0.5}}, {"params": {"strength": 0.5}}),
        ({"params": {"units": [{"seed": 3}, {"seed": -1}]}}, {"params": {"units": [{"seed": 3}, {"seed": -1}]}}),
        ({"params": {"units": [{"weight": 0.5}]}}, {"params": {"units": [{"weight": 0.5}]}}),
        ({"params": {"text": "half"}}, {"params": {"text": "half"}}),
        ({"params": {"text": "c"}, "embed_metadata": "none"}, {"params": {"text": "c"}}),
        ({"params": {"text": "d"}}, {"params": {"text": "d"}, "fresh": True}),
        ({"job": "always"}, {"job": "always"}),
    ],
    ids=["params", "seed", "variation", "nested seed", "nested default", "partial", "metadata", "fresh", "other jobs"],
)
def test_what_is_not_equal_is_run(wire, one, other):
    assert run(wire, **one)[2] != run(wire, **other)[2]


def test_seeds_that_are_given_are_no_reason_to_run_again(wire):
    params = {"strength": 0.5, "variation_seed": 4, "units": [{"seed": 3, "weight": 1}]}
    _, _, said = run(wire, params=params)
    params["units"][0]["weight"] = 1.0
    assert run(wire, params=params)[1:] == (False, said)


def test_what_was_made_fresh_is_given_again(wire):
    run(wire, params={"text": "fresh"})
    _, _, said = run(wire, params={"text": "fresh"}, fresh=True)
    assert run(wire, params={"text": "fresh"})[1:] == (False, said)


def test_inputs_are_compared_by_their_bytes(wire):
    one, same, other = (wire.upload(data, kind="text")["artifact"]["id"] for data in (b"one", b"one", b"other"))
    _, _, said = run(wire, inputs={"text": one})
    again, ran, said_again = run(wire, inputs={"text": same})
    assert not ran and said_again == said
    assert wire.call("artifact", {"id": f"{again}.0"})["artifact"]["parents"] == [same]
    assert run(wire, inputs={"text": other})[1]


def test_a_job_that_waits_for_another_is_looked_at_when_that_is_done(wire):
    jobs = [{"id": "a", "job": "say"}, {"job": "say", "params": {"text": "b"}, "inputs": {"text": {"job": "a"}}}]
    first = [job["id"] for job in wire.call("flow", {"jobs": jobs})["jobs"]]
    wire.ended(*first)
    second = [job["id"] for job in wire.call("flow", {"jobs": jobs})["jobs"]]
    wire.ended(*second)
    assert [wire.states(job) for job in second] == [["queued", "done"], ["waiting", "queued", "done"]]


def test_what_was_rejected_or_deleted_is_not_given_again(wire):
    first, *_ = run(wire, "several", {"text": "gone"})
    second, ran, _ = run(wire, "several", {"text": "gone"})
    wire.call("review", {"ids": [f"{second}.1"], "state": "rejected"})
    third, ran, _ = run(wire, "several", {"text": "gone"})
    assert not ran  # the first one's are still good
    wire.call("delete", {"ids": [f"{first}.2"]})
    wire.call("delete", {"ids": [f"{third}.0", f"{third}.1", f"{third}.2"]})
    assert run(wire, "several", {"text": "gone"})[1]


def test_a_failed_or_cancelled_job_is_run_again(wire):
    jobs = [wire.submit("fails") for _ in range(2)]
    wire.ended(*jobs)
    held = wire.submit("say", {"text": "held"}, hold=True)
    wire.call("cancel", {"id": held})
    assert [wire.states(job) for job in jobs] == [["queued", "running", "failed"]] * 2
    assert run(wire, params={"text": "held"})[1]


def test_another_owner_gets_nothing():
    token = "b" * 20
    with serve({"say": SOURCE}, tokens={"bot": token}) as server, Wire(server) as mine, Wire(server, token) as theirs:
        assert run(mine)[1]
        job = theirs.submit("say")
        theirs.ended(job)
        assert theirs.states(job) == ["queued", "running", "done"]


def test_whatever_changes_in_models_counts(server, wire):
    folder = server.folder / "models" / "wildcards"
    folder.mkdir(parents=True)
    words = folder / "colours.txt"

    def write():
        words.write_text("red\n")

    def rewrite():  # as long as before, and with its old time
        before = words.stat()
        words.write_text("tan\n")
        os.utime(words, ns=(before.st_atime_ns, before.st_mtime_ns))

    run(wire, params={"text": "models"})
    for change in (write, rewrite, lambda: words.rename(folder / "hues.txt"), lambda: (folder / "hues.txt").unlink()):
        assert not run(wire, params={"text": "models"})[1]
        change()
        assert run(wire, params={"text": "models"})[1]


def test_settings_and_code_of_the_plugin_count():
    with serve({"say": SOURCE}) as server:
        config = server.folder / "config.toml"
        for change in (
            lambda: None,
            lambda: config.write_text(config.read_text() + "[plugin_settings.say]\nloud = true\n"),
            lambda: server.write_plugin("say", SOURCE + "\n# mended"),
        ):
            change()
            server.restart()
            with Wire(server) as wire:
                assert run(wire)[1] and not run(wire)[1]
        server.restart()
        with Wire(server) as wire:
            assert not run(wire)[1]


def test_settings_that_change_while_jobs_are_queued_count(wire):
    wire.call("queue", {"action": "pause"})
    queued = [wire.submit("say", {"text": text}) for text in ("one", "two")]
    assert wire.call("configure", {"plugin_settings": {"say": {"loud": True}}})["ok"]
    wire.call("queue", {"action": "resume"})
    made = [wire.text(wire.ended(id)["outputs"][0]) for id in queued]
    assert [run(wire, params={"text": text})[1:] for text in ("one", "two")] == [(False, [said]) for said in made]
    assert wire.call("configure", {"plugin_settings": {"say": None}})["ok"]
    assert run(wire, params={"text": "one"})[1]


def test_every_queued_job_of_a_plugin_is_noted_anew_and_no_other(tmp_path):
    store = Store(tmp_path / "jobs.db", False, lambda function, *args: function(*args), lambda event: None)
    row = {"name": "say.say", "priority": "normal", "params": {}, "inputs": {}, "embed_metadata": "full"}
    row |= {"owner": "local", "session": "default", "aged": 0, "created": 0, "queued": 0}

    def fill(tx):
        for number in range(3 * AT_ONCE):  # two ranks in three classes
            place = {"plugin": "say", "program": number % 2, "class": number % 3, "rank": number % 2}
            tx.insert("jobs", row | place | {"id": new_id(), "state": "queued", "digest": str(number)})
        for other in ({"plugin": "else", "state": "queued"}, {"plugin": "say", "state": "done"}):
            tx.insert("jobs", row | {"class": 1, "rank": 1, "digest": "kept"} | other | {"id": new_id()})

    store.write(fill)
    store.write(lambda tx: note_anew(tx, "say"))
    found = store.all("SELECT reuse, digest, count(*) AS jobs FROM jobs GROUP BY reuse, digest ORDER BY jobs")
    store.close()
    assert [(each["reuse"], each["digest"], each["jobs"]) for each in found] == [
        (None, "kept", 2), ("fresh", None, 3 * AT_ONCE),
    ]  # fmt: skip


def test_a_paused_queue_gives_what_is_there(wire):
    run(wire, params={"text": "paused"})
    wire.call("queue", {"action": "pause"})
    assert not run(wire, params={"text": "paused"})[1]
    wire.call("queue", {"action": "resume"})


def test_again_runs_a_job_again_and_with_a_change_may_not(wire):
    first, _, said = run(wire, params={"text": "retry"})
    again = wire.call("retry", {"id": first})["job"]["id"]
    assert wire.text(wire.ended(again)["outputs"][0]) != said[0] and "running" in wire.states(again)
    _, _, other = run(wire, params={"text": "retry", "style": "odd"})
    changed = wire.call("retry", {"id": first, "params": {"style": "odd"}})["job"]["id"]
    assert wire.text(wire.ended(changed)["outputs"][0]) == other[0]


def test_children_of_programs_are_given_results_unless_asked_for_fresh(wire):
    assert len(set(run(wire, "twice")[2])) == 1
    assert len(set(run(wire, "twice", {"text": "fresh"})[2])) == 2


def test_a_picture_given_again_has_its_own_file_and_is_recognised(server, wire):
    first = wire.submit("draw", {"seed": 1})
    wire.ended(first)
    again = wire.submit("draw", {"seed": 1})
    (output,) = wire.ended(again)["outputs"]
    data = wire.download(output).content
    record = json.loads(PIL.Image.open(io.BytesIO(data)).text["stable-core"])
    assert record["artifact"] == f"{first}.0" and wire.upload(data)["artifact"]["source"] == f"{first}.0"
    wire.call("delete", {"ids": [f"{first}.0"]})
    assert wire.upload(data)["artifact"]["source"] == output
    files = [f"*-{job[-6:]}.png" for job in (first, again)]
    wait_until(lambda: all([*(server.folder / "outputs").rglob(name)] for name in files))


def test_acknowledged_jobs_are_done_once_though_the_server_is_killed_at_work():
    with serve({"say": SOURCE}) as server:
        with Wire(server) as wire:
            run(wire, "several")
        jobs = []
        for pause in (0, 0.002, 0.01, 0.03, 0.1):
            with Wire(server) as wire:
                flow = {"jobs": [{"job": "several"}] * 20}
                jobs += [job["id"] for job in wire.call("flow", flow)["jobs"]]
                time.sleep(pause)
                server.kill()
            server.restart()
        with Wire(server, since=0) as wire:
            wire.ended(*jobs)
            for job in jobs:
                assert wire.states(job).count("done") == 1
                assert wire.call("job", {"id": job})["job"]["outputs"] == [f"{job}.{k}" for k in range(3)]


def test_a_look_at_models_ends_where_links_lead_in_a_circle(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in "cd":  # two of them: each way round doubles the work
        (tmp_path / "a" / "b" / name).symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    before = state_of([tmp_path])
    (tmp_path / ".note").touch()
    assert before == state_of([tmp_path])
    (tmp_path / "a" / "b" / "x").touch()
    assert before != state_of([tmp_path])


def test_a_look_at_models_leaves_out_the_data_of_programs(tmp_path):
    (tmp_path / "flow").mkdir()
    before = state_of([tmp_path], [tmp_path / "flow"])
    (tmp_path / "flow" / "new.json").touch()
    assert before == state_of([tmp_path], [tmp_path / "flow"])


def test_reuse_of_a_program_is_refused():
    source = """
    class Odd(Plugin):
        @job(program=True, reuse=True)
        def odd(self, ctx: Context) -> Text:
            return ""
    """
    with serve({"odd": source}) as server, Wire(server) as wire:
        assert "reuse is for jobs that run on a device" in wire.call("plugins")["plugins"][0]["error"]


def test_what_was_noted_while_the_settings_changed_is_noted_again(tmp_path):
    store = Store(tmp_path / "jobs.db", False, lambda function, *args: function(*args), lambda event: None)
    row = {"name": "say.say", "plugin": "say", "priority": "normal", "params": {}, "inputs": {}, "version": "1"}
    row |= {"owner": "local", "session": "default", "aged": 0, "created": 0, "queued": 0, "embed_metadata": "full"}
    row |= {"class": 1, "rank": 1, "id": new_id(), "state": "queued", "reuse": "look"}
    store.write(lambda tx: tx.insert("jobs", row))
    info = SimpleNamespace(status="ready", content="code", settings={})
    job = SimpleNamespace(plugin=info, about={"reuse": True})
    catalogue = SimpleNamespace(plugins={"say": info}, jobs={"say.say": job}, shipped_models=list)

    def configured_meanwhile(function, *args):
        info.status = "installing"
        store.write(lambda tx: note_anew(tx, "say"))
        return function(*args)

    def settle(run_blocking):
        config, pool = SimpleNamespace(models=tmp_path), SimpleNamespace()
        Reuse(config, store, catalogue, None, pool, None, None, run_blocking, None)._settle("say", [row])
        return store.one("SELECT reuse, digest FROM jobs")

    assert settle(configured_meanwhile) == {"reuse": "look", "digest": None}
    found = settle(lambda function, *args: function(*args))
    assert found["reuse"] is None and found["digest"]
    store.close()
