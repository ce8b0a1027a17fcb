"""Lists that a gallery is made of: what is in them, narrowed and searched, how much there is, and how soon."""

import contextlib
import json
import sqlite3
import statistics
import time

import pytest
import requests

from core.jobs import new_id
from tests.serving import serve
from tests.wire import Wire

PLUGIN = """
class Say(Params):
    text: str = param("hello", help="What to say.")

class Says(Plugin):
    @job()
    def say(self, params: Say) -> Text:
        return Result(params.text, {"infotext": f"{params.text}\\nSteps: 20, Seed: 12"})

    @job()
    def noted(self, params: Say) -> Json:
        return Result({}, {"prompt": params.text})

    @job(program=True)
    def handed(self, params: Say, ctx: Context) -> Text:
        return ctx.gather([ctx.submit("say", {"text": params.text})])[0].outputs[0]
"""


@pytest.fixture(scope="module")
def server():
    with serve({"says": PLUGIN}, tokens={"bot": "a token that nobody would guess"}) as server:
        yield server


@pytest.fixture(scope="module")
def wire(server):
    with Wire(server) as wire:
        yield wire


@pytest.fixture(scope="module")
def made(wire):
    """The ids of five artifacts, by what they are called here, all in the session `mine`."""
    said, over = wire.submit("say", {"text": "a Red circle"}, session="mine"), {"session": "mine"}
    noted, ended = wire.submit("noted", {"text": "ein RÖTLICHER Kreis"}, session="mine"), {}
    for name, job in (("said", said), ("noted", noted)):
        ended[name] = wire.ended(job)["outputs"][0]
    ended["photo"] = wire.upload(b"plain words", kind="text", name="Holiday photo.txt", **over)["artifact"]["id"]
    ended["json"] = wire.upload(b"{}", kind="json", **over)["artifact"]["id"]
    wire.call("review", {"ids": [ended["said"], ended["photo"]], "state": "picked"})
    return ended


@pytest.mark.parametrize(
    "fields, found",
    [
        ({}, ["said", "noted", "photo", "json"]),
        ({"kind": "text"}, ["said", "photo"]),
        ({"review": "picked"}, ["said", "photo"]),
        ({"review": "rejected"}, []),
        ({"origin": "job"}, ["said", "noted"]),
        ({"origin": "upload", "kind": "json"}, ["json"]),
        ({"search": "CIRCLE red"}, ["said"]),
        ({"search": "seed: 12"}, ["said"]),
        ({"search": "rötlicher"}, ["noted"]),
        ({"search": "holiday"}, ["photo"]),
        ({"search": "circle holiday"}, []),
        ({"search": "%"}, []),
        ({"search": "  ", "origin": "upload"}, ["photo", "json"]),
    ],
)
def test_artifacts_are_narrowed_and_searched(wire, made, fields, found):
    answer = wire.call("artifacts", {"session": "mine", **fields})
    assert {artifact["id"] for artifact in answer["artifacts"]} == {made[name] for name in found}
    assert answer["total"] == len(found)


def test_what_a_program_has_handed_on_is_listed_once(wire):
    (copy,) = wire.ended(wire.submit("handed", {"text": "a hen"}, session="hens"))["outputs"]
    source = wire.call("artifact", {"id": copy})["artifact"]["source"]

    def listed(origin):
        answer = wire.call("artifacts", {"session": "hens", "origin": origin})
        return [each["id"] for each in answer["artifacts"]], answer["total"]

    assert listed("first") == ([source], 1) and listed("job") == ([source, copy], 2), "by their jobs"
    wire.call("delete", {"ids": [source]})
    assert listed("first") == ([copy], 1)


def test_a_narrowed_list_has_pages_and_says_its_total_once(wire, made):
    first = wire.call("artifacts", {"session": "mine", "kind": "text", "limit": 1})
    second = wire.call("artifacts", {"session": "mine", "kind": "text", "before": first["artifacts"][0]["id"]})
    assert first["total"] == 2 and "total" not in second
    assert [each["artifacts"][0]["id"] for each in (first, second)] == [made["photo"], made["said"]]


def test_sessions_tell_how_much_is_in_them_and_when_it_was_last_used(server, wire, made):
    wire.call("session", {"id": "empty"})
    told = {session["id"]: session for session in wire.call("sessions")["sessions"]}
    newest = wire.call("artifact", {"id": made["json"]})["artifact"]["created"]
    assert [told["mine"][key] for key in ("jobs", "artifacts", "last_activity")] == [2, 4, newest]
    assert [told["empty"][key] for key in ("jobs", "artifacts")] == [0, 0]
    assert told["empty"]["last_activity"] == told["empty"]["created"]
    with Wire(server, token="a token that nobody would guess") as bot:
        assert bot.call("sessions")["sessions"] == [] and bot.call("artifacts")["total"] == 0


def test_a_gallery_of_10_000_is_read_in_pages_of_1_000_well_under_a_second_each(server, wire, made):
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "jobs.db")) as db, db:
        names = [name for _, name, *_ in db.execute("PRAGMA table_info(artifacts)")]
        row = dict(zip(names, db.execute("SELECT * FROM artifacts").fetchone(), strict=True)) | {"session": "gallery"}
        facts = json.dumps({"infotext": "a red circle on a blue ground, " * 30 + "Steps: 20"})
        many = [row | {"id": new_id(), "job": f"job{k}", "facts": facts, "name": f"{k}.png"} for k in range(10_000)]
        marks = ", ".join("?" * len(names))
        db.executemany(f"INSERT INTO artifacts VALUES ({marks})", [[*each.values()] for each in many])
    seen, seconds, before = set(), [], {}
    headers = {"Authorization": f"Bearer {server.token}"}
    while len(seen) < 10_000:
        query, started = {"session": "gallery", "limit": 1000, **before}, time.monotonic()
        page = requests.get(f"{server.url}/api/v1/artifacts", query, headers=headers, timeout=30).json()["artifacts"]
        before = {"before": page[-1]["id"]}
        seconds.append(time.monotonic() - started)
        seen |= {artifact["id"] for artifact in page}
    assert seen == {each["id"] for each in many}
    assert statistics.median(seconds) < 0.5, seconds  # other tests take the cores now and then
    found = wire.call("artifacts", {"session": "gallery", "search": "Circle 4711.png"})
    assert [artifact["name"] for artifact in found["artifacts"]] == ["4711.png"] and found["total"] == 1
