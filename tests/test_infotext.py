"""What a plugin adds to the text that a picture came with."""

import PIL.Image
import pytest

from core.plugin import infotext_of, said_by

DRAWN = 'a cat\nNegative prompt: blurry, red\nSteps: 20, Seed: 1, Model: "a, \\"b\\": c", Hires, Version: v1.9.0'


def picture(text=None):
    image = PIL.Image.new("RGB", (64, 48))
    return image if text is None else _with(image, text)


def _with(image, text):
    image.info["parameters"] = text
    return image


def test_facts_are_added_before_the_version_and_the_rest_stays_as_it_is():
    told = infotext_of(picture(DRAWN), {"Postprocess upscale by": 4.0, "Postprocess upscaler": "R-ESRGAN, 4x+"})
    added = 'Hires, Postprocess upscale by: 4, Postprocess upscaler: "R-ESRGAN, 4x+", Version'
    assert told == DRAWN.replace("Hires, Version", added)


def test_a_fact_that_is_there_is_replaced_in_its_place_and_none_takes_it_away():
    once = infotext_of(picture(DRAWN), {"Postprocess upscaler": "Lanczos"})
    assert infotext_of(picture(once), {"Postprocess upscaler": "Lanczos"}) == once
    assert infotext_of(picture(once), {"Postprocess upscaler": None}) == DRAWN
    assert infotext_of(picture(once), {"Model": "d"}) == once.replace('"a, \\"b\\": c"', "d")


@pytest.mark.parametrize("text", [None, "", b"bytes"])
def test_of_a_picture_without_a_text_there_are_enough_fields_for_others_to_see_them(text):
    told = infotext_of(picture(text), {"Postprocess upscaler": "Lanczos"})
    assert told == "Size: 64x48, Postprocess upscaler: Lanczos, Version: stable-core 0.1.0"
    assert infotext_of(picture(told), {"Postprocess upscaler": "Lanczos"}) == told


@pytest.mark.parametrize("prompt", ["a cat", "one, two: 2", "a cat\n\nNegative prompt: a, b", "x\r\ny: 1"])
def test_a_prompt_without_fields_stays_a_prompt(prompt):
    told = infotext_of(picture(prompt), {"Postprocess upscale by": 2})
    assert told == f"{prompt}\nSize: 64x48, Postprocess upscale by: 2, Version: stable-core 0.1.0"


def test_nothing_to_add_leaves_the_text():
    assert infotext_of(picture(), {}) == ""
    assert infotext_of(picture("a cat"), {}) == "a cat"
    assert infotext_of(picture(DRAWN), {}) == DRAWN


def test_a_picture_says_what_it_was_drawn_from():
    text = "a fox,\nred\nNegative prompt: blue\nSteps: 4, CFG scale: 6.5, Seed: 1, Size: 8x8"
    assert said_by(picture(text)) == (
        "a fox,\nred",
        "blue",
        {"Steps": "4", "CFG scale": "6.5", "Seed": "1", "Size": "8x8"},
    )
    assert said_by(picture("a fox: red, a hen")) == ("a fox: red, a hen", "", {})
    assert said_by(PIL.Image.new("RGB", (1, 1))) == ("", "", {})
