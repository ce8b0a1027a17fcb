"""Whatever a client or a worker sends, it gets what is right or a typed error, and nobody else notices.

Hypothesis makes it up: from the schemas that the server itself publishes, bent a little, and from nothing at all. More
of it by hand: FUZZ_EXAMPLES=20000 python3 -m tests tests/test_fuzz.py"""

import copy
import json
import os
import threading
import time

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import CODES
from tests.serving import serve
from tests.test_attacks import LIAR
from tests.wire import Wire

pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "800"))
PLAY = """
class EchoParams(Params):
    text: str = param("hello", max_length=100, help="What to say.")
    times: int = param(1, ge=0, le=5, help="How often.")
    model: str | None = param(None, choices_from="models/checkpoint", help="With what.")

class Play(Plugin):
    @job(concurrency=4, affinity="model")
    def echo(self, params: EchoParams) -> Text:
        return params.text * params.times

    @job(concurrency=4)
    def join(self, parts: list[Text], ending: Text | None = None) -> list[Text]:
        return [*parts, ending or ""]

    @job(light=True)
    def count(self, text: Text | None, params: EchoParams) -> Json:
        return [params.text, text]

    @job(program=True)
    def both(self, ctx: Context, params: EchoParams) -> list[Text]:
        found = ctx.gather([ctx.submit("echo", {"text": params.text}) for _ in range(2)], allow_failed=True)
        return [output for child in found for output in child.outputs]
"""
DEEP = json.loads("[" * 70 + "]" * 70)
ODD = st.sampled_from(
    [
        None, True, False, -1, 0, 1, 2**31, 2**63 - 1, 2**63, -(2**64), 10**4000, 0.5, -0.0, 5e-324, 1e308,
        float("nan"), float("inf"), float("-inf"), "", " ", "\0", "a\nb", "\ud800", "\u202e", "\U0001f600", "../x", "%",
        "'", '" OR 1=1 --', "echo", "e" * 200, "x" * 100_000, [], {}, [[]], [None], [{}], DEEP, {"job": "x"},
        {"$ref": "#"}, {"": 0}, {"\ud800": 0}, {"_placeholder": True, "num": 0}, b"bytes", list(range(2000)),
        {str(key): key for key in range(500)},
    ]
)  # fmt: skip
JSON = st.recursive(
    ODD | st.text(max_size=10) | st.integers() | st.floats(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["a", "b", "default", "\u00e4 \u4e2d", "x" * 100])
PARAMS = st.fixed_dictionaries(
    {}, optional={"text": st.text(max_size=20), "times": st.integers(0, 5), "model": st.none() | NAMES}
)


@pytest.fixture(scope="module")
def server():
    with serve({"play": PLAY, "liar": LIAR}, cancel_grace_seconds=1, max_queued=20_000) as server:
        yield server


@pytest.fixture
def wire(server):
    """A client that sends anything, while another one works all the time."""
    already, stop, ended = len(server.log), threading.Event(), []
    with Wire(server, subscribe=False) as wire, Wire(server) as other:

        def work():
            while not stop.is_set():
                wire.call("queue", {"action": "resume"})
                ended.append(other.ended(other.submit("play.echo", priority="interactive"), seconds=15))
                other.received.clear()

        thread = threading.Thread(target=work)
        thread.start()
        yield wire
        stop.set()
        thread.join()
    assert ended and all(each["state"] == "done" for each in ended)
    assert "Traceback" not in server.log[already:], server.log[already:]


def requests_of(server, wire):
    """{event: strategy of requests that its schema allows}, with ids that exist."""
    headers = {"Authorization": f"Bearer {server.token}"}
    document = requests.get(f"{server.url}/api/v1/asyncapi.json", headers=headers, timeout=10).json()
    jobs = [wire.submit(job, hold=hold) for job in ("play.echo", "play.both") for hold in (True, True, False)]
    artifacts = [wire.upload(text.encode())["artifact"]["id"] for text in ("one", "two")]
    ids = st.sampled_from([*jobs, *artifacts, "nothing"])
    references = st.sampled_from(artifacts) | st.fixed_dictionaries(
        {"job": ids | st.just("a")}, optional={"index": st.integers(0, 3), "review": st.just("picked")}
    )
    inputs = st.fixed_dictionaries(
        {}, optional={name: references | st.lists(references, max_size=3) for name in ("parts", "ending", "text")}
    )
    jobs = st.sampled_from(["echo", "play.join", "count", "both", "play.nothing", "lie"])
    by_name = {
        "id": ids | NAMES, "job": ids | jobs, "params": PARAMS, "inputs": inputs, "session": NAMES, "client_ref": NAMES,
        "ids": st.lists(ids, min_size=1, max_size=3), "a": ids, "b": ids, "before": ids, "parent": ids, "name": NAMES,
        "memorised": st.dictionaries(jobs, PARAMS, max_size=2), "list": st.just("models/checkpoint"),
        "limit": st.integers(1, 1000), "depth": st.integers(1, 100), "hold": st.booleans(),
        "since": st.integers(0, 10**6),
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    submission = fields(schemas["SubmitRequest"], by_name | {"job": jobs, "id": st.sampled_from("ab")})
    by_name |= {"jobs": st.lists(submission, min_size=1, max_size=3)}
    found = {}
    for name, message in document["components"]["messages"].items():
        if name.endswith(".call"):
            schema = schemas[message["payload"]["$ref"].rpartition("/")[2]]
            found[name.removesuffix(".call")] = fields(schema, by_name)
    gone = fields(schemas["DeleteRequest"], {"ids": st.just(["nothing"])})
    return found | {"submit": submission, "delete": gone}


def fields(schema, by_name):
    def field(name, about):
        return st.sampled_from(about["enum"]) if "enum" in about else by_name.get(name, JSON)

    made = {name: field(name, about) for name, about in schema.get("properties", {}).items()}
    required = {name: made.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(required, optional=made)


def evenly(*strategies):
    """Of `a | b` Hypothesis takes each alternative inside a or b as often as the other."""
    return st.sampled_from(strategies).flatmap(lambda strategy: strategy)


@st.composite
def bent(draw, strategy):
    """A request with one thing in it, somewhere, that is replaced, left out or added."""
    request = copy.deepcopy(draw(strategy))
    where = request
    while True:
        keys = [*where] if isinstance(where, dict) else [*range(len(where))]
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(where[key], dict | list) and where[key] and draw(st.booleans()):
            where = where[key]
            continue
        if draw(st.integers(0, 3)):
            where[key] = draw(JSON)
        else:
            del where[key]
        return request
    if isinstance(where, dict):
        where[draw(st.text(max_size=5) | st.sampled_from(["owner", "self", "socket", "x" * 5000]))] = draw(JSON)
    else:
        where.append(draw(JSON))
    return request


def allowed(answer):
    """Whether an acknowledgement is one that the protocol knows."""
    if answer.get("ok") is True:
        return True
    error = answer["error"]
    return answer["ok"] is False and error["code"] in CODES and error["code"] != "internal" and error["message"]


def test_every_call_with_anything_in_it_is_answered_with_sense(server, wire):
    known = requests_of(server, wire)
    strategy = st.sampled_from(sorted(known)).flatmap(
        lambda event: st.tuples(st.just(event), evenly(known[event], bent(known[event]), bent(known[event]), JSON))
    )

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def send(call):
        answer = wire.call(*call, timeout=60 if call[0] == "subscribe" else 5)  # after all of the past, which grows
        assert allowed(answer), (call, answer)

    send()
    wire.call("queue", {"action": "resume"})
    assert_settled(wire)


def assert_settled(wire):
    """Every job comes to an end, or says what it waits for."""
    deadline, unfinished = time.monotonic() + 60, ["?"]
    while unfinished and time.monotonic() < deadline:
        unfinished = [job for state in ("queued", "running") for job in wire.call("jobs", {"state": state})["jobs"]]
        time.sleep(0.1)
    assert not unfinished
    for state in ("held", "waiting"):
        for job in wire.call("jobs", {"state": state, "limit": 100})["jobs"]:
            assert wire.call("job", {"id": job["id"]})["job"]["waits_for"]


OUTPUT = {"index": 0, "kind": "text", "sha256": "a" * 64, "size_bytes": 1, "facts": {}}
SAID = {
    "ready": {"leases": ["LEASE"]},
    "beat": {"memory_bytes": 1_000_000},
    "output": {"lease": "LEASE", "output": OUTPUT},
    "finished": {
        "lease": "LEASE", "state": "failed", "outputs": [OUTPUT], "error": {"code": "plugin_error", "message": "no"},
        "metrics": {"total_seconds": 1.0, "memory_bytes": 1, "peak_bytes": 1}, "waits_for": ["x"],
    },
    "answered": {"lease": "LEASE", "state": "done", "outputs": [], "error": None, "metrics": {}, "value": [1]},
    "progress": {"lease": "LEASE", "step": 1, "total": 2, "phase": "x", "eta_seconds": None},
    "preview": {"lease": "LEASE", "image": "x", "width": 1, "height": 1},
    "log": {"lease": "LEASE", "text": "words"},
    "children": {
        "lease": "LEASE", "requests": [{"job": "echo", "params": {}, "inputs": {}, "key": "k", "hold": True}]
    },
    "once": {"lease": "LEASE", "key": "k", "value": 1},
    "connect": {"token": "x"},
    "disconnect": {},
    "nothing": {},
}  # fmt: skip


def test_whatever_a_worker_says_harms_its_own_jobs_at_most(server, wire):
    """A plugin's code that has taken over its worker, with the real token and the real lease."""
    said = st.sampled_from(sorted(SAID)).flatmap(
        lambda event: st.tuples(st.just(event), evenly(bent(st.just(SAID[event])), bent(st.just(SAID[event])), JSON))
    )
    jobs = []

    @settings(
        max_examples=max(EXAMPLES // 10, 20), derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(said, min_size=1, max_size=4))
    def lie(messages):
        jobs.append(wire.submit("lie", {"messages": json.dumps(messages, default=repr)}))

    lie()
    assert_settled(wire)
    for job in jobs:
        record = wire.call("job", {"id": job})["job"]
        assert record["state"] in ("done", "failed"), record
        assert record["state"] == "done" or record["error"]["code"] in CODES
