"""The built-in model means what it says: fixed prompts are drawn through the plugin and scored."""

import importlib
from collections import Counter

import pytest

PLAIN, PLACED = 40, 16  # of the 100 and 32 prompts whose scores are in builtin/README.md: a picture takes 0.3 s
# What the shipped weights reach, less a small margin.
BOUNDS = {"background": 39, "colour": 39, "shape": 36, "right": 36}
POSITIONED = 15


@pytest.fixture(scope="session")
def training():
    return importlib.import_module("sd.training.score")


@pytest.fixture(scope="session")
def drawn(plugin, tmp_path_factory, training):
    """(prompt, picture) of the prompts, drawn by concurrent jobs as a busy server would."""
    from concurrent.futures import ThreadPoolExecutor

    from sd import TextToImage

    from core.library.models import Models
    from core.plugin import Context

    shipped = [{"kind": "checkpoint", "name": "builtin", "path": str(plugin.folder / "builtin")}]
    models = Models(tmp_path_factory.mktemp("models"), shipped)

    def draw(numbered):
        seed, prompt = numbered
        context = Context("job", tmp_path_factory.getbasetemp(), models, lambda event, body: None)
        params = TextToImage(prompt=prompt.text, seed=seed, cfg_scale=5, sampler="DPM++ 2M", steps=10)
        return prompt, next(iter(plugin.txt2img(params, context))).value

    prompts = [*training.prompts()[:PLAIN], *training.position_prompts()[:PLACED]]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(draw, enumerate(prompts)))


def test_the_metric_finds_drawn_pictures_right(training):
    drawing = importlib.import_module("sd.training.drawing")
    wrong = Counter()
    for number, prompt in enumerate(training.prompts()):
        scene = drawing.Scene(("solid", prompt.background), (drawing.Thing(prompt.shape, prompt.colour),), seed=number)
        wrong[training.score(drawing.draw(scene), prompt).right] += 1
    assert wrong[True] >= 98


@pytest.mark.slow
def test_pictures_show_what_prompts_say(drawn, training):
    scores = [training.score(picture, prompt) for prompt, picture in drawn[:PLAIN]]
    reached = {name: sum(getattr(score, name) for score in scores) for name in BOUNDS}
    print(reached)
    assert all(reached[name] >= bound for name, bound in BOUNDS.items()), reached


@pytest.mark.slow
def test_objects_are_where_the_prompt_puts_them(drawn, training):
    reached = sum(training.score(picture, prompt).position for prompt, picture in drawn[PLAIN:])
    assert reached >= POSITIONED, reached
