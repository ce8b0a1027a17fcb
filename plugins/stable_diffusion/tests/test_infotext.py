"""The text that A1111 and its friends read from a picture. The patterns are those of its reader."""

import json
import re
from pathlib import Path

import pytest
from sd.infotext import VERSION, infotext

FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read(text):
    """The fields of the last line, quoted ones unquoted, as A1111 reads them."""
    fields = {key: value.strip() for key, value in FIELD.findall(text.splitlines()[-1])}
    return {key: json.loads(value) if value.startswith('"') else value for key, value in fields.items()}


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


@pytest.mark.parametrize("value", ["a, b", "a: b", "a\nb", 'a, "b"', "größer, kleiner", "C:\\models, new"])
def test_values_with_separators_are_quoted_and_read_back(value):
    text = infotext("p", "", {"Steps": 1, "Model": value, "Seed": 2, "Size": "8x8"})
    assert text.count("\n") == 1
    assert read(text) == {"Steps": "1", "Model": value, "Seed": "2", "Size": "8x8"}


@pytest.mark.parametrize(("value", "written"), [(7.0, "7"), (7.5, "7.5"), (0.75, "0.75"), (1.0, "1"), (0.0, "0")])
def test_numbers_are_short(value, written):
    assert read(infotext("p", "", {"CFG scale": value}))["CFG scale"] == written


def test_the_version_is_the_plugins():
    manifest = (Path(__file__).parent.parent / "plugin.toml").read_text("utf-8")
    assert f'version = "{VERSION.split()[1]}"' in manifest
