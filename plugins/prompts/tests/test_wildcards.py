"""Choices in a prompt: drawn by the seed, nothing else touched, and no text or file makes it hang or crash."""

import json
from collections import Counter

import pytest
from dynamicprompts.generators import CombinatorialPromptGenerator
from dynamicprompts.wildcards import WildcardManager

from core.library.prompts import wildcard_files
from core.library.prompts.wildcards import combinations, expand
from core.plugin import InvalidParams


def write(folder, name, text):
    path = folder / "wildcards" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def drawn(text, folder, seeds=200):
    """How often each result is drawn; there must be no warnings."""
    results = [expand(text, seed, folder) for seed in range(seeds)]
    assert all(warnings == [] for _, warnings in results)
    return Counter(result for result, _ in results)


TEXTS = [
    "", " ", "a cat", "  two\n\n lines\t\r\n ", "(a:1.2) [b] ((c)) \\(d\\)", "[a|b] and [a:b:0.5]", "<lora:a_b:0.8>",
    "50% # not a comment // https://x.org /* neither */", "$5 and %", "{word} {{masterpiece}} {}", '{"a": 1}', "|",
    "snake_case __ ___ _____ __a", "a AND b :1.2 BREAK c", "<hypernet:x:1> {prompt}", "ä 猫 🐈\ufeff",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_text_without_choices_comes_back_as_it_is(tmp_path, text):
    assert expand(text, 1, tmp_path) == (text, [])
    assert combinations(text, tmp_path, 10) == ([text], [])


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_beside_a_choice_every_character_of_the_rest_stays(tmp_path, text):
    write(tmp_path, "red.txt", "red")
    assert expand(f"{text}\n {{x|x}}{text}", 1, tmp_path) == (f"{text}\n x{text}", [])
    assert combinations(f"{{a|b}}\n{text}", tmp_path, 10) == ([f"a\n{text}", f"b\n{text}"], [])
    if "__" not in text:
        assert expand(f"{text}__red__{text}", 1, tmp_path) == (f"{text}red{text}", [])


def test_the_seed_decides_and_nothing_else(tmp_path):
    text = "{a|b|c|d} {2$$e|f|g} __artist__"
    before = [expand(text, seed, tmp_path) for seed in range(30)]
    assert [expand(text, seed, tmp_path) for seed in reversed(range(30))] == before[::-1]
    assert len({*map(str, before)}) > 20


def test_the_same_is_drawn_on_every_machine(tmp_path):
    write(tmp_path, "color.txt", "red\ngreen\nblue\n")
    text = "{a|b|c|d|e|f} {2$$1|2|3|4} {0.1::rare|9::often} __color__"
    assert [expand(text, seed, tmp_path)[0] for seed in (0, 1, 2**32 - 1)] == [
        "a 4, 3 often blue",
        "f 2, 3 often red",
        "a 3, 1 often green",
    ]


def test_options_are_as_likely_as_their_weights_say(tmp_path):
    found = drawn("{3::a|b|0::c}", tmp_path, 2_000)
    assert found["c"] == 0 and 1_400 < found["a"] < 1_600
    pairs = drawn("{2$$+$$8::a|b|b}", tmp_path, 2_000)
    assert 350 < pairs["a+b"] * 2 / 9 < 450 and pairs["b+b"] < 50  # 8/10, 1/45


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{a|b}", "a b"),
        ("{ a | b\n}", "a b"),
        ("x{|y}", "x xy"),
        ("{a{b|c}|d}", "ab ac d"),
        ("{2$$+$$a|b|c}", "a+b a+c b+a b+c c+a c+b"),
        ("{1-2$$+$$a|b}", "a b a+b b+a"),
        ("{-1$$a|b}", "a b"),
        ("{2-$$+$$a|b}", "a+b b+a"),
        ("{0$$a|b}x", "x"),
        ("{9$$+$$a|b}", "a+b b+a"),
        ("{2-1$$+$$a|b}", "a b a+b b+a"),
        ("{1$$a}", "a"),
        ("{2::a}", "a"),
        ("{@a|~b}", "a ~b"),
        ("{2$$|$$a|b}", "a|b b|a"),
        ("{[a|b]|c}", "[a|b] c"),
        ("{[a|{b|c}]|d}", "[a b] c] d"),
        ("{(a:1.2)|<lora:b:1>}", "(a:1.2) <lora:b:1>"),
        ("${x={a|b}}${x}${x}", "aa ab ba bb"),
        ("${x=!a}${y=!${x}}${y}", "a"),
        ("${x=a}${x?=b}${y?=c}${x}${y}", "ac"),
        ("${x:a}${x:}", "a"),
        ("${x=}a${x}", "a"),
        ("{${x=a}${x}|b}", "a b"),
        ("$5{a|b}%", "$5a% $5b%"),
    ],
)
def test_what_a_text_can_become(tmp_path, text, expected):
    expected = expected.split(" ")
    assert combinations(text, tmp_path, 100)[0] == expected or {*combinations(text, tmp_path, 100)[0]} == {*expected}
    assert {*drawn(text, tmp_path)} == {*expected}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its parser, which we do not use
@pytest.mark.parametrize(
    "text",
    ["{a|b}{c|d}", "x {a|{b|c}} y", "{2$$ and $$a|b|c}", "{1-2$$-$$a|b|c}", "{3::a|b}", "__c__ and __c__", "__**c__!",
     "${v={a|b}}${v} ${v}", "${v:{a|b}}", "{2$$/$$__c__}", "{a|__c__}", "__{c|n}__", "(a:1.2) [b|c] {d|e}"],
)  # fmt: skip
def test_combinations_are_those_of_the_library(tmp_path, text):
    write(tmp_path, "c.txt", "blue\nred\n{dark|light} green\n")  # the library sorts
    write(tmp_path, "n.txt", "1\n2\n")
    library = CombinatorialPromptGenerator(wildcard_manager=WildcardManager(tmp_path / "wildcards"))
    assert combinations(text, tmp_path, 100)[0] == [str(each) for each in library.generate(text, 100)]


def test_combinations_come_in_order_and_no_more_than_asked_for(tmp_path):
    assert combinations("{a|b} {c|d}", tmp_path, 3) == (["a c", "a d", "b c"], [])
    assert len(combinations("{a|b}" * 20, tmp_path, 1_000)[0]) == 1_000


def test_the_separator_is_a_comma_and_a_space(tmp_path):
    assert combinations("{2$$a|b}", tmp_path, 1)[0] == ["a, b"]


def test_wildcards_are_lines_of_text_files_in_any_folder(tmp_path):
    write(tmp_path, "c.txt", "\ufeff# mine\nred\n\n  {dark|light} green \n(x:1.2) :}\nred\n")
    write(tmp_path, "deep/er/my animals.txt", "wolf")
    write(tmp_path, "deep/birds.txt", "owl")
    assert combinations("__c__", tmp_path, 9)[0] == ["red", "dark green", "light green", "(x:1.2) :}"]
    for name in ("deep/er/my animals", "my animals", "deep/*/my*", "*mals", "@my animals", "${x:my} animals"):
        assert expand(f"__{name}__", 1, tmp_path) == ("wolf", []), name
    assert combinations("__deep/*__", tmp_path, 9)[0] == ["owl", "wolf"]


def test_wildcards_are_trees_of_yaml_and_json_files_with_weights(tmp_path):
    write(tmp_path, "a.yaml", "dogs:\n  big: [wolfhound, 3::mastiff]\n  one: pug\n  none: []\n5: [no, 6]\n")
    write(tmp_path, "sub/b.json", json.dumps({"cats": ["tom", {"text": "lynx", "weight": 0}, {"content": "puma"}]}))
    write(tmp_path, "sub/list.yml", "- x\n- 1.5\n- [y]\n- null\n")
    assert 100 < drawn("__dogs/big__", tmp_path)["mastiff"] < 190
    assert combinations("__dogs/one__", tmp_path, 9)[0] == ["pug"]
    assert combinations("__sub/cats__", tmp_path, 9)[0] == ["tom", "puma"]
    assert combinations("__sub/list__", tmp_path, 9)[0] == ["x", "1.5", "y"]
    assert combinations("__dogs/*__", tmp_path, 9)[0] == ["wolfhound", "mastiff", "pug"]


def test_artists_are_there_from_the_start_and_the_users_own_take_their_place(tmp_path):
    assert len(combinations("__artist__", tmp_path, 1_000)[0]) > 100
    write(tmp_path, "artist.txt", "me")
    assert expand("by __artist__", 1, tmp_path) == ("by me", [])


def test_a_changed_file_is_read_again(tmp_path):
    write(tmp_path, "c.txt", "red")
    assert expand("__c__", 1, tmp_path)[0] == "red"
    write(tmp_path, "c.txt", "green")
    assert expand("__c__", 1, tmp_path)[0] == "green"


def test_a_missing_wildcard_or_variable_stays_and_is_told_once(tmp_path):
    text, warnings = expand("{a|a} __no such__ __no such__ <lora:my__x__v2:1> ${y}", 1, tmp_path)
    assert text == "a __no such__ __no such__ <lora:my__x__v2:1> ${y}"
    assert [warning.split(":")[0] for warning in warnings] == [
        "There is no wildcard __no such__",
        "There is no wildcard __x__",
        "The variable ${y} has no value.",
    ]


@pytest.mark.parametrize("text", ["{a|b", "{a|b}}", "}", "{a|{b}", "${x={a}", "a {2$$b|c", "__{a|b__ {", ":} {a|b}"])
def test_braces_that_do_not_match_leave_the_text_as_it_is(tmp_path, text):
    assert expand(text, 1, tmp_path) == (text, ["There are braces that do not match, so the text is taken as it is."])


def test_a_damaged_file_is_told_and_the_others_are_used(tmp_path):
    write(tmp_path, "c.txt", "red")
    for name, text in (("a.json", "{"), ("b.yaml", "a: ["), ("d.json", "[" * 100_000), ("e.yaml", "[" * 100_000)):
        write(tmp_path, name, text)
    text, warnings = expand("__c__ __a__", 1, tmp_path)
    assert text == "red __a__"
    assert [warning.split(" ")[0] for warning in warnings[1:]] == [
        f"models/wildcards/{name}" for name in ("a.json", "b.yaml", "d.json", "e.yaml")
    ]


def test_a_yaml_file_that_unfolds_without_end_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(wildcard_files, "MAX_LINES", 1_000)
    for name, first in (("lines", "[x, x]"), ("nothing", "[]")):
        levels = [f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 8)}]" for k in range(9)]
        write(tmp_path, f"{name}.yaml", "\n".join([f"a: &a {first}", *levels]))
    write(tmp_path, "ring.yaml", "a: &a {b: *a}")
    _, warnings = expand("__a__", 1, tmp_path)
    assert [warning.split(" ")[0] for warning in warnings[1:]] == [
        f"models/wildcards/{name}.yaml" for name in ("lines", "nothing", "ring")
    ]


@pytest.mark.parametrize(
    "name", ["../secret", "sub/../../secret", "/etc/passwd", "..", "link", "linked/secret", "**/../secret"]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    write(tmp_path, "c.txt", "red")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "wildcards/link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "wildcards/linked").symlink_to(tmp_path)
    text, warnings = expand(f"__{name}__", 1, tmp_path)
    assert text == f"__{name}__" and len(warnings) == 1


def test_the_folder_itself_may_be_a_link(tmp_path):
    write(tmp_path / "a1111", "c.txt", "red")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/wildcards").symlink_to(tmp_path / "a1111/wildcards")
    assert expand("__c__", 1, tmp_path / "models") == ("red", [])


CHAIN = "".join(f"${{v{k + 1}=${{v{k}}}${{v{k}}}}}" for k in range(24))
ATTACKS = {
    "deep": ("{" * 60 + "a|b" + "}" * 60, "nested over 50 deep"),
    "open": ("{a|" * 6_000, "nested over 50 deep"),
    "counts": ("{1$$" * 5_000, "nested over 50 deep"),
    "variables": ("${a:" * 5_000, "nested over 50 deep"),
    "names": ("__a{" * 5_000, "nested over 50 deep"),
    "loop": ("__loop__", "refers to itself"),
    "ring": ("__ring/a__", "refers to itself"),
    "own value": ("${a=${a}}${a}", "refers to itself"),
    "doubling lines": ("__d0__", "takes too long|becomes longer"),
    "doubling variables": ("${v0={x|y}}" + CHAIN + "${v24}", "takes too long|becomes longer"),
    "long value": ("${x=" + "y" * 15_000 + "}" + "${x}" * 600, "becomes longer than 20,000 characters"),
    "many draws": ("__big__" * 2_800, "takes too long"),
}


@pytest.mark.parametrize("draw", [lambda text, folder: expand(text, 1, folder, "negative_prompt"),
                                  lambda text, folder: combinations(text, folder, 3, "negative_prompt")],
                         ids=["expand", "combinations"])  # fmt: skip
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_never_end_is_refused(tmp_path, attack, draw):
    write(tmp_path, "loop.txt", "__loop__ x")
    write(tmp_path, "ring/a.txt", "__ring/b__")
    write(tmp_path, "ring/b.txt", "{2$$__ring/a__}")
    for level in range(30):
        write(tmp_path, f"d{level}.txt", f"__d{level + 1}__ __d{level + 1}__")
    write(tmp_path, "d30.txt", "x")
    write(tmp_path, "big.txt", "\n".join(map(str, range(50_000))))
    text, problem = ATTACKS[attack]
    with pytest.raises(InvalidParams, match=problem) as refused:
        draw(text, tmp_path)
    assert refused.value.wire()["field"] == "negative_prompt"


def test_a_long_chain_of_wildcards_is_refused_without_taking_its_files_for_damaged(tmp_path):
    for link in range(300):
        write(tmp_path, f"d{link}.txt", f"__d{link + 1}__")
    write(tmp_path, "d300.txt", "x")
    with pytest.raises(InvalidParams, match="nests too deep"):
        expand("__d0__", 1, tmp_path)
    for link in range(250, 300):
        assert expand(f"__d{link}__", 1, tmp_path) == ("x", [])


@pytest.mark.parametrize("text", ["{2$$a|a}", "{15$$" + "|".join("abcdefghijklmnn") + "}", "{a|b}" * 30 + "{2$$x|x}"])
def test_that_there_is_no_combination_is_found_out_in_time(tmp_path, text):
    with pytest.raises(InvalidParams, match="has no combination|takes too long"):
        combinations(text, tmp_path, 10)
    assert expand(text, 1, tmp_path)[1] == []


@pytest.mark.parametrize(
    "text", ["|" * 20_000, "_" * 20_000, "__a " * 5_000, "[" * 20_000, "[[" * 9_000 + "{a|b}", "{a|b}" * 3_000,
             "{" + "a|" * 9_000 + "b}", "{5000$$" + "a|" * 5_000 + "b}", "$" * 20_000, "{0." * 10 + "}" * 10]
)  # fmt: skip
def test_long_odd_texts_are_expanded(tmp_path, text):
    result, warnings = expand(text, 1, tmp_path)
    assert result and warnings == []


def test_nesting_that_people_write_is_expanded(tmp_path):
    text = "{a|" * 45 + "b" + "}" * 45
    assert {*drawn(text, tmp_path, 50)} <= {"a", "b"}
    assert combinations(text, tmp_path, 5)[0] == ["a", "b"]
    letters = "abcdefghijklmnop"
    deep = "".join(f"{{{letter} " for letter in letters) + "".join(f"|{letter.upper()}}}" for letter in letters)
    assert len(combinations(deep, tmp_path, 100)[0]) == len(letters) + 1
