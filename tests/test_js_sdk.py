"""The JavaScript SDK does what the Python one does: as a package in Node, as a file in Chromium, on real servers."""

import contextlib
import inspect
import io
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import PIL.Image
import pytest

from clients.python import stable_core
from core import errors
from tests import node
from tests.cable import Cable
from tests.serving import serve, wait_until
from tests.test_sdk import DEMO, kept_events

README = (node.PACKAGE / "README.md").read_text("utf-8")
DRAWING = """
import PIL.Image

class Draw(Params):
    prompt: str = param("", help="What to draw.")
    seed: int = param(0, help="The seed.")
    steps: int = param(5, ge=1, help="How many steps.")

class Drawing(Plugin):
    @job(concurrency=4)
    def txt2img(self, params: Draw, ctx: Context) -> Image:
        return Result(self.draw(params, ctx, PIL.Image.new("RGB", (16, 16), "blue")), {"seed": params.seed})

    @job(concurrency=4)
    def img2img(self, image: Image, params: Draw, ctx: Context) -> Image:
        return self.draw(params, ctx, image.rotate(180))

    def draw(self, params, ctx, picture):
        for step in range(params.steps):
            ctx.raise_if_cancelled()
            ctx.progress(step + 1, params.steps, "draw")
            ctx.preview(picture)
            time.sleep(0.04)
        return picture
"""
SIZE = 5_000_000
KEPT = 200  # events
BEFORE = """
import * as sdk from "stable-core";
const { Client } = sdk;
const client = new Client();
const say = (value) => console.log(JSON.stringify(value));
const step = (name) => new Promise((resolve) => (process.stdin.once("data", resolve), say(name)));
const caught = async (promise) => promise.then(() => ({ code: "nothing was thrown" }), (error) => error);
"""


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO, "drawing": DRAWING}, events_kept=KEPT) as server:
        yield server


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder in which nothing but the package was installed, as it would be published."""
    folder = tmp_path_factory.mktemp("package")
    node.npm("pack", "--pack-destination", str(folder), folder=node.npm_ci())
    tarball = next(folder.glob("stable-core-*.tgz"))
    (folder / "package.json").write_text('{"type": "module"}')
    node.npm("install", "--ignore-scripts", "--prefer-offline", str(tarball), folder=folder)
    return folder


def place(server, url=None):
    """The environment in which a client finds the server."""
    return {"STABLE_CORE_URL": url or server.url, "STABLE_CORE_TOKEN": server.token}


@pytest.fixture
def run(server, package):
    """Runs JavaScript that has a `client`; returns what it says."""

    def run(code, **environment):
        out = node.run_node(f"{BEFORE}{code}\nclient.close();", folder=package, **(place(server) | environment))
        return [json.loads(line) for line in out.splitlines()]

    return run


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def png(color="blue"):
    out = io.BytesIO()
    picture = PIL.Image.new("RGB", (3, 2), color)
    picture.putpixel((0, 0), (255, 0, 0))
    picture.save(out, "PNG")
    return out.getvalue()


def test_run_tells_progress_and_previews_and_returns_the_outputs(run):
    steps, jpeg, text = run("""
        const steps = [], previews = [];
        const options = { onProgress: ({ step }) => steps.push(step), onPreview: (jpeg) => previews.push(jpeg) };
        const [output] = await client.run("count", { n: 30, delay: 0.02, word: "seen" }, options);
        say(steps);
        say([previews[0] instanceof Uint8Array, [...previews[0].slice(0, 2)]]);
        say(await output.text());
    """)
    assert steps == sorted(steps) and steps[-1] == 30 and len(steps) > 3
    assert (jpeg, text) == ([True, [0xFF, 0xD8]], "seen 30")


def test_events_tell_the_whole_story_in_order(run):
    (story,) = run("""
        const story = [];
        const job = await client.submit("numbers", { n: 2 });
        for await (const { type, data } of job.events()) story.push([type, data.state ?? data.idx]);
        say(story);
    """)
    shown = [event for event in story if event != ["job", "queued"]]  # it may have started before we looked
    assert shown == [["job", "running"], ["artifact", 0], ["artifact", 1], ["job", "done"]]


def test_a_wait_goes_on_though_nothing_else_refers_to_its_job(run):
    assert run("""
        const { setFlagsFromString } = await import("node:v8");
        const { runInNewContext } = await import("node:vm");
        setFlagsFromString("--expose_gc");
        const timer = setInterval(runInNewContext("gc"), 10);
        say((await (await client.submit("count", { n: 40, delay: 0.02 })).wait()).length);
        clearInterval(timer);
    """) == [1]


def test_a_flow_is_accepted_as_a_whole(run):
    text, code, more = run("""
        const first = { id: "a", job: "count", params: { n: 2 } };
        const texts = [{ job: "a" }, "end"];
        const [, last] = await client.flow([first, { job: "join", inputs: { texts } }]);
        say(await (await last.wait())[0].text());
        const before = (await client.jobs({ limit: 1000 })).length;
        say((await caught(client.flow([first, { job: "nonsense" }]))).code);
        say((await client.jobs({ limit: 1000 })).length - before);
    """)
    assert (text, code, more) == ("counted 2 end", "unknown_job", 0)


def test_an_input_may_wait_for_what_a_person_picks(run):
    assert run("""
        const first = await client.submit("count", { n: 1 });
        const job = await client.submit("join", {}, { texts: [{ job: first.id, review: "picked" }, "end"] });
        const [output] = await first.wait();
        await client.call("review", { ids: [output.id], state: "picked" });
        say(await (await job.wait({ signal: AbortSignal.timeout(20_000) }))[0].text());
    """) == ["counted 1 end"]


def test_errors_are_typed_and_name_every_field(run):
    bad, unknown, failed = run("""
        const bad = await caught(client.run("count", { n: 0, delay: "long" }));
        say([bad instanceof sdk.InvalidParams, bad instanceof Error, bad.name, bad.message, bad.errors]);
        const unknown = await caught(client.run("cuont"));
        say([unknown instanceof sdk.UnknownJob, unknown.message]);
        const job = await client.submit("fail");
        const failed = await caught(job.wait());
        say([failed instanceof sdk.PluginError, failed.message, job.state, (await job.retry()).id !== job.id]);
    """)
    assert bad[:3] == [True, True, "InvalidParams"] and "n: 0 is less than the minimum of 1" in bad[3]
    assert {error["field"] for error in bad[4]} == {"n", "delay"}
    assert unknown[0] and "Did you mean count" in unknown[1]
    assert failed[0] and "ValueError: no way" in failed[1] and failed[2:] == ["failed", True]


def test_every_code_of_the_wire_has_its_class(run):
    ours, misnamed, newer = run("""
        const classes = Object.values(sdk).filter((each) => each.prototype instanceof sdk.ServerError);
        say(classes.map((each) => each.code));
        say(classes.filter((each) => new each("").name !== each.name));
        const error = sdk.ServerError.fromWire({ code: "out_of_coffee", message: "make some", hint: "there" });
        say([error.code, error.message, error.hint, error.field]);
    """)
    assert set(ours) == {*errors.CODES, "unreachable"} and misnamed == []
    assert newer == ["out_of_coffee", "make some", "there", None]


def test_it_has_the_words_of_the_python_sdk(run):
    camel = lambda name: re.sub(r"_(.)", lambda match: match[1].upper(), name)  # noqa: E731
    (ours,) = run("""
        const all = (kind) => Object.getOwnPropertyNames(kind.prototype);
        const job = await client.submit("count");
        say([[...all(sdk.Client), ...Object.keys(client)], [...all(sdk.Job), ...Object.keys(job)],
             [...all(sdk.Artifact), "id"]]);
    """)
    kinds = (stable_core.AsyncClient, stable_core.AsyncJob, stable_core.AsyncArtifact)
    for kind, names, otherwise in zip(kinds, ours, (set(), set(), {"image"}), strict=True):
        theirs = {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")} - otherwise
        assert {camel(name) for name in theirs} <= set(names)


def test_inputs_are_uploaded_whatever_they_are(run, tmp_path):
    path = tmp_path / "in put.png"
    path.write_bytes(png())
    turned, names, text = run(
        """
        const { readFileSync } = await import("node:fs");
        const { pathToFileURL } = await import("node:url");
        const path = process.env.PICTURE, data = new Uint8Array(readFileSync(path)), file = pathToFileURL(path);
        const stored = await client.upload(file);
        const images = [path, file, data, data.buffer, new Blob([data]), new File([data], "f.png"), stored, stored.id];
        const turned = await Promise.all(images.map((image) => client.run("turn", { image })));
        say(new Set(turned.map(([each]) => each.record.facts.width + "x" + each.record.facts.height)).size);
        say([stored.kind, stored.record.name, (await client.upload(new File(["a"], "a.txt"))).record.name]);
        const other = await client.submit("count", { n: 1, word: "job" });
        const texts = ["a text", new TextEncoder().encode("bytes"), other];
        say(await (await client.run("join", { texts }))[0].text());
        """,
        PICTURE=str(path),
    )
    assert (turned, text) == (1, "a text bytes job 1")
    assert names == ["image", "in put.png", "a.txt"]


def test_results_are_saved_inside_the_folder_whatever_their_name(run, tmp_path):
    saved = run(
        """
        const uploaded = await client.upload("text", { kind: "text", name: "../../escaped.txt" });
        say(await client.download(uploaded, process.env.FOLDER));
        say(await client.download(uploaded.id, process.env.FOLDER + "/other.txt"));
        const [output] = await client.run("count");
        say(await client.download(output, process.env.FOLDER));
        for (const name of ["escaped", "poem"]) { // as programs name theirs
          say(await new sdk.Artifact(client, output.id, { ...output.record, name }).save(process.env.FOLDER));
        }
        """,
        FOLDER=str(tmp_path),
    )
    assert sorted(saved) == sorted(str(path) for path in tmp_path.iterdir()) and len(saved) == 5
    assert (tmp_path / f"escaped {os.path.basename(saved[2])}").exists() and (tmp_path / "poem.txt").exists()
    assert (tmp_path / "escaped.txt").read_text() == (tmp_path / "other.txt").read_text() == "text"


def test_results_come_in_other_formats_by_a_link_and_anew(run):
    seed, jpeg, status, text = run("""
        const [drawn] = await client.run("txt2img", { steps: 1, seed: 4 });
        say(drawn.record.facts.seed);
        say([[...(await drawn.bytes({ format: "jpeg", quality: 50 }))].slice(0, 2), (await drawn.blob()).type]);
        const link = await drawn.link(60);
        say([(await fetch(link)).status, (await fetch(drawn.url)).status]);
        const job = await client.submit("count", { n: 1 });
        await job.wait();
        say(await (await (await job.retry({ n: 2 })).wait())[0].text());
    """)
    assert (seed, jpeg, status, text) == (4, [[0xFF, 0xD8], "image/png"], [200, 401], "counted 2")


def test_what_cannot_be_uploaded_is_refused_by_name(run):
    messages = run("""
        const { limits } = await client.connect();
        for (const value of [new Map(), new URL("https://example.org/a.png"), undefined]) {
          say((await caught(client.upload(value))).message);
        }
        say((await caught(client.upload(new Uint8Array(limits.upload_bytes + 1)))).code);
    """)
    assert [message.split(" cannot")[0] for message in messages[:3]] == [
        "upload: a Map", "upload: the URL https://example.org/a.png", "upload: a undefined",
    ]  # fmt: skip
    assert messages[3] == "too_large"


def test_light_jobs_and_plans_are_answered_at_once(run):
    light, plan, choices, queue, accepts = run("""
        say(await client.light("length", { word: "w" }, { text: "four" }));
        say(await client.plan("count", { n: 5 }));
        say((await caught(client.choices("nonsense"))).code);
        say((await client.queue()).paused);
        say((await client.accepts(await client.upload("a text"))).jobs);
    """)
    assert {"kind": "text", "list": False, "optional": False, "needs": []} in [
        each["inputs"].get("text") for each in accepts
    ]
    assert light == [{"length": 4, "word": "w"}]
    assert plan["params"] == {"n": 5, "delay": 0.01, "word": "counted"} and plan["count"] == 1
    assert (choices, queue) == ("not_found", False)


def test_twenty_jobs_at_once_get_their_own_results(run):
    (texts,) = run("""
        const numbers = Array.from({ length: 20 }, (_, n) => n + 1);
        const all = numbers.map((n) => client.run("count", { n, delay: 0, word: `mine ${n}` }));
        say(await Promise.all((await Promise.all(all)).map(([output]) => output.text())));
    """)
    assert texts == [f"mine {n} {n}" for n in range(1, 21)]


def test_cancel_and_skip_steer_a_job(run):
    cancelled, skipped, late = run("""
        const until = async (job, wanted) => { for await (const event of job.events()) if (wanted(event)) return; };
        const job = await client.submit("count", { n: 1000, delay: 0.02 });
        await until(job, ({ type }) => type === "progress");
        await client.cancel(job.id);
        say([(await caught(job.wait())) instanceof sdk.Cancelled, await job.cancel(), job.outputs.length]);
        const other = await client.submit("skips", { n: 1 });
        await until(other, ({ type }) => type === "progress");
        await other.skip();
        say(await (await other.wait())[0].text());
        say((await caught(client.skip(other))).code);
    """)
    assert (cancelled, skipped, late) == ([True, None, 0], "skipped 0", "conflict")


def test_a_signal_ends_the_wait_and_leaves_the_job_alone(run):
    reason, text, before = run("""
        const job = await client.submit("count", { n: 30, delay: 0.03 });
        say((await caught(job.wait({ signal: AbortSignal.timeout(200) }))).name);
        say(await (await job.wait())[0].text());
        const before = (await client.jobs({ limit: 1000 })).length;
        const error = await caught(client.run("count", {}, { signal: AbortSignal.abort(new Error("no more")) }));
        say([error.message, (await client.jobs({ limit: 1000 })).length - before]);
    """)
    assert (reason, text, before) == ("TimeoutError", "counted 30", ["no more", 0])


def test_what_happens_before_an_answer_is_here_is_not_missed(run):
    texts = run("""
        const other = new Client();
        const call = client.call.bind(client);
        client.call = async (...all) => {
          const answer = await call(...all);
          await new Promise((resolve) => setTimeout(resolve, 300));
          return answer;
        };
        const signal = AbortSignal.timeout(10_000);
        const job = await client.job((await other.submit("count", { n: 10 })).id);
        say(await (await job.wait({ signal }))[0].text());
        say(await (await (await job.retry({ n: 1 })).wait({ signal }))[0].text());
        other.close();
    """)
    assert texts == ["counted 10", "counted 1"]


def test_jobs_and_artifacts_are_listed_with_the_newest_first(run):
    same, known, named, outputs = run("""
        const jobs = [];
        for (const n of [1, 2, 3]) jobs.push(await client.submit("count", { n }, {}, { session: "listed" }));
        for (const job of jobs) await job.wait();
        const found = await client.jobs({ session: "listed", state: "done" });
        say(found.map(({ id }) => id).join() === jobs.reverse().map(({ id }) => id).join());
        say((await client.artifacts({ session: "listed", limit: 2 })).map(({ record }) => record.job === jobs[0].id));
        const [first] = await jobs[0].wait();
        const { components } = await client.document();
        const params = Object.keys(components.schemas).some((name) => name.endsWith(".count"));
        say([(await client.artifact(first.id).load()).job === jobs[0].id, client.artifact(first.record).kind, params]);
        const again = new Client();
        const [other] = await again.jobs({ session: "listed" });
        say([(await caught((async () => other.outputs)())).message, (await other.wait()).length]);
        again.close();
    """)
    assert (same, known, named, outputs[1]) == (True, [True, False], [True, "text", True], 1)
    assert "await its wait() or refresh() first" in outputs[0]


def test_a_message_over_the_limit_is_refused_before_it_is_sent(run):
    code, message, text = run("""
        const { limits } = await client.connect();
        const word = "ä".repeat(limits.message_bytes / 2);
        const error = await caught(client.run("count", { word }));
        say(error.code);
        say(error.message);
        say(await (await client.run("count", { n: 1 }))[0].text());
    """)
    assert (code, text) == ("too_large", "counted 1") and "over the server's limit of" in message


def test_a_wrong_token_and_nobody_there_say_the_way_out(run, tmp_path):
    ((code, hint),) = run("const error = await caught(client.run('count')); say([error.code, error.hint]);",
                          STABLE_CORE_TOKEN="wrong")  # fmt: skip
    assert code == "unauthorized" and "config" in hint
    code, hint = run("const error = await caught(client.connect()); say([error.code, error.hint]);",
                     STABLE_CORE_URL="http://127.0.0.1:9")[0]  # fmt: skip
    assert code == "unreachable" and "python3 server.py" in hint


def test_the_token_is_found_as_in_python_and_goes_to_no_other_machine(run, server):
    settings = {"XDG_CONFIG_HOME": str(server.folder / "config"), "STABLE_CORE_TOKEN": ""}
    assert run("say((await client.run('count', { n: 1 })).length);", **settings) == [1]
    printed = {"STABLE_CORE_URL": f"{server.url}/?token={server.token}", "STABLE_CORE_TOKEN": ""}
    assert run("say((await client.run('count', { n: 1 })).length);", **printed) == [1]
    sent = """
        const { createServer } = await import("node:http");
        const seen = [];
        const other = createServer((request, answer) => {
          seen.push(request.headers.authorization ?? null);
          answer.end("{}");
        });
        await new Promise((resolve) => other.listen(0, "127.0.0.2", resolve));
        const foreign = new Client({ url: `http://127.0.0.2:${other.address().port}`, patience: 0.1 });
        await caught(foreign.upload("text"));
        say(seen.filter((header) => header !== null));
        other.closeAllConnections();
        other.close();
    """
    assert run(sent, **settings) == [[]]


@contextlib.contextmanager
def through_cable(server, package, code):
    """The cable, and the process that runs JavaScript at its other end."""
    with Cable(server) as cable, node.start_node(code, folder=package, **place(server, cable.url)) as process:
        yield cable, process


def go(process):
    """The JavaScript goes on from its `step`."""
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_pulled_cable_and_a_killed_server_do_not_disturb_a_run(server, package):
    code = f"""{BEFORE}
        const onProgress = ({{ step }}) => step < 50 && say("running");
        const [output] = await client.run("count", {{ n: 100, delay: 0.02, word: "survived" }}, {{ onProgress }});
        say(await output.text());
        const jobs = await client.jobs({{ session: "pulled" }});
        say([jobs.length, jobs[0].record.attempt]);
        client.close();
    """
    code = code.replace("new Client()", 'new Client({ session: "pulled" })')
    with through_cable(server, package, code) as (cable, process):
        assert process.stdout.readline() == '"running"\n'
        cable.cut()
        server.kill()
        server.start()
        cable.mend()
        out, err = process.communicate(timeout=60)
    assert (out.splitlines()[-2:], err) == (['"survived 100"', "[1,2]"], "")


def test_no_state_is_missed_or_told_twice_through_a_broken_cable(server, package):
    code = f"""{BEFORE}
        const job = await client.submit("numbers", {{ n: 30, delay: 0.05 }});
        for await (const {{ type, data }} of job.events()) say(type === "artifact" ? data.idx : data.state);
        client.close();
    """
    story = []
    with through_cable(server, package, code) as (cable, process):
        for line in process.stdout:
            story.append(json.loads(line))
            if story[-1] in (5, 15):
                cable.cut()
                threading.Timer(0.4, cable.mend).start()
        assert process.communicate(timeout=60) == ("", "")
    assert [each for each in story if each != "queued"] == ["running", *range(30), "done"]


def test_what_becomes_of_the_connection_is_told_like_events(server, package):
    code = f"""{BEFORE}
        let events = 0;
        client.onEvent(({{ type, data }}) => {{
          events = type === "lost" ? 0 : events + 1;
          if (type === "connected") say([type, data.missed === events - 1, data.missed > 3]);
          if (type === "lost" || type === "refused") say([type, data.code ?? null]);
        }});
    """
    with server.client() as other, through_cable(server, package, code) as (cable, process):
        hear = lambda: json.loads(process.stdout.readline())  # noqa: E731
        assert hear() == ["connected", True, False]
        cable.cut()
        assert hear() == ["lost", None]
        other.run("count", n=1)
        cable.mend()
        assert hear() == ["connected", True, True]  # queued, running, its result, done
        cable.cut()
        assert hear() == ["lost", None]
        server.kill()
        (server.folder / "config/stable-core/token").unlink()
        server.start()
        cable.mend()
        assert hear() == ["refused", "unauthorized"]
        process.kill()


def test_up_and_downloads_that_are_cut_go_on_where_they_were(server, package):
    code = f"""{BEFORE}
        const text = "abcdefgh".repeat({SIZE // 8});
        await client.connect();
        await step("upload");
        const uploaded = await client.upload(text, {{ kind: "text", name: "löng.txt" }});
        await step("download");
        const same = (await uploaded.text()) === text;
        say([same, uploaded.record.name]);
        process.exit();
    """
    with through_cable(server, package, code) as (cable, process):
        for step in ("upload", "download"):
            assert json.loads(process.stdout.readline()) == step and cable.passed < SIZE * 1.2
            cable.cut_after, cable.passed = 2_000_000, 0
            go(process)
            wait_until(lambda: cable.is_cut)
            cable.mend()
        assert process.communicate(timeout=60) == ('[true,"löng.txt"]\n', "")
        assert cable.passed < SIZE * 1.2


def test_a_submission_whose_answer_is_lost_is_not_doubled(server, package):
    code = f"""{BEFORE}
        await client.plugins();  // known before, so that the submission is the first call whose answer is lost
        await step("ready");
        say(await (await client.run("count", {{ n: 2 }}))[0].text());
        client.close();
        process.exit();
    """
    code = code.replace("new Client()", 'new Client({ session: "lost-in-js" })')
    with server.client() as other, through_cable(server, package, code) as (cable, process):
        assert process.stdout.readline() == '"ready"\n'
        cable.deaf = True
        go(process)
        wait_until(lambda: other.jobs(session="lost-in-js"))
        cable.cut()
        cable.mend()
        assert process.communicate(timeout=60) == ('"counted 2"\n', "")
        assert len(other.jobs(session="lost-in-js")) == 1


def test_a_client_that_was_away_too_long_catches_up_all_the_same(server, package):
    code = f"""{BEFORE}
        client.onEvent(({{ type }}) => type === "resync" && say(type));
        const job = await client.submit("count", {{ n: 30, delay: 0.02 }});
        await step("submitted");
        say(await (await job.wait({{ signal: AbortSignal.timeout(10_000) }}))[0].text());
        process.exit();
    """
    with server.client() as other, through_cable(server, package, code) as (cable, process):
        assert process.stdout.readline() == '"submitted"\n'
        cable.cut()
        go(process)
        for job in other.flow([{"job": "count", "params": {"n": 1, "delay": 0}}] * (KEPT // 2)):
            job.wait()
        wait_until(lambda: kept_events(server.folder / "data" / "jobs.db") <= KEPT + 1)
        cable.mend()
        assert process.communicate(timeout=60) == ('"resync"\n"counted 30"\n', "")


def test_calls_wait_for_a_server_that_comes_back(server, package):
    code = f"""{BEFORE}
        await client.connect();
        await step("ready");
        say(await (await client.run("join", {{ texts: ["back", "again"] }}))[0].text());
        process.exit();
    """
    with node.start_node(code, folder=package, **place(server)) as process:
        assert process.stdout.readline() == '"ready"\n'
        server.kill()
        go(process)
        server.start()  # it answers before it has loaded the plugin
        assert process.communicate(timeout=60) == ('"back again"\n', "")


def test_closing_and_a_new_token_end_the_waits(server, package):
    code = f"""{BEFORE}
        const other = new Client();
        const job = await client.submit("count", {{ n: 1000, delay: 0.02 }});
        const [closed, refused] = [caught(job.wait()), caught((await other.job(job.id)).wait())];
        client.close();
        await step((await closed).message);
        say((await refused) instanceof sdk.Unauthorized);
        await caught(other.connect()).then((error) => say(error.code));
    """
    with node.start_node(code, folder=package, **place(server)) as process:
        assert process.stdout.readline() == '"the client was closed."\n'
        server.kill()
        (server.folder / "config/stable-core/token").unlink()
        server.start()
        go(process)
        process.stdin.close()
        assert process.stdout.read() == 'true\n"unauthorized"\n' and process.wait(30) == 0
    with server.client() as python:
        python.cancel(python.jobs(limit=1)[0])  # it may wait for its worker still


@pytest.mark.parametrize("number", range(len(blocks("js"))))
def test_the_examples_of_its_readme_run(server, package, tmp_path, number):
    (tmp_path / "node_modules").symlink_to(package / "node_modules")
    out = node.run_node(blocks("js")[number], folder=tmp_path, **place(server))
    expected = ["circle.png", "bytes of JPEG", "invalid_params steps"][number]
    assert expected in out
    assert (tmp_path / "circle.png").exists() == (number == 0)


def compiled(package, name, source):
    """What TypeScript says of a user's file, "" if nothing."""
    (package / name).write_text(source)
    tsc = node.npm_ci() / "node_modules" / "typescript" / "bin" / "tsc"
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--pretty", "false"]
    try:
        return node.run_node(tsc, *options, name, folder=package)
    except AssertionError as error:
        return str(error)


def test_the_typed_example_of_its_readme_compiles_and_mistakes_do_not(package):
    (example,) = blocks("ts")
    wrong = example.replace("event.data.total", "event.data.state").replace('"a red circle"', "12")
    with ThreadPoolExecutor() as threads:
        right, said = threads.map(lambda pair: compiled(package, *pair), [("a.ts", example), ("b.ts", wrong)])
    assert right == ""
    assert "TS2345: Argument of type 'number'" in said


def test_the_file_is_listed_whole_in_the_package(package):
    installed = {path.name for path in (package / "node_modules" / "stable-core").rglob("*") if path.is_file()}
    assert installed == {"stable-core.js", "stable-core.d.ts", "README.md", "package.json"}


@pytest.fixture
def page(browser, server):
    """A page of the server's own address over a cable that can be cut; it finds the scripts of the README's example."""
    folders = (node.npm_ci(), node.PACKAGE / "node_modules" / "socket.io-client" / "dist")
    scripts = {path.name: path for folder in folders for path in folder.glob("*.js")}
    with Cable(server) as cable, browser.new_context(accept_downloads=True) as context:
        page = context.new_page()
        page.cable, page.troubles = cable, []
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.route("**/app/*", lambda route: route.fulfill(path=scripts[route.request.url.rsplit("/", 1)[1]]))
        yield page
        assert page.troubles == []


@pytest.mark.browser
def test_a_page_without_a_build_draws_with_the_cookie(page, server):
    page.goto(f"{page.cable.url}/?token={server.token}")
    page.goto(f"{page.cable.url}/healthz")  # Chromium lets only what came from there connect there
    page.set_content(blocks("html")[0])
    page.locator("input").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_function("document.querySelector('pre').textContent === 'done'")
    assert page.wait_for_function("document.querySelector('img').naturalWidth").json_value() == 3


@pytest.mark.browser
def test_a_page_with_a_token_comes_through_a_broken_connection(page, server):
    page.goto(f"{page.cable.url}/healthz")
    page.set_content(blocks("html")[0].partition("<input")[0])
    page.evaluate(
        """async (token) => {
            const { Client } = await import("stable-core");
            const client = new Client({ token });
            const job = await client.submit("count", { n: 40, delay: 0.03 });
            window.previews = [];
            window.done = job.wait({ onPreview: (jpeg) => previews.push(jpeg) });
            window.client = client;
        }""",
        server.token,
    )
    page.wait_for_function("previews.length")
    page.cable.cut()
    page.wait_for_function("!client.online")
    page.cable.mend()
    assert page.evaluate("async () => (await done)[0].text()") == "counted 40"
    assert page.evaluate("previews[0] instanceof Uint8Array && previews[0][0]") == 0xFF
    with page.expect_download() as download:
        page.evaluate("async () => (await done)[0].save('counted.txt')")
    assert download.value.suggested_filename == "counted.txt"
    assert "Give the File or Blob" in page.evaluate(
        "client.run('turn', { image: 'photo.png' }).catch((error) => error.message)"
    )
