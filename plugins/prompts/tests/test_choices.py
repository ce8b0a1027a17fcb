"""dynamic_prompts: the texts that txt2img would draw, or all of them. The grammar itself is in test_wildcards.py."""

import pytest

from core.library.prompts.wildcards import expand
from core.plugin import Cancelled, InvalidParams

TEXT = "a {red|blue|green} cat by __artist__"


def test_each_text_is_drawn_by_the_next_seed_as_txt2img_draws_its_pictures(run, tmp_path):
    made = run("dynamic_prompts", TEXT, count=5, seed=7)
    assert [each.facts["seed"] for each in made] == [7, 8, 9, 10, 11]
    assert [each.value for each in made] == [expand(TEXT, seed, tmp_path)[0] for seed in range(7, 12)]


def test_seeds_begin_anew_after_the_largest_and_chance_tells_which_it_took(run):
    assert [each.facts["seed"] for each in run("dynamic_prompts", TEXT, count=2, seed=2**32 - 1)] == [2**32 - 1, 0]
    first, again = (run("dynamic_prompts", TEXT, count=1)[0] for _ in range(2))
    assert first.facts != again.facts
    assert run("dynamic_prompts", TEXT, count=1, seed=first.facts["seed"])[0].value == first.value


def test_all_texts_come_in_order_and_no_more_than_asked_for(run):
    assert run("dynamic_prompts", "{a|b} {1|2}", mode="all", count=4) == ["a 1", "a 2", "b 1", "b 2"]
    assert run.logged == []
    assert run("dynamic_prompts", "{a|b} {1|2}", mode="all", count=3) == ["a 1", "a 2", "b 1"]
    assert run.logged == ["There are more than 3 texts; these are the first."]


def test_the_users_wildcards_are_drawn_and_what_is_missing_is_told_once(run, write):
    write("wildcards/animals.txt", "owl\n")
    made = run("dynamic_prompts", "__animals__ __plants__", count=3)
    assert [each.value for each in made] == ["owl __plants__"] * 3
    assert run.logged == ["There is no wildcard __plants__: no such file in models/wildcards."]


@pytest.mark.parametrize("job", ["dynamic_prompts", "expand_tags", "expand_prompt"])
def test_a_text_that_is_too_long_for_a_prompt_is_refused(run, job):
    with pytest.raises(InvalidParams, match="20,001 characters; a prompt has at most 20,000") as refused:
        run(job, "x" * 20_001)
    assert refused.value.wire()["field"] == "text"


def test_a_cancelled_job_draws_no_more(run, make_context):
    ctx = make_context(lambda event, _: event == "progress" and ctx._cancelled.set())
    with pytest.raises(Cancelled):
        run("dynamic_prompts", TEXT, ctx, count=1000)
