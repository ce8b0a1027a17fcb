"""Sweeps at a real server: cells are jobs of a plugin that only paints colours."""

import io
import re
import shlex

import PIL.Image
import pytest

from tests.serving import ROOT, serve
from tests.shell import in_process
from tests.wire import Wire

PAINTER = """
import PIL.Image

class Paint(Params):
    prompt: str = param("", help="What.")
    negative_prompt: str = param("", help="What not.")
    red: int = param(0, ge=0, le=255, help="Red.")
    green: int = param(0, ge=0, le=255, help="Green.")
    steps: int = param(20, ge=1, le=150, help="Steps.")
    cfg_scale: float = param(7, help="Scale.")
    width: int = param(0, help="Width.")
    height: int = param(0, help="Height.")
    denoising_strength: float = param(0.5, help="Strength.")
    seconds: float = param(0, help="How long it takes.")
    seed: int = param(-1, ge=-1, le=2**32 - 1, widget="seed", help="Seed.")

class Painter(Plugin):
    @job(concurrency=4, reuse=True)
    def txt2img(self, params: Paint, ctx: Context) -> Image:
        if params.red == 13 and not (self.folder / "mended").exists():
            raise InvalidParams("13 is not painted.")
        time.sleep(params.seconds)
        return Result(PIL.Image.new("RGB", (20, 10), (params.red, params.green, params.seed % 256)), {"infotext": "x"})

    @job(concurrency=4)
    def img2img(self, image: Image, params: Paint) -> Image:
        return PIL.Image.new("RGB", image.size, (params.red, params.green, image.getpixel((0, 0))[2]))

    @job()
    def say(self, params: Paint) -> Text:
        return f"red {params.red}"
"""


@pytest.fixture(scope="module")
def server():
    with serve({"sweeps": ROOT / "plugins" / "sweeps", "painter": PAINTER}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def picture(wire, artifact):
    return PIL.Image.open(io.BytesIO(wire.download(artifact).content)).convert("RGB")


def cells(wire, program):
    """The records of its jobs by their keys, without those that draw grids."""
    found = wire.call("jobs", {"parent": program, "limit": 500})["jobs"]
    records = [wire.call("job", {"id": job["id"]})["job"] for job in found if job["name"] != "sweeps.grid"]
    return {record["key"]: record for record in records}


def axes(**values):
    return [{"parameter": name, "values": text} for name, text in values.items()]


BARE = {"legend": False, "job": "txt2img", "params": {"seed": 7}}


def test_a_sweep_is_a_grid_of_its_cells_and_leads_to_them(wire):
    program = wire.submit("sweep", BARE | {"axes": axes(red="50, 150, 250", green="0, 200"), "cells": True})
    grid, *alone = wire.ended(program)["outputs"]
    whole = picture(wire, grid)
    assert whole.size == (60, 20) and len(alone) == 6
    for place, artifact in enumerate(alone):
        x, y = place % 3 * 20, place // 3 * 10
        color = whole.getpixel((x + 5, y + 5))
        assert color == picture(wire, artifact).getpixel((0, 0)) == ((50, 150, 250)[place % 3], (0, 200)[place // 3], 7)
    found = wire.call("lineage", {"id": grid, "direction": "ancestors"})["artifacts"]
    assert {each["job_name"] for each in found} >= {"painter.txt2img"} and len(found) >= 6
    assert wire.call("artifact", {"id": grid})["artifact"]["facts"]["infotext"] == "x"
    previews = [body for name, body in wire.received if name == "preview" and body["id"] == program]
    assert previews and max(previews[-1]["width"], previews[-1]["height"]) < 200


def test_a_plan_is_the_exact_list_and_runs_nothing(wire):
    asked = BARE | {"axes": axes(red="1-2", green="5"), "runs": 2}
    before = wire.call("jobs", {"limit": 1})["jobs"][:1]
    planned = wire.call("plan", {"job": "sweep", "params": asked})["plan"]["jobs"]
    assert [each["params"] for each in planned] == [
        {"red": red, "green": 5, "seed": seed} for seed in (7, 8) for red in (1, 2)
    ]
    assert {each["job"] for each in planned} == {"painter.txt2img"}
    assert wire.call("jobs", {"limit": 1})["jobs"][:1] == before


def test_values_that_are_added_run_alone(wire):
    program = wire.submit("sweep", BARE | {"axes": axes(red="1, 2"), "params": {}})
    wire.ended(program)
    old = cells(wire, program)
    more = wire.call("retry", {"id": program, "extend": True, "params": {"axes": axes(red="1, 3, 2")}})["job"]["id"]
    assert picture(wire, wire.ended(more)["outputs"][0]).size == (60, 10)
    new = cells(wire, more)
    assert [*sorted(new)] == ['{"red": 1}', '{"red": 2}', '{"red": 3}']
    assert {key for key in new if new[key]["id"] not in {each["id"] for each in old.values()}} == {'{"red": 3}'}
    assert len({each["params"]["seed"] for each in new.values()}) == 1  # it was drawn once


def test_a_cell_that_fails_is_empty_and_told_and_heals(wire, server):
    program = wire.submit("sweep", {"params": {"seed": 7, "green": 9}, "axes": axes(red="12-14")})
    ended = wire.ended(program)
    whole = picture(wire, ended["outputs"][0])
    middle = whole.crop((whole.width - 40, whole.height - 10, whole.width - 20, whole.height))
    assert middle.getpixel((0, 0)) == (128, 128, 128) and middle.getpixel((15, 2)) == (255, 255, 255)
    (log,) = [body["text"] for name, body in wire.received if name == "log" and body["id"] == program]
    assert "1 of 3 cells failed" in log and '{"red": 13} failed: 13 is not painted.' in log
    mended = server.folder / "plugins" / "painter" / "mended"
    mended.touch()
    try:
        wire.ended(wire.call("retry", {"id": cells(wire, program)['{"red": 13}']["id"]})["job"]["id"])  # by itself
        again = wire.call("retry", {"id": program, "extend": True})["job"]["id"]
        whole = picture(wire, wire.ended(again)["outputs"][0])
        assert whole.getpixel((whole.width - 30, whole.height - 5)) == (13, 9, 7)
        assert cells(wire, again)['{"red": 13}']["metrics"]["reused_from"]
        first, second = ({each["id"] for each in cells(wire, job).values()} for job in (program, again))
        assert len(first & second) == 2 and len(second) == 3
    finally:
        mended.unlink()


def test_cells_that_all_fail_are_an_error(wire):
    error = wire.ended(wire.submit("sweep", {"axes": axes(red="13", green="1-3")}))["error"]
    assert error["code"] == "dependency_failed" and "none of 3 cells came to an end" in error["message"]
    assert "13 is not painted" in error["message"]


@pytest.mark.parametrize(
    "params, code, told",
    [
        ({"axes": axes(rad="1-3")}, "invalid_params", "no parameter 'rad'. Did you mean red?"),
        ({"axes": axes(red="1-300")}, "invalid_params", "256 is out of bounds: at least 0, at most 255"),
        ({"axes": axes(red="1-99", green="0-99", steps="1-9")}, "invalid_params", "89,100 cells, the limit is 10,000"),
        ({"job": "txt2imgg"}, "unknown_job", "Did you mean"),
        ({"params": {"rad": 1}}, "invalid_params", "rad is not a parameter"),
        ({"background": "wite"}, "invalid_params", "unknown color"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_runs(wire, params, code, told):
    program = wire.submit("sweep", params)
    error = wire.ended(program)["error"]
    assert error["code"] == code and told in error["message"]
    assert wire.call("jobs", {"parent": program})["jobs"] == []


def test_several_pictures_are_an_axis_and_each_file_is_a_job(wire):
    uploads = []
    for blue in (10, 20):
        file = io.BytesIO()
        PIL.Image.new("RGB", (8, 8), (0, 0, blue)).save(file, "PNG")
        uploads.append(wire.upload(file.getvalue())["artifact"]["id"])
    program = wire.submit("sweep", BARE | {"job": "img2img", "axes": axes(red="1, 2")}, inputs={"image": uploads})
    whole = picture(wire, wire.ended(program)["outputs"][0])
    colors = [whole.getpixel((x, y)) for y in (4, 12) for x in (4, 12)]
    assert colors == [(1, 0, 10), (2, 0, 10), (1, 0, 20), (2, 0, 20)]
    each = wire.submit("each_file", {"params": {"red": 5}, "seeds": "count"}, inputs={"files": uploads})
    assert [picture(wire, one).getpixel((0, 0)) for one in wire.ended(each)["outputs"]] == [(5, 0, 10), (5, 0, 20)]
    seeds = [record["params"]["seed"] for record in cells(wire, each).values()]
    assert max(seeds) - min(seeds) in (1, 2**32 - 1)


def test_a_plot_has_grids_for_z_and_counts_seeds_where_wanted(wire):
    asked = {"x_type": "Steps", "x_values": "1, 2", "y_type": "red", "y_values": "10, 20", "z_type": "Prompt S/R"}
    asked |= {"z_values": "cat, dog", "prompt": "a cat", "seed": 3, "vary_x": True, "vary_z": True, "sub_grids": True}
    program = wire.submit("xyz_plot", asked | {"legend": False})
    whole, one, other = (picture(wire, each) for each in wire.ended(program)["outputs"])
    assert whole.size == (80, 20) and one.size == other.size == (40, 20)
    assert [each.getpixel((x, 15)) for each in (one, other) for x in (5, 25)] == [(20, 0, 3 + k) for k in range(4)]
    prompts = [record["params"]["prompt"] for record in cells(wire, program).values()]
    assert sorted(prompts) == ["a cat"] * 4 + ["a dog"] * 4


def test_a_matrix_has_each_choice_once(wire):
    program = wire.submit("prompt_matrix", {"prompt": "a cat|red|big", "seed": 3, "different_seeds": True})
    wire.ended(program)
    asked = {record["params"]["prompt"]: record["params"]["seed"] for record in cells(wire, program).values()}
    assert asked == {"a cat": 3, "a cat, red": 4, "a cat, big": 5, "a cat, red, big": 6}


def test_prompts_come_from_lines_of_a_text_and_a_field(wire):
    text = wire.upload(b'a cat\n\n--prompt "a dog" --steps 5 --seed 9 --do_not_save_grid true\n', kind="text")[
        "artifact"
    ]
    asked = {"prompts": "a cow", "prompt": "big", "insert": "end", "seed": 3, "iterate_seed": True}
    program = wire.submit("prompts_from", asked, inputs={"text": text["id"]})
    assert len(wire.ended(program)["outputs"]) == 3
    found = [record["params"] for record in cells(wire, program).values()]
    assert sorted((each["prompt"], each["steps"], each["seed"]) for each in found) == [
        ("big a cat", 20, 3), ("big a cow", 20, 5), ("big a dog", 5, 9),
    ]  # fmt: skip


def test_lines_that_are_not_understood_are_told_at_once_or_are_prompts(wire):
    lines = '--stepz 4\na cat\n--steps a\n--prompt "a'
    error = wire.ended(wire.submit("prompts_from", {"prompts": lines}))["error"]
    assert error["code"] == "invalid_params" and error["field"] == "prompts"
    for told in (
        "line 1: there is no option --stepz",
        "line 3: 'a' is no whole number",
        "line 4: No closing quotation",
    ):
        assert told in error["message"]
    program = wire.submit("prompts_from", {"prompts": lines, "unknown_options": "prompt"})
    assert len(wire.ended(program)["outputs"]) == 4
    assert '--prompt "a' in [record["params"]["prompt"] for record in cells(wire, program).values()]
    error = wire.ended(wire.submit("prompts_from"))["error"]
    assert "1 to 10,000 lines, got 0" in error["message"]


def test_results_that_are_texts_are_written_into_the_grid(wire):
    program = wire.submit("sweep", {"job": "say", "axes": axes(red="1-3")})
    whole = picture(wire, wire.ended(program)["outputs"][0])
    assert whole.width == 3 * 256 and whole.convert("L").getextrema() == (0, 255)


def test_a_sweep_goes_on_after_kill_9_and_runs_no_cell_again():
    with serve({"sweeps": ROOT / "plugins" / "sweeps", "painter": PAINTER}) as server:
        with Wire(server) as wire:
            program = wire.submit("sweep", {"params": {"seconds": 0.3}, "axes": axes(red="1-8", green="1-2")})
            wire.until(lambda: sum(body.get("parent") == program and body["state"] == "done"
                                   for _, name, body in wire.state_events() if name == "job") >= 5)  # fmt: skip
            done = {key for key, record in cells(wire, program).items() if record["state"] == "done"}
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            assert wire.ended(program)["state"] == "done"
            records = cells(wire, program)
            assert len(records) == 16 and len(done) >= 5
            assert {records[key]["attempt"] for key in done} == {1}
            ends = [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "done"]
            assert len(ends) == len(set(ends))


@pytest.mark.torch
def test_the_examples_of_the_readme_run(artist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (
        (ROOT / "plugins" / "sweeps" / "README.md")
        .read_text("utf-8")
        .replace("--steps 12", "--steps 1 --width 64 --height 64")
    )
    with artist.client() as client:
        for command in re.findall(r"^python3 -m clients\.cli (.*)$", readme, re.MULTILINE):
            if "JOB" in command:
                sweeps = client.call("jobs", {"limit": 500})["jobs"]
                command = command.replace("JOB", next(job["id"] for job in sweeps if job["name"] == "sweeps.sweep"))
            ran = in_process(client, *shlex.split(command))
            assert ran.returncode == 0, ran.stderr
    for name, width in (("plot", 6 * 64), ("sweep", 4 * 64), ("lines", 63)):
        with PIL.Image.open(f"{name}.png") as made:
            assert made.width > width


def test_the_command_line_shows_in_what_planned_cells_differ(server):
    with server.client() as client:
        words = ["--job", "txt2img", "--axes", '[{"parameter": "red", "values": "1, 20"}]', "--plan"]
        ran = in_process(client, "run", "sweep", *words)
        assert [line.split()[::2] for line in ran.stdout.splitlines()[:3]] == [
            ["job", "red"], ["painter.txt2img", "1"], ["painter.txt2img", "20"],
        ]  # fmt: skip
        assert "1 job would begin with 2 jobs" in ran.stdout
        assert "It is not known yet how many results come of it" in ran.stdout
