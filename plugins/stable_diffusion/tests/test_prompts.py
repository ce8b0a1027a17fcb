"""How prompts are read: emphasis, changes over the steps, AND, comments. Expected values are those of A1111 1.8.0."""

import random

import pytest
from sd.attention import LIMIT, parse
from sd.comments import strip
from sd.composition import parts
from sd.editing import current, edits

EMPHASIS = {
    "": [("", 1.0)],
    "a": [("a", 1.0)],
    "((a))": [("a", 1.2100000000000002)],
    "[a]": [("a", 0.9090909090909091)],
    "[[a]]": [("a", 0.8264462809917354)],
    "(a:1.2)": [("a", 1.2)],
    "(a: 1.2 )": [("a", 1.2)],
    "(a:.5)": [("a", 0.5)],
    "(a:0)": [("a", 0.0)],
    "(a:-1)": [("a", -1.0)],
    "((a:1.5))": [("a", 1.6500000000000001)],
    "(a (b:1.5) c)": [("a ", 1.1), ("b", 1.6500000000000001), (" c", 1.1)],
    "(a": [("a", 1.1)],
    "[a": [("a", 0.9090909090909091)],
    "a)": [("a)", 1.0)],
    "a]": [("a]", 1.0)],
    "(a:abc)": [("a:abc", 1.1)],
    "(a:1.2": [("a:1.2", 1.1)],
    "[a:1.3]": [("a:1.3", 0.9090909090909091)],
    r"\(a\)": [("(a)", 1.0)],
    r"\[\]\\": [("[]\\", 1.0)],
    r"a\b": [("ab", 1.0)],
    "()": [("", 1.0)],
    "a:1.2)": [("a:1.2)", 1.0)],
    "(a:1.2.3)": [("a:1.2.3", 1.1)],  # A1111 crashes
    "a BREAK b": [("a", 1.0), ("BREAK", -1.0), ("b", 1.0)],
    "BREAK\nBREAK": [("", 1.0), ("BREAK", -1.0), ("", 1.0), ("BREAK", -1.0), ("", 1.0)],
    "(a BREAK b:1.3)": [("a", 1.3), ("BREAK", -1.3), ("b", 1.3)],
    "aBREAKb": [("aBREAKb", 1.0)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0), ("house", 1.5730000000000004), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55),
        (", sun, ", 1.1), ("sky", 1.4641000000000006), (".", 1.1),
    ],
}  # fmt: skip

COMFYUI = {
    "": [("", 1.0)],
    "((a))": [("a", 1.2100000000000002)],
    "(a (b:1.5) c)": [("a ", 1.1), ("b", 1.5), (" c", 1.1)],
    "((a) b:2)": [("a", 2.2), (" b", 2.0)],
    "(a:-.5)": [("a", -0.5)],
    "(a:b:0.5)": [("a:b", 0.5)],
    "(:1.5)": [(":1.5", 1.1)],
    "(a:1.2.3)": [("a:1.2.3", 1.1)],
    "[a]": [("[a]", 1.0)],
    r"\(a\) b\c": [(r"(a) b\c", 1.0)],
    "(a": [("(a", 1.0)],
    "(a) (b (c)": [("a", 1.1), (" (b (c)", 1.0)],
    r"(a) (\(b": [("a", 1.1), (" ((b", 1.0)],
    "a) (b)": [("a) (b)", 1.0)],
    "(a BREAK b:1.3)": [("a", 1.3), ("BREAK", -1.0), ("b", 1.3)],
}

EDITS = {
    "": [(10, "")],
    "test": [(10, "test")],
    "[a:b:0.5]": [(5, "a"), (10, "b")],
    "[a::5]": [(5, "a"), (10, "")],
    "[b:5]": [(5, ""), (10, "b")],
    "[:b:5]": [(5, ""), (10, "b")],
    "[a:b:1.0]": [(10, "a")],
    "[a:b:1]": [(1, "a"), (10, "b")],
    "[a:b:0]": [(10, "b")],
    "[a:b:99]": [(10, "a")],
    "[a:b:-1]": [(10, "b")],
    "[a:b:1e1]": [(10, "a")],
    "[a:b:1e999]": [(10, "a")],  # A1111 crashes
    "[a:b:0.999]": [(9, "a"), (10, "b")],
    "[a:b:0.05]": [(10, "b")],
    "[[a|b]:c:0.5]": list(enumerate("ababaccccc", 1)),
    "[a:[b|c]:4]": list(enumerate("aaaabcbcbc", 1)),
    "[a|b:0.5]": [(10, "[a|b:0.5]")],
    "[a:b]": [(10, "[a:b]")],
    "[a]": [(10, "[a]")],
    "(a [b:c:3]:1.3)": [(3, "(a b:1.3)"), (10, "(a c:1.3)")],
    "[a : b : .3 ]": [(3, "a "), (10, " b ")],
    "[fe|]male": list(enumerate(["female", "male"] * 5, 1)),
    "[fe|||]male": list(enumerate(["female", "male", "male", "male"] * 2 + ["female", "male"], 1)),
    "[a|(b:1.1)]": list(enumerate(["a", "(b:1.1)"] * 5, 1)),
    "a [b:3]": [(3, "a "), (10, "a b")],
    "a [[[b]]:2]": [(2, "a "), (10, "a [[b]]")],
    "[(a:2):3]": [(3, ""), (10, "(a:2)")],
    "a[b:[c:d:2]:1]e": [(1, "abe"), (2, "ace"), (10, "ade")],
    "a [unbalanced": [(10, "a [unbalanced")],
    "((a][:b:c [d:3]": [(3, "((a][:b:c "), (10, "((a][:b:c d")],
    "[a:b:5)] [c:d:2]": [(2, "[a:b:5)] c"), (10, "[a:b:5)] d")],
    ":) a [b:c:5]": [(5, ":) a b"), (10, ":) a c")],
    "[x:y] (x:1.2:3) [a:b:5]": [(5, "[x:y] (x:1.2:3) a"), (10, "[x:y] (x:1.2:3) b")],
    "(a [b::3]:1.2)) [c:d:4]": [(3, "(a b:1.2)) c"), (4, "(a :1.2)) c"), (10, "(a :1.2)) d")],
    "a | [b:c:5]": [(10, "a | [b:c:5]")],
    "[b:c:5] \\": [(10, "[b:c:5] \\")],
    r"\[a:b:5\]": [(10, r"\[a:b:5\]")],
    r"[a\|b:c:5]": [(5, r"a\|b"), (10, "c")],
}

PARTS = {
    "": [("", 1.0)],
    "a cat": [("a cat", 1.0)],
    "a cat :1.2 AND a dog AND a penguin :2.2": [("a cat", 1.2), (" a dog", 1.0), (" a penguin", 2.2)],
    "a:-1 AND b:.5 AND": [("a", -1.0), (" b", 0.5), ("", 1.0)],
    "a\nb : 2.": [("a\nb", 2.0)],
    "bAND and ANDb": [("bAND and ANDb", 1.0)],
    "(a:1.2) AND b:1.2.3": [("(a:1.2)", 1.0), (" b:1.2.3", 1.0)],
    "a:" + "9" * 400: [("a:" + "9" * 400, 1.0)],  # would be infinite
}

COMMENTS = {
    "a cat": "a cat",
    "a cat # not a dog\nin a hat": "a cat\nin a hat",
    "# all\na\n  # of it\nb": "a\nb",
    "a\n\nb ": "a\n\nb ",
    "#": "",
    r"the \#1 cat # best": "the #1 cat",
}


@pytest.mark.parametrize("text", EMPHASIS)
def test_brackets_weigh_as_in_a1111(text):
    assert parse(text) == EMPHASIS[text]


@pytest.mark.parametrize("text", COMFYUI)
def test_brackets_weigh_as_in_comfyui(text):
    assert parse(text, "comfyui") == COMFYUI[text]


@pytest.mark.parametrize("text", EDITS)
def test_prompts_change_over_the_steps_as_in_a1111(text):
    assert edits(text, 10) == EDITS[text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:0.5]", [(10, "b")]),
        ("[a:b:5]", [(10, "b")]),
        ("[a:b:1.5]", [(5, "a"), (10, "b")]),
        ("[a:b:15]", [(5, "a"), (10, "b")]),
        ("[a:b:99]", [(10, "a")]),
    ],
)
def test_numbers_count_on_in_the_second_pass(text, expected):
    assert edits(text, 10, 10) == expected


def test_fractions_of_the_second_pass_are_of_its_own_steps():
    assert edits("[a:b:1.5] [c:d:12]", 10, 4) == [(2, "a c"), (4, "b d")]


@pytest.mark.parametrize(
    ("text", "texts"),
    [("[a:b:5]", "aaaaaabbbb"), ("[a|b]", "aababababa"), ("a", "aaaaaaaaaa")],
)
def test_the_first_text_gets_one_evaluation_more(text, texts):
    assert "".join(current(edits(text, 10), evaluation) for evaluation in range(10)) == texts


def test_more_evaluations_than_steps_keep_the_last_text():
    assert current(edits("[a:b:1]", 1), 0) == "a" and current(edits("[a:b:1]", 2), 9) == "b"


def test_one_step_has_one_text():
    assert edits("[a:b:0.5] [c|d] [e:f:1]", 1) == [(1, "b c e")]


@pytest.mark.parametrize("text", PARTS)
def test_and_separates_prompts_with_weights(text):
    assert parts(text) == PARTS[text]


@pytest.mark.parametrize("text", COMMENTS)
def test_comments_are_left_out(text):
    assert strip(text) == COMMENTS[text]


def test_any_mix_of_marks_is_read():
    marks = random.Random(0)
    for _ in range(3000):
        text = "".join(
            marks.choices(
                ["(", ")", "[", "]", ":", "|", "\\", "1.5", ":2)", ":3]", " ", "BREAK", "AND", "#", "a"], k=12
            )
        )
        for style in ("a1111", "comfyui"):
            pieces = parse(strip(text), style)
            assert pieces and all(abs(weight) <= LIMIT for _, weight in pieces)
        for part, weight in parts(text):
            ends = [until for until, _ in edits(part, 10)]
            assert ends == sorted(set(ends)) and ends[-1] == 10 and abs(weight) < 4


def test_a_prompt_without_marks_is_read_as_it_stands():
    text = "  a cat,\nin a hät 帽 {x} <y> \t"
    assert parse(text) == parse(text, "comfyui") == [(text, 1.0)]
    assert edits(text, 10) == [(10, text)] and strip(text) == text


ENDLESS = {
    "round": "(" * 20_000,
    "square": "[" * 20_000,
    "alternating": "[a|b|" * 4_000,
    "closed round": "(a" * 6_667 + ")" * 6_667,
    "closed square": "[a" * 6_667 + "]" * 6_667,
    "closed alternating": "[a|" * 5_000 + "]" * 5_000,
    "closed scheduled": "[a:" * 4_000 + ":5]" * 4_000,
    "backslashes": "\\" * 20_000,
    "blanks": ("(a:" + " " * 19_997),
    "digits": "(a:" + "1" * 19_997,
    "digits in a schedule": "[a:" + "1" * 19_996 + "x]",
    "breaks": "BREAK " * 3_333,
}


@pytest.mark.timeout(10)  # what takes quadratic or exponential time, takes longer; what is linear, 0.1 s
@pytest.mark.parametrize("name", ENDLESS)
def test_endless_nesting_neither_hangs_nor_overflows(name):
    text = ENDLESS[name]
    for style in ("a1111", "comfyui"):
        assert all(abs(weight) <= LIMIT for _, weight in parse(text, style))
    assert edits(text, 150)[-1][0] == 150
    assert parts(text) and isinstance(strip(text), str)
