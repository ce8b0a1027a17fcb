"""Ranges, lists, replaced words, matrices and lines of options, as A1111 writes them."""

import pytest

from core.library.sweeping import (
    Matrix,
    each_once,
    in_order,
    inserted,
    line_options,
    listed,
    numbers,
    orders,
    replaced,
    strides,
)


@pytest.mark.parametrize(
    "text, kind, values",
    [
        ("1-5", int, [1, 2, 3, 4, 5]),
        ("1-5 (+2)", int, [1, 3, 5]),
        ("10-5 (-3)", int, [10, 7]),
        ("5-3", int, [5, 4, 3]),
        ("1-10 [5]", int, [1, 3, 5, 7, 10]),
        ("0-1 [3]", float, [0, 0.5, 1]),
        ("0-1 (+0.1)", float, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        ("1-2 [1]", float, [1]),
        ("-1", int, [-1]),
        ("-2--1", int, [-2, -1]),
        ("7, 1-3, 2.5", float, [7, 1, 2, 3, 2.5]),
        ("1-1000000000000", int, [*range(1, 12)]),
    ],
)
def test_ranges_are_the_numbers_that_are_meant(text, kind, values):
    assert numbers(listed(text), kind, 10) == values


@pytest.mark.parametrize(
    "text, told",
    [
        ("a", "'a' is no whole number"),
        ("1.5", "no whole number"),
        ("1-5 (-1)", "lead away from 5"),
        ("1-", "'1-'"),
        ("nan", "'nan'"),
    ],
)
def test_what_is_no_range_is_told(text, told):
    with pytest.raises(ValueError, match=told):
        numbers(listed(text), int, 10)


def test_a_list_has_commas_and_quotes_and_lines():
    assert listed('a cat, "red, blue" ,, "he said ""no"""\nnext') == ["a cat", "red, blue", 'he said "no"', "next"]
    assert listed("") == []


def test_words_are_replaced_in_all_texts_or_it_is_an_error():
    texts = {"prompt": "a cat on a cat", "negative_prompt": "cats"}
    assert replaced(texts, "cat", "dog") == {"prompt": "a dog on a dog", "negative_prompt": "dogs"}
    with pytest.raises(ValueError, match="'cow' is not in prompt or negative prompt"):
        replaced(texts, "cow", "dog")
    with pytest.raises(ValueError, match="over 1,000,000 characters"):
        replaced({"prompt": "a" * 100_000}, "a", "b" * 100_000)


def test_parts_stand_in_every_order_where_they_stood():
    assert [in_order("a (red) and blue", each) for each in orders(["red", "blue"], 9)] == [
        "a (red) and blue", "a (blue) and red",
    ]  # fmt: skip
    assert len(orders("abcdefghij", 100)) == 101


def test_only_the_first_of_equal_words_is_put_elsewhere():
    assert in_order("cat cat dog", ("cat", "dog")) == "cat cat dog"
    assert in_order("cat cat dog", ("dog", "cat")) == "dog cat cat"


def test_what_occurs_again_gets_a_key_that_nothing_else_has():
    assert each_once(["a", "b", "a", "a #2", "a"]) == ["a", "b", "a #2", "a #2 #2", "a #3"]
    assert each_once(["a #2", "a", "a"]) == ["a #2", "a", "a #3"]


def test_seeds_count_along_those_axes_that_are_varied():
    assert strides([2, 3, 4], [True, True, True]) == [1, 2, 6]
    assert strides([2, 3, 4], [True, False, True]) == [1, 0, 2]
    assert strides([2, 3, 4], [False, False, True]) == [0, 0, 1]


def test_both_prompts_of_a_line_stand_in_the_usual_ones():
    usual = {"prompt": "big", "negative_prompt": "grey"}
    assert inserted({"prompt": "a cat", "steps": "3"}, usual, True) == {"prompt": "a cat big", "steps": "3"}
    assert inserted({"negative_prompt": "blue"}, usual, False) == {"negative_prompt": "grey blue"}
    assert inserted({"prompt": "a cat"}, {}, True) == {"prompt": "a cat"}


def test_a_matrix_has_each_choice_in_the_order_of_the_bits():
    made = Matrix("a cat|red|big")
    assert [*made.prompts()] == ["a cat", "a cat, red", "a cat, big", "a cat, red, big"]
    assert made.words() == (["", "red"], ["", "big"])
    assert [*Matrix("a cat|red", " ", first_last=True).prompts()] == ["a cat", "red a cat"]
    assert (Matrix("x").count, [*Matrix("x").prompts()], Matrix("x").words()) == (1, ["x"], ([""], [""]))


def test_a_line_is_a_prompt_or_options():
    known = {"prompt", "steps", "tiling"}
    assert line_options("a cat -- really", known) == {"prompt": "a cat -- really"}
    assert line_options("--steps 1 --steps 2", known) == {"steps": "2"}
    assert line_options('--prompt "a cat" big --steps 10 --tiling', known) == {
        "prompt": "a cat big", "steps": "10", "tiling": "",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no option --stepz"):
        line_options("--stepz 4", known)
    with pytest.raises(ValueError, match="quotation"):
        line_options('--prompt "a cat', known)
