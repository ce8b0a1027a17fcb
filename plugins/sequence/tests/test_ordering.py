"""Which picture is drawn when, from which, by what text: as run_interleave.py does it."""

import pytest
from stable_core_plugin_sequence.options import SequenceParams
from stable_core_plugin_sequence.ordering import pictures

CHAPTERS = [[(0, "a"), (1, "b"), (2, "c")], [(5, "d")]]
STYLES = [
    {"style": "in oil", "file_tag": "oil", "weight": 0.9},
    {"style": "in ink", "file_tag": "ink", "weight": 0.1},
    {"style": "", "weight": 0.5},
]


def drawn(**params):
    params = {"interleave": False, "styles": STYLES} | params
    return pictures(CHAPTERS, SequenceParams(**params))


def froms(found):
    return [(each.before or "").removeprefix("chapter ").replace("/prompt ", "-") for each in found]


def test_chapters_then_prompts_then_styles():
    found = drawn()
    assert [f"{each.tag} {each.chapter}-{each.prompt}" for each in found] == [
        "oil 0-0", "ink 0-0", "style 2 0-0", "oil 0-1", "ink 0-1", "style 2 0-1",
        "oil 0-2", "ink 0-2", "style 2 0-2", "oil 1-0", "ink 1-0", "style 2 1-0",
    ]  # fmt: skip
    assert [each.text for each in found[:3]] == ["a in oil", "a in ink", "a"]
    assert [each.weight for each in found[:3]] == [0.9, 0.1, 0.5]
    assert [each.number for each in found[::3]] == [0, 1, 2, 5]


def test_each_style_goes_on_from_its_last_picture_also_in_the_next_chapter():
    expected = ["", "", "", "0-0/oil", "0-0/ink", "0-0/style 2", "0-1/oil", "0-1/ink", "0-1/style 2"]
    assert froms(drawn()) == [*expected, "0-2/oil", "0-2/ink", "0-2/style 2"]


def test_interleaved_each_goes_on_from_the_next_one_and_the_last_from_the_first():
    found = froms(drawn(interleave=True))
    assert found[3:6] == ["0-0/ink", "0-0/style 2", "0-0/oil"]
    assert found[6:9] == ["0-1/ink", "0-1/style 2", "0-1/oil"]
    assert found[9:] == ["0-2/ink", "0-2/style 2", "0-2/oil"]


def test_cycled_the_texts_move_left_and_tags_and_weights_stay():
    found = drawn(cycle_styles=True)
    assert [each.text for each in found] == [
        "a in oil", "a in ink", "a", "b in ink", "b", "b in oil",
        "c", "c in oil", "c in ink", "d in oil", "d in ink", "d",
    ]  # fmt: skip
    assert [each.tag for each in found[3:6]] == ["oil", "ink", "style 2"]
    assert [each.weight for each in found[3:6]] == [0.9, 0.1, 0.5]


@pytest.mark.parametrize("interleave", [False, True])
def test_independent_pictures_start_from_noise_and_cycle_all_the_same(interleave):
    found = drawn(progressive=False, interleave=interleave, cycle_styles=True)
    assert {each.before for each in found} == {None}
    assert [each.text for each in found[:6]] == ["a in oil", "a in ink", "a", "b in ink", "b", "b in oil"]


def test_an_override_keeps_the_count_and_replaces_the_text():
    found = drawn(prompt_override="a cat")
    assert len(found) == 12 and {each.text for each in found} == {"a cat in oil", "a cat in ink", "a cat"}


def test_one_style_and_one_prompt():
    (only,) = pictures([[(0, "a")]], SequenceParams(styles=[{}]))
    assert (only.text, only.tag, only.key, only.before) == ("a", "style 0", "chapter 0/prompt 0/style 0", None)


def test_a_higher_limit_or_a_further_style_keeps_what_was_drawn():
    few = {each.key: each for each in pictures([CHAPTERS[0][:2]], SequenceParams(styles=STYLES[:2], progressive=False))}
    more = {each.key: each for each in drawn(progressive=False)}
    assert few.items() <= more.items()
