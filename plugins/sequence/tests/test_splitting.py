"""Texts become chapters and prompts."""

import re
import time

import pytest
from stable_core_plugin_sequence.options import SequenceParams
from stable_core_plugin_sequence.reading import read
from stable_core_plugin_sequence.splitting import prompts_of

from core.plugin import InvalidParams

TEXT = """A preface.
Season1 (1997)
a ship in the sky

a tower of glass
Season2 (1998)
a forest at night
a forest at dawn
"""
AS_THE_ORIGINAL = {
    "chapter_split_regex": r"Season\d+", "prompt_split_regex": r"\n", "first_prompt": "never", "keep_empty": True,
}  # fmt: skip


def split(text, form="automatic", **params):
    params = {"max_chapters": 0, "max_entries_per_chapter": 0} | params
    return [[prompt for _, prompt in part] for part in prompts_of(read(text, form), SequenceParams(**params))]


def test_by_expressions():
    expected = [["a ship in the sky", "a tower of glass"], ["a forest at night", "a forest at dawn"]]
    assert split(TEXT, chapter_split_regex=r"Season\d+", prompt_split_regex=r"\n") == expected
    assert split(TEXT) == expected


def test_as_the_original_splits():
    def original(text, chapters, prompts):
        return [re.split(r"\n", chapter)[1 : 1 + prompts] for chapter in re.split(r"Season\d+", text)[1 : 1 + chapters]]

    for chapters, prompts in ((1, 9), (2, 2), (5, 1)):
        limits = {"max_chapters": chapters, "max_entries_per_chapter": prompts}
        assert split(TEXT, **AS_THE_ORIGINAL, **limits) == original(TEXT, chapters, prompts)


def test_limits_are_of_what_is_drawn_and_numbers_of_the_whole_text():
    params = SequenceParams(max_chapters=2, max_entries_per_chapter=1)
    assert prompts_of(read(TEXT), params) == [[(0, "a ship in the sky")], [(2, "a forest at night")]]


@pytest.mark.parametrize(
    "first, mark, expected",
    [
        ("after the heading", r"Chapter \d", ["It was dark", "It rained", "End"]),
        ("after the heading", r"Chapter \d.*\n", ["It was dark", "It rained", "End"]),
        ("after the heading", r"(?=Chapter)", ["It was dark", "It rained", "End"]),
        ("never", r"Chapter \d", ["It rained", "End"]),
        ("always", r"Chapter \d", ["The storm\nIt was dark", "It rained", "End"]),
    ],
)
def test_the_rest_of_a_heading_is_no_prompt_and_what_follows_is_not_lost(first, mark, expected):
    text = "Chapter 1 The storm\nIt was dark. It rained. End"
    assert split(text, chapter_split_regex=mark, prompt_split_regex=r"\. ", first_prompt=first) == [expected]


def test_groups_in_an_expression_are_no_parts():
    found = split("(1) a; b;; (2) c", chapter_split_regex=r"(\(\d\))", prompt_split_regex="(;)", first_prompt="always")
    assert found == [["a", "b"], ["c"]]


def test_an_expression_that_finds_what_has_no_length_splits_there():
    assert split("aBcD", chapter_split_regex="", prompt_split_regex="(?=[A-Z])") == [["a", "Bc", "D"]]


@pytest.mark.parametrize(
    "params, message",
    [
        (
            {"chapter_split_regex": "(a"},
            r"chapter_split_regex '\(a' is no regular expression: missing \) at position 2",
        ),
        ({"prompt_split_regex": "*"}, r"prompt_split_regex '\*' is no regular expression: nothing to repeat"),
        (
            {"chapter_split_regex": "Folge"},
            "'Folge' does not occur in the text, which has 112 characters and begins: 'A pr",
        ),
        ({"chapter_split_regex": "Season", "prompt_split_regex": "XX"}, None),
        ({"chapter_split_regex": "preface.*", "prompt_split_regex": "XX", "first_prompt": "never"}, "leaves no prompt"),
        ({"prompt_split_regex": "((x{999}){999}){9}"}, "repeats what is repeated over 100,000 times"),
        ({"prompt_split_regex": "(" * 490 + ")" * 490}, "too many brackets in each other"),
        ({"chapter_split_regex": r"dawn\s"}, r"there is no prompt in the text, which has 112 characters"),
    ],
)
def test_what_cannot_be_split_is_told(params, message):
    if message is None:
        assert split(TEXT, **params) == [
            ["a ship in the sky\n\na tower of glass"],
            ["a forest at night\na forest at dawn"],
        ]
        return
    with pytest.raises(InvalidParams, match=message) as refused:
        split(TEXT, **params)
    assert refused.value.extra["field"] in (*params, "story")


def test_chapters_that_are_not_drawn_take_no_time(monkeypatch):
    monkeypatch.setattr("stable_core_plugin_sequence.splitting.SECONDS", 0.2)
    text = "Chapter 1\na\na\nChapter 2\n" + "a" * 40 + "!"
    assert split(text, prompt_split_regex=r"\n|(\w|\w\w)+$(?<!a)", max_chapters=1) == [["a", "a"]]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_text_is_told(text):
    with pytest.raises(InvalidParams, match="the text is empty"):
        split(text)


def test_an_expression_that_never_ends_is_stopped_however_many_chapters_there_are(monkeypatch):
    monkeypatch.setattr("stable_core_plugin_sequence.splitting.SECONDS", 0.2)
    begun = time.monotonic()
    with pytest.raises(InvalidParams, match=r"takes over 0.2 s on this text. Nested repetitions as in \(a\+\)\+"):
        split("Chapter 1\n" + ("a" * 40 + "!\n") * 1000, prompt_split_regex=r"(\w|\w\w)+$(?<!a)")
    with pytest.raises(InvalidParams, match="prompt_split_regex .* takes over 0.2 s"):
        split("Chapter 1\naaaaaaaaaaaaaaaaaaaaaaaab\n" * 1000, prompt_split_regex=r"(a|aa)+$")
    assert time.monotonic() - begun < 5


def test_an_expression_that_is_found_everywhere_is_refused():
    story = read("x" * 200_000, "plain", "")
    with pytest.raises(InvalidParams, match="is in the text in over 100,000 places"):
        prompts_of(story, SequenceParams(chapter_split_regex="(?=x)", max_chapters=0))
