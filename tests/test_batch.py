"""The plugin batch at the wire: pictures in bulk, rounds of review, names that tell families."""

import io
import re
import shlex

import PIL.Image
import pytest

from tests.serving import ROOT, serve
from tests.shell import in_process
from tests.wire import Wire

PAINT = """
from typing import Literal

class Drawing(Params):
    prompt: str = param("", help="What.")
    negative_prompt: str = param("", help="What not.")
    steps: int = param(20, help="Steps.")
    cfg_scale: float = param(7, help="Scale.")
    sampler: str = param("Euler a", help="Sampler.")
    schedule: str = param("automatic", help="Schedule.")
    width: int = param(0, help="Width.")
    height: int = param(0, help="Height.")
    seed: int = param(-1, help="Seed.")
    dynamic_prompts: bool = param(True, help="Choices.")

class First(Drawing):
    hires: bool = param(False, help="Twice.")
    variation_seed: int = param(0, help="Another seed.")
    variation_strength: float = param(0, help="How much of it.")

class Second(Drawing):
    sampler: Literal["Euler a", "Euler"] = param("Euler a", help="Sampler.")
    denoising_strength: float = param(0.75, help="How much.")

class Paint(Plugin):
    def painted(self, params):
        import PIL.Image
        with open(self.folder / "drawn.txt", "a") as file:
            file.write("x")
        if params.prompt == "nothing":
            raise InvalidParams("nothing is not drawn here.")
        prompt = params.prompt.replace("{red|blue}", "red")
        text = f"{prompt}\\nSteps: {params.steps}, Sampler: {params.sampler}, CFG scale: {params.cfg_scale}, "
        text += f"Seed: {params.seed}, Size: {params.width}x{params.height}"
        color = (params.seed % 256, params.seed // 256 % 256, params.steps)
        return Result(PIL.Image.new("RGB", (params.width or 64, params.height or 64), color), {"infotext": text})

    @job(reuse=True)
    def txt2img(self, params: First, text: Text | None = None) -> Image:
        return self.painted(params.model_copy(update={"prompt": text}) if text else params)

    @job(reuse=True)
    def img2img(self, image: Image, params: Second) -> Image:
        return self.painted(params)

    @job(reuse=True)
    def expand_tags(self, text: Text) -> Text:
        return text.replace("!cat:1", "cat, {paws}")
"""
PLUGINS = {"paint": PAINT, "batch": ROOT / "plugins" / "batch"}
LORA = "a {red|blue} fox <lora:ink:0.8>"


@pytest.fixture(scope="module")
def server():
    with serve(PLUGINS) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def asked(wire, program, count):
    """The ids of what the program waits for a person to look at, by their names."""

    def waits():
        job = wire.call("job", {"id": program})["job"]
        assert job["state"] not in ("failed", "done"), job
        return (
            len(found := [each["artifact"] for each in job.get("waits_for", []) if "artifact" in each]) == count
            and found
        )

    rows = [wire.call("artifact", {"id": id})["artifact"] for id in wire.until(waits)]
    return {row["name"]: row["id"] for row in sorted(rows, key=lambda row: row["name"])}


def say(wire, ids, state):
    assert wire.call("review", {"ids": [*ids], "state": state})["ok"]


def children(wire, program, job):
    found = wire.call("jobs", {"parent": program, "limit": 500})["jobs"]
    return [each for each in reversed(found) if each["name"] == job]


def names(wire, ended):
    return [wire.call("artifact", {"id": id})["artifact"]["name"] for id in ended["outputs"]]


def drawn(server):
    file = server.folder / "plugins" / "paint" / "drawn.txt"
    return len(file.read_text()) if file.exists() else 0


def test_rounds_go_from_many_pictures_to_large_versions_of_the_best(wire, server):
    program = wire.submit(
        "rounds", {"prompt": LORA, "count": 3, "width": 64, "height": 64, "steps": 2, "variations": 2}
    )
    first = asked(wire, program, 3)
    root = next(iter(first)).partition("@")[0]
    assert [*first] == [f"{root}@{k}" for k in range(3)]
    say(wire, [first[f"{root}@0"], first[f"{root}@2"]], "picked")
    say(wire, [first[f"{root}@1"]], "rejected")
    second = asked(wire, program, 4)
    assert [*second] == [f"{root}@{path}" for path in ("0_0", "0_1", "2_0", "2_1")]
    say(wire, [second[f"{root}@0_1"]], "picked")
    say(wire, [id for name, id in second.items() if name != f"{root}@0_1"], "rejected")
    ended = wire.ended(program)
    # of picture 2 no variation was picked, so that it goes on itself
    assert names(wire, ended) == [f"{root}@0_1_0", f"{root}@2_2"]

    made = [each["params"] for each in children(wire, program, "paint.txt2img")]
    assert len({each["seed"] for each in made}) == 7
    assert [each["cfg_scale"] for each in made] == [7] * 3 + [5] * 4
    assert made[3]["prompt"] == "a red fox <lora:ink:0.8>" and not made[3]["dynamic_prompts"]
    large = children(wire, program, "paint.img2img")
    wanted = {"width": 128, "height": 128, "denoising_strength": 0.2, "steps": 25, "sampler": "Euler a", "cfg_scale": 7}
    assert [each["params"] | wanted for each in large] == [each["params"] for each in large]
    assert large[0]["params"]["prompt"] == "a red fox <lora:ink:0.4>"
    assert large[0]["params"]["seed"] in [each["seed"] for each in made]
    lineage = wire.call("lineage", {"id": ended["outputs"][0]})["artifacts"]
    assert [each["name"] for each in lineage] == [f"{root}@0_1_0", f"{root}@0_1", f"{root}@0"]
    files = sorted(path.stem for path in (server.folder / "outputs" / "batch").iterdir())
    assert files == [f"{root}@{path}" for path in ("0", "0_0", "0_1", "0_1_0", "1", "2", "2_0", "2_1", "2_2")]


def test_a_forecast_is_cheap_and_only_what_is_picked_of_it_is_drawn_in_full(wire):
    asks = {"prompt": "a hen", "count": 4, "steps": 9, "forecast": 2, "rounds": 0, "finish": False}
    program = wire.submit("rounds", asks)
    shown = asked(wire, program, 4)
    good = [*shown][1]
    say(wire, [shown[good]], "picked")
    say(wire, [id for name, id in shown.items() if name != good], "rejected")
    assert names(wire, wire.ended(program)) == [good]
    made = [each["params"] for each in children(wire, program, "paint.txt2img")]
    assert [each["steps"] for each in made] == [2] * 4 + [9] and made[4]["seed"] == made[1]["seed"]


def test_a_picture_that_goes_on_itself_gets_new_variations_and_is_there_once(wire):
    asks = {"prompt": "a crow", "count": 1, "variations": 1, "rounds": 2, "parents": "always", "finish": False}
    program = wire.submit("rounds", asks)
    for count in (1, 1, 2):
        say(wire, asked(wire, program, count).values(), "picked")
    made = names(wire, wire.ended(program))
    assert sorted(name.partition("@")[2] for name in made) == ["0", "0_0", "0_0_0", "0_1"]
    assert len({each["params"]["seed"] for each in children(wire, program, "paint.txt2img")}) == 4


def test_families_stay_together_also_where_a_picture_has_ten_variations_and_a_large_version(wire):
    program = wire.submit("rounds", {"prompt": "a rook", "count": 1, "variations": 10, "width": 64, "height": 64})
    say(wire, asked(wire, program, 1).values(), "picked")
    second = asked(wire, program, 10)
    say(wire, second.values(), "rejected")
    (large,) = names(wire, wire.ended(program))
    assert [*second][1].endswith("@0_01") and large.endswith("@0_10") and large > max(second)


def test_where_nothing_is_picked_nothing_comes_after_it(wire):
    program = wire.submit("rounds", {"prompt": "a hen", "count": 2})
    say(wire, asked(wire, program, 2).values(), "rejected")
    assert wire.ended(program)["outputs"] == []
    logs = [each["text"] for each in wire.call("logs", {"job": program})["lines"]]
    assert "pictures: 0 of 2 were picked." in logs


def test_subseeds_keep_the_seed_and_parents_may_always_go_on(wire):
    asks = {"prompt": "an owl", "count": 1, "kind": "subseeds", "variations": 2, "parents": "always", "finish": False}
    program = wire.submit("rounds", asks)
    say(wire, asked(wire, program, 1).values(), "picked")
    second = asked(wire, program, 2)
    say(wire, second.values(), "picked")
    assert len(names(wire, wire.ended(program))) == 3
    owl, *varied = [each["params"] for each in children(wire, program, "paint.txt2img")]
    assert {each["seed"] for each in varied} == {owl["seed"]}
    assert {each["variation_strength"] for each in varied} == {0.2}
    assert varied[0]["variation_seed"] != varied[1]["variation_seed"]


def test_after_kill_9_nothing_is_drawn_or_asked_again():
    with serve(PLUGINS) as server:
        with Wire(server) as wire:
            program = wire.submit("rounds", {"prompt": "a fox", "count": 3, "variations": 2})
            first = asked(wire, program, 3)
            say(wire, first.values(), "picked")
            second = asked(wire, program, 6)
            say(wire, [*second.values()][:5], "rejected")
            server.kill()
        server.restart()
        with Wire(server) as wire:
            (last,) = asked(wire, program, 1).values()
            say(wire, [last], "picked")
            ended = wire.ended(program)
            assert names(wire, ended) == [f"{name}_{k}" for name, k in zip([*first][:2], (2, 2), strict=True)] + [
                f"{[*second][5]}_0"
            ]
            assert drawn(server) == 3 + 6 + 3


def test_a_picture_that_was_moved_and_renamed_is_known_and_its_family_goes_on(wire, server):
    program = wire.submit("generate", {"prompt": "a cat", "count": 1, "folder": "moved", "width": 64, "height": 64})
    (name,) = names(wire, wire.ended(program))
    file = next((server.folder / "outputs" / "moved").glob("*.png"))
    again = wire.upload(file.read_bytes(), name="holiday.png")["artifact"]["id"]
    for numbers in (("0", "1"), ("2", "3")):
        varied = wire.submit("variations", {"variations": 2}, inputs={"images": again})
        assert names(wire, wire.ended(varied)) == [f"{name}_{k}" for k in numbers]
    made = wire.ended(wire.submit("finish", {"scale": 1.5}, inputs={"images": [again]}))
    assert names(wire, made) == [f"{name}_4"]
    about = wire.call("artifact", {"id": made["outputs"][0]})["artifact"]
    assert (about["facts"]["width"], about["facts"]["height"]) == (96, 96)


def test_a_picture_from_elsewhere_begins_a_family_and_needs_a_prompt(wire):
    out = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), "red").save(out, "PNG")
    photo = wire.upload(out.getvalue(), name="photo.png")["artifact"]["id"]
    error = wire.ended(wire.submit("variations", inputs={"images": photo}))["error"]
    assert error["code"] == "invalid_params" and "does not say what prompt drew it" in error["message"]
    made = names(wire, wire.ended(wire.submit("variations", {"prompt": "a sun"}, inputs={"images": photo})))
    assert all(re.fullmatch(r"[0-9a-z]{20}@0_\d", name) for name in made) and len(made) == 3


def test_a_plan_shows_what_is_drawn_first_with_seeds_and_sizes(wire):
    params = {"prompt": "a fox\n\n a hen \na fox", "count": 2, "seed": 7, "sizes": "64x96, 96x64"}
    jobs = wire.call("plan", {"job": "generate", "params": params})["plan"]["jobs"]
    assert [each["params"]["seed"] for each in jobs] == [7, 8, 7, 8]
    assert [each["params"]["prompt"] for each in jobs] == ["a fox", "a fox", "a hen", "a hen"]
    assert {(each["params"]["width"], each["params"]["height"]) for each in jobs} <= {(64, 96), (96, 64)}
    assert len({each["key"] for each in jobs}) == 4


def test_bang_tags_become_choices_before_they_are_drawn(wire):
    ended = wire.ended(wire.submit("generate", {"prompt": "a !cat:1, sitting", "count": 1}))
    about = wire.call("artifact", {"id": ended["outputs"][0]})["artifact"]
    assert about["facts"]["infotext"].startswith("a cat, {paws}, sitting\n")


def test_one_that_fails_is_told_and_the_others_go_on(wire):
    ended = wire.ended(wire.submit("generate", {"prompt": "nothing\na fox", "count": 2}))
    assert ended["state"] == "done" and len(ended["outputs"]) == 2
    ended = wire.ended(wire.submit("generate", {"prompt": "nothing", "count": 2}))
    assert ended["error"]["code"] == "dependency_failed" and "nothing is not drawn here" in ended["error"]["message"]


@pytest.mark.parametrize(
    ("job", "params", "field"),
    [
        ("generate", {"prompt": " \n "}, "prompt"), ("generate", {"prompt": "a", "sizes": "64x96, large"}, "sizes"),
        ("generate", {"prompt": "a", "sizes": "65x64"}, "sizes"),
        ("generate", {"prompt": "\n".join(map(str, range(12_000))), "count": 10_000}, "count"),
        ("rounds", {"prompt": "a", "more": {"seed": 1}}, "more"),
        ("rounds", {"prompt": "a", "more": {"batch_size": 2}}, "more"),
        ("rounds", {"prompt": "a", "width": 1024, "finish_scale": 8}, "finish_scale"),
        ("rounds", {"prompt": "a", "finish_sampler": "Oiler"}, "finish_sampler"),
        ("rounds", {"prompt": "a", "folder": "a/b/c/d/e/f/g"}, "folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_field(wire, job, params, field):
    error = wire.ended(wire.submit(job, params))["error"]
    assert (error["code"], error["field"]) == ("invalid_params", field) and error[
        "hint" if field != "prompt" else "code"
    ]


def test_pictures_without_number_come_in_no_order_of_chance(wire):
    ended = wire.ended(wire.submit("generate", {"prompt": "a fox\na hen", "count": 11}))
    made = names(wire, ended)
    assert made == sorted(made) and [name.partition("@")[2] for name in made[:3]] == ["00", "01", "02"]
    assert len({*made}) == 22


def test_more_pictures_are_added_and_what_was_looked_at_is_not_asked_about_again(wire):
    asks = {"prompt": "a newt", "count": 2, "rounds": 0, "finish": False}
    program = wire.submit("rounds", asks)
    first = asked(wire, program, 2)
    say(wire, [[*first.values()][0]], "rejected")
    more = wire.call("retry", {"id": program, "extend": True, "params": {"count": 3}})["job"]["id"]
    assert more == program, "in place, for it has not ended"
    second = asked(wire, program, 2)
    assert [*second] == [[*first][1], [*first][0].replace("@0", "@2")]
    say(wire, second.values(), "picked")
    assert names(wire, wire.ended(program)) == [*second]
    again = wire.call("retry", {"id": program, "extend": True, "params": {"count": 5}})["job"]["id"]
    say(wire, asked(wire, again, 2).values(), "picked")
    assert len(names(wire, wire.ended(again))) == 4
    made = children(wire, again, "paint.txt2img")
    assert len({each["params"]["seed"] for each in made}) == 5


@pytest.mark.torch
def test_the_examples_of_the_readme_run(artist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "plugins" / "batch" / "README.md").read_text("utf-8")
    first, *others = re.findall(r"^python3 (.*)$", readme, re.MULTILINE)
    with artist.client() as client, Wire(artist) as wire:
        program = in_process(client, *shlex.split(first)[2:], stdin="").stdout.strip()
        for count in (3, 2):
            good, *bad = asked(wire, program, count).values()
            say(wire, bad, "rejected")
            say(wire, [good], "picked")
        assert len(wire.ended(program)["outputs"]) == 1
        for line in others:
            piped = ""
            for command in line.split(" | "):
                ran = in_process(client, *shlex.split(command.removeprefix("python3 "))[2:], stdin=piped)
                assert ran.returncode == 0, ran.stderr
                piped = ran.stdout
    assert len([*(tmp_path / "varied").iterdir()]) == 2 and len([*(tmp_path / "large").iterdir()]) == 1
