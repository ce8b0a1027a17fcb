"""Flows run as programs: lists, loops, conditions, reviews and seeds, replayed from the top after each wait."""

import pytest
from flow_world import World

from core.library.children import Waiting
from core.plugin import DependencyFailed, InvalidParams

DRAW = {"id": "draw", "job": "txt2img"}


@pytest.fixture(params=[True, False], ids=["in one process", "in others"], autouse=True)
def same_process(request, monkeypatch):
    monkeypatch.setattr(World, "remembers", request.param)


def flow(*jobs, **more):
    return {"version": 2, "gives": "json", "jobs": list(jobs), **more}


def params(world, *names):
    return {key: tuple(child["params"].get(name) for name in names) for key, child in world.children.items()}


def test_values_go_into_texts_and_keep_their_types_alone(tmp_path):
    step = {
        **DRAW,
        "params": {"prompt": "{subject}, {{subject}}, {a|b}, {styles}", "steps": "{steps}", "more": ["{on}"]},
    }
    declared = {
        "subject": {"default": "cat"},
        "steps": {"default": 4},
        "on": {"default": True},
        "styles": {"default": ["a", "b"]},
    }
    world = World(flow(step, params=declared), {"subject": "dog"})
    world.run(tmp_path)
    assert world.children["draw"]["params"] == {"prompt": "dog, {subject}, {a|b}, a, b", "steps": 4, "more": [True]}


def test_each_item_is_a_job_whose_key_means_it(tmp_path):
    step = {**DRAW, "for_each": "{styles}", "as": "style", "params": {"prompt": "{style} {style_number}", "seed": -1}}
    declared = {"styles": {"type": "string", "default": "ink\n\noil\nink"}}
    world = World(flow(step, params=declared))
    assert isinstance(world.run(tmp_path), Waiting)
    assert {key: p for key, (p,) in params(world, "prompt").items()} == {
        "draw[ink]": "ink 1", "draw[oil]": "oil 2", "draw[ink #2]": "ink 3",
    }  # fmt: skip
    seeds = [seed for (seed,) in params(world, "seed").values()]
    assert len({*seeds}) == 3 and all(seed >= 0 for seed in seeds)
    named_so = World(flow(step, params=declared), {"styles": "ink\nink\nink #2"})
    named_so.run(tmp_path)
    assert len(named_so.children) == 3
    longer = World(flow(step, params=declared), {"styles": "new\nink\noil\nink"})
    longer.recorded = world.recorded
    longer.run(tmp_path)
    assert longer.children["draw[oil]"]["params"]["seed"] == world.children["draw[oil]"]["params"]["seed"]


def test_seeds_are_one_for_all_count_up_or_belong_to_a_text(tmp_path):
    one = {"id": "same", "for_each": 2, "job": "x", "params": {"seed": "{seed}"}}
    up = {"id": "up", "for_each": 2, "job": "x", "params": {"seed": {"from": "{seed}"}}}
    text = {"id": "text", "for_each": ["a", "b", "a"], "job": "x", "params": {"seed": {"from": "{seed}/{item}"}}}
    world = World(flow(one, up, text, params={"seed": {"default": -1}}), {"seed": 7})
    world.run(tmp_path)
    seeds = [seed for (seed,) in params(world, "seed").values()]
    assert seeds[:4] == [7, 7, 7, 8] and seeds[4] == seeds[6] != seeds[5]
    chance = World(flow(one, up, params={"seed": {"default": -1}}))
    chance.run(tmp_path)
    seeds = [seed for (seed,) in params(chance, "seed").values()]
    assert seeds[0] == seeds[1] == seeds[2] == seeds[3] - 1 >= 0


def test_blocks_nest_and_their_jobs_see_those_of_their_own_turn(tmp_path):
    scene = {"id": "scene", "for_each": "{chapter.scenes}", "as": "scene", "jobs": [
        {"id": "write", "job": "write", "params": {"text": "{chapter.title}: {scene}"}},
        {"id": "paint", "job": "paint", "inputs": {"text": {"job": "write"}}},
    ]}  # fmt: skip
    chapters = [{"title": "One", "scenes": ["a", "b"]}, {"title": "Two", "scenes": ["c"]}]
    block = {"id": "chapter", "for_each": "{chapters}", "as": "chapter", "jobs": [scene]}
    join = {"id": "join", "job": "join", "inputs": {"all": {"job": "paint"}}}
    world = World(flow(block, join, params={"chapters": {"default": chapters}}),
                  make=lambda r: [r["params"].get("text") or "+".join(sum(r["inputs"].values(), []))])  # fmt: skip
    assert world.through(tmp_path) == ["One: a+One: b+Two: c"]
    assert world.runs == 2  # all could be submitted at once


def test_lists_are_zipped_or_crossed(tmp_path):
    lists = {"scale": [6, 7], "strength": [0.3, 0.4]}
    steps = [
        {"id": kind, "job": "x", "for_each": {kind: lists}, "params": {"s": "{scale}", "d": "{strength}"}}
        for kind in ("zip", "product")
    ]
    world = World(flow(*steps))
    world.run(tmp_path)
    assert [*params(world, "s", "d").values()] == [(6, 0.3), (7, 0.4), (6, 0.3), (6, 0.4), (7, 0.3), (7, 0.4)]
    uneven = World(flow({**steps[0], "for_each": {"zip": {"scale": [1], "strength": [1, 2]}}}))
    with pytest.raises(
        InvalidParams, match="zip: the lists of zip are to be equally long: scale has 1, strength has 2"
    ):
        uneven.run(tmp_path)


def test_results_are_mapped_once_they_are_there(tmp_path):
    split = {"id": "split", "job": "split"}
    each = {
        "id": "each",
        "job": "x",
        "for_each": {"job": "split"},
        "params": {"text": "<{item}>"},
        "inputs": {"i": "{item}"},
    }
    world = World(
        flow(split, each),
        make=lambda r: ["a", "b"] if r["job"] == "split" else [r["params"]["text"] + r["inputs"]["i"][0]],
    )
    assert world.through(tmp_path) == ["<a>a", "<b>b"]


def test_a_loop_goes_on_with_what_it_made(tmp_path):
    again = {"id": "again", "job": "img2img", "repeat": "{strengths}", "as": "strength",
             "params": {"denoising_strength": "{strength}"},
             "inputs": {"image": {"last": "again", "else": {"job": "draw"}}}}  # fmt: skip
    last = {"id": "large", "job": "upscale", "inputs": {"image": {"last": "again"}}}
    world = World(flow(DRAW, again, last, params={"strengths": {"default": [0.5, 0.4]}}),
                  make=lambda r: [f"{''.join(r['inputs'].get('image', []))}>{r['key']}"])  # fmt: skip
    assert world.through(tmp_path) == [">draw>again[0.5]>again[0.4]>large"]
    assert world.runs == 2


def test_a_loop_ends_when_its_condition_holds_and_at_its_bound_at_last(tmp_path):
    again = {"id": "again", "job": "x", "repeat": "{times}", "until": {"value": "{again}", "at_least": "{goal}"},
             "inputs": {"n": {"last": "again", "else": None}}}  # fmt: skip
    declared = {"times": {"default": 5}, "goal": {"default": 3}}
    count = lambda r: [sum(r["inputs"].get("n", [])) + 1]  # noqa: E731
    assert World(flow(again, params=declared), make=count).through(tmp_path) == [1, 2, 3]
    assert World(flow(again, params=declared), {"times": 2}, make=count).through(tmp_path) == [1, 2]


def test_steps_whose_condition_does_not_hold_are_left_out_and_so_is_what_needs_them(tmp_path):
    large = {"id": "large", "job": "upscale", "when": "{upscale}", "inputs": {"image": {"job": "draw"}}}
    sharp = {"id": "sharp", "job": "sharpen", "inputs": {"image": {"job": "large"}}}
    either = {"id": "frame", "job": "frame", "inputs": {"image": {"job": "large", "else": {"job": "draw"}}}}
    declared = {"upscale": {"default": False}}
    world = World(flow(DRAW, large, sharp, either, params=declared))
    assert world.through(tmp_path) == ["frame"] and [*world.children] == ["draw", "frame"]
    assert World(flow(DRAW, large, sharp, either, params=declared), {"upscale": True}).through(tmp_path) == [
        "sharp",
        "frame",
    ]


@pytest.mark.parametrize(
    "condition, holds",
    [
        ({"value": "{n}", "is": 3}, True), ({"value": "{n}", "is_not": 3}, False),
        ({"value": "{n}", "in": [1, 3]}, True),
        ({"value": "{n}", "above": 2, "below": 4}, True), ({"value": "{n}", "at_most": 2}, False),
        ({"value": "{text}", "contains": "b"}, True), ({"not": {"value": "{n}", "is": 3}}, False), ("{empty}", False),
        ({"all": ["{n}", "{empty}"]}, False), ({"any": ["{n}", "{empty}"]}, True), (False, False),
    ],
)  # fmt: skip
def test_conditions_on_values(tmp_path, condition, holds):
    declared = {"n": {"default": 3}, "text": {"default": "abc"}, "empty": {"default": ""}}
    assert bool(World(flow({**DRAW, "when": condition}, params=declared)).through(tmp_path)) is holds


def test_only_what_a_person_picks_goes_on(tmp_path):
    draw = {**DRAW, "for_each": 3}
    large = {
        "id": "large",
        "job": "upscale",
        "for_each": {"job": "draw", "review": "picked"},
        "inputs": {"image": "{item}"},
    }
    said = {}
    world = World(flow(draw, large), make=lambda r: ["+".join([r["key"], *r["inputs"].get("image", [])])], reviews=said)
    waiting = world.through(tmp_path)
    assert waiting.needs == ["draw[1].0", "draw[2].0", "draw[3].0"]
    said |= {"draw[1]": "rejected", "draw[2]": "picked", "draw[3]": "picked"}
    assert world.through(tmp_path) == ["large[draw[2].0]+draw[2]", "large[draw[3].0]+draw[3]"]
    none = World(flow(draw, large), reviews={f"draw[{k}]": "rejected" for k in (1, 2, 3)})
    assert none.through(tmp_path) == []


def test_other_branches_go_on_while_a_person_is_waited_for(tmp_path):
    picked = {"id": "picked", "job": "x", "inputs": {"image": {"job": "draw", "review": "picked"}}}
    split, each = {"id": "split", "job": "split"}, {"id": "each", "job": "y", "for_each": {"job": "split"}}
    world = World(flow(DRAW, picked, split, each))
    assert world.through(tmp_path).needs == ["draw.0"] and "each[split.0]" in world.children


def test_drawn_again_until_something_is_picked(tmp_path):
    draw = {**DRAW, "for_each": 2, "params": {"seed": -1}}
    rounds = {"id": "round", "repeat": 5, "jobs": [draw], "until": {"review": {"job": "draw"}, "is": "picked"}}
    out = [{"last": "draw", "review": "picked"}]
    said = {"round[1]/draw[1]": "rejected", "round[1]/draw[2]": "rejected", "round[2]/draw[1]": "picked"}
    world = World(flow(rounds, outputs=out), make=lambda r: [r["key"]], reviews=said)
    assert world.through(tmp_path).needs == ["round[2]/draw[2].0"]
    said["round[2]/draw[2]"] = "rejected"
    assert world.through(tmp_path) == ["round[2]/draw[1]"]
    assert len({seed for (seed,) in params(world, "seed").values()}) == 4


def test_a_failed_job_fails_the_flow_unless_the_flow_asks_for_its_end(tmp_path):
    def make(request):
        return "failed" if request["job"] == "txt2img" else [request["key"]]

    with pytest.raises(DependencyFailed):
        World(flow(DRAW), make=make).through(tmp_path)
    other = {"id": "other", "job": "y", "when": {"ended": "draw", "is": "failed"}}
    assert World(flow(DRAW, other), make=make).through(tmp_path) == ["other"]
    after = {"id": "after", "job": "y", "inputs": {"image": {"job": "draw", "else": "words"}}}
    assert World(flow({**DRAW, "may_fail": True}, after), make=make).through(tmp_path) == ["after"]


def test_facts_of_results_are_values_and_pictures_are_not(tmp_path):
    final = {"id": "final", "job": "y", "for_each": {"job": "draw"}, "params": {"seed": "{item.seed}"}}
    make = lambda request: ["picture"]  # noqa: E731
    world = World(flow({**DRAW, "params": {"seed": 5}}, final, gives="image"), make=make)
    assert world.through(tmp_path) == ["picture"] and world.children["final[draw.0]"]["params"] == {"seed": 5}
    final["params"] = {"prompt": "{item}"}
    with pytest.raises(InvalidParams, match="is of kind image: inputs take it"):
        World(flow({**DRAW, "params": {"seed": 5}}, final, gives="image"), make=make).through(tmp_path)


def test_texts_for_inputs_become_results_once(tmp_path):
    steps = [
        {"id": f"s{k}", "job": "x", "inputs": {"text": text}}
        for k, text in enumerate(["{words}", "about {words}", "{words}"])
    ]
    world = World(flow(*steps, params={"words": {"default": "cats"}}))
    world.run(tmp_path)
    texts = [child["params"]["text"] for child in world.children.values() if child["job"] == "flows.text"]
    assert texts == ["cats", "about cats"]


def test_what_a_flow_of_version_1_says_is_taken_as_it_stands(tmp_path):
    jobs = [{"id": "a", "job": "txt2img", "params": {"prompt": "{name} {{x}}", "seed": -1}, "priority": "batch"},
            {"job": "edit", "inputs": {"text": "{words}", "image": [{"job": "a", "index": 0}]}}]  # fmt: skip
    world = World({"jobs": jobs, "canvas": {}})
    assert isinstance(world.run(tmp_path), Waiting)
    assert world.children["a"]["params"]["prompt"] == "{name} {{x}}" and world.children["a"]["params"]["seed"] >= 0
    assert [c["params"] for c in world.children.values() if c["job"] == "flows.text"] == [{"text": "{words}"}]


def test_a_flow_without_end_is_refused(tmp_path):
    many = World(flow({**DRAW, "for_each": {"product": {"a": 1000, "b": 1000}}}))
    with pytest.raises(InvalidParams, match="1,000,000 jobs, the limit is 20,000"):
        many.run(tmp_path)
    with pytest.raises(InvalidParams, match="the limit is 20,000"):
        World(flow({**DRAW, "repeat": 10**12})).run(tmp_path)


def test_five_thousand_jobs_take_a_moment(tmp_path):
    step = {
        "id": "scene",
        "for_each": 2500,
        "jobs": [{**DRAW, "params": {"seed": -1}}, {"id": "large", "job": "u", "inputs": {"i": {"job": "draw"}}}],
    }
    world = World(flow(step))
    world.run(tmp_path)
    assert len(world.children) == 5000


@pytest.mark.parametrize(
    "step",
    [
        {"for_each": 400, "as": "x", "jobs": [{"for_each": 400, "as": "y", "jobs": [DRAW | {"when": False}]}]},
        {"repeat": 20000, "as": "x", "jobs": [{"repeat": 20000, "as": "y", "jobs": [DRAW | {"when": False}]}]},
    ],
)
def test_loops_in_loops_that_go_round_too_often_are_refused(step, tmp_path):
    with pytest.raises(InvalidParams, match="goes through its steps over 100,000 times"):
        World(flow(step)).run(tmp_path)


def test_texts_do_not_grow_without_end(tmp_path):
    long = {"long": {"default": "x" * 50_000}}
    with pytest.raises(InvalidParams, match="with {long} filled in has over 1,000,000 characters"):
        World(flow({**DRAW, "params": {"prompt": "{long}" * 21}}, params=long)).run(tmp_path)
    with pytest.raises(InvalidParams, match="has over 100,000,000 characters"):
        World(flow({**DRAW, "params": {"prompt": ["{long}"] * 2001}}, params=long)).run(tmp_path)
    step = {**DRAW, "for_each": 150, "params": {"prompt": "{long}" * 19}}
    with pytest.raises(InvalidParams, match="has over 100,000,000 characters"):
        World(flow(step, params=long)).run(tmp_path)
