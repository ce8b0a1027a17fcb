"""expand_tags: what !tag:n becomes, and which lists it reads."""

import pytest
from stable_core_plugin_prompts.related import SHIPPED

from core.library.prompts.wildcards import combinations
from core.plugin import Cancelled

LIST = "cat,paws,fur,animal_ears\ndog,fur,Ball\nsaber_(fate),sword,armor\nlong_hair,braid\nface,^_^,o_o,two_eyes\n"


@pytest.fixture
def lists(write):
    return write("related_tags/mine.csv", LIST)


@pytest.mark.parametrize(
    "text, expanded",
    [
        ("!cat:2", "cat, {2$$paws|fur|animal ears}"),
        ("a, !dog:1-2, b", "a, dog, {1-2$$fur|ball}, b"),
        ("(!cat:1:1.2)", "(cat, {1$$paws|fur|animal ears}:1.2)"),
        ("{!cat:1|!dog:1}", "{cat, {1$$paws|fur|animal ears}|dog, {1$$fur|ball}}"),
        ("!Saber (Fate):1", "Saber \\(Fate\\), {1$$sword|armor}"),
        ("!saber_\\(fate\\):1", "saber \\(fate\\), {1$$sword|armor}"),
        ("!long hair:9", "long hair, {9$$braid}"),
        ("!face:2", "face, {2$$^_^|o_o|two eyes}"),
        ("!dog:1, !cat:1", "dog, {1$$fur|ball}, cat, {1$$paws|fur|animal ears}"),
        ("!cat:1, (fur:1.3), [Animal Ears]", "cat, {1$$paws}, (fur:1.3), [Animal Ears]"),
        ("!dog:2, fur, ball", "dog, fur, ball"),
        ("!cat:0", "cat"),
    ],
)
def test_a_bang_tag_becomes_the_tag_and_a_choice_of_what_the_prompt_lacks(run, lists, text, expanded):
    assert run("expand_tags", text) == expanded
    assert run.logged == []


@pytest.mark.parametrize(
    "text", ["", "a cat", "!cat", "wow!cat:2", "(!cat:1.2)", "! cat:2", "!!cat:2", "!cat:100", "a!"]
)
def test_other_texts_stay_as_they_are(run, lists, text):
    assert run("expand_tags", text) == text
    assert run.logged == []


def test_a_tag_that_no_list_knows_stays_and_the_nearest_are_told(run, lists):
    assert run("expand_tags", "!long_hat:2, !qqqq:1, !long_hat:2") == "!long_hat:2, !qqqq:1, !long_hat:2"
    unlike, unknown = run.logged
    assert unlike.startswith("No list has related tags of long_hat. Did you mean long_hair")
    assert unknown == "No list has related tags of qqqq. Lists go into models/related_tags."


def test_underscores_weights_and_how_many_are_offered(run, write):
    write("related_tags/scores.csv", "cat,dog_ears_(x),0.2\ncat,paws,0.8\ncat,fur,0.4\n")
    assert run("expand_tags", "!cat:1", underscores=True) == "cat, {1$$paws|fur|dog_ears_(x)}"
    assert run("expand_tags", "!cat:1", weighted=True, closest=2) == "cat, {1$$1::paws|0.5::fur}"


def test_what_comes_out_can_be_drawn(run, tmp_path):
    """Every tag of the list that comes with the plugin; the choices are read as such."""
    for line in (SHIPPED / "common.csv").read_text("utf-8").splitlines():
        tag, *related = line.split(",")
        text = run("expand_tags", f"!{tag}:1")
        expected = [f"{tag}, {each}".replace("_", " ") for each in related]
        assert combinations(text, tmp_path, 100) == (expected, [])


def test_a_tag_with_signs_of_the_grammar_is_not_offered(run, write, tmp_path):
    write("related_tags/odd.csv", "cat,a|b,{x},$5,__artist__,2::x,#a,[a],fine\n")
    text = run("expand_tags", "!cat:1")
    assert text == "cat, {1$$\\[a\\]|fine}"
    assert combinations(text, tmp_path, 9)[0] == ["cat, \\[a\\]", "cat, fine"]


def test_the_users_lists_take_the_place_of_the_shipped_one_tag_by_tag(run, lists):
    assert "whiskers" not in run("expand_tags", "!cat:1")
    assert "scales" in run("expand_tags", "!dragon:1")


@pytest.mark.parametrize("head", ["tag,category,count,alias\n", ""], ids=["head", "no head"])
def test_pairs_with_counts_are_read_in_both_directions_and_made_comparable(run, write, head):
    """Danbooru's pairs, with and without the numbers of pictures: 1girl is in nearly all."""
    write("related_tags/pairs.csv", "tag_a,tag_b,count\n1girl,cat_ears,900\ncat_tail,cat_ears,500\ncat_ears,bell,100\n")
    assert run("expand_tags", "!cat ears:1") == "cat ears, {1$$1girl|cat tail|bell}"
    pictures = '1girl,0,90000,"girl,sole_female"\ncat_ears,0,1000,nekomimi\ncat_tail,0,600,\nbell,0,400,\n'
    write("related_tags/tags.csv", head + pictures)
    assert run("expand_tags", "!cat ears:1") == "cat ears, {1$$cat tail|bell|1girl}"
    assert run("expand_tags", "!nekomimi:1") == "nekomimi, {1$$cat tail|bell|1girl}"
    assert run("expand_tags", "!sole female:1, bell") == "sole female, {1$$cat ears}, bell"


def test_what_danbooru_answered_is_read_of_today_and_before(run, write):
    today = [{"tag": {"name": name}, "cosine_similarity": score} for name, score in (("fur", 0.2), ("paws", 0.9))]
    write("related_tags/cat.json", {"query": "cat", "related_tags": today})
    write("related_tags/old.json", [{"query": "pug dog", "tags": [["tongue", 0.5], ["ball", "0.7"]]}])
    assert run("expand_tags", "!cat:1, !pug_dog:1") == "cat, {1$$paws|fur}, pug dog, {1$$ball|tongue}"


@pytest.mark.parametrize(
    "name, text",
    [("a.json", "{"), ("a.json", "[" * 100_000), ("a.json", "7"), ("a.json", '{"query": 5}'),
     ("a.json", '{"query": "cat", "tags": [[1, 2]]}'), ("a.json", '{"query": "cat", "related_tags": [{"tag": null}]}'),
     ("a.csv", "pig," + '"x' * 200_000)],
)  # fmt: skip
def test_a_damaged_list_is_told_and_the_others_are_read(run, lists, write, name, text):
    write(f"related_tags/{name}", text)
    assert run("expand_tags", "!dog:1, !cat:1") == "dog, {1$$fur|ball}, cat, {1$$paws|fur|animal ears}"
    assert all(f"models/related_tags/{name} cannot be read" in line for line in run.logged)
    assert len(run.logged) == (name == "a.json")


def test_no_numbers_of_a_list_do_harm(run, write):
    write("related_tags/x.csv", "cat,a,nan\ncat,b,-1\ncat,c,1e999\ncat,d,0\ncat,e,0.5\n,,\n\n,cat,1\ncat\n")
    assert run("expand_tags", "!cat:1").startswith("cat, {1$$")


def test_a_long_list_is_left_when_the_job_is_cancelled(run, write, make_context):
    write("related_tags/long.csv", "dog,fur\n" * 60_000)
    ctx = make_context()
    ctx._cancelled.set()
    with pytest.raises(Cancelled):
        run("expand_tags", "!cat:1", ctx)


@pytest.mark.parametrize("text", ["!" * 20_000, "!a:" * 6_000, "!a:1," * 4_000, "(" * 20_000, "!a" * 9_000 + ":1"])
def test_long_odd_texts_are_expanded(run, text):
    assert run("expand_tags", text) == text
