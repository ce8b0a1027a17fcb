"""What people do with results: review them, follow where they come from, try again with one change, come back later."""

import pytest
import requests

from tests.serving import serve
from tests.wire import Wire

STUDIO = """
class DrawParams(Params):
    prompt: str = param("a circle", help="What to draw.")
    count: int = param(1, ge=0, le=9, help="How many.")
    steps: int = param(4, ge=1, le=50, help="How long.")

class Studio(Plugin):
    @job()
    def draw(self, params: DrawParams) -> list[Text]:
        for index in range(params.count):
            yield Result(f"{params.prompt} {index}", {"seed": index})

    @job()
    def upscale(self, text: Text) -> Text:
        return text.upper()

    @job()
    def join(self, parts: list[Text]) -> Text:
        return "+".join(parts)
"""


BOT = "a token that nobody would guess"


@pytest.fixture(scope="module")
def server():
    with serve({"studio": STUDIO}, tokens={"bot": BOT}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def draw(wire, **params):
    """The job's id and the ids of its artifacts."""
    job = wire.submit("draw", params)
    return job, wire.ended(job)["outputs"]


def review(wire, state, *ids):
    answer = wire.call("review", {"ids": ids, "state": state})
    assert answer["ok"], answer
    return answer["artifacts"]


def job(wire, id):
    return wire.call("job", {"id": id})["job"]


# Review


def test_a_review_is_told_to_everybody_and_kept(wire):
    _, outputs = draw(wire, count=2)
    assert [each["review"] for each in review(wire, "picked", *outputs)] == ["picked", "picked"]
    told = [body for _, name, body in wire.state_events() if name == "artifact" and body["id"] in outputs]
    assert [each["review"] for each in told] == ["new", "new", "picked", "picked"]
    assert wire.call("artifact", {"id": outputs[0]})["artifact"]["review"] == "picked"


def test_a_review_with_one_unknown_artifact_changes_nothing(wire):
    _, outputs = draw(wire)
    answer = wire.call("review", {"ids": [*outputs, "nothing"], "state": "rejected"})
    assert answer["error"]["code"] == "unknown_artifact" and "nothing" in answer["error"]["message"]
    assert wire.call("artifact", {"id": outputs[0]})["artifact"]["review"] == "new"


def test_a_gated_job_waits_for_each_review_and_takes_the_picked(wire):
    source = wire.submit("draw", {"prompt": "b", "count": 3})
    gated = wire.submit("join", inputs={"parts": {"job": source, "review": "picked"}})
    outputs = wire.ended(source)["outputs"]
    review(wire, "picked", outputs[0], outputs[2])
    assert job(wire, gated)["waits_for"] == [{"artifact": outputs[1], "review": "new"}]
    review(wire, "rejected", outputs[1])
    assert wire.text(wire.ended(gated)["outputs"][0]) == "b 0+b 2"
    assert wire.states(gated) == ["waiting", "queued", "running", "done"]


def test_a_gate_behind_a_job_that_is_done_waits_as_well(wire):
    source, outputs = draw(wire, count=2)
    gated = wire.submit("upscale", inputs={"text": {"job": source, "index": 1, "review": "picked"}})
    assert job(wire, gated)["waits_for"] == [{"artifact": outputs[1], "review": "new"}]
    review(wire, "picked", outputs[1])
    assert wire.text(wire.ended(gated)["outputs"][0]) == "A CIRCLE 1"


def test_a_gate_that_is_open_lets_the_job_run_at_once(wire):
    source, outputs = draw(wire, count=2)
    review(wire, "picked", outputs[0])
    review(wire, "rejected", outputs[1])
    gated = wire.submit("upscale", inputs={"text": {"job": source, "review": "picked"}})
    assert len(wire.ended(gated)["outputs"]) == 1 and wire.states(gated)[0] == "queued"


def test_nothing_picked_fails_the_gated_job_and_what_depends_on_it(wire):
    source, outputs = draw(wire)
    gated = wire.submit("upscale", inputs={"text": {"job": source, "review": "picked"}})
    after = wire.submit("upscale", inputs={"text": {"job": gated}})
    review(wire, "rejected", *outputs)
    first, second = wire.ended(gated, after)
    assert first["error"]["code"] == "dependency_failed" and "nothing was picked" in first["error"]["message"]
    assert second["error"]["code"] == "dependency_failed" and gated in second["error"]["message"]
    again = wire.call("submit", {"job": "upscale", "inputs": {"text": {"job": source, "review": "picked"}}})
    assert "nothing was picked" in again["error"]["message"]


def test_no_results_to_pick_from_fails_the_gated_job(wire):
    source = wire.submit("draw", {"count": 0}, hold=True)
    gated = wire.submit("join", inputs={"parts": {"job": source, "review": "picked"}})
    wire.call("release", {"id": source})
    assert "nothing was picked" in wire.ended(gated)["error"]["message"]


def test_an_output_that_is_not_there_fails_a_gated_job_whenever_it_shows(wire):
    source, outputs = draw(wire)
    one = wire.submit("upscale", inputs={"text": outputs[0]}, hold=True)
    parts = [{"job": source, "review": "picked"}, {"job": one, "index": 9}]
    gated = wire.submit("join", inputs={"parts": parts})
    review(wire, "picked", *outputs)
    wire.call("release", {"id": one})
    assert wire.ended(one)["state"] == "done" and wire.ended(gated, seconds=9)["error"]["code"] == "not_found"
    source, outputs = draw(wire)
    gated = wire.submit("join", inputs={"parts": [{"job": source, "review": "picked"}, {"job": source, "index": 9}]})
    review(wire, "picked", *outputs)
    assert wire.ended(gated)["error"]["code"] == "not_found"


def test_a_review_taken_back_closes_the_gate_again(wire):
    source, outputs = draw(wire, count=2)
    gated = wire.submit("join", inputs={"parts": {"job": source, "review": "picked"}})
    review(wire, "picked", outputs[0])
    review(wire, "new", outputs[0])
    review(wire, "picked", outputs[1])
    assert job(wire, gated)["state"] == "waiting"
    review(wire, "rejected", outputs[0])
    assert wire.text(wire.ended(gated)["outputs"][0]) == "a circle 1"


def test_a_change_of_mind_counts_until_the_job_runs(wire):
    source, outputs = draw(wire, count=2)
    wire.call("queue", {"action": "pause"})
    gated = [wire.submit("join", inputs={"parts": {"job": source, "review": "picked"}}) for _ in range(2)]
    review(wire, "picked", *outputs)
    assert job(wire, gated[0])["state"] == "queued"
    review(wire, "rejected", outputs[0])
    wire.call("queue", {"action": "resume"})
    assert [wire.text(each["outputs"][0]) for each in wire.ended(*gated)] == ["a circle 1"] * 2


def test_a_held_job_behind_a_gate_says_what_it_waits_for(wire):
    source, outputs = draw(wire)
    gated = wire.submit("upscale", inputs={"text": {"job": source, "review": "picked"}}, hold=True)
    person = {"person": "release"}
    assert job(wire, gated)["waits_for"] == [person, {"artifact": outputs[0], "review": "new"}]
    review(wire, "picked", *outputs)
    assert job(wire, gated)["waits_for"] == [person]
    wire.call("release", {"id": gated})
    assert wire.ended(gated)["state"] == "done"


def test_a_waiting_job_says_which_jobs_it_waits_for(wire):
    source = wire.submit("draw", hold=True)
    after = wire.submit("join", inputs={"parts": {"job": source}})
    assert job(wire, after)["waits_for"] == [{"job": source, "state": "held"}]
    wire.call("release", {"id": source})
    assert wire.ended(after)["state"] == "done" and "waits_for" not in job(wire, after)


@pytest.mark.parametrize("more", [{"review": "rejected"}, {"review": "picked", "color": "red"}, {"index": "1"}])
def test_a_reference_that_makes_no_sense_is_refused(wire, more):
    source, _ = draw(wire)
    answer = wire.call("submit", {"job": "upscale", "inputs": {"text": {"job": source} | more}})
    assert answer["error"]["code"] == "invalid_params" and answer["error"]["field"] == "text"


def test_gates_and_reviews_survive_a_kill():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            source, outputs = draw(wire, count=2)
            late = wire.submit("draw", {"count": 1}, hold=True)
            gated = [
                wire.submit("join", inputs={"parts": {"job": each, "review": "picked"}}) for each in (source, late)
            ]
            review(wire, "picked", outputs[1])
        server.restart()
        with Wire(server) as wire:
            review(wire, "rejected", outputs[0])
            assert wire.text(wire.ended(gated[0])["outputs"][0]) == "a circle 1"
            wire.call("release", {"id": late})
            review(wire, "picked", *wire.ended(late)["outputs"])
            assert wire.ended(gated[1])["state"] == "done"


def test_nobody_reviews_deletes_or_follows_what_is_somebody_elses(server, wire):
    _, (mine, _) = draw(wire, count=2)
    with Wire(server, BOT) as bot:
        for event, request in [
            ("review", {"ids": [mine], "state": "picked"}),
            ("delete", {"ids": [mine]}),
            ("lineage", {"id": mine, "direction": "siblings"}),
            ("compare", {"a": mine, "b": mine}),
        ]:
            assert bot.call(event, request)["error"]["code"] == "unknown_artifact", event
        headers = {"Authorization": f"Bearer {BOT}"}
        sent = requests.put(f"{server.url}/artifacts", data=wire.download(mine).content, headers=headers, timeout=9)
        assert "source" not in sent.json()["artifact"]


# Lineage


def test_ancestors_and_descendants_come_nearest_first(wire):
    source, outputs = draw(wire, count=2)
    first = wire.ended(wire.submit("upscale", inputs={"text": outputs[0]}))["outputs"][0]
    last = wire.ended(wire.submit("join", inputs={"parts": [first, outputs[0], outputs[1]]}))["outputs"][0]
    found = wire.call("lineage", {"id": last})
    told = [(each["id"], each["depth"], each["job_name"]) for each in found["artifacts"]]
    assert sorted(told) == sorted([(first, 1, "studio.upscale"), *((each, 1, "studio.draw") for each in outputs)])
    assert next(each for each in found["artifacts"] if each["id"] == first)["parents"] == [outputs[0]]
    found = wire.call("lineage", {"id": outputs[0], "direction": "descendants", "limit": 1})
    assert len(found["artifacts"]) == 1 and found["more"]
    assert wire.call("artifact", {"id": last})["artifact"]["parents"] == sorted([first, *outputs])


def test_depth_bounds_the_way_back(wire):
    _, (root,) = draw(wire)
    chain = [root]
    for _ in range(3):
        chain.append(wire.ended(wire.submit("upscale", inputs={"text": chain[-1]}))["outputs"][0])
    for depth in (1, 3):
        found = wire.call("lineage", {"id": chain[-1], "depth": depth})["artifacts"]
        assert [each["id"] for each in found] == chain[-2::-1][:depth]


def test_siblings_have_the_same_job_or_the_same_parent(wire):
    _, outputs = draw(wire, count=2)
    children = [wire.ended(wire.submit("upscale", inputs={"text": outputs[0]}))["outputs"][0] for _ in range(2)]
    for id, sibling in [outputs, children, outputs[::-1], children[::-1]]:
        found = wire.call("lineage", {"id": id, "direction": "siblings"})["artifacts"]
        assert [each["id"] for each in found] == [sibling]


def test_lineage_of_a_circle_ends():
    """Whatever a store holds, the question is answered."""
    from core.jobs import Store
    from core.library.lineage import Lineage
    from core.ops.config import Config

    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            _, outputs = draw(wire, count=3)
        server.stop()
        run = lambda function, *args: function(*args)  # noqa: E731
        store = Store(server.folder / "data" / "jobs.db", False, run, print)
        links = [(a, b) for a in outputs for b in outputs]
        store.write(lambda tx: [tx.insert("links", {"parent": a, "child": b}) for a, b in links])
        lineage = Lineage(Config(data=server.folder / "data"), store, run).lineage
        found = lineage("local", outputs[0], "descendants", 100, 10)
        store.close()
        assert sorted(each["id"] for each in found["artifacts"]) == outputs


def test_compare_says_in_what_two_results_differ(wire):
    _, first = draw(wire, prompt="a circle", steps=4)
    _, second = draw(wire, prompt="a star", steps=4, count=2)
    found = wire.call("compare", {"a": first[0], "b": second[1]})
    assert found["changed"] == {"prompt": ["a circle", "a star"], "count": [1, 2]}
    assert found["facts"] == {"seed": [0, 1]} and found["added"] == found["removed"] == {}
    upload = wire.upload(b"hello", kind="text")["artifact"]["id"]
    found = wire.call("compare", {"a": upload, "b": first[0]})
    assert found["jobs"] == [None, "studio.draw"] and found["added"]["prompt"] == "a circle"


def test_retry_with_one_change_keeps_the_rest(wire):
    first, _ = draw(wire, prompt="a star", steps=7)
    again = wire.call("retry", {"id": first, "params": {"steps": 9}})["job"]
    assert again["params"] == {"prompt": "a star", "count": 1, "steps": 9}
    refused = wire.call("retry", {"id": first, "params": {"steps": 99}})["error"]
    assert refused["code"] == "invalid_params" and refused["field"] == "steps"


def test_retry_takes_the_client_refs_that_submit_takes(wire):
    first, _ = draw(wire)
    for reference in ("", "a/b", "x" * 101):
        answers = [wire.call("retry", {"id": first, "client_ref": reference})]
        answers += [wire.call("submit", {"job": "draw", "client_ref": reference})]
        assert [answer["error"]["field"] for answer in answers] == ["client_ref"] * 2


def test_retry_with_another_input(wire):
    _, outputs = draw(wire, count=2)
    first = wire.submit("upscale", inputs={"text": outputs[0]})
    wire.ended(first)
    again = wire.call("retry", {"id": first, "inputs": {"text": outputs[1]}})["job"]["id"]
    assert wire.text(wire.ended(again)["outputs"][0]) == "A CIRCLE 1"


# Sessions


def test_a_session_remembers_what_was_submitted_last(wire):
    for prompt in ("one", "two"):
        wire.submit("draw", {"prompt": prompt}, session="mine")
    wire.submit("draw", {"prompt": "other"}, session="other")
    wire.submit("join", inputs={"parts": draw(wire)[1]}, session="mine")
    memorised = wire.call("session", {"id": "mine"})["session"]["memorised"]
    assert memorised == {"studio.draw": {"prompt": "two", "count": 1, "steps": 4}, "studio.join": {}}


def test_the_newer_of_memorised_and_submitted_counts(wire):
    wire.submit("draw", {"prompt": "first"}, session="turns")
    told = wire.call("session", {"id": "turns", "memorised": {"draw": {"prompt": "second"}}})["session"]["memorised"]
    assert told == {"studio.draw": {"prompt": "second"}}
    wire.submit("draw", {"prompt": "third"}, session="turns")
    assert wire.call("session", {"id": "turns"})["session"]["memorised"]["studio.draw"]["prompt"] == "third"


def test_a_session_is_renamed_for_every_tab(server, wire):
    with Wire(server) as tab:
        wire.call("session", {"id": "tabs"})
        wire.call("session", {"id": "tabs", "name": "Portraits"})
        wire.call("session", {"id": "tabs"})
        told = tab.until(lambda: [body for _, name, body in tab.state_events() if name == "session"][1:])
    assert [each["name"] for each in told] == ["Portraits"]


def test_a_session_is_there_again_after_a_kill():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            wire.call("session", {"id": "s", "name": "Stars"})
            made = wire.submit("draw", {"prompt": "a star"}, session="s")
            wire.ended(made)
        server.restart()
        with Wire(server) as wire:
            session = wire.call("session", {"id": "s"})["session"]
            assert (session["name"], session["memorised"]["studio.draw"]["prompt"]) == ("Stars", "a star")
            assert [each["id"] for each in wire.call("jobs", {"session": "s"})["jobs"]] == [made]
            assert [each["job"] for each in wire.call("artifacts", {"session": "s"})["artifacts"]] == [made]


def test_a_session_that_remembers_too_much_is_refused(wire):
    answer = wire.call("session", {"id": "large", "memorised": {str(index): "x" * 400_000 for index in range(3)}})
    assert answer["error"]["code"] == "too_large" and answer["error"]["field"] == "memorised"
