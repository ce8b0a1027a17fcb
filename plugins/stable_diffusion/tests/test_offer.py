"""What the plugin announces, and that it costs little to ask."""

import subprocess
import sys

import pydantic
import pytest
from sd import SEEDS, ImageToImage, StableDiffusion, TextToImage

from core.ops.describe import describe

JOBS = {job["name"]: job for job in describe(StableDiffusion)}


def test_txt2img_and_img2img_are_announced_with_lists_of_pictures():
    assert set(JOBS) == {"txt2img", "img2img"}
    assert JOBS["txt2img"]["inputs"] == {}
    assert JOBS["img2img"]["inputs"] == {"image": {"kind": "image", "list": False, "optional": False}}
    for job in JOBS.values():
        assert job["output"] == {"kind": "image", "list": True, "optional": False}
        assert (job["affinity"], job["concurrency"]) == ("model", 8)


@pytest.mark.parametrize("name", ["txt2img", "img2img"])
def test_every_option_has_a_help_and_a_place_in_the_form(name):
    options = JOBS[name]["params"]["properties"]
    assert all(len(option["description"]) > 30 for option in options.values())
    orders = [option["ui"]["order"] for option in options.values()]
    assert orders == sorted(set(orders))


def test_img2img_has_all_options_of_txt2img_and_a_strength():
    extra = JOBS["img2img"]["params"]["properties"].keys() - JOBS["txt2img"]["params"]["properties"].keys()
    assert extra == {"denoising_strength"}


@pytest.mark.parametrize(
    "options",
    [
        {"width": 100},
        {"width": 4096},
        {"steps": 0},
        {"seed": 2**32},
        {"seed": -2},
        {"sampler": "Elder"},
        {"batch_size": 65},
    ],
)
def test_what_cannot_be_drawn_is_refused(options):
    with pytest.raises(pydantic.ValidationError, match=next(iter(options))):
        TextToImage(**options)


def test_defaults_are_valid():
    assert ImageToImage(**ImageToImage().model_dump()) == ImageToImage()


def test_the_import_loads_no_heavy_package(plugin):
    code = (
        "import sys, importlib.util as u\n"
        f"spec = u.spec_from_file_location('sd', {str(plugin.folder / '__init__.py')!r})\n"
        "spec.loader.exec_module(u.module_from_spec(spec))\n"
        "assert not {'torch', 'diffusers', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plan_names_the_seed_of_each_picture():
    plan = StableDiffusion(None).plan("txt2img", TextToImage(seed=SEEDS - 1, batch_size=2), {})
    assert plan["outputs"] == [{"seed": SEEDS - 1}, {"seed": 0}]


def test_a_plan_chooses_the_seed_that_was_left_to_chance_and_counts_the_pictures_given():
    plan = StableDiffusion(None).plan("img2img", ImageToImage(), {"image": ["a", "b", "c"]})
    assert plan["params"]["seed"] >= 0
    assert plan["outputs"] == [{"seed": plan["params"]["seed"]}] * 3
