"""Exploring on a real server whose drawing jobs are the test's: what is drawn from what, and where it lies."""

import os
import re
import subprocess
import sys

import PIL.Image
import pytest
import requests

from clients.python import DependencyFailed, InvalidParams
from tests.serving import ROOT, serve, wait_until
from tests.test_cli import environment

DRAW = """
import PIL.Image

class Drawn(Params):
    prompt: str = param("", help="What is drawn.")
    negative_prompt: str = param("", help="What is not.")
    steps: int = param(1, help="Steps.")
    cfg_scale: float = param(7, help="How strictly.")
    sampler: str = param("", help="How a step is computed.")
    seed: int = param(-1, widget="seed", help="Where chance begins.")
    width: int = param(0, help="Width.")
    height: int = param(0, help="Height.")
    seconds: float = param(0, help="How long it takes.")

class Redrawn(Drawn):
    denoising_strength: float = param(0.75, help="How much is redrawn.")

class Match(Params):
    method: str = param("", help="How.")
    keep: float = param(0, help="How much stays.")
    rounds: int = param(1, help="How often.")
    lightness: float = param(0, help="How much lighter.")
    truncate: bool = param(False, help="Cut off.")

class Labels(Params):
    labels: list[str] = param([], help="What stands below.")

def drawn(params, size):
    time.sleep(params.seconds)
    if "broken" in params.prompt:
        raise InvalidParams("it cannot be drawn.")
    negative = f"Negative prompt: {params.negative_prompt}\\n" if params.negative_prompt else ""
    text = f"{params.prompt}\\n{negative}Steps: {params.steps}, CFG scale: {params.cfg_scale}, Seed: {params.seed}"
    picture = PIL.Image.new("RGB", size, (params.seed % 256, params.steps, 100))
    return Result(picture, {"seed": params.seed, "infotext": text})

class Draw(Plugin):
    @job(reuse=True, concurrency=4)
    def txt2img(self, params: Drawn) -> Image:
        return drawn(params, (params.width or 64, params.height or 40))

    @job(reuse=True, concurrency=4)
    def img2img(self, image: Image, params: Redrawn) -> Image:
        return drawn(params, (params.width or image.width, params.height or image.height))

    @job(reuse=True, concurrency=4)
    def match_colors(self, image: Image, reference: Image, params: Match) -> Image:
        return Result(image, {"infotext": image.info["parameters"]})

    @job(reuse=True, concurrency=4)
    def drift_plot(self, images: list[Image], params: Labels) -> Image:
        return Result(PIL.Image.new("RGB", (99, 9)), {"labels": params.labels, "lab": [image.size for image in images]})
"""
PROMPT = "a red   circle"
FOLDER = "explore/677b6a5101570b4d9740ae6fbd70d811"


@pytest.fixture(scope="module")
def server():
    plugins = {"draw": DRAW} | {name: ROOT / "plugins" / name for name in ("explore", "flows")}
    with serve(plugins) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def picture(server):
    """One that tells its prompt."""
    with server.client() as client:
        yield client.run("txt2img", prompt=PROMPT, negative_prompt="blue", cfg_scale=4, width=100, height=70)[0]


def children(client, job):
    """The jobs of a program by their keys, as they were submitted."""
    found = client.call("jobs", {"parent": job.id, "limit": 200})["jobs"]
    return {each["key"]: client.call("job", {"id": each["id"]})["job"] for each in reversed(found)}


def paths(client, job):
    """Where the results of a program lie, in their order."""
    made = [client.call("lineage", {"id": each.id, "depth": 1})["artifacts"][0]["id"] for each in job.outputs]
    return [client.call("artifact", {"id": each})["artifact"]["path"] for each in made]


def test_a_prompt_is_explored_into_its_folder(server, client, tmp_path):
    job = client.submit("explore", {"prompt": PROMPT, "count": 3, "cfg_scale": 7.5, "width": 64})
    outputs = job.wait()
    seeds = [each.record["facts"]["seed"] for each in outputs]
    assert len({*seeds}) == 3 and all(0 <= seed <= 10**9 for seed in seeds)
    drawn = [each["params"] for key, each in children(client, job).items() if key.startswith("picture")]
    asked = [(each["steps"], each["cfg_scale"], each["sampler"], each["width"]) for each in drawn]
    assert asked == [(47, 7.5, "PLMS", 64)] * 3
    made = sorted(path.name for path in (server.folder / "outputs" / FOLDER).glob("*-00?_*"))
    assert [re.sub("^[0-9T-]{19}-", "", name) for name in made] == [
        f"00{number}_scale-7.5_steps-47_seed-{seed}.png" for number, seed in enumerate(seeds, 1)
    ]
    assert (server.folder / "outputs" / FOLDER / "prompt.txt").read_text() == PROMPT
    assert [path.rpartition("/")[0] for path in paths(client, job)] == [FOLDER] * 3
    client.run("explore", prompt=PROMPT, count=1)
    assert len([*(server.folder / "outputs" / FOLDER).glob("prompt*")]) == 1
    assert outputs[0].save(tmp_path).name == made[0], "not without its suffix"
    sent = requests.get(f"{server.url}/artifacts/{outputs[0].id}", headers={"Authorization": f"Bearer {server.token}"})
    assert f"filename={made[0]}" in sent.headers["Content-Disposition"]


def test_a_seed_counts_up_and_head_has_other_steps(client):
    job = client.submit(
        "explore", {"prompt": PROMPT, "count": 2, "seed": 2**32 - 1, "version": "head", "scratch": True}
    )
    assert [each.record["facts"]["seed"] for each in job.wait()] == [2**32 - 1, 0]
    drawn = [each["params"] for each in children(client, job).values()]
    assert [(each["steps"], each["sampler"]) for each in drawn] == [(62, "DDIM")] * 2
    assert [path.rpartition("/")[0] for path in paths(client, job)] == ["explore/scratch"] * 2


def test_more_of_a_picture_goes_where_it_lies_and_more_words_make_a_new_folder(server, client):
    first = client.submit("explore", {"prompt": PROMPT, "count": 1, "cfg_scale": 9, "width": 48, "height": 32})
    (one,) = first.wait()
    more = client.submit("continue", {"count": 2}, {"image": one})
    assert [(each.record["facts"]["width"], each.record["facts"]["height"]) for each in more.wait()] == [(48, 32)] * 2
    drawn = [each["params"] for each in children(client, more).values()]
    assert [(each["prompt"], each["cfg_scale"], each["steps"]) for each in drawn] == [(PROMPT, 9, 55)] * 2
    folders = {path.rpartition("/")[0] for path in paths(client, first) + paths(client, more)}
    assert folders == {FOLDER}
    wider = client.submit("continue", {"count": 1, "add": "at night"}, {"image": one})
    wider.wait()
    (path,) = paths(client, wider)
    assert not path.startswith(FOLDER)
    assert (server.folder / "outputs" / path).with_name("prompt.txt").read_text() == PROMPT + ", at night"


def test_a_picture_is_varied_step_by_step_and_loop_by_loop(server, client, picture):
    job = client.submit(
        "vary", {"transform": "snake", "loops": 2, "names": "original", "drift": True}, {"image": picture}
    )
    *outputs, plot = job.wait()
    made = children(client, job)
    steps = [made[f"loop 2/step {number}"] for number in (1, 2, 3, 4)]
    told = [(each["params"]["cfg_scale"], each["params"]["denoising_strength"]) for each in steps]
    assert told == [(6, 0.35), (8, 0.3), (6, 0.35), (8, 0.3)]
    size = {(each["params"]["width"], each["params"]["height"], each["params"]["negative_prompt"]) for each in steps}
    assert size == {(96, 64, "blue")}, "cut down to multiples of 32, and what the picture tells"
    starts = [each["inputs"]["image"][0] for each in steps]
    colours = [{"job": made[f"loop 2/step {number}/colours"]["id"]} for number in (1, 2, 3)]
    assert starts == [picture.id, *colours]
    assert [each["inputs"]["reference"] for key, each in made.items() if "colours" in key] == [[picture.id]] * 8
    seeds = [made[f"loop {loop}/step 1"]["params"]["seed"] for loop in (1, 2)]
    assert len(outputs) == 2 and {step["params"]["seed"] for step in steps} == {seeds[1]} != {seeds[0]}
    found = [re.sub(r".*T[0-9-]+_", "", path) for path in paths(client, job)]
    assert found == [*(f"scale-8_steps-50_strenght-0.3_seed-{seed}.png" for seed in seeds), "drift.png"]
    assert plot.record["facts"]["labels"] == ["given", *(f"{loop}.{step}" for loop in (1, 2) for step in (1, 2, 3, 4))]
    aside = [*(server.folder / "outputs/explore/scratch").glob("*_loop-?_step-?*.png")]
    assert len(aside) == 8 + 6, "uncorrected ones, and those of steps that are not kept"


def test_an_exploration_is_extended(client, picture):
    def drawn(job, key):
        job.wait()
        return {name: each["id"] for name, each in children(client, job).items() if name.startswith(key)}

    first = client.submit("explore", {"prompt": PROMPT, "count": 2})
    more = first.retry({"count": 4}, extend=True)
    before, after = drawn(first, "picture"), drawn(more, "picture")
    assert len(after) == 4 and before.items() <= after.items()
    first = client.submit("vary", {"transform": "beast", "loops": 1}, {"image": picture})
    before, after = drawn(first, "loop"), drawn(first.retry({"loops": 2}, extend=True), "loop")
    assert len(before) == 6 and len(after) == 12 and before.items() <= after.items()


PLANS = {  # how many pictures are drawn, from the given one and from earlier ones, and how many are corrected
    "normal": (9, 0, 9), "shake": (18, 0, 18), "beast": (3, 6, 9), "enhance": (3, 12, 15), "video": (1, 29, 30),
    "video-shake": (1, 59, 60),
}  # fmt: skip


@pytest.mark.parametrize("transform", PLANS)
def test_a_plan_shows_the_whole_chain(client, picture, transform):
    jobs = client.plan("vary", {"transform": transform}, {"image": picture})["jobs"]
    drawn = [each for each in jobs if each["job"] == "img2img"]
    first = [each for each in drawn if each["inputs"]["image"] == picture.id]
    assert (len(first), len(drawn) - len(first), len(jobs) - len(drawn)) == PLANS[transform]


def test_how_colours_are_corrected_can_be_chosen(client, picture):
    def planned(**params):
        jobs = client.plan("vary", {"transform": "beast", "loops": 1} | params, {"image": picture})["jobs"]
        return [each["job"].removeprefix("match_") for each in jobs], [each["params"] for each in jobs]

    assert planned(correction="none")[0] == ["img2img"] * 3
    names, params = planned(correction="seed")
    assert names == ["img2img", "img2img", "img2img", "colors"] and params[-1]["lightness"] == 10
    names, params = planned(correction="head", blend=0.25)
    assert names[-1] == "colors" and (params[-1]["keep"], params[-1]["lightness"], params[-1]["rounds"]) == (0.25, 3, 2)


def test_a_fixed_seed_is_one_loop_unless_more_are_asked_for(client, picture):
    seeds = lambda **params: [  # noqa: E731
        each["params"]["seed"]
        for each in client.plan("vary", {"seed": 7, "correction": "none"} | params, {"image": picture})["jobs"]
    ]
    assert seeds() == [7] * 3 and seeds(loops=2) == [7] * 3 + [8] * 3


def test_a_transform_of_ones_own_is_saved_and_runs(client, picture):
    program = [{"cfg_scale": 3, "denoising_strength": 1, "add": "at night"}, {"cfg_scale": 4, "denoising_strength": 0}]
    client.light("save_transform", {"name": "mine", "program": program, "multi_step": True, "loops": 1})
    (names,) = client.light("transforms")
    assert {"mine", "snake"} <= {each["name"] for each in names}
    jobs = client.plan("vary", {"transform": "mine", "correction": "none"}, {"image": picture})["jobs"]
    assert [each["params"]["prompt"] for each in jobs] == [PROMPT + ", at night", PROMPT]
    given = client.plan("vary", {"program": program, "correction": "none", "loops": 1}, {"image": picture})["jobs"]
    assert [each["inputs"]["image"] for each in given] == [picture.id] * 2, "single-step, unless it is said otherwise"
    client.light("delete_transform", {"name": "mine"})
    with pytest.raises(InvalidParams, match="there is no transform 'mine'"):
        client.run("vary", image=picture, transform="mine")


def test_the_machine_rests_between_pictures(client):
    job = client.submit("explore", {"prompt": PROMPT, "count": 3, "cooling": "0.1, 0, 9", "scratch": True})
    assert len(job.wait()) == 3
    assert [*children(client, job)] == ["picture 1", "rest 1", "picture 2", "rest 2", "picture 3"]
    planned = client.plan("explore", {"prompt": PROMPT, "count": 3, "cooling": "1"})["jobs"]
    assert [each["job"] for each in planned] == ["txt2img", "flows.wait"] * 2 + ["txt2img"]


def test_what_cannot_be_drawn_is_left_out_unless_it_is_all(client, picture):
    with pytest.raises(DependencyFailed, match="it cannot be drawn"):
        client.run("explore", prompt="broken", count=2)
    program = [{"denoising_strength": 0.1}, {"add": "broken"}, {"denoising_strength": 0.2}]
    job = client.submit("vary", {"program": program, "loops": 2, "drift": True}, {"image": picture})
    *pictures, plot = job.wait()
    assert len(pictures) == 4 and plot.record["facts"]["labels"] == ["given", "1.1", "1.3", "2.1", "2.3"]


@pytest.mark.parametrize(
    "job, params, problem",
    [
        ("explore", {}, "there is no prompt"),
        ("explore", {"prompt": " \n"}, "there is no prompt"),
        ("explore", {"prompt": "a", "aspect": "round"}, "there is no aspect 'round'"),
        ("explore", {"prompt": "a", "more": {"seed": 3}}, "more: seed cannot be there"),
        ("explore", {"prompt": "a", "cooling": "3;3"}, "cooling"),
        ("explore", {"prompt": "a", "count": 0}, "count"),
        ("continue", {}, "there is no prompt"),
        ("vary", {"transform": "beest"}, "there is no transform 'beest'. Did you mean beast?"),
        ("vary", {"transform": "video", "loops": 1000}, "are too many pictures: the limit is 2,000"),
        ("vary", {"program": [{"cfg_scale": 99}]}, "cfg_scale"),
    ],
)
def test_what_cannot_be_done_is_told(client, picture, job, params, problem):
    with pytest.raises(InvalidParams, match=re.escape(problem)):
        client.run(job, **params | ({"image": picture} if job == "vary" else {}))


def test_a_picture_without_a_prompt_needs_one(server, client, tmp_path):
    PIL.Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    with pytest.raises(InvalidParams, match="there is no prompt") as error:
        client.run("vary", image=tmp_path / "photo.png")
    assert "say what it shows" in error.value.hint
    job = client.submit("vary", {"prompt": "a street", "loops": 1}, {"image": client.upload(tmp_path / "photo.png")})
    assert len(job.wait()) == 3
    folder = (server.folder / "outputs" / paths(client, job)[0]).parent
    assert (folder / "prompt.txt").read_text() == "a street"


def test_it_goes_on_where_it_stood_when_the_server_is_killed(tmp_path):
    plugins = {"draw": DRAW} | {name: ROOT / "plugins" / name for name in ("explore", "flows")}
    with serve(plugins) as server:
        with server.client() as client:
            start = client.run("txt2img", prompt=PROMPT)[0]
            job = client.submit(
                "vary", {"transform": "enhance", "loops": 2, "more": {"seconds": 0.2}}, {"image": start}
            )
            wait_until(lambda: sum(each["state"] == "done" for each in children(client, job).values()) >= 4)
            done = {key: each["finished"] for key, each in children(client, job).items() if each["state"] == "done"}
            server.kill()
        server.restart()
        with server.client() as client:
            job = client.job(job.id)
            assert len(job.wait()) == 2
            ended = children(client, job)
            assert len(ended) == 20 and {key: ended[key]["finished"] for key in done} == done
            assert len({path.partition("_")[0][:-4] for path in paths(client, job)}) == 1, "the time it began stays"


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_a_prompt_is_found_in_the_terminal(server, client):
    pexpect = pytest.importorskip("pexpect")
    variables = environment(server) | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": ""}
    variables.pop("COLUMNS")
    words = [
        sys.executable,
        "-m",
        "clients.cli",
        "explore",
        "a fox",
        "--count",
        "2",
        "--session",
        "found",
        "--tries",
        "1",
    ]
    screen = pexpect.spawn(
        words[0], words[1:], cwd=ROOT, env=variables, dimensions=(30, 110), encoding="utf-8", timeout=60
    )
    try:
        keys = "g generate, e edit prompt"
        screen.expect(keys)
        screen.send("xg")
        screen.expect("▀")
        screen.expect(r"image 64x40, seed \d+")
        screen.expect(keys)
        screen.send("e")
        screen.expect("prompt: ")
        screen.send(" on ice\r")
        screen.expect(keys)
        for scale, seen in (("99", "from 0 to 30, got '99'"), ("7.5", "7.5"), ("\x03", "7.5")):
            screen.send("c")
            screen.expect("scale: ")
            screen.send("\x08" * 3 + scale + "\r" * (scale != "\x03"))
            screen.expect(seen)
            screen.expect(keys)
        screen.send("aa")
        screen.expect("landscape")
        screen.send("s")
        screen.expect(r"2 pictures in explore/[0-9a-f]{32}")
        screen.send("q")
        screen.expect(pexpect.EOF)
        assert "Traceback" not in screen.before
    finally:
        screen.close(force=True)
    asked = [job.record["params"] for job in client.jobs(session="found") if job.record["name"] == "explore.explore"]
    first, last = sorted(asked, key=lambda params: params["count"])
    assert (first["prompt"], first["scratch"], first["count"]) == ("a fox", True, 1)
    assert (last["prompt"], last["cfg_scale"], last["aspect"]) == ("a fox on ice", 7.5, "landscape")
    assert not last["scratch"] and last["count"] == 2


@pytest.mark.torch
@pytest.mark.skipif(os.name != "posix", reason="the examples are for a Unix shell")
def test_the_examples_of_the_readme_run(artist, tmp_path):
    page = (ROOT / "plugins/explore/README.md").read_text("utf-8")
    script = "set -euo pipefail\n" + "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    script = script.replace("python3", sys.executable)
    variables = environment(artist) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "stars").iterdir()]) == 4 and len([*(tmp_path / "shaken").iterdir()]) == 6
    with PIL.Image.open(next((tmp_path / "shaken").iterdir())) as picture:
        assert picture.info["parameters"].startswith("a star\nSteps: 12,")
    assert len(done.stdout.split()) == 12
