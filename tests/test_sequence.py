"""Sequences on a real server whose drawing jobs are the test's: what is drawn from what, and how it is called."""

import io
import json
import re
import shlex
import zipfile

import PIL.Image
import pytest

from tests.serving import ROOT, serve
from tests.shell import in_process

DRAW = """
import PIL.Image

class Drawn(Params):
    prompt: str = param("", help="What is drawn.")
    negative_prompt: str = param("", help="What is not.")
    model: str = param("", help="Which checkpoint.")
    steps: int = param(1, help="Steps.")
    cfg_scale: float = param(7, help="How strictly.")
    sampler: str = param("", help="How a step is computed.")
    schedule: str = param("", help="How the noise is spread.")
    eta: float = param(0, help="How much fresh noise.")
    seed: int = param(-1, widget="seed", help="Where chance begins.")
    width: int = param(0, help="Width.")
    height: int = param(0, help="Height.")
    clip_skip: int = param(1, help="A further parameter.")

class Redrawn(Drawn):
    denoising_strength: float = param(0.75, help="How much is redrawn.")

class Draw(Plugin):
    @job(reuse=True, concurrency=4)
    def txt2img(self, params: Drawn, ctx: Context) -> Image:
        ctx.raise_if_cancelled()
        if "broken" in params.prompt:
            raise InvalidParams("it cannot be drawn.")
        return PIL.Image.new("RGB", (12, 8), (params.seed % 256, 100, 100))

    @job(reuse=True, concurrency=4)
    def img2img(self, image: Image, params: Redrawn) -> Image:
        return PIL.Image.new("RGB", image.size, (params.seed % 256, 200, 200))
"""
README = (ROOT / "plugins/sequence/README.md").read_text("utf-8")
SMALL = ["--steps", "2", "--width", "64", "--height", "64"]  # in place of what the README says
TEXT = "Season1 (1997)\na ship\na tower\na rope\nSeason2\na sea\n"
STYLES = [{"style": "in oil", "file_tag": "oil", "weight": 0.9}, {"style": "in ink", "file_tag": "ink", "weight": 0.1}]
SPLIT = {"chapter_split_regex": r"Season\d+", "prompt_split_regex": r"\n", "styles": STYLES, "max_chapters": 2}


@pytest.fixture(scope="module")
def server():
    with serve({"draw": DRAW, "sequence": ROOT / "plugins/sequence"}) as server:
        book = server.folder / "models/book"
        book.mkdir(parents=True)
        (book / "sg1.txt").write_text(TEXT)
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def children(client, job):
    """The jobs of a program by their keys."""
    found = client.call("jobs", {"parent": job.id, "limit": 200})["jobs"]
    return {each["key"]: client.call("job", {"id": each["id"]})["job"] for each in found}


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def files(server, folder):
    return sorted(path.name for path in (server.folder / "outputs" / folder).iterdir())


def test_each_picture_is_drawn_from_the_one_that_the_order_says(client):
    job = client.submit("sequence", SPLIT | {"story": TEXT, "seed": 7, "steps": 3, "more": {"clip_skip": 2}})
    job.wait()
    made = children(client, job)
    first, second = made["chapter 0/prompt 0/oil"], made["chapter 0/prompt 1/oil"]
    assert first["name"] == "draw.txt2img" and second["name"] == "draw.img2img"
    params = first["params"]
    assert (params["prompt"], params["seed"], params["steps"], params["clip_skip"]) == ("a ship in oil", 7, 3, 2)
    assert (params["sampler"], params["eta"], params["cfg_scale"]) == ("DDIM", 0.1, 7.5)
    assert second["params"]["prompt"] == "a tower in oil" and second["params"]["denoising_strength"] == 0.9
    assert second["inputs"]["image"] == [{"job": made["chapter 0/prompt 0/ink"]["id"]}]  # interleaved
    assert made["chapter 1/prompt 0/ink"]["inputs"]["image"] == [{"job": made["chapter 0/prompt 2/oil"]["id"]}]
    assert [made[f"chapter 0/prompt {k}/ink"]["params"]["seed"] for k in range(3)] == [7, 8, 9]
    assert made["chapter 1/prompt 0/ink"]["params"]["seed"] == 10


def test_files_are_called_as_people_know_them_and_grids_are_of_one_chapter(server, client):
    outputs = client.run("sequence", **SPLIT, book="sg1.txt", interleave=False)
    (time,) = (server.folder / "outputs/sg1/progresive/oil ink").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d-\d\d-\d\d", time.name)
    assert files(server, time) == [
        "ink 0-0.png", "ink 0-1.png", "ink 0-2.png", "ink 1-0.png", "ink grid-0.png", "ink grid-1.png",
        "oil 0-0.png", "oil 0-1.png", "oil 0-2.png", "oil 1-0.png", "oil grid-0.png", "oil grid-1.png",
    ]  # fmt: skip
    assert [output.record["name"] for output in outputs[:2]] == ["oil 0-0", "ink 0-0"] and len(outputs) == 12
    with PIL.Image.open(time / "oil grid-0.png") as grid:
        assert grid.size == (24, 16)  # two by two
        cells = [grid.getpixel((x, y)) for y in (4, 12) for x in (6, 18)]
    with PIL.Image.open(time / "oil 0-2.png") as third:
        assert cells[2] == third.getpixel((0, 0)) and cells[3] == (0, 0, 0)
    assert not [*(server.folder / "outputs").glob("*/*grid-0-*")]  # nowhere else


def test_grids_may_grow_from_chapter_to_chapter_and_be_all_that_is_given(server, client):
    more = {"cumulative_grids": True, "save_individual": False, "folder": "tale/all", "progressive": False}
    outputs = client.run("sequence", story=TEXT, **SPLIT, **more)
    assert files(server, "tale/all") == ["ink grid-0.png", "ink grid-1.png", "oil grid-0.png", "oil grid-1.png"]
    assert [output.record["name"] for output in outputs] == ["oil grid-0", "ink grid-0", "oil grid-1", "ink grid-1"]
    grid = PIL.Image.open(io.BytesIO(outputs[2].bytes()))
    assert grid.size == (24, 16) and grid.getpixel((20, 12)) != (0, 0, 0)  # four of both chapters


def test_a_plan_tells_each_picture_and_grid_before_anything_is_drawn(client):
    plan = client.plan("sequence", SPLIT | {"story": TEXT, "seed": 7})
    drawn = [job for job in plan["jobs"] if job["job"].endswith("2img")]
    assert len(plan["jobs"]) == 12
    assert [(job["key"], job["params"]["prompt"], job["params"]["seed"]) for job in drawn[:3]] == [
        ("chapter 0/prompt 0/oil", "a ship in oil", 7),
        ("chapter 0/prompt 0/ink", "a ship in ink", 7),
        ("chapter 0/prompt 1/oil", "a tower in oil", 8),
    ]


def test_a_higher_limit_draws_only_what_is_new(server, client):
    few = client.submit(
        "sequence", SPLIT | {"story": TEXT, "max_entries_per_chapter": 2, "max_chapters": 1, "folder": "more"}
    )
    few.wait()
    before = children(client, few)
    answer = client.call("retry", {"id": few.id, "extend": True, "params": {"max_entries_per_chapter": 3}})
    more = client.job(answer["job"]["id"])
    more.wait()
    after = children(client, more)
    drawn = [key for key in before if "grid" not in key]
    assert len(drawn) == 4 and all(after[key]["id"] == before[key]["id"] for key in drawn)
    assert [name for name in files(server, "more") if name.startswith("oil")] == [
        "oil 0-0.png", "oil 0-1.png", "oil 0-2.png", "oil grid-0 (2).png", "oil grid-0.png",
    ]  # fmt: skip
    assert after.keys() - before.keys() == {"chapter 0/prompt 2/oil", "chapter 0/prompt 2/ink"}


def test_what_cannot_be_drawn_is_told_when_all_else_is_there(client):
    job = client.submit("sequence", SPLIT | {"story": "Season1\na ship\nbroken\na rope", "progressive": False})
    with pytest.raises(Exception, match="2 of 6 jobs did not end well; .*it cannot be drawn"):
        job.wait()
    states = {key: each["state"] for key, each in children(client, job).items() if "grid" not in key}
    assert sorted(states.values()) == ["done"] * 4 + ["failed"] * 2


@pytest.mark.parametrize(
    "params, message",
    [
        ({}, "there is no text. Give one as `text` or `story`, or choose a book."),
        ({"story": "a", "book": "sg1.txt"}, "there are several texts: story and book. Give one of them."),
        ({"book": "sg2.txt"}, r"there is no book model 'sg2.txt'. Did you mean sg1.txt\?"),
        ({"story": "a", "styles": [{"file_tag": "style 1"}, {}]}, "several have the file tag 'style 1'"),
        (
            {"story": "a\n" * 101, "max_entries_per_chapter": 0, "styles": [{}] * 100},
            "would be 10,100 pictures, the limit is 10,000",
        ),
        ({"story": "a", "chapter_split_regex": "("}, "is no regular expression"),
        ({"config": '{"source": "tales/sg1.txt", "eta": 9}'}, "the settings are not allowed: eta: "),
        ({"story": "a", "more": {"nothing": 1}}, "nothing"),
        ({"story": "a", "folder": "a/b/c/d/e/f/g/h"}, "has 8 folders, the limit is 7"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_drawn(client, params, message):
    before = client.call("jobs", {"limit": 1})["jobs"]
    with pytest.raises(Exception, match=message):
        client.run("sequence", **params)
    after = client.call("jobs", {"limit": 2})["jobs"]
    assert [job["id"] for job in after[1:]] == [job["id"] for job in before]


def test_settings_may_name_the_book_by_a_path(server, client):
    client.run("sequence", config='{"source": "tales/sg1.txt", "key": "mine", "style_configs": [{"style": "in oil"}]}')
    (time,) = (server.folder / "outputs/mine/progresive/style 0").iterdir()
    assert files(server, time) == ["style 0 0-0.png", "style 0 0-1.png", "style 0 0-2.png", "style 0 grid-0.png"]


@pytest.mark.torch  # really draws
def test_the_examples_of_the_readme_run(artist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.md").write_text(re.search(r"```markdown\n(.*?)```", README, re.DOTALL)[1])
    commands = re.findall(r"^python3 -m clients\.cli (.*)$", README, re.MULTILINE)
    with artist.client() as client:
        planned, drawn = [in_process(client, *shlex.split(command), *SMALL, "--json") for command in commands]
    assert planned.returncode == drawn.returncode == 0, planned.stderr + drawn.stderr
    (folder,) = (artist.folder / "outputs/tale/progresive/blue white").iterdir()
    assert (
        len([*folder.iterdir()]) == len(json.loads(planned.stdout)["jobs"]) == len(json.loads(drawn.stdout)["outputs"])
    )
    with PIL.Image.open(folder / "blue grid-0.png") as grid, PIL.Image.open(folder / "blue 0-1.png") as second:
        assert grid.size == (128, 128) and second.tobytes() == grid.crop((64, 0, 128, 64)).tobytes()
        assert second.info["parameters"].startswith("a yellow star on a blue background\n")


def test_the_command_line_takes_a_file_of_any_form(server, client, tmp_path):
    epub = zip_of(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>',
            "b.opf": '<package><item id="a" href="a.xhtml"/><spine><itemref idref="a"/></spine></package>',
            "a.xhtml": "<html><body><p>a ship</p></body></html>",
        }
    )
    files = {
        "tale.md": b"# Tale\n\na *ship*\n", "tale.txt": b"Chapter 1\na ship\n", "tale.epub": epub,
        "tale.srt": b"1\n00:00:01,000 --> 00:00:02,000\n<i>a ship</i>\n",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        told = in_process(client, "run", "sequence", "--text", f"@{tmp_path / name}", "--plan", "--json")
        first = json.loads(told.stdout)["jobs"][0]["params"]["prompt"]
        assert first == "a ship photograph, sharp, rich colours", name


def test_the_script_of_the_original_is_read_as_it_is(server, client, tmp_path):
    script = (
        "prompt_config = {'source': 'sg1.txt', 'chapter_split_regex': 'Season\\d+', 'max_entries_per_chapter': 1}\n"
    )
    (server.folder / "models/sequence").mkdir(exist_ok=True)
    (server.folder / "models/sequence/mine.py").write_text(script + "import torch\n")
    for words in (["--config", script], ["--settings", "mine.py"]):
        told = in_process(client, "run", "sequence", *words, "--plan", "--json")
        jobs = json.loads(told.stdout)["jobs"]
        assert [job["key"] for job in jobs] == [
            "chapter 0/prompt 0/photo", "chapter 0/prompt 0/charcoal",
            "chapter 0/grid/photo", "chapter 0/grid/charcoal",
        ]  # fmt: skip
