"""Saved flows as jobs: announced, planned, run, waited for by people, killed and gone on with."""

import io
import json
import re
import shlex
import time

import PIL.Image
import pytest

from tests.serving import ROOT, serve
from tests.shell import in_process
from tests.wire import Wire

DRAWING = """
import PIL.Image

class Draw(Params):
    prompt: str = param("", help="What to draw.")
    negative_prompt: str = param("", help="What not.")
    steps: int = param(1, ge=1, le=50, help="Steps.")
    seed: int = param(-1, ge=-1, help="The seed.")
    width: int = param(0, ge=0, help="Width.")
    height: int = param(0, ge=0, help="Height.")
    seconds: float = param(0, ge=0, help="How long it takes.")

class Scale(Params):
    scale: float = param(2, help="How much larger.")

class Drawing(Plugin):
    @job(concurrency=2)
    def txt2img(self, params: Draw, ctx: Context) -> Image:
        with open(self.folder / "drawn.txt", "a") as file:
            file.write(f"{params.seed}\\n")
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        return Result(PIL.Image.new("RGB", (8, 8), (params.seed % 256, params.steps, 0)), {"seed": params.seed})

    @job()
    def upscale(self, image: Image, params: Scale) -> Image:
        return image.resize([round(side * params.scale) for side in image.size])
"""
LIBRARY = sorted(path.stem for path in (ROOT / "plugins/flows/library").glob("*.json"))


@pytest.fixture(scope="module")
def server():
    with serve({"flows": ROOT / "plugins/flows", "drawing": DRAWING}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def flow(*jobs, **more):
    return {"version": 2, "jobs": list(jobs), **more}


def save(wire, name, flow):
    answer = wire.call("call", {"job": "save_flow", "params": {"name": name, "flow": flow}})
    assert answer["ok"], answer
    return answer["outputs"][0]


def review(wire, ids, state):
    assert wire.call("review", {"ids": ids, "state": state})["ok"]


def png():
    out = io.BytesIO()
    PIL.Image.new("L", (64, 64), 255).save(out, "PNG")
    return out.getvalue()


def drawn(server):
    file = server.folder / "plugins/drawing/drawn.txt"
    return file.read_text().split() if file.exists() else []


def test_a_flow_that_is_saved_is_a_job_and_goes_when_it_is_deleted(wire):
    step = {"id": "draw", "job": "txt2img", "params": {"prompt": "{what}", "seed": "{seed}"}}
    said = save(wire, "mine", flow(step, params={"what": {"default": "a cat"}, "seed": {"default": 5}}))
    assert said == {"name": "mine", "job": "flows.mine", "problems": []}
    ended = wire.ended(wire.submit("flows.mine", {"seed": 9}))
    assert ended["state"] == "done" and len(ended["outputs"]) == 1
    assert wire.call("submit", {"job": "mine", "params": {"steps": 3}})["error"]["code"] == "invalid_params"
    assert wire.call("call", {"job": "delete_flow", "params": {"name": "mine"}})["ok"]
    wire.until(lambda: "mine" not in [each["name"] for each in jobs_of(wire)])
    assert wire.call("call", {"job": "flows"})["outputs"] == [LIBRARY]


def jobs_of(wire):
    return next(plugin for plugin in wire.call("plugins")["plugins"] if plugin["name"] == "flows")["jobs"]


def test_all_that_announced_jobs_would_refuse_is_told_while_it_is_written(wire):
    steps = [
        {"id": "draw", "job": "txt2igm"},
        {"id": "large", "job": "upscale", "params": {"scael": 2}},
        {"id": "again", "job": "drawing.upscale", "inputs": {"picture": {"job": "large"}}},
    ]
    (told,) = wire.call("call", {"job": "check_flow", "params": {"flow": flow(*steps)}})["outputs"]
    assert {each["field"]: each["message"] for each in told["problems"]} == {
        "jobs.0.job": "no plugin announces a job 'txt2igm'; did you mean txt2img",
        "jobs.1.params.scael": "there is no such parameter; did you mean scale",
        "jobs.1.inputs.image": "drawing.upscale needs it",
        "jobs.2.inputs.picture": "there is no such input; known are image",
        "jobs.2.inputs.image": "drawing.upscale needs it",
    }
    error = wire.call("submit", {"job": "flows.run", "params": {"flow": flow({"id": "a"})}})
    assert wire.ended(error["job"]["id"])["error"]["field"] == "flow.jobs.0.job"


def test_only_the_picked_are_enlarged_and_the_flow_shows_whom_it_waits_for(wire):
    job = wire.submit("pick_and_upscale", {"count": 3, "seed": 70, "scale": 3})
    waits = wire.until(lambda: asked(wire, job))
    pictures = [wire.call("artifact", {"id": each})["artifact"] for each in waits]
    assert sorted(each["facts"]["seed"] for each in pictures) == [70, 71, 72]
    review(wire, waits[1:], "picked")
    assert wire.call("job", {"id": job})["job"]["state"] == "waiting"
    review(wire, waits[:1], "rejected")
    ended = wire.ended(job)
    assert len(ended["outputs"]) == 2
    assert wire.call("artifact", {"id": ended["outputs"][0]})["artifact"]["facts"]["width"] == 24
    more = wire.call("retry", {"id": job, "extend": True, "params": {"count": 4}})["job"]["id"]
    (fourth,) = wire.until(lambda: asked(wire, more))  # of the others, everything was said
    review(wire, [fourth], "rejected")
    assert len(wire.ended(more)["outputs"]) == 2


def asked(wire, job):
    """The artifacts of which the job waits to hear what a person thinks."""
    waits = wire.call("job", {"id": job})["job"].get("waits_for", [])
    return [each["artifact"] for each in waits if "artifact" in each]


def test_a_flow_that_is_not_saved_takes_values_and_pictures(wire):
    steps = [
        {
            "id": "large",
            "job": "upscale",
            "for_each": "{images}",
            "params": {"scale": "{scale}"},
            "inputs": {"image": "{item}"},
        }
    ]
    about = flow(
        *steps, params={"scale": {"type": "number", "default": 2}}, inputs={"images": {"kind": "image", "list": True}}
    )
    pictures = [wire.ended(wire.submit("txt2img", {"seed": seed}))["outputs"][0] for seed in (1, 2)]
    job = wire.submit("flows.run", {"flow": about, "values": {"scale": 1.5}}, inputs={"images": pictures})
    assert len(wire.ended(job)["outputs"]) == 2
    lacks = wire.ended(wire.submit("flows.run", {"flow": about}))["error"]
    assert (lacks["code"], lacks["message"]) == ("invalid_params", "the flow needs images.")
    bad = wire.ended(
        wire.submit("flows.run", {"flow": about, "values": {"scale": "x", "n": 1, "images": pictures[0]}})
    )["error"]
    assert [each["field"] for each in bad["errors"]] == ["values.scale", "values.n"]


def done(wire, program):
    """The children of a program that are done, one for each time."""
    events = [body for _, name, body in wire.state_events() if name == "job" and body.get("parent") == program]
    return [body["id"] for body in events if body["state"] == "done"]


def test_a_flow_goes_on_as_it_began_after_a_kill_whatever_its_file_says_by_then(server):
    steps = [
        {"id": "draw", "job": "txt2img", "for_each": 4, "params": {"seed": -1, "seconds": 0.3}},
        {"id": "large", "job": "upscale", "inputs": {"image": {"job": "draw"}}},
    ]
    with Wire(server) as wire:
        save(wire, "slow", flow(*steps))
        before = len(drawn(server))
        job = wire.submit("flows.slow")
        wire.until(
            lambda: len([b for _, _, b in wire.state_events() if b.get("parent") == job and b["state"] == "done"]) >= 2
        )
        save(wire, "slow", flow({"id": "other", "job": "txt2img"}))
        server.kill()
    server.restart()
    with Wire(server, since=0) as wire:
        ended = wire.ended(job)
        assert ended["state"] == "done" and len(ended["outputs"]) == 4
        ends = [
            b["id"]
            for _, name, b in wire.state_events()
            if name == "job" and b.get("parent") == job and b["state"] == "done"
        ]
        assert len(ends) == len({*ends}) == 5
        assert len({*drawn(server)[before:]}) == 4


def test_an_extended_flow_keeps_what_its_items_have_made(server, wire):
    steps = [{"id": "draw", "for_each": "{words}", "job": "txt2img", "params": {"prompt": "{item}", "seed": -1}}]
    save(wire, "words", flow(*steps, params={"words": {"default": "a\nb"}}))
    first = wire.submit("flows.words")
    old = {made(wire, output) for output in wire.ended(first)["outputs"]}
    before = len(drawn(server))
    answer = wire.call("retry", {"id": first, "extend": True, "params": {"words": "new\nb\na"}})
    ended = wire.ended(answer["job"]["id"])
    assert len(drawn(server)) == before + 1
    assert old < {made(wire, output) for output in ended["outputs"]} and len(ended["outputs"]) == 3


def made(wire, artifact):
    return wire.call("artifact", {"id": artifact})["artifact"]["facts"]["seed"]


def test_waits_run_beside_each_other_and_can_be_cancelled(wire):
    jobs = [wire.submit("wait", {"seconds": 0.2}) for _ in range(20)]
    assert {ended["state"] for ended in wire.ended(*jobs)} == {"done"}
    records = [wire.call("job", {"id": job})["job"] for job in jobs]
    assert all(job["finished"] - job["created"] >= 0.2 for job in records)


def test_waits_hold_no_place_of_others_and_can_be_cancelled(wire):
    more = 520  # a process runs 50 of them at once
    flow = wire.call("flow", {"jobs": [{"job": "wait", "params": {"seconds": 3600}}] * more})
    jobs = [job["id"] for job in flow["jobs"]]
    assert wire.ended(wire.submit("flows.text", {"text": "in between"}))["state"] == "done"
    wire.until(lambda: wire.call("job", {"id": jobs[-1]})["job"]["state"] == "waiting")
    (wait,) = wire.call("job", {"id": jobs[-1]})["job"]["waits_for"]
    assert 3000 < wait["until"] - time.time() <= 3600
    for job in jobs:
        wire.call("cancel", {"id": job})
    assert {ended["state"] for ended in wire.ended(*jobs)} == {"cancelled"}


def test_a_broken_file_is_a_note_and_no_broken_plugin(server, wire):
    (server.folder / "models/flow").mkdir(parents=True, exist_ok=True)
    file = server.folder / "models/flow/broken.json"
    file.write_text(json.dumps({"version": 2, "jobs": [{"id": "a"}], "wrong": 1}))

    def noted():
        return next(plugin for plugin in wire.call("plugins")["plugins"] if plugin["name"] == "flows")["notes"]

    (note,) = wire.until(noted)
    assert "models/flow/broken.json is no job" in note and "jobs.0.job" in note and "wrong" in note
    assert wire.call("call", {"job": "flows"})["outputs"][0][:2] == LIBRARY[:2]
    wire.call("call", {"job": "delete_flow", "params": {"name": "broken"}})
    assert not file.exists()


FILE = flow(
    {"id": "draw", "job": "txt2img", "for_each": "{count}", "params": {"seed": {"from": "{seed}"}, "steps": "{steps}"}},
    {"id": "large", "job": "upscale", "inputs": {"image": [{"job": "draw"}, "{image}"]}},
    params={"count": {"default": 2}, "seed": {"default": 5}, "steps": {"enum": [1, 2], "default": 1}},
    inputs={"image": {"kind": "image", "optional": True}, "mask": {"kind": "mask", "optional": True}},
)


def test_the_command_line_runs_a_flow_of_a_file_with_its_flags(cli, tmp_path):
    (tmp_path / "flow.json").write_text(json.dumps(FILE))
    (tmp_path / "in.png").write_bytes(png())
    planned = cli("flow", tmp_path / "flow.json", "--count", 1, "--set", "seed=9", "--plan", "--json")
    assert [each["params"].get("seed") for each in json.loads(planned.stdout)["jobs"]] == [9, None]
    given = ["--set", f"image={tmp_path / 'in.png'}", "--steps", 2, "--out", tmp_path / "out"]
    done = cli("flow", tmp_path / "flow.json", *given)
    assert done.returncode == 0 and len(list((tmp_path / "out").iterdir())) == 3, done.stderr
    wrong = cli("flow", tmp_path / "flow.json", "--set", "step=1")
    assert (wrong.returncode, "names are count, seed, steps, image, mask" in wrong.stderr) == (2, True)
    assert "must be one of 1, 2, got '7'" in cli("flow", tmp_path / "flow.json", "--set", "steps=7").stderr
    broken = cli("flow", "-", stdin=json.dumps(flow({"id": "a"}, {"id": "a", "job": "txt2igm"})))
    assert broken.returncode == 2 and "jobs.0.job: " in broken.stderr and "jobs.1.id: two jobs" in broken.stderr


def test_the_command_line_saves_a_flow_and_runs_it_by_its_name(cli, wire, tmp_path):
    (tmp_path / "flow.json").write_text(json.dumps([{"id": "a", "job": "txt2img", "params": {"seed": 4}}]))
    saved = cli("flow", tmp_path / "flow.json", "--save", "four")
    assert saved.stdout.startswith("save      flows.four\n"), saved.stderr
    assert cli("flow", "four", "--json").returncode == 0
    assert cli("flow", "four", "--save", "five").returncode == 0
    assert {"five", "four"} < {*cli("choices", "call/flows").stdout.split()}
    for name in ("four", "five"):
        wire.call("call", {"job": "delete_flow", "params": {"name": name}})
    gone = cli("flow", "six")
    assert gone.returncode == 2 and "no plugin announces a job 'flows.six'" in gone.stderr


@pytest.mark.torch
def test_the_library_fits_the_jobs_that_there_are_and_can_be_planned(artist):
    with Wire(artist) as wire:
        picture = wire.upload(png())["artifact"]["id"]
        for name in LIBRARY:
            about = wire.call("call", {"job": "flow", "params": {"name": name}})["outputs"][0]["flow"]
            (told,) = wire.call("call", {"job": "check_flow", "params": {"flow": about}})["outputs"]
            assert told["problems"] == [], name
            given = {port: picture for port, each in told["inputs"].items() if not each["optional"]}
            plan = wire.call("plan", {"job": f"flows.{name}", "inputs": given})
            assert plan["ok"] and plan["plan"]["jobs"], (name, plan)


@pytest.mark.torch
def test_flows_of_the_library_draw(artist):
    small = {"steps": 1, "width": 64, "height": 64, "seed": 3}
    with Wire(artist) as wire:
        refine = wire.submit("refine", small | {"strengths": [0.6, 0.3]})
        story = wire.submit("story", small | {"scenes": "a red circle\na green square", "takes": 2})
        refined, told = wire.ended(refine, story, seconds=300)
    assert (len(refined["outputs"]), len(told["outputs"])) == (1, 4)


@pytest.mark.torch
def test_what_the_documents_show_runs(artist, tmp_path):
    guide, readme = ((ROOT / path).read_text("utf-8") for path in ("docs/flows.md", "plugins/flows/README.md"))
    (tmp_path / "flow.json").write_text(re.findall(r"```json\n(.*?)```", guide, re.DOTALL)[-1])
    lines = [
        line for text in (guide, readme) for line in re.findall(r"^python3 -m clients.cli (.*)$", text, re.MULTILINE)
    ]
    lines = [line for line in lines if "portrait.json --out" not in line]  # needs weights
    lines += [f"flow {tmp_path / 'flow.json'} --plan", "run flows.flow --name story"]
    with artist.client() as client:
        for line in lines:
            more = [] if {"--plan", "--save", "run"} & {*line.split()} else ["--plan"]
            done = in_process(client, *shlex.split(line), *more)
            assert done.returncode == 0, (line, done.stderr)
        client.light("flows.delete_flow", {"name": "my_portrait"})
    assert len(lines) == 5
