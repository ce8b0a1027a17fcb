"""The text plugin by itself: its class called as the worker calls it."""

from pathlib import Path

import pytest

from core.ops.describe import describe, load_plugin
from core.plugin import Cancelled, Context, InvalidParams

FOLDER = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def kind():
    return load_plugin(FOLDER)


@pytest.fixture
def edit(kind):
    import stable_core_plugin_text as module  # its name since load_plugin

    plugin = kind(FOLDER)
    return lambda text, **params: plugin.edit(text, module.EditParams(**params))


@pytest.fixture
def context(tmp_path):
    told = []
    context = Context("job", tmp_path, None, lambda event, body: told.append((event, body)))
    context.told = told
    return context


@pytest.mark.parametrize(
    "params, edited",
    [
        ({}, "A cat"),
        ({"replace": "cat", "by": "dog"}, "A dog"),
        ({"before": "<", "after": ">"}, "<A cat>"),
        ({"case": "upper"}, "A CAT"),
        ({"case": "title", "after": ", red"}, "A Cat, Red"),
    ],
)
def test_edit_replaces_extends_and_changes_case(edit, params, edited):
    assert edit("A cat", **params) == edited


@pytest.mark.parametrize("text, parts", [("a\n\n b \nc", ["a", "b", "c"]), ("", []), ("one", ["one"])])
def test_split_gives_the_parts_that_are_not_empty(kind, context, text, parts):
    import stable_core_plugin_text as module  # its name since load_plugin

    assert list(kind(FOLDER).split(text, module.SplitParams(), context)) == parts
    assert len([event for event, _ in context.told if event == "progress"]) <= len(parts)


def test_split_stops_when_it_is_cancelled(kind, context):
    import stable_core_plugin_text as module  # its name since load_plugin

    context._cancelled.set()
    with pytest.raises(Cancelled):
        list(kind(FOLDER).split("a\nb", module.SplitParams(), context))


def test_it_announces_text_to_text_and_text_to_texts(kind):
    edit, split, *converters = describe(kind)
    assert [each["name"] for each in converters if each["converts"]] == ["from_json", "to_json"]
    assert (edit["name"], edit["output"]["list"]) == ("edit", False)
    assert (split["name"], split["output"]["list"]) == ("split", True)
    assert edit["inputs"] == split["inputs"] == {"text": {"kind": "text", "list": False, "optional": False}}


@pytest.mark.parametrize(
    "value, text",
    [
        ("a cat", "a cat"),
        ({"a": ["é", 1.5, None]}, '{\n  "a": [\n    "é",\n    1.5,\n    null\n  ]\n}'),
        (True, "true"),
        ([], "[]"),
    ],
)
def test_json_becomes_the_text_that_it_is_or_is_written_as(kind, value, text):
    assert kind(FOLDER).from_json(value) == text


@pytest.mark.parametrize("value", [{"a": ["é", 1.5, None]}, True, [], 12])
def test_what_was_written_is_read_as_it_was(kind, value):
    plugin = kind(FOLDER)
    assert plugin.to_json(plugin.from_json(value)) == value


@pytest.mark.parametrize("text", ["", "a cat", "{", "[" * 100_000])
def test_a_text_that_is_no_json_is_refused(kind, text):
    with pytest.raises(InvalidParams, match="this text is no JSON: "):
        kind(FOLDER).to_json(text)
