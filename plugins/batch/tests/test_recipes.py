"""What a picture tells of how it was drawn, and what becomes of LoRAs."""

import pytest
from batch_plugin.recipes import recipe, scale_networks

TEXT = """a cat, {red|blue}
on two lines
Negative prompt: blurry
Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 42, Size: 512x768, Model: "a, b", RNG: CPU"""


def test_a_recipe_is_read_from_the_text_of_a_picture():
    assert recipe(TEXT) == {
        "prompt": "a cat, {red|blue}\non two lines", "negative_prompt": "blurry", "dynamic_prompts": False,
        "steps": 30, "sampler": "DPM++ 2M", "schedule": "Karras", "cfg_scale": 5.5, "seed": 42, "model": "a, b",
        "width": 512, "height": 768,
    }  # fmt: skip


def test_a_text_without_fields_is_a_prompt_and_nonsense_in_fields_is_left_out():
    assert recipe("only a prompt")["prompt"] == "only a prompt"
    assert recipe("")["prompt"] == ""
    odd = recipe("x\nSteps: many, Seed: 7, Size: largexsmall, Sampler: Euler")
    assert odd["seed"] == 7 and not odd.keys() & {"steps", "width"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<lora:a:0.8>", "<lora:a:0.4>"), ("<lora:a>", "<lora:a:0.5>"), ("<LORA:a b:1:0.5>", "<LORA:a b:0.5:0.25>"),
        ("<lora:a:te=0.8:unet=-1>", "<lora:a:te=0.4:unet=-0.5>"), ("<hypernet:a:1>", "<hypernet:a:1>"),
        ("x <lyco:b:.5>, <lora:c:dyn=8>", "x <lyco:b:0.25>, <lora:c:dyn=8>"), ("a:0.8 <b>", "a:0.8 <b>"),
    ],
)  # fmt: skip
def test_weights_of_networks_are_scaled(before, after):
    assert scale_networks(before, 0.5) == after
