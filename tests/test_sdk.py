"""The Python SDK does what it promises: on a real server, through broken connections and killed processes."""

import contextlib
import io
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import PIL.Image
import pytest

from clients.python import stable_core as sdk
from core import errors
from core.ops import tokens
from tests.cable import Cable
from tests.serving import ROOT, serve, wait_until

DEMO = """
from collections.abc import Iterator
import PIL.Image

class CountParams(Params):
    n: int = param(3, ge=1, le=1000, help="How far to count.")
    delay: float = param(0.01, ge=0, le=10, help="Seconds for a step.")
    word: str = param("counted", help="What to say at the end.")

class Demo(Plugin):
    @job(concurrency=8)
    def count(self, params: CountParams, ctx: Context) -> Text:
        for step in range(params.n):
            ctx.raise_if_cancelled()
            ctx.preview(PIL.Image.new("RGB", (8, 8)))
            time.sleep(params.delay)
            ctx.progress(step + 1, params.n, "count")
        return f"{params.word} {params.n}"

    @job(concurrency=8)
    def numbers(self, params: CountParams, ctx: Context) -> Iterator[Text]:
        for step in range(params.n):
            if ctx.cancelled:
                return
            yield str(step)
            time.sleep(params.delay)

    @job(concurrency=8)
    def skips(self, params: CountParams, ctx: Context) -> Iterator[Text]:
        for step in range(params.n):
            before = ctx.skips
            while ctx.skips == before:
                ctx.raise_if_cancelled()
                ctx.progress(step, params.n, f"number {step}")  # also for who begins to listen late
                time.sleep(0.01)
            yield f"skipped {step}"

    @job()
    def turn(self, image: Image) -> Image:
        return image.rotate(180)

    @job()
    def join(self, texts: list[Text]) -> Text:
        return " ".join(texts)

    @job(light=True)
    def length(self, text: Text, params: CountParams) -> Json:
        return {"length": len(text), "word": params.word}

    @job()
    def fail(self) -> Text:
        raise ValueError("no way")
"""


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO}) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def picture():
    picture = PIL.Image.new("RGB", (3, 2), "blue")
    picture.putpixel((0, 0), (255, 0, 0))
    return picture


def test_run_returns_the_outputs(client):
    assert client.run("count", n=4, word="seen")[0].text() == "seen 4"


def test_progress_and_previews_arrive(client):
    steps, previews = [], []
    client.submit("count", {"n": 30, "delay": 0.02}).wait(lambda data: steps.append(data["step"]), previews.append)
    assert steps == sorted(steps) and steps[-1] == 30 and len(steps) > 3
    assert PIL.Image.open(io.BytesIO(previews[0])).size == (8, 8)


def test_events_tell_the_whole_story_in_order(client):
    job = client.submit("numbers", {"n": 2})
    story = [(event.type, event.data.get("state") or event.data.get("idx")) for event in job.events()]
    shown = [event for event in story if event != ("job", "queued")]  # it may have started before we looked
    assert shown == [("job", "running"), ("artifact", 0), ("artifact", 1), ("job", "done")]


def test_events_of_a_finished_job_end_at_once(client):
    job = client.submit("count")
    job.wait()
    assert [event.data["state"] for event in job.events() if event.type == "job"] == ["done"]
    assert client.job(job.id).wait()[0].text() == "counted 3"


def test_bad_parameters_raise_with_every_field(client):
    with pytest.raises(sdk.InvalidParams, match="n: 0 is less than the minimum of 1") as caught:
        client.run("count", n=0, delay="long")
    assert caught.value.field in ("n", "delay")
    assert {error["field"] for error in caught.value.errors} == {"n", "delay"}


def test_an_unknown_job_raises_with_a_suggestion(client):
    with pytest.raises(sdk.UnknownJob, match="Did you mean count"):
        client.run("cuont")


def test_what_the_plugin_raises_reaches_the_caller(client):
    with pytest.raises(sdk.PluginError, match="ValueError: no way") as caught:
        client.run("fail")
    assert caught.value.code == "plugin_error"


def test_every_code_of_the_wire_has_its_exception():
    ours = {kind.code for kind in sdk.ServerError.__subclasses__() if kind.__module__ == sdk.__name__}
    assert ours == {*errors.CODES, "unreachable"}


def test_a_code_of_a_newer_server_is_kept():
    error = sdk.ServerError.from_wire({"code": "out_of_coffee", "message": "make some", "hint": "in the kitchen"})
    assert (error.code, str(error), error.hint) == ("out_of_coffee", "make some", "in the kitchen")


def test_uploads_come_back_as_they_were(client, tmp_path):
    data = bytes(range(256)) * 3000
    path = tmp_path / "sound.txt"
    path.write_text("hello")
    image = client.upload(PIL.Image.new("RGB", (5, 4), "red"))
    assert (image.kind, image.image().size) == ("image", (5, 4))
    assert (client.upload(path).record["name"], client.upload(path).text()) == ("sound.txt", "hello")
    with pytest.raises(sdk.ServerError):
        client.upload(data)


def test_inputs_are_uploaded_whatever_they_are(client, picture, tmp_path):
    path = tmp_path / "in.png"
    picture.save(path)
    for image in (picture, path, str(path), path.read_bytes(), client.upload(path), client.upload(path).id):
        turned = client.run("turn", image=image)[0].image()
        assert turned.getpixel((2, 1)) == (255, 0, 0)


def test_a_list_and_other_jobs_serve_as_inputs(client):
    other = client.submit("count", {"n": 1, "word": "job"})
    assert client.run("join", texts=["a text", b"bytes", other])[0].text() == "a text bytes job 1"


def test_an_input_may_wait_for_what_a_person_picks(client):
    first = client.submit("count", {"n": 1})
    job = client.submit("join", inputs={"texts": [{"job": first.id, "review": "picked"}, "end"]})
    (output,) = first.wait()
    client.call("review", {"ids": [output.id], "state": "picked"})
    assert job.wait(timeout=20)[0].text() == "counted 1 end"


def test_a_flow_is_accepted_as_a_whole(client):
    first = {"id": "a", "job": "count", "params": {"n": 2}}
    _, last = client.flow([first, {"job": "join", "inputs": {"texts": [{"job": "a"}, "end"]}}])
    assert last.wait()[0].text() == "counted 2 end"
    before = len(client.jobs(limit=1000))
    with pytest.raises(sdk.UnknownJob):
        client.flow([first, {"job": "nonsense"}])
    assert len(client.jobs(limit=1000)) == before


def test_results_are_saved_inside_the_folder_whatever_their_name(client, tmp_path):
    uploaded = client.upload("text", kind="text", name="../../escaped.txt")
    assert client.download(uploaded, tmp_path) == tmp_path / "escaped.txt"
    output = client.run("count")[0]
    assert output.save(tmp_path) == tmp_path / f"{output.id}.txt"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{output.id}.txt", "escaped.txt"])


def test_results_that_are_called_the_same_are_saved_beside_each_other(client, tmp_path):
    first, second = (client.upload(text, kind="text", name="a.txt") for text in ("one", "two"))
    saved = [each.save(tmp_path) for each in (first, second, first, second)]
    assert saved == [tmp_path / "a.txt", tmp_path / f"a {second.id}.txt"] * 2 and saved[0].read_text() == "one"
    output = client.run("count")[0]
    named = sdk.Artifact(client, output.id, output.record | {"name": "a"})  # as a program names it
    assert named.save(tmp_path) == tmp_path / f"a {named.id}.txt"


def test_cancel_ends_the_wait_and_may_be_repeated(client):
    job = client.submit("count", {"n": 1000, "delay": 0.02})
    next(event for event in job.events() if event.type == "progress")
    job.cancel()
    with pytest.raises(sdk.Cancelled):
        job.wait()
    client.cancel(job.id)
    assert job.state == "cancelled" and job.outputs == []


def test_cancel_can_keep_what_is_there(client):
    job = client.submit("numbers", {"n": 1000, "delay": 0.05})
    next(event for event in job.events() if event.type == "artifact" and event.data["idx"] == 1)
    job.cancel(keep_partial=True)
    with pytest.raises(sdk.Cancelled):
        job.wait()
    assert [output.text() for output in job.outputs][:2] == ["0", "1"]


def test_skip_lets_a_job_go_on_with_the_next(client):
    job = client.submit("skips", {"n": 2})
    for number in range(2):
        next(event for event in job.events() if event.type == "progress" and event.data["step"] == number)
        job.skip() if number else client.skip(job.id)
    assert [output.text() for output in job.wait()] == ["skipped 0", "skipped 1"]
    with pytest.raises(sdk.Conflict, match="is done; skip is for jobs that run"):
        job.skip()


def test_a_wait_with_a_timeout_leaves_the_job_alone(client):
    job = client.submit("count", {"n": 50, "delay": 0.03})
    with pytest.raises(TimeoutError, match="goes on"):
        job.wait(timeout=0.5)
    assert job.wait()[0].text() == "counted 50"


def test_threads_share_a_client(client):
    with ThreadPoolExecutor(8) as threads:
        texts = threads.map(lambda n: client.run("count", n=n + 1, word=f"thread {n}")[0].text(), range(24))
    assert list(texts) == [f"thread {n} {n + 1}" for n in range(24)]


def test_lists_name_the_newest_first(client):
    jobs = [client.submit("count", session="lists") for _ in range(3)]
    for job in jobs:
        job.wait()
    assert [job.id for job in client.jobs(session="lists", state="done")] == [job.id for job in reversed(jobs)]
    assert [artifact.record["job"] for artifact in client.artifacts(session="lists", limit=2)] == [
        jobs[2].id,
        jobs[1].id,
    ]
    output = client.artifact(jobs[0].outputs[0].id)
    assert output.record["job"] == jobs[0].id and client.artifact(output.record).text() == output.text()


def test_the_servers_document_has_the_parameters_of_all_jobs(client):
    schemas = client.document()["components"]["schemas"]
    (count,) = [schema for name, schema in schemas.items() if name.endswith(".count")]
    assert "word" in count["properties"]


def test_a_retry_is_a_new_job(client):
    job = client.submit("fail")
    with pytest.raises(sdk.PluginError):
        job.wait()
    again = job.retry()
    with pytest.raises(sdk.PluginError):
        again.wait()
    assert again.id != job.id


def test_what_happens_before_an_answer_is_here_is_not_missed(server, client, monkeypatch):
    def late(*arguments, **options):
        answer = call(*arguments, **options)
        time.sleep(0.5)
        return answer

    call = client.call
    monkeypatch.setattr(client, "call", late)
    with server.client() as other:
        job = client.job(other.submit("count", {"n": 20}).id)
        assert job.wait(timeout=10)[0].text() == "counted 20"
        assert job.retry({"n": 1}).wait(timeout=10)[0].text() == "counted 1"


def test_the_queue_pauses_and_resumes(client):
    assert client.queue("pause")["paused"]
    job = client.submit("count")
    time.sleep(0.3)
    assert job.state == "queued"
    assert not client.queue("resume")["paused"]
    assert job.wait()


def test_a_job_that_is_asked_for_again_is_where_it_is_now(client):
    client.queue("pause")
    first, second = client.submit("count"), client.submit("count")
    assert client.job(second.id).record["position"] == 1
    first.cancel()
    wait_until(lambda: client.job(second.id).record["position"] == 0)
    client.queue("resume")
    second.wait(timeout=30)


def test_a_wrong_token_is_refused_with_the_way_out(server):
    with pytest.raises(sdk.Unauthorized, match="token") as caught:
        sdk.Client(server.url, "wrong")
    assert "config" in caught.value.hint


def test_nobody_there_says_how_to_start_one():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(sdk.Unreachable, match="no server answers") as caught:
        sdk.Client(url)
    assert "python3 server.py" in caught.value.hint


def test_the_token_is_found_where_the_server_puts_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert sdk.read_token() == ""
    assert sdk.read_token() == "" != tokens.read_token() == sdk.read_token()


def test_this_machines_token_goes_to_no_other(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    token = tokens.read_token()
    found = {url: sdk.find_token(urlsplit(url)) for url in ("http://[::1]:7777", "http://10.0.0.1:7777/?token=ours")}
    assert list(found.values()) == [token, "ours"]
    assert sdk.find_token(urlsplit("http://example.org:7777")) == ""


def test_the_printed_address_is_enough(server):
    with sdk.Client(f"{server.url}/?token={server.token}") as client:
        assert client.run("count")


def test_a_message_over_the_limit_is_refused_before_it_is_sent():
    with serve({"demo": DEMO}, max_message_bytes=100_000) as server, server.client() as client:
        with pytest.raises(sdk.TooLarge, match="over the server's limit of 100,000"):
            client.run("count", word="x" * 200_000)
        assert client.run("count", n=1)[0].text() == "counted 1"


def test_calls_wait_for_a_server_that_comes_back(picture):
    with serve({"demo": DEMO}) as server, server.client() as client:
        server.kill()
        wait_until(lambda: not client.online)
        with ThreadPoolExecutor() as threads:  # the server answers before it has loaded the plugin
            turned = threads.submit(lambda: client.run("turn", image=picture)[0].image())
            server.start()
            assert turned.result(60).getpixel((2, 1)) == (255, 0, 0)


def test_a_server_with_a_new_token_ends_the_wait():
    with serve({"demo": DEMO}) as server, server.client() as client:
        heard = []
        client.on_event(lambda type, data: heard.append((type, data.get("code"))))
        job = client.submit("count", {"n": 1000, "delay": 0.05})
        server.kill()
        (server.folder / "config/stable-core/token").unlink()
        server.start()
        with pytest.raises(sdk.Unauthorized):
            job.wait(timeout=30)
        wait_until(lambda: ("refused", "unauthorized") in heard)


def test_what_becomes_of_the_connection_is_told_like_events(server):
    with server.client() as other, Cable(server) as cable, sdk.Client(cable.url, server.token) as client:
        heard = []
        client.on_event(lambda type, data: heard.append((type, data)))
        cable.cut()
        wait_until(lambda: ("lost", {}) in heard)
        job = other.run("count", n=1)[0].record["job"]
        cable.mend()
        wait_until(lambda: heard[-1][0] == "connected")
        between = heard[heard.index(("lost", {})) + 1 : -1]
        assert [data["state"] for _, data in between if data.get("id") == job] == ["queued", "running", "done"]
        assert heard[-1][1] == {"missed": len(between), "resync": False}


@pytest.mark.slow
def test_no_state_is_missed_or_told_twice_through_a_broken_cable(server):
    with Cable(server) as cable, sdk.Client(cable.url, server.token) as client:
        job = client.submit("numbers", {"n": 40, "delay": 0.05})
        story = []
        for event in job.events(timeout=60):
            story.append(event.data["idx"] if event.type == "artifact" else event.data.get("state"))
            if story[-1] in (5, 20):
                cable.cut()
                threading.Timer(0.5, cable.mend).start()
        assert [each for each in story if each != "queued"] == ["running", *range(40), "done"]


@pytest.mark.slow
def test_a_client_that_was_away_too_long_catches_up_all_the_same():
    with serve({"demo": DEMO}, events_kept=100) as server, server.client() as other, Cable(server) as cable:
        with sdk.Client(cable.url, server.token) as client:
            job, heard = client.submit("count", {"n": 50, "delay": 0.02}), []
            client.on_event(lambda type, data: heard.append(type))
            cable.cut()
            for each in other.flow([{"job": "count", "params": {"n": 1, "delay": 0}}] * 60):
                each.wait()
            job_there = other.job(job.id)
            job_there.wait()
            oldest = server.folder / "data/jobs.db"
            wait_until(lambda: kept_events(oldest) <= 101)
            cable.mend()
            assert job.wait(timeout=10)[0].text() == "counted 50" and "resync" in heard


def kept_events(path):
    import sqlite3

    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM events").fetchone()[0]


def test_closing_ends_the_waits_of_other_threads(server):
    client = server.client()
    job = client.submit("count", {"n": 1000, "delay": 0.05})
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(job.wait)
        time.sleep(0.2)
        client.close()
        with pytest.raises(sdk.Unreachable, match="closed"):
            waiting.result(10)
    asked = time.monotonic()
    with pytest.raises(sdk.Unreachable, match="closed"):
        client.queue()
    assert time.monotonic() - asked < 5, "it does not wait for a connection that nobody makes"
    with server.client() as other:
        other.cancel(job.id)


def test_light_jobs_and_plans_are_answered_at_once(server):
    with server.client() as client:
        assert client.light("length", {"word": "w"}, {"text": "four"}) == [{"length": 4, "word": "w"}]
        plan = client.plan("count", {"n": 5})
        assert plan["params"] == {"n": 5, "delay": 0.01, "word": "counted"} and plan["count"] == 1


def test_the_file_works_alone(server, tmp_path):
    shutil.copy(ROOT / "clients/python/stable_core.py", tmp_path)
    code = f"""
import sys, stable_core
assert not [name for name in sys.modules if name.split(".")[0] in ("core", "clients")]
with stable_core.Client({server.url!r}, {server.token!r}) as client:
    print(client.run("count", n=2)[0].text())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("counted 2\n", "")


@pytest.mark.parametrize("name", ["..", ".", "/"])
def test_an_artifact_whose_name_is_none_of_a_file_is_saved_by_its_id(client, tmp_path, name):
    artifact = client.upload(b"hello", kind="text", name=name)
    assert artifact.save(tmp_path) == tmp_path / f"{artifact.id}.txt"
    assert not [*tmp_path.parent.glob("*.part")]
