"""Which cells there are, with which seeds and keys, and where they stand."""

import json

import pytest
from sweeps.axes import AXES, name_of, parameter_of
from sweeps.cells import MOST, arranged, key_of, layout, runs, zipped

from core.plugin import InvalidParams


def test_axes_are_crossed_and_the_first_changes_first(job):
    made = job({"seed": 5})
    axes = [made.dimension("steps", "1-2", "x"), made.dimension("CFG Scale", "3, 7.5", "y")]
    cells = made.cells(axes)
    assert [(cell.params["steps"], cell.params["cfg_scale"]) for cell in cells] == [(1, 3), (2, 3), (1, 7.5), (2, 7.5)]
    assert [json.loads(cell.key) for cell in cells][1] == {"steps": 2, "cfg_scale": 3}
    shape = arranged(axes)
    assert (shape.wide, shape.high, shape.above, shape.beside) == (
        2, 2, ["Steps: 1", "Steps: 2"], ["CFG Scale: 3", "CFG Scale: 7.5"],
    )  # fmt: skip


def test_axes_side_by_side_change_together_and_have_equally_many_values(job):
    made = job()
    both = zipped([made.dimension("steps", "1, 2", "x"), made.dimension("sampler", "euler a, DDIM", "x")], "axes")
    assert [value.label for value in both] == ["Steps: 1, Euler a", "Steps: 2, DDIM"]
    assert [cell.params["sampler"] for cell in made.cells([both])] == ["Euler a", "DDIM"]
    with pytest.raises(InvalidParams, match="2 of steps, 3 of cfg_scale"):
        zipped([made.dimension("steps", "1, 2", "x"), made.dimension("cfg_scale", "1-3", "x")], "axes")


def test_a_random_seed_is_one_for_all_cells_unless_it_is_varied(job):
    made = job()
    assert {cell.params["seed"] for cell in made.cells([made.dimension("steps", "1-3", "x")])} == {100}
    assert "variation_seed" not in made.cells([[]] * 0)[0].params
    seeds = [cell.params["seed"] for cell in made.cells([made.dimension("Seed", "-1, 4, -1", "x")])]
    assert seeds == [101, 4, 102]


def test_a_variation_seed_is_fixed_where_it_counts(job):
    (cell,) = job({"variation_strength": 0.5}).cells([])
    assert cell.params == {"variation_strength": 0.5, "seed": 100, "variation_seed": 101}


def test_random_seeds_are_another_for_each_cell(job):
    made = job(random_seeds=True)
    cells = made.cells([made.dimension("steps", "1-2", "x")])
    assert [cell.params["seed"] for cell in cells] == [100, 101]
    assert [*made.asked] == ['seed {"steps": 1}', 'seed {"steps": 2}']


def test_runs_count_the_seed_up_and_the_first_keeps_its_key(job):
    cells = job({"seed": 2**32 - 1}).cells([runs(3, 2)])
    assert [cell.params["seed"] for cell in cells] == [2**32 - 1, 1, 3]
    assert [cell.key for cell in cells] == ["{}", '{"(run)": 2}', '{"(run)": 3}']


def test_words_are_replaced_after_all_else_was_set(job):
    made = job({"seed": 1})
    cells = made.cells(
        [made.dimension("Prompt S/R", "cat, dog", "x"), made.dimension("prompt", "a cat, two cats", "y")]
    )
    assert [cell.params["prompt"] for cell in cells] == ["a cat", "a dog", "two cats", "two dogs"]
    with pytest.raises(InvalidParams, match="Prompt S/R: 'cow' is not in prompt or negative prompt"):
        made.cells([made.dimension("prompt s/r", "cow, dog", "x")])


def test_two_axes_of_one_parameter_are_told_apart(job):
    made = job({"seed": 1})
    cells = made.cells([made.dimension("prompt s/r", "cat, dog", "x"), made.dimension("prompt s/r", "red, big", "y")])
    assert [cell.params["prompt"] for cell in cells] == ["a red cat", "a red dog", "a big cat", "a big dog"]
    assert len({cell.key for cell in cells}) == 4


def test_words_change_their_order(job):
    made = job({"prompt": "red and big"})
    cells = made.cells([made.dimension("Prompt order", "red, big", "x")])
    assert [cell.params["prompt"] for cell in cells] == ["red and big", "big and red"]


def test_equal_values_are_cells_of_their_own(job):
    made = job({"seed": 1})
    cells = made.cells([made.dimension("steps", "4, 4", "x")])
    assert [cell.key for cell in cells] == ['{"steps": 4}', '{"steps": "4 #2"}']


def test_a_long_key_is_cut_and_stays_itself():
    one, other = ({"prompt": "x" * 1000 + end} for end in "ab")
    assert key_of(one) == key_of(dict(one)) != key_of(other)
    assert len(key_of(one)) < 500


def test_too_many_cells_are_refused_before_they_are_made(job):
    made = job()
    with pytest.raises(InvalidParams, match=f"22,500 cells, the limit is {MOST:,}"):
        made.cells([made.dimension("steps", "1-150", "x"), made.dimension("seed", "1-150", "y")])
    with pytest.raises(InvalidParams, match="more than 10,000 values"):
        made.dimension("seed", "1-99999999", "x")


def test_a_bad_axis_is_told_with_its_field(job):
    with pytest.raises(InvalidParams, match="x_values: Steps: 'a' is no whole number") as told:
        job().dimension("steps", "a", "x_values")
    assert told.value.extra["field"] == "x_values"


def test_a_long_list_becomes_a_square_and_further_axes_grids(job):
    made = job()
    one = arranged([made.dimension("seed", "1-20", "x")])
    assert (one.wide, one.high, len(one.captions)) == (5, 4, 20)
    axes = [
        made.dimension(*each, "x")
        for each in (("steps", "1-2"), ("seed", "1-3"), ("cfg_scale", "1-2"), ("tiling", "*"))
    ]
    some = arranged(axes)
    assert (some.wide, some.high) == (2, 3)
    assert some.titles[:3] == [
        "CFG Scale: 1, tiling: false", "CFG Scale: 2, tiling: false", "CFG Scale: 1, tiling: true",
    ]  # fmt: skip
    assert layout(axes[0], [made.dimension("Nothing", "", "y")[0]]).high == 1


def test_a1111s_names_are_known_in_any_case():
    assert [parameter_of(each) for each in ("cfg scale", "Denoising", "NOTHING", "my.own")] == [
        "cfg_scale", "denoising_strength", "", "my.own",
    ]  # fmt: skip
    assert [name_of(each) for each in ("cfg_scale", "my.own")] == ["CFG Scale", "my.own"]
    assert len(AXES) == 32


def test_inputs_go_where_they_fit_best():
    from sweeps.programs import _ports

    about = {"name": "draw", "inputs": {name: {"kind": kind} for name, kind in
             (("control", "image"), ("image", "image"), ("mask", "mask"), ("words", "text"))}}  # fmt: skip
    assert _ports(about, image="a", mask="b", text="c") == {"image": "a", "mask": "b", "words": "c"}
    assert _ports(about | {"inputs": {"where": {"kind": "mask"}}}, image="a", mask=None) == {"where": "a"}
    with pytest.raises(InvalidParams, match="draw takes no mask. Its inputs: picture."):
        _ports(about | {"inputs": {"picture": {"kind": "image"}}}, mask="b")
