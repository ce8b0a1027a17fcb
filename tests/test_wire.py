"""The socket events as any client meets them: acknowledgements, errors, replay, rights."""

import pytest
import requests
import socketio

from tests.serving import serve
from tests.wire import Wire

ECHO = """
from typing import Literal

class EchoParams(Params):
    text: str = param("hello", max_length=100, help="What to say.")
    times: int = param(1, ge=1, le=5, help="How often.")

class DyeParams(Params):
    colour: Literal["Red", "Blue", "blood red"] = param("Red", choices=["Red", "Blue"], help="What it becomes.")

class Echo(Plugin):
    @job()
    def dye(self, params: DyeParams) -> Text:
        return params.colour

    @job(concurrency=4)
    def echo(self, params: EchoParams) -> Text:
        "Say a text."
        return params.text * params.times

    @job()
    def paint(self, ctx: Context) -> Text:
        for step in (50, 51):
            ctx.progress(step, 100, "second picture")
            time.sleep(0.1)
        return "painted"

    @job()
    def join(self, parts: list[Text], ending: Text | None = None) -> Text:
        return "+".join(parts) + (ending or "")

    @job()
    def shout(self, text: Text) -> Text:
        return text.upper()

    @job()
    def stamp(self, image: Image) -> Image:
        return image
"""


@pytest.fixture(scope="module")
def server():
    with serve({"echo": ECHO}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def test_hello_tells_version_limits_and_rights(wire):
    hello = wire.call("hello")
    assert hello["ok"] and hello["api"] == 1 and hello["rights"] == ["admin"]
    assert hello["limits"]["message_bytes"] == 16_000_000


def test_plugins_announce_name_types_and_schema(wire):
    plugin = next(each for each in wire.call("plugins")["plugins"] if each["name"] == "echo")
    echo = next(job for job in plugin["jobs"] if job["name"] == "echo")
    join = next(job for job in plugin["jobs"] if job["name"] == "join")
    assert echo["output"] == {"kind": "text", "list": False, "optional": False}
    assert echo["params"]["properties"]["times"]["maximum"] == 5 and echo["help"] == "Say a text."
    assert join["inputs"]["parts"]["list"] and join["inputs"]["ending"]["optional"]


def test_a_job_goes_through_its_states_once_and_gives_its_result(wire):
    job = wire.submit("echo", {"text": "ab", "times": 2})
    ended = wire.ended(job)
    assert wire.states(job) == ["queued", "running", "done"]
    assert wire.text(ended["outputs"][0]) == "abab"


def test_defaults_are_part_of_the_record(wire):
    answer = wire.call("submit", {"job": "echo.echo"})
    assert answer["job"]["params"] == {"text": "hello", "times": 1}
    assert answer["job"]["name"] == "echo.echo" and answer["job"]["state"] == "queued"


@pytest.mark.parametrize(
    "event, request_, code, field, says",
    [
        ("submit", {"job": "ecko"}, "unknown_job", "job", "Did you mean echo"),
        ("submit", {"job": "echo", "params": {"time": 2}}, "invalid_params", "time", "Did you mean times"),
        ("submit", {"job": "echo", "params": {"times": 9}}, "invalid_params", "times", "9 is greater than the maximum"),
        ("submit", {"job": "echo", "params": {"times": "x"}}, "invalid_params", "times", "is not of type 'integer'"),
        (
            "submit",
            {"job": "echo", "params": {"text": "x" * 2000}},
            "invalid_params",
            "text",
            "has 2,000 characters, the",
        ),
        ("submit", {"job": "dye", "params": {"colour": "blue"}}, "invalid_params", "colour", "did you mean Blue."),
        ("submit", {"job": "dye", "params": {"colour": "pink"}}, "invalid_params", "colour", "allowed are Red, Blue."),
        ("submit", {"job": "shout"}, "invalid_params", "text", "needs the input text"),
        ("submit", {"job": "shout", "inputs": {"text": "nope"}}, "unknown_artifact", "text", "Upload it first"),
        ("submit", {"job": "shout", "inputs": {"txt": "nope"}}, "invalid_params", "inputs", "It has text"),
        ("submit", {"job": "shout", "inputs": {"text": 7}}, "invalid_params", "text", "must be an artifact"),
        ("submit", {"job": "echo", "priority": "urgent"}, "invalid_params", "priority", "interactive"),
        ("submit", {"job": "echo", "session": "a/b"}, "invalid_params", "session", "pattern"),
        ("submit", {"jobb": "echo"}, "invalid_params", "job", "Field required"),
        ("submit", {"job": "echo", "params": {"text": "x" * 2_000_000}}, "too_large", None, "the limit is 1,000,000"),
        ("cancel", {"id": "nope"}, "not_found", None, "there is no job nope"),
        ("cancel", {}, "invalid_params", "id", "Missing required"),
        ("move", {"id": "nope", "to": "top"}, "invalid_params", "to", "front"),
        ("jobs", {"limit": 5000}, "invalid_params", "limit", "less than or equal to 1000"),
        ("sumbit", {}, "not_found", None, "Did you mean submit"),
        ("hello", {"owner": "root"}, "invalid_params", None, "send one JSON object"),
        ("hello", "garbage", "invalid_params", None, "send one JSON object"),
    ],
)
def test_a_bad_request_gets_a_typed_error_that_says_what_is_allowed(wire, event, request_, code, field, says):
    answer = wire.call(event, request_)
    assert not answer["ok"] and answer["error"]["code"] == code and answer["error"].get("field") == field
    assert says in str(answer["error"])
    assert wire.call("hello")["ok"]


def test_all_bad_fields_are_told_at_once(wire):
    errors = wire.call("submit", {"job": "echo", "params": {"times": 0, "text": 3, "loud": True}})["error"]["errors"]
    assert sorted(error["field"] for error in errors) == ["loud", "text", "times"]


def test_nan_is_refused(wire):
    answer = wire.call("submit", {"job": "echo", "params": {"times": float("nan")}})
    assert answer["error"]["code"] == "invalid_params" and "NaN" in answer["error"]["message"]


def test_an_input_of_the_wrong_kind_is_refused(wire):
    artifact = wire.upload(b"plain words", kind="text")["artifact"]["id"]
    answer = wire.call("submit", {"job": "stamp", "inputs": {"image": artifact}})
    assert answer["error"]["code"] == "type_mismatch" and "takes image, this is text" in answer["error"]["message"]


def test_the_same_client_ref_gives_the_same_job(wire):
    first = wire.submit("echo", client_ref="once")
    assert wire.submit("echo", client_ref="once") == first
    wire.ended(first)
    assert wire.submit("echo", client_ref="once") == first


def test_a_flow_runs_in_the_order_of_its_references(wire):
    flow = [
        {"id": "a", "job": "echo", "params": {"text": "x"}},
        {"id": "b", "job": "echo", "params": {"text": "y"}},
        {"id": "c", "job": "join", "inputs": {"parts": [{"job": "a"}, {"job": "b", "index": 0}]}},
        {"job": "shout", "inputs": {"text": {"job": "c"}}},
    ]
    jobs = [job["id"] for job in wire.call("flow", {"jobs": flow})["jobs"]]
    ended = wire.ended(*jobs)
    assert [wire.text(end["outputs"][0]) for end in ended] == ["x", "y", "x+y", "X+Y"]
    assert wire.states(jobs[2]) == ["waiting", "queued", "running", "done"]


def test_a_flow_with_one_bad_job_is_refused_whole(wire):
    before = wire.call("jobs", {"limit": 1})["jobs"][0]["id"]
    answer = wire.call("flow", {"jobs": [{"job": "echo"}, {"job": "echo", "params": {"times": 99}}]})
    assert not answer["ok"] and wire.call("jobs", {"limit": 1})["jobs"][0]["id"] == before


def test_all_that_is_wrong_with_the_jobs_of_a_flow_is_told_with_their_numbers(wire):
    jobs = [{"job": "echo"}, {"job": "echo", "params": {"times": 99}}, {"job": "shout", "params": {"loud": 1}}]
    error = wire.call("flow", {"jobs": [*jobs, {"job": "nothing"}]})["error"]
    fields = ["jobs.1.times", "jobs.2.loud", "jobs.2.text", "jobs.3.job"]
    assert [each["field"] for each in error["errors"]] == fields and error["field"] == fields[0]
    wrong = {"id": "b", "job": "shout", "inputs": {"text": "nobody"}}
    assert wire.call("flow", {"jobs": [{"job": "echo"}, wrong]})["error"]["field"] == "jobs.1.text"


def test_a_list_for_a_single_input_runs_once_per_item(wire):
    ids = [wire.upload(text, kind="text")["artifact"]["id"] for text in (b"a", b"b", b"c")]
    ended = wire.ended(wire.submit("shout", inputs={"text": ids}))
    assert [wire.text(output) for output in ended["outputs"]] == ["A", "B", "C"]


def test_a_held_job_waits_for_its_release(wire):
    job = wire.submit("echo", hold=True)
    assert wire.call("job", {"id": job})["job"]["state"] == "held"
    assert wire.call("release", {"id": job})["ok"]
    wire.ended(job)
    assert wire.states(job) == ["held", "queued", "running", "done"]


def test_a_held_job_can_be_cancelled_and_never_starts(wire):
    job = wire.submit("echo", hold=True)
    assert wire.call("cancel", {"id": job})["job"]["state"] == "cancelled"
    assert wire.call("release", {"id": job})["error"]["code"] == "conflict"
    assert wire.states(job) == ["held", "cancelled"]


def test_a_paused_queue_keeps_its_jobs_in_order_and_knows_their_place(wire):
    wire.ended(wire.submit("echo"))
    wire.call("queue", {"action": "pause"})
    first, second, third = (wire.submit("echo", {"text": text}) for text in "abc")
    assert wire.call("job", {"id": third})["job"]["position"] == 2
    assert wire.call("job", {"id": third})["job"]["eta_seconds"] >= 0
    wire.call("move", {"id": third, "to": "front"})
    assert wire.call("job", {"id": third})["job"]["position"] == 0
    wire.call("queue", {"action": "resume"})
    wire.ended(first, second, third)
    started = [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "running"]
    assert started[-3:] == [third, first, second]


def test_what_is_left_is_reckoned_from_where_a_phase_began(wire):
    wire.ended(wire.submit("paint"))
    first, second = (body["eta_seconds"] for name, body in wire.received if name == "progress")
    assert first is None and second >= 49 * 0.1


def test_retry_makes_a_new_job_with_the_same_parameters(wire):
    job = wire.submit("echo", {"text": "again"})
    wire.ended(job)
    again = wire.call("retry", {"id": job})["job"]
    assert again["id"] != job and again["params"]["text"] == "again"
    assert wire.text(wire.ended(again["id"])["outputs"][0]) == "again"


def test_a_client_that_was_away_sees_what_a_connected_one_saw(server, wire):
    start = wire.subscribed["seq"]
    jobs = [wire.submit("echo", {"text": str(k)}) for k in range(5)]
    wire.ended(*jobs)
    with Wire(server, since=start) as late:
        late.until(lambda: len(late.state_events()) >= len(wire.state_events()))
        assert late.state_events() == wire.state_events()


def test_a_client_from_another_time_is_told_to_resync(server):
    with Wire(server, since=10_000_000) as wire:
        assert wire.subscribed["resync"]


def test_following_one_session_shows_only_that(server, wire):
    with Wire(server, subscribe=False) as follower:
        follower.call("subscribe", {"session": "mine"})
        other, mine = wire.submit("echo"), wire.submit("echo", session="mine")
        wire.ended(other, mine)
        follower.ended(mine)
        assert {body["session"] for _, _, body in follower.state_events()} == {"mine"}


def test_sessions_remember_parameters(wire):
    wire.call("session", {"id": "portraits", "memorised": {"echo.echo": {"text": "hi"}}})
    session = wire.call("session", {"id": "portraits", "name": "Portraits", "memorised": {"echo.join": {}}})["session"]
    assert session["memorised"] == {"echo.echo": {"text": "hi"}, "echo.join": {}} and session["name"] == "Portraits"
    assert "portraits" in [each["id"] for each in wire.call("sessions")["sessions"]]


def test_results_are_listed_by_job_and_page(wire):
    job = wire.submit("echo", {"text": "listed"})
    output = wire.ended(job)["outputs"][0]
    found = wire.call("artifacts", {"job": job})["artifacts"]
    assert [each["id"] for each in found] == [output] and found[0]["size_bytes"] == 6
    newer = wire.submit("echo")
    assert newer not in [each["id"] for each in wire.call("jobs", {"before": newer, "limit": 5})["jobs"]]


def test_two_arguments_are_refused_without_harm(wire):
    answer = wire.call("hello", ({}, {}))
    assert answer["error"]["code"] == "invalid_params"


@pytest.mark.parametrize("auth", [None, {}, {"token": "wrong"}, {"token": ""}, "token", {"token": ["a"]}])
def test_a_socket_without_the_right_token_is_refused_with_the_reason(server, auth):
    socket, refusals = socketio.Client(reconnection=False), []
    socket.on("connect_error", refusals.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        socket.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=10)
    error = refusals[0]["data"]
    assert error["code"] == "unauthorized" and "token" in error["hint"]


def test_a_client_cannot_pose_as_a_worker(server):
    socket = socketio.Client(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        auth = {"token": server.token}
        socket.connect(server.url, auth=auth, namespaces=["/worker"], transports=["websocket"], wait_timeout=10)
    socket.disconnect()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/artifacts/x", "/socket.io/?EIO=4&transport=polling", "/healthz"])
def test_foreign_pages_are_refused(server, path, headers):
    answer = requests.get(server.url + path, headers=headers, timeout=10)
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "forbidden"


def test_the_printed_address_becomes_a_cookie_that_scripts_cannot_read(server):
    browser = requests.Session()
    answer = browser.get(f"{server.url}/?token={server.token}", allow_redirects=False, timeout=10)
    cookie = answer.headers["Set-Cookie"]
    assert answer.status_code == 302 and answer.headers["Location"] == "/"
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and f"stable_core_{server.port}=" in cookie
    assert browser.get(server.url, timeout=10).status_code == 200
    assert requests.get(server.url, timeout=10).status_code == 401


@pytest.mark.parametrize("path", ["/artifacts/x", "/nothing", "/artifacts/../../etc/passwd"])
def test_http_errors_have_the_same_shape(server, path):
    answer = requests.get(server.url + path, timeout=10)
    assert answer.status_code in (401, 404) and answer.json()["ok"] is False
