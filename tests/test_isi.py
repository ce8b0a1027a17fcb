"""Iterative prompts at the wire: what is drawn from what, with which prompts, and that nothing is drawn twice."""

import glob
import io
import re
import shlex

import PIL.Image
import pytest

from tests.serving import ROOT, serve
from tests.shell import in_process
from tests.wire import Wire

DRAWING = """
from typing import Any

NAMES = "negative_prompt width height steps sampler schedule cfg_scale denoising_strength seed model x left top "
NAMES += "method scale gutter max_side captions"
Drawn = type("Drawn", (Params,), {name: None for name in NAMES.split()} | {
    "__annotations__": dict.fromkeys(NAMES.split(), Any) | {"prompt": str, "slow": float}, "prompt": "", "slow": 0
})

class Drawing(Plugin):
    @job()
    def txt2img(self, params: Drawn, ctx: Context) -> Image:
        import PIL.Image
        return PIL.Image.new("RGB", (64, 64))

    @job()
    def img2img(self, image: Image, params: Drawn, ctx: Context) -> Image:
        if params.prompt.endswith("bad"):
            raise InvalidParams("nothing bad is drawn here.")
        time.sleep(params.slow)
        return image.point(lambda level: level + 10)

    @job()
    def crop(self, image: Image, params: Drawn, ctx: Context) -> Image:
        return image.crop((0, 0, 64, 64))

    @job()
    def equalize(self, image: Image, params: Drawn, ctx: Context) -> Image:
        return image

    @job()
    def upscale(self, image: Image, params: Drawn, ctx: Context) -> Image:
        return image.resize((128, 128))

    @job()
    def contact_sheet(self, images: list[Image], params: Drawn, ctx: Context) -> Image:
        import PIL.Image
        if "unfit" in (params.captions or []):
            raise InvalidParams("that does not fit.")
        return PIL.Image.new("RGB", (len(images), 1))
"""
DRAWN = {"txt2img picture 1", "txt2img picture 2", "txt2img picture 3", "contact_sheet sheet"}
REDRAWN = {"img2img picture 1", "img2img picture 2"}
WORDS = "{a castle}in spring;(in summer:1.5);in autumn"


@pytest.fixture(scope="module")
def server():
    with serve({"drawing": DRAWING, "isi": ROOT / "plugins/isi"}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def start(wire, level=0):
    out = io.BytesIO()
    PIL.Image.new("RGB", (96, 80), (level,) * 3).save(out, "PNG")
    return wire.upload(out.getvalue())["artifact"]["id"]


def children(wire, program):
    """The records of its jobs, by key."""
    found = wire.call("jobs", {"parent": program, "limit": 100})["jobs"]
    return {job["key"]: wire.call("job", {"id": job["id"]})["job"] for job in found}


def done(wire):
    return [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "done"]


def picture(wire, artifact):
    return PIL.Image.open(io.BytesIO(wire.download(artifact).content))


def test_each_part_is_drawn_from_what_the_one_before_made(wire):
    given = {
        "prompt": WORDS,
        "seed": 7,
        "width": 64,
        "height": 64,
        "cfg_scale": 6,
        "model": "tiny",
        "more": {"x": 1},
    }
    program = wire.submit("isi", given, inputs={"image": start(wire)})
    ended = wire.ended(program)
    outputs = ended["outputs"]
    assert not ended.get("error"), ended
    found = children(wire, program)
    assert found.keys() == {"crop", "part 1", "part 2", "part 3", "sheet", "history"}
    drawn = [found[f"part {number}"] for number in (1, 2, 3)]
    assert [job["params"]["prompt"] for job in drawn] == [
        "a castle,in spring",
        "a castle,in summer",
        "a castle,in autumn",
    ]
    assert [(job["params"]["cfg_scale"], job["params"]["seed"]) for job in drawn] == [(6, 7), (9, 8), (6, 9)]
    assert all(job["params"]["model"] == "tiny" and job["params"]["x"] == 1 for job in drawn)
    assert [picture(wire, output).getpixel((0, 0))[0] for output in outputs[:3]] == [10, 20, 30]
    assert picture(wire, outputs[3]).size == (3, 1) and found["sheet"]["params"]["captions"][1] == "(in summer:1.5)"
    history = wire.download(found["history"]["outputs"][0]).json()
    assert history["mode"] == "isi" and [row["weight"] for row in history["drawings"]] == [1, 1.5, 1]
    assert [row["job"] for row in history["drawings"]] == [job["id"] for job in drawn]


@pytest.mark.parametrize(
    "given, image, keys, count",
    [
        ({"prompt": "a;b", "count": 3}, False, DRAWN, 4),
        ({"prompt": "a", "count": 2, "fit": "resize", "sheet": False}, True, REDRAWN, 2),
        ({"prompt": "a;b", "mode": "isi", "sheet": False}, False, {"txt2img part 1", "img2img part 2"}, 2),
        ({"prompt": "a;b", "keep": "last", "fit": "resize"}, True, {"img2img part 1", "img2img part 2"}, 1),
        ({"prompt": "a", "equalize": True, "scale": 2}, False,
         {"txt2img picture 1", "equalize picture 1/equalize", "upscale picture 1/upscale"}, 1),
    ],
)  # fmt: skip
def test_the_jobs_of_each_mode(wire, given, image, keys, count):
    program = wire.submit("isi", {"seed": 3} | given, inputs={"image": start(wire)} if image else {})
    assert len(wire.ended(program)["outputs"]) == count
    found = {f"{job['name'].split('.')[1]} {key}" for key, job in children(wire, program).items()}
    assert found - {"isi_record history"} == keys


def test_a_plan_shows_the_exact_list(wire):
    plan = wire.call("plan", {"job": "isi", "params": {"prompt": WORDS}, "inputs": {"image": start(wire)}})["plan"]
    assert [(job["job"], job["key"]) for job in plan["jobs"][:4]] == [
        ("crop", "crop"), ("img2img", "part 1"), ("img2img", "part 2"), ("img2img", "part 3"),
    ]  # fmt: skip
    seeds = [job["params"]["seed"] for job in plan["jobs"] if job["job"] == "img2img"]
    assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"prompt": "{a;b"}, "one pair of braces"), ({"prompt": "a;(b:9)"}, "its CFG scale would be 63"),
        ({"prompt": "a;bad"}, "nothing bad is drawn here"),
    ],
)  # fmt: skip
def test_mistakes_end_the_job_with_their_reason(wire, given, words):
    error = wire.ended(wire.submit("isi", given | {"seed": 1}, inputs={"image": start(wire)}))["error"]
    assert words in error["message"] and error["code"] in ("invalid_params", "dependency_failed")


def test_the_newest_is_shown_and_after_a_crash_no_part_is_drawn_twice():
    with serve({"drawing": DRAWING, "isi": ROOT / "plugins/isi"}) as server:
        with Wire(server) as wire:
            given = {"prompt": ";".join("abcdef"), "more": {"slow": 0.3}, "sheet": False}
            program = wire.submit("isi", given, inputs={"image": start(wire)})
            wire.until(lambda: len(done(wire)) >= 2)
            wire.until(lambda: "preview" in [name for name, _ in wire.received])
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            outputs = wire.ended(program)["outputs"]
            assert [picture(wire, output).getpixel((0, 0))[0] for output in outputs] == [10, 20, 30, 40, 50, 60]
            ends = done(wire)
            assert len(ends) == len(set(ends)) == 9  # crop, six parts, history and the program


def test_a_sheet_that_cannot_be_made_takes_no_results_away(wire):
    program = wire.submit("isi", {"prompt": "a;unfit", "fit": "resize"}, inputs={"image": start(wire)})
    assert len(wire.ended(program)["outputs"]) == 2
    wire.until(lambda: any("no sheet: that does not fit" in (body or {}).get("text", "")
                           for name, body in wire.received if name == "log"))  # fmt: skip


def test_a_chain_is_extended_by_further_parts(wire):
    given = {"prompt": "a;b", "fit": "resize", "sheet": False}
    first = wire.submit("isi", given, inputs={"image": start(wire)})
    wire.ended(first)
    answer = wire.call("retry", {"id": first, "extend": True, "params": given | {"prompt": "a;b;c"}})
    second = answer["job"]["id"]
    assert len(wire.ended(second)["outputs"]) == 3
    before, after = children(wire, first), children(wire, second)
    assert {before[key]["id"] == after[key]["id"] for key in ("part 1", "part 2")} == {True}
    assert after["part 3"]["params"]["seed"] == after["part 1"]["params"]["seed"] + 2


@pytest.mark.torch
@pytest.mark.parametrize("name", ["isi", "sheets"])
def test_the_examples_of_the_readmes_run(artist, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "plugins" / name / "README.md").read_text("utf-8")
    with artist.client() as client:
        client.run("txt2img", prompt="a red circle on a blue background", steps=2, seed=3)[0].save("start.png")
        for command in re.findall(r"^python3 -m clients\.cli (.*)$", readme, re.MULTILINE):
            words = [sorted(glob.glob(word)) if "*" in word else [word] for word in shlex.split(command)]
            ran = in_process(client, *sum(words, []))
            assert ran.returncode == 0, ran.stderr
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")}
    assert len(made) >= 4, made
