"""REST: the twins of the events, the stream, and the documents that describe it all."""

import json
import re
import subprocess

import jsonschema
import pytest
import requests
import schemathesis
from openapi_pydantic import OpenAPI

import server as assembly
from core.ops.config import Config
from core.remote.records import Records, Remote, Rented
from core.rest import asyncapi, openapi
from core.rest.answers import ANSWERS, EVENTS
from core.rest.bridges import PREFIXES
from core.rest.errors import STATUS
from core.rest.twins import BASE, STREAMED, TWINS
from tests.serving import ROOT, serve, wait_until
from tests.site import plugin, site
from tests.test_docs import PROTOCOL, quoted, table
from tests.wire import Wire

RENTED = Rented(provider="vast", id="1", price_per_hour=0.5, spend_limit=5, created=1e9)
DEMO = """
import PIL.Image

class SayParams(Params):
    text: str = param("hello", help="What to say.")
    again: bool = param(False, help="Nothing.")

class Demo(Plugin):
    @job()
    def say(self, params: SayParams, ctx: Context) -> Text:
        ctx.log("saying"); ctx.progress(1, 1); ctx.preview(PIL.Image.new("RGB", (8, 8)))
        return params.text

    @job(light=True)
    def length(self, params: SayParams) -> Json:
        return len(params.text)

    @job()
    def wait(self) -> Text:
        time.sleep(60)
        return ""
"""


@pytest.fixture(scope="module")
def server():
    settings = {"max_message_bytes": 200_000, "cancel_grace_seconds": 0}
    with site() as web, serve({"demo": DEMO}, before_start=plugin(web.url), **settings) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


@pytest.fixture(scope="module")
def assembled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rest")
    config = Config(data=folder / "data", outputs=folder / "outputs", async_mode="threading")
    built = assembly.Server(config)
    yield built
    built.stop()


@pytest.fixture
def handlers(assembled):
    return assembled.api.handlers


def rest(server, method, path, **options):
    headers = {"Authorization": f"Bearer {server.token}"} | options.pop("headers", {})
    return requests.request(method, server.url + BASE + path, headers=headers, timeout=30, **options)


# Twins


def test_every_event_has_a_twin_an_answer_and_no_other_has(handlers):
    assert {twin.event for twin in TWINS} | STREAMED.keys() == handlers.keys() == ANSWERS.keys()


def test_the_protocol_shows_every_twin():
    shown = {(event, twin) for events, twins in table("REST") for event in quoted(events) for twin in quoted(twins)}
    streamed = {(event, f"GET {path}") for event, path in STREAMED.items()}
    assert shown == {(twin.event, f"{twin.method} {twin.path}") for twin in TWINS} | streamed


def test_the_protocol_tells_the_status_of_every_error():
    told = re.search(r"Status codes: (.*?)\n\n", PROTOCOL, re.DOTALL)[1]
    codes = {code: int(part.split()[0]) for part in told.split(";") for code in quoted(part)}
    assert codes == {error.code(): status for error, status in STATUS.items()}


def test_parameters_keep_the_order_in_which_they_were_declared(server, wire):
    schema = rest(server, "GET", "/plugins").json()["plugins"][-1]["jobs"][0]["params"]["properties"]
    assert list(schema) == ["text", "again"]


def test_a_job_can_be_done_by_rest_alone(server):
    job = rest(server, "POST", "/jobs", json={"job": "say", "params": {"text": "by rest"}}).json()["job"]
    done = wait_until(
        lambda: (row := rest(server, "GET", f"/jobs/{job['id']}").json()["job"])["state"] == "done" and row
    )
    listed = rest(server, "GET", "/artifacts", params={"job": job["id"], "limit": 5}).json()["artifacts"]
    assert [artifact["id"] for artifact in listed] == done["outputs"]
    headers = {"Authorization": f"Bearer {server.token}"}
    assert requests.get(f"{server.url}/artifacts/{done['outputs'][0]}", headers=headers, timeout=10).text == "by rest"


def test_jobs_are_held_moved_released_and_cancelled_by_rest(server):
    rest(server, "POST", "/queue/pause")
    jobs = rest(server, "POST", "/flows", json={"jobs": [{"job": "say"}] * 2}).json()["jobs"]
    path = f"/jobs/{jobs[1]['id']}"
    states = [rest(server, "POST", f"{path}/{action}").json()["job"]["state"] for action in ("hold", "release")]
    assert rest(server, "POST", f"{path}/move", json={"to": "front"}).json()["ok"]
    assert rest(server, "GET", path).json()["job"]["position"] == 0
    states += [rest(server, "POST", f"{path}/cancel").json()["job"]["state"]]
    assert states == ["held", "queued", "cancelled"]
    assert rest(server, "POST", f"{path}/retry").json()["job"]["state"] == "queued"
    assert rest(server, "POST", "/queue/resume").json()["paused"] is False


def test_a_twin_says_what_its_event_says(server, wire):
    wire.ended(wire.submit("say", session="same"))
    for path, event, request in [
        ("/hello", "hello", {}),
        ("/plugins", "plugins", {}),
        ("/jobs?state=done&limit=3", "jobs", {"state": "done", "limit": 3}),
        ("/artifacts?session=same", "artifacts", {"session": "same"}),
        ("/sessions", "sessions", {}),
        ("/choices?list=models/vae&offset=1", "choices", {"list": "models/vae", "offset": 1}),
        ("/jobs/x", "job", {"id": "x"}),
        ("/jobs?limit=0", "jobs", {"limit": 0}),
    ]:
        assert rest(server, "GET", path).json() == wire.call(event, request), path


@pytest.mark.parametrize(
    "method, path, body, status, code",
    [
        ("GET", "/jobs?color=red", None, 400, "invalid_params"),
        ("GET", "/jobs?limit=1&limit=2", None, 400, "invalid_params"),
        ("GET", "/jobs?limit=many", None, 400, "invalid_params"),
        ("GET", "/jobs?owner=x", None, 400, "invalid_params"),
        ("GET", "/jobs/x", None, 404, "not_found"),
        ("GET", "/artifacts/x", None, 404, "unknown_artifact"),
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", "/queue?action=pause", None, 400, "invalid_params"),
        ("GET", "/jobs/x/cancel", None, 405, "not_found"),
        ("DELETE", "/jobs", None, 405, "not_found"),
        ("POST", "/jobs", b'{"job": "dance"}', 404, "unknown_job"),
        ("POST", "/jobs", b'{"job": "say", "params": {"texd": ""}}', 400, "invalid_params"),
        ("POST", "/jobs", b'{"job": "say", "params": {"text": NaN}}', 400, "invalid_params"),
        ("POST", "/jobs", b'{"job": "say", "params": {"x": ' + b"[" * 99 + b"]" * 99 + b"}}", 400, "invalid_params"),
        ("POST", "/jobs", b"[" * 100_000, 400, "invalid_params"),
        ("POST", "/jobs", b'["say"]', 400, "invalid_params"),
        ("POST", "/jobs", b"\xff\xfe", 400, "invalid_params"),
        ("POST", "/jobs", b'{"job": "' + b"x" * 200_000 + b'"}', 413, "too_large"),
        ("POST", "/jobs?job=say", b"{}", 400, "invalid_params"),
        ("POST", "/jobs", b'{"job": "say", "owner": "me"}', 400, "invalid_params"),
        ("POST", "/jobs/x/cancel", b'{"id": "y"}', 400, "invalid_params"),
        ("PATCH", "/sessions/a%01b", b"{}", 400, "invalid_params"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_fitting_status(server, method, path, body, status, code):
    answer = rest(server, method, path, data=body, headers={"Content-Type": "application/json"} if body else {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_a_body_that_is_no_json_by_its_type_is_refused_so_forms_of_other_pages_are(server):
    answer = rest(server, "POST", "/jobs", data='{"job": "say"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415 and "Content-Type: application/json" in answer.json()["error"]["message"]


def test_a_body_of_unknown_length_is_read_and_limited(server):
    headers = {"Content-Type": "application/json"}
    assert rest(server, "POST", "/jobs", data=iter([b'{"job":', b' "say"}']), headers=headers).json()["ok"]
    answer = rest(server, "POST", "/jobs", data=iter([b'{"job": "', b"x" * 200_000, b'"}']), headers=headers)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize("path", ["/hello", "/events", "/openapi.json", "/asyncapi.json"])
def test_rest_needs_the_token_or_the_cookie_and_no_foreign_page(server, path):
    url, cookie = server.url + BASE + path, {f"stable_core_{server.port}": server.token}
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, headers={"Origin": "http://evil.example"}, cookies=cookie, timeout=10).status_code == 403
    with requests.get(url, cookies=cookie, timeout=10, stream=True) as answer:
        assert answer.status_code == 200


def test_the_curl_of_the_protocol_runs(monkeypatch):
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    upload, submit = re.search(r"```sh\n(curl .*?\n)(curl .*?)```", text, re.DOTALL).groups()
    with serve({"text": ROOT / "plugins" / "text"}) as running, Wire(running) as wire:
        monkeypatch.setenv("STABLE_CORE_URL", running.url)
        monkeypatch.setenv("STABLE_CORE_TOKEN", running.token)
        run = lambda command: json.loads(subprocess.run(["sh", "-c", command], capture_output=True, timeout=20).stdout)  # noqa: E731
        job = run(submit.replace("ARTIFACT", run(upload)["artifact"]["id"]))["job"]["id"]
        assert wire.text(wire.ended(job)["outputs"][0]) == "a red circle, drawn"


def test_rest_keeps_people_apart():
    anna = {"Authorization": "Bearer annas-long-random-token"}
    tus = {"Tus-Resumable": "1.0.0"}
    with serve({"demo": DEMO}, tokens={"anna": "annas-long-random-token"}) as server, Wire(server) as wire:
        wire.ended(job := wire.submit("say"))
        output = wire.call("job", {"id": job})["job"]["outputs"][0]
        upload = rest(server, "POST", "/uploads", headers=tus | {"Upload-Length": "9"}).headers["Location"]
        for path in (f"/jobs/{job}", f"/artifacts/{output}"):
            assert rest(server, "GET", path, headers=anna).status_code == 404
        assert rest(server, "POST", "/queue/pause", headers=anna).status_code == 403
        for method in ("HEAD", "PATCH", "DELETE"):
            headers = anna | tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            assert requests.request(method, server.url + upload, headers=headers, timeout=10).status_code == 404
        own = rest(server, "POST", "/jobs", json={"job": "say"}, headers=anna).json()["job"]["id"]
        with rest(server, "GET", "/events?since=0", stream=True, headers=anna) as answer:
            assert {body["id"] for _, name, body in frames(answer, done(own)) if name == "job"} == {own}


# The stream


def frames(answer, until):
    """(id, name, body) of a stream, up to the first for which `until(name, body)` is true."""
    found, frame = [], {}
    for line in answer.iter_lines(chunk_size=None):
        key, _, value = line.decode().partition(": ")
        if key:
            frame[key] = value
        elif "data" in frame:
            found.append((int(frame["id"]), frame["event"], json.loads(frame["data"])))
            if until(*found[-1][1:]):
                return found
            frame = {}
    return found


def done(job):
    return lambda name, body: name == "job" and body["id"] == job and body["state"] == "done"


def test_the_stream_replays_then_goes_on_live_with_the_events_of_the_socket(server, wire):
    since, first = wire.call("subscribe")["seq"], wire.submit("say")
    wire.ended(first)
    with rest(server, "GET", f"/events?since={since}", stream=True) as answer:
        second = wire.submit("say")
        found = frames(answer, done(second))
    wire.ended(second)
    assert found[0][1:] == ("subscribed", {"seq": since, "resync": False})
    assert [(body["seq"], name, body) for _, name, body in found[1:]] == [
        event for event in wire.state_events() if event[0] > since
    ]
    assert all(number == body["seq"] for number, _, body in found)


def test_a_cut_stream_goes_on_after_the_last_event_and_can_be_about_one_job(server, wire):
    jobs = [wire.submit("say") for _ in range(2)]
    wire.ended(*jobs)
    states = [event for event in wire.state_events() if event[1] == "job" and event[2]["id"] == jobs[1]]
    last = {"Last-Event-ID": str(states[0][0])}
    with rest(server, "GET", f"/events?since=0&job={jobs[1]}", stream=True, headers=last) as answer:
        found = frames(answer, done(jobs[1]))
    assert [body["state"] for _, name, body in found if name == "job"] == ["running", "done"]


def test_a_stream_that_asks_for_the_future_is_told_to_start_anew(server):
    with rest(server, "GET", "/events?since=999999999", stream=True) as answer:
        assert frames(answer, lambda name, body: True)[0][2]["resync"] is True
    assert rest(server, "GET", "/events?since=yesterday").status_code == 400


@pytest.mark.slow
def test_a_stream_that_nobody_reads_keeps_nobody_waiting_and_misses_nothing():
    source = """
    class Large(Plugin):
        @job()
        def large(self) -> Text:
            return Result("", {"infotext": "x" * 300_000})
    """
    with serve({"large": source}) as server, rest(server, "GET", "/events", stream=True) as answer:
        with Wire(server, subscribe=False) as wire:  # 12 MB are on their way to somebody who does not read
            jobs = [wire.submit("large") for _ in range(40)]
            wait_until(lambda: wire.call("job", {"id": jobs[-1]})["job"]["state"] == "done")
        found = [body["job"] for _, name, body in frames(answer, done(jobs[-1])) if name == "artifact"]
    assert found == jobs


# Documents


def test_what_the_server_says_is_what_the_documents_say(server, wire):
    """Strictly: a field that the models do not know fails."""
    flow = wire.call("flow", {"jobs": [{"job": "say"}, {"job": "wait", "hold": True}]})
    done, held = (job["id"] for job in flow["jobs"])
    artifact = wire.ended(done)["outputs"][0]
    running = wire.submit("wait")
    wire.until(lambda: wire.states(running)[-1:] == ["running"])
    machine = Remote(name="gpu1", host="192.0.2.1", user="root", plugins=["demo"], rented=RENTED)
    Records(server.folder / "data").write(machine)
    wire.until(lambda: wire.call("devices")["remotes"])
    calls = {
        "submit": {"job": "say", "client_ref": "document"}, "flow": {"jobs": [{"job": "say"}]}, "job": {"id": done},
        "release": {"id": held}, "hold": {"id": held}, "move": {"id": held, "to": "back"}, "cancel": {"id": held},
        "plan": {"job": "say"}, "call": {"job": "length"},
        "retry": {"id": done}, "choices": {"list": "models/vae"}, "artifact": {"id": artifact},
        "session": {"id": "documented", "memorised": {"say": {}}}, "review": {"ids": [artifact], "state": "picked"},
        "lineage": {"id": artifact}, "accepts": {"id": artifact}, "compare": {"a": artifact, "b": artifact},
        "delete": {"ids": [artifact]},
        "skip": {"id": running}, "package": {"action": "refresh"},
        "fetch_model": {"id": "lora/a.safetensors", "licence": "MIT"},
        "attach": {"plugin": "demo", "device": "cpu"}, "detach": {"plugin": "demo", "device": "cpu"},
        "remote": {"name": "gpu1", "action": "stop"},
    }  # fmt: skip
    wire.call("queue", {"action": "pause"})
    for event in [*calls, *(ANSWERS.keys() - calls.keys())]:
        ANSWERS[event].model_validate(wire.call(event, calls.get(event)), extra="forbid")
    wire.call("queue", {"action": "resume"})
    (server.folder / "models" / "documented").mkdir(parents=True)
    wire.call("subscribe", {"since": 0})
    wire.until(lambda: {name for name, _ in wire.received} >= EVENTS.keys())
    for name, body in wire.received:
        EVENTS[name].model_validate(body, extra="forbid")


def test_the_openapi_document_is_valid_and_names_every_route(server, assembled):
    document = rest(server, "GET", "/openapi.json").json()
    plugins = rest(server, "GET", "/plugins").json()["plugins"]
    assert document == json.loads(json.dumps(openapi.with_jobs(openapi.document(assembled.api.handlers), plugins)))
    named = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))
    assert {*named} <= document["components"]["schemas"].keys()
    OpenAPI.model_validate(document)
    assert len(list(schemathesis.openapi.from_dict(document).get_all_operations())) > len(TWINS)
    routes = {
        (method, re.sub(r"<(\w+:)?(\w+)>", r"{\2}", rule.rule))
        for rule in assembled.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.split("/")[1] not in PREFIXES  # other people's APIs, of which they have documents
    }
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    others = {("GET", path) for path in ("/", "/plain/", "/plain/{name}", "/web/{name}")}
    others |= {("POST", "/api/v1/uploads/{id}")}  # stands for a PATCH
    assert routes - described == others


def test_the_asyncapi_document_is_that_of_the_handlers_and_of_the_protocol(server, handlers):
    document = rest(server, "GET", "/asyncapi.json").json()
    assert document == json.loads(json.dumps(asyncapi.document(handlers)))
    operations = document["operations"]
    calls = {name.split()[1] for name, each in operations.items() if each["action"] == "receive"}
    sends = {name.split()[1] for name, each in operations.items() if each["action"] == "send"}
    assert calls == handlers.keys() and sends == {name for row in table("You get") for name in quoted(row[0])}
    text = json.dumps(document)
    for target in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = document
        for part in target.split("/"):
            found = found[part]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
