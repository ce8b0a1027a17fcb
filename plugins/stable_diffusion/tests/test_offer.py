"""What the plugin announces, and that it costs little to ask."""

import json
import subprocess
import sys

import pydantic
import pytest
from conftest import FOLDER
from sd import ImageToImage, StableDiffusion, TextToImage
from sd.options import LARGEST, SEEDS, Drawing
from sd.settings import Settings

from core.ops.describe import describe

JOBS = {job["name"]: job for job in describe(StableDiffusion)}


DRAWING = {"txt2img", "img2img", "hires_fix", "inpaint", "outpaint", "sd_upscale", "img2img_alternative", "interpolate"}
CONTROLLED = {"txt2img", "img2img", "hires_fix", "inpaint", "sd_upscale", "interpolate"}
PROGRAMS = {"loopback", "verify"}
LIGHT = {"explain", "tokens", "png_info", "styles", "style", "save_style", "delete_style", "model_info"}


def test_all_jobs_are_announced_with_what_they_take_and_give():
    assert set(JOBS) == DRAWING | PROGRAMS | LIGHT | {"unload_models", "preprocess", "merge_checkpoints"}
    picture = {"kind": "image", "list": False, "optional": False}
    for name in DRAWING:
        job = JOBS[name]
        assert job["output"] == {"kind": "image", "list": True, "optional": False}
        assert (job["affinity"], job["concurrency"]) == ("model", 8)
        expected = {} if name in ("txt2img", "interpolate") else {"image": picture}
        expected |= {"mask": picture | {"kind": "mask"}} if name == "inpaint" else {}
        if name in ("txt2img", "img2img"):
            expected["text"] = picture | {"kind": "text", "optional": True, "help": job["inputs"]["text"]["help"]}
        if name in CONTROLLED:
            for more in ("control", "reference"):
                help = job["inputs"][more]["help"]
                expected[more] = picture | {"list": True, "optional": True, "help": help}
                assert "icture" in help
        assert job["inputs"] == expected
    assert {name for name, job in JOBS.items() if job["light"]} == LIGHT
    assert {name for name, job in JOBS.items() if job["program"]} == PROGRAMS


@pytest.mark.parametrize("name", sorted(DRAWING | {"loopback", "explain", "tokens", "save_style", "merge_checkpoints"}))
def test_every_option_has_a_help_and_a_place_in_the_form(name):
    options = JOBS[name]["params"]["properties"]
    short = [key for key, option in options.items() if len(option["description"]) < 20]
    assert not short
    orders = [option["ui"]["order"] for option in options.values()]
    assert len(orders) == len(set(orders))


def test_every_bound_is_told_and_no_number_is_without_one():
    for job in JOBS.values():
        for name, option in job["params"].get("properties", {}).items():
            if option.get("type") in ("integer", "number"):
                assert "minimum" in option and ("maximum" in option or name in ("s_tmin", "s_tmax")), name


@pytest.mark.parametrize(
    "options",
    [
        {"width": 100},
        {"width": LARGEST + 8},
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
        "sys.modules['sd'] = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules['sd'])\n"
        "assert not {'torch', 'diffusers', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def planned(plugin, job, params, inputs=None):
    plan = plugin.plan(job, params, inputs or {})
    assert type(params)(**plan["params"]).seed >= 0
    return plan["outputs"]


def test_a_plan_names_the_seed_of_each_picture(plugin):
    outputs = planned(plugin, "txt2img", TextToImage(seed=SEEDS - 1, batch_size=2))
    assert outputs == [{"seed": SEEDS - 1}, {"seed": 0}]


def test_a_plan_chooses_the_seed_that_was_left_to_chance_and_counts_the_pictures_given(plugin):
    plan = plugin.plan("img2img", ImageToImage(), {"image": ["a", "b", "c"]})
    assert plan["params"]["seed"] >= 0
    assert plan["outputs"] == [{"seed": plan["params"]["seed"]}] * 3


def test_a_plan_tells_the_texts_that_chance_chooses_and_the_seeds_of_variations(plugin):
    params = TextToImage(prompt="a {red|blue|green} star", seed=1, variation_seed=8, variation_strength=0.5, n_iter=2)
    outputs = planned(plugin, "txt2img", params)
    assert [(each["seed"], each["variation_seed"]) for each in outputs] == [(1, 8), (1, 9)]
    assert outputs[0]["prompt"] in ("a red star", "a blue star", "a green star")
    assert outputs[0]["wildcard_prompt"] == params.prompt


def test_a_plan_counts_the_texts_given_and_does_not_tell_the_prompt_that_they_replace(plugin):
    params = TextToImage(prompt="a {red|blue} star", seed=1, n_iter=2)
    assert planned(plugin, "txt2img", params, {"text": ["a", "b"]}) == [{"seed": 1}, {"seed": 2}] * 2


def test_what_does_not_draw_has_no_plan_of_its_own(plugin):
    assert plugin.plan("verify", None, {}) is None


def test_every_drawing_job_has_params_that_draw():
    from core.ops.describe import signature

    for name in DRAWING:
        assert issubclass(signature(getattr(StableDiffusion, name))[4], Drawing)


def test_the_readme_names_every_setting_with_its_default():
    readme = (FOLDER / "README.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        default = json.dumps(field.default).strip('"')
        assert f"| `{name}` | `{default}` |" in readme
