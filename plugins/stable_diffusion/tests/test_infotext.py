"""The text that A1111 and its friends read from a picture, written and read. The pattern is that of A1111's reader."""

import json
import random
import re
from pathlib import Path

import pytest
from sd.infotext import DEFAULTS, ORDER, VERSION, infotext, parse

FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read(text):
    """The fields of the last line, quoted ones unquoted, as A1111 reads them."""
    fields = {key: value.strip() for key, value in FIELD.findall(text.splitlines()[-1])}
    return {key: json.loads(value) if value.startswith('"') else value for key, value in fields.items()}


def stated(text):
    """What an infotext says itself, without A1111's defaults."""
    return {key: value for key, value in parse(text).items() if DEFAULTS.get(key) != value}


def test_prompt_negative_prompt_and_fields_are_written_like_a1111():
    fields = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7.0, "Seed": 965400086, "Size": "512x512"}
    text = infotext("a cat", "blurry", fields | {"Model hash": "45dee52b00", "Denoising strength": None})
    assert text == (
        "a cat\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b00"
    )


def test_no_negative_prompt_means_no_line_for_it():
    assert infotext("a cat", "", {"Steps": 1}) == "a cat\nSteps: 1"


def test_an_empty_prompt_leaves_only_the_fields():
    assert infotext("", "", {"Steps": 1, "Seed": 2}) == "Steps: 1, Seed: 2"


def test_fields_stand_in_a1111s_order_and_unknown_ones_before_the_version():
    fields = dict.fromkeys(["User", "Version", "Mood", *reversed(ORDER)], 1)
    keys = [field.split(":")[0] for field in infotext("", "", fields).split(", ")]
    assert keys == [*ORDER, "Mood", "User", "Version"]
    assert keys[:7] == ["Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Face restoration"]


def test_a_field_whose_value_is_its_key_is_written_as_the_key():
    text = infotext("p", "", {"Steps": 1, "Seed": 2, "Model": "m", "Tiling": "Tiling"})
    assert text.endswith("Model: m, Tiling")
    assert parse(text)["Tiling"] == "Tiling"


@pytest.mark.parametrize("value", ["a, b", "a: b", "a\nb", 'a, "b"', "größer, kleiner", "C:\\models, new", '"', " a "])
def test_values_with_separators_are_quoted_and_read_back(value):
    text = infotext("p", "", {"Steps": 1, "Model": value, "Seed": 2, "Size": "8x8"})
    assert text.count("\n") == 1
    assert read(text) == {"Steps": "1", "Model": value, "Seed": "2", "Size": "8x8"}


@pytest.mark.parametrize(
    ("value", "written"),
    [(7.0, "7"), (7.5, "7.5"), (0.123456789, "0.123456789"), (1.0, "1"), (0.0, "0"), (True, "True")],
)
def test_numbers_are_short_but_exact(value, written):
    assert read(infotext("p", "", {"CFG scale": value}))["CFG scale"] == written


def test_the_version_is_the_plugins():
    manifest = (Path(__file__).parent.parent / "plugin.toml").read_text("utf-8")
    assert f'version = "{VERSION.split()[1]}"' in manifest


@pytest.mark.parametrize(
    "prompt",
    [
        "", "a cat", "a (cat:1.2), [dog|bird]: 3", 'say "hi", "bye"', "Steps: 20, Sampler: Euler a, Seed: 1, Size: 1x1",
        "first\nSteps: 20, Sampler: x, Seed: 3\nlast", "\n", "\n\na\n\n", "  blanks  ", "tab\t", "größer \u2028 中文",
        "🐈", "\\", '\\"', "a,", "{a|b} __c__ <lora:x:0.8>", "\x00", "Negative prompt", "x Negative prompt: y",
    ],
)  # fmt: skip
def test_prompts_come_back_as_they_were(prompt):
    fields = {"Steps": "20", "Sampler": "Euler a", "Seed": "1"}
    for negative in ("", "blurry", prompt, "a\nNegative prompt: b"):
        text = infotext(prompt, negative, fields)
        assert stated(text) == {"Prompt": prompt, "Negative prompt": negative} | fields


def test_any_texts_come_back_as_they_were():
    marks = ["a", ":", ",", '"', "\\", "\n", " ", "\t", "é", "\u2028", "Steps: 20", ", Seed: 1", "(", "]"]
    dice = random.Random(1)
    for _ in range(2000):
        prompt, negative, model, mood = ("".join(dice.choices(marks, k=dice.randrange(8))) for _ in range(4))
        fields = {"Steps": "20", "Model": model, "Mood": mood, "Seed": "3"}
        text = infotext(prompt, negative, fields)
        assert stated(text) == {"Prompt": prompt, "Negative prompt": negative} | fields


def test_where_the_format_is_ambiguous_it_is_read_as_a1111_reads_it():
    fields = {"Steps": 1, "Seed": 2, "Model": "m"}
    parsed = parse(infotext("a\nNegative prompt: b", "c", fields))
    assert (parsed["Prompt"], parsed["Negative prompt"]) == ("a", "b\nNegative prompt: c")
    assert parse(infotext("a\r\nb", "", fields))["Prompt"] == "a\nb"
    assert parse("lights: red, doors: blue, roof: green")["doors"] == "blue"


@pytest.mark.parametrize(
    "text", ["", "a cat", "a cat, red: 1, blue: 2", "a\nb\n", "(cat:1.2), (dog:1.3), (sun:1.1)", ":,:,:,:", "\n"]
)
def test_a_text_without_fields_is_a_prompt(text):
    assert parse(text) == {"Prompt": text, "Negative prompt": ""}


def test_a_text_of_a1111_1_4_is_read():
    parsed = stated(
        "masterpiece, 1girl, (night sky:1.2),\nlooking at viewer\n"
        "Negative prompt: lowres, bad anatomy,\nbad hands\n"
        "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 11, Seed: 2870305590, Size: 512x768, Model hash: 7f96a1a9ca, "
        "Model: anything-v4.5, Denoising strength: 0.5, Clip skip: 2, ENSD: 31337, Hires upscale: 2, Hires steps: 20, "
        "Hires upscaler: Latent (bicubic antialiased), Version: v1.4.0\n"
    )
    assert parsed["Prompt"] == "masterpiece, 1girl, (night sky:1.2),\nlooking at viewer"
    assert parsed["Negative prompt"] == "lowres, bad anatomy,\nbad hands"
    assert (parsed["Size-1"], parsed["Size-2"], parsed["Clip skip"]) == ("512", "768", "2")
    assert (parsed["Hires upscaler"], parsed["Version"]) == ("Latent (bicubic antialiased)", "v1.4.0")


def test_quoted_values_of_networks_and_extensions_are_read():
    parsed = stated(
        "a <lora:ink:0.7>\r\nSteps: 20, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, "
        'ControlNet 0: "Module: canny, Model: control_v11p [d14c016b], Weight: 1", '
        'Lora hashes: "ink: 1c2b7f, wash: 99", Hires resize: 0x1024, Version: v1.9.4'
    )
    assert parsed["Prompt"] == "a <lora:ink:0.7>"
    assert parsed["ControlNet 0"] == "Module: canny, Model: control_v11p [d14c016b], Weight: 1"
    assert parsed["Lora hashes"] == "ink: 1c2b7f, wash: 99"
    assert (parsed["Hires resize-2"], parsed["Schedule type"]) == ("1024", "Karras")


def test_a_text_without_prompts_and_one_with_only_a_negative_prompt_are_read():
    assert stated("Steps: 1, Seed: 2, Model: m") == {
        "Prompt": "", "Negative prompt": "", "Steps": "1", "Seed": "2", "Model": "m",
    }  # fmt: skip
    parsed = parse("Negative prompt: blurry\nSteps: 1, Seed: 2, Model: m")
    assert (parsed["Prompt"], parsed["Negative prompt"]) == ("", "blurry")


def test_what_is_not_stated_has_a1111s_default():
    parsed = parse("a\nSteps: 1, Seed: 2, Clip skip: 2")
    assert parsed["Clip skip"] == "2"
    assert {key: parsed[key] for key in DEFAULTS} == DEFAULTS | {"Clip skip": "2"}
    assert (parsed["RNG"], parsed["Schedule type"], parsed["Masked area padding"]) == ("GPU", "Automatic", "32")


@pytest.mark.parametrize(
    ("version", "editing", "refiner"),
    [("v1.5.2", True, True), ("1.5.10-12-gabc", True, True), ("v1.6.0", False, True), ("v1.7.0-RC-1", False, True),
     ("v1.8.0", False, False), ("f0.0.17v1.5.0rc", True, True), ("f2.0.1v1.10.1-previous-313-g8a042934", False, False),
     ("stable-core 0.1.0", False, False), ("ComfyUI", False, False), ("1.5", False, False), ("9" * 5000, False, False)],
)  # fmt: skip
def test_what_older_versions_did_otherwise_is_told(version, editing, refiner):
    parsed = parse(f"[a:b:5]\nSteps: 9, Seed: 2, Refiner: x, Version: {version}")
    assert ("Old prompt editing timelines" in parsed) == editing
    assert ("Refiner switch by sampling steps" in parsed) == refiner
    assert "Old prompt editing timelines" not in parse(f"a\nSteps: 9, Seed: 2, Model: x, Version: {version}")


@pytest.mark.parametrize(  # the pattern above needs time with the square of their length
    "attack",
    ["a", " ", "\\", '"', "\n", "a -/", "ab,", 'ab: "x,', 'ab: "', 'ab: "\\', 'ab:"\\"', "ab:1,", "Negative prompt: ",
     "\nNegative prompt:", "\r\n", '"\\a'],
)  # fmt: skip
def test_attack_strings_take_no_longer_than_others(attack):
    text = attack * (500_000 // len(attack))
    for whole in (text, "Steps: 1, Seed: 2, Model: m, " + text, 'p\nSteps: 1, Seed: 2, Model: "' + text):
        assert isinstance(parse(whole)["Prompt"], str)
