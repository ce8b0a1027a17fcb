"""Tables, orders, corrections, names and rests: what the original does, number by number."""

import json
import shutil
import subprocess

import pytest
from stable_core_plugin_explore import naming, options, transforms, varying

from core.plugin import InvalidParams

SINGLE = {
    "normal": ([6, 7, 10], [0.35, 0.45, 0.3]),
    "shake": ([10, 5, 9, 6, 8, 7], [0.3, 0.35, 0.4, 0.45, 0.5, 0.55]),
    "focus": ([12, 10, 8], [0.7] * 3),
    "unstuck": ([5, 6, 7], [0.8] * 3),
    "unfocus": ([3, 3.5, 4], [0.8, 0.85, 0.9]),
}
MULTI = {
    "beast": ([6, 6, 6], [0.35] * 3),
    "god": ([6, 9, 11], [0.35] * 3),
    "enhance": ([6, 6, 7, 7, 9], [0.2, 0.2, 0.3, 0.5, 0.2]),
    "finalize": ([8, 11, 15], [0.3, 0.2, 0.1]),
    "snake": ([6, 8, 6, 8], [0.35, 0.3, 0.35, 0.3]),
    "loop-test": ([8] * 10, [0.3] * 10),
    "loop-test-smooth": ([5] * 10, [0.5] * 10),
    "video": ([6, 8, 10], [0.5, 0.4, 0.4]),
    "video-shake": ([6, 6.5, 7], [0.35, 0.4, 0.6]),
}


def numbers(transform):
    return [step.cfg_scale for step in transform.program], [step.denoising_strength for step in transform.program]


def test_every_transform_has_the_originals_numbers_in_pairs():
    assert {name: numbers(each) for name, each in transforms.shipped("seed").items()} == SINGLE | MULTI
    later = {"focus": ([7, 8, 9], [0.7] * 3)}
    assert {name: numbers(each) for name, each in transforms.shipped("head").items()} == SINGLE | MULTI | later


@pytest.mark.parametrize("version", ["seed", "head"])
def test_modes_and_loops_are_the_originals(version):
    found = transforms.shipped(version)
    assert {name for name, each in found.items() if each.multi_step} == MULTI.keys()
    assert {name for name, each in found.items() if each.loop_to_loop} == {"video", "video-shake"}
    middle = {"loop-test", "loop-test-smooth", "video", "video-shake"}
    assert {name for name, each in found.items() if each.save_middle} == middle
    loops = {"video": 10, "video-shake": 20} | ({"shake": 2} if version == "head" else {})
    assert {name: each.loops for name, each in found.items() if each.loops != 3} == loops


def chain(transform, loops=2):
    return [*varying.redraws(transform, range(loops))]


def transform(**more):
    program = [{"cfg_scale": scale, "denoising_strength": 0.5} for scale in (6, 8)]
    return transforms.Transform(program=program, **more)


@pytest.mark.parametrize(
    "more, starts, saved",
    [
        ({}, [None, None, None, None], [1, 1, 1, 1]),
        ({"multi_step": True}, [None, "loop 1/step 1", None, "loop 2/step 1"], [0, 1, 0, 1]),
        ({"multi_step": True, "save_middle": True}, [None, "loop 1/step 1", None, "loop 2/step 1"], [1, 1, 1, 1]),
        (
            {"multi_step": True, "loop_to_loop": True},
            [None, "loop 1/step 1", "loop 1/step 2", "loop 2/step 1"], [0, 1, 0, 1],
        ),
        ({"loop_to_loop": True}, [None, None, "loop 1/step 2", "loop 1/step 2"], [1, 1, 1, 1]),
    ],
)  # fmt: skip
def test_steps_begin_with_the_picture_the_step_or_the_loop_before(more, starts, saved):
    found = chain(transform(**more))
    assert [each.start for each in found] == starts and [each.saved for each in found] == list(map(bool, saved))
    assert [each.seed for each in found] == [0, 0, 1, 1], "one seed for each loop"


def test_what_needs_nothing_of_each_other_is_drawn_side_by_side():
    keys = lambda found: [[each.key for each in wave] for wave in varying.waves(found)]  # noqa: E731
    side_by_side = [[f"loop {loop}/step {step}" for loop in (1, 2) for step in (1, 2)]]
    assert keys(chain(transform())) == side_by_side
    two = [[f"loop {loop}/step {step}" for loop in (1, 2)] for step in (1, 2)]
    assert keys(chain(transform(multi_step=True))) == two
    assert [len(wave) for wave in keys(chain(transform(multi_step=True, loop_to_loop=True)))] == [1, 1, 1, 1]


def test_a_transform_of_one_step_and_one_loop_is_one_picture():
    (only,) = chain(transforms.Transform(program=[{}], multi_step=True, loop_to_loop=True), loops=1)
    assert (only.start, only.saved, only.since) == (None, True, 1)


SEED = {"method": "lab", "keep": 0, "rounds": 1, "lightness": 10, "truncate": True}


def test_colours_are_corrected_when_and_how_the_original_does():
    first, last, *_ = chain(transform(multi_step=True))
    told = [varying.correction(*each) for each in (("seed", first), ("head", first), ("none", last), ("seed", last))]
    assert told == [None, None, None, SEED]
    head = {"method": "lab", "keep": 0.5, "rounds": 2, "lightness": 2, "truncate": True}
    assert varying.correction("head", last) == head, "one for each redrawing since the last time"
    every = {"method": "lab", "keep": 0.5, "rounds": 2, "lightness": 1, "truncate": False}
    assert varying.correction("every step", first) == varying.correction("every step", last) == every
    assert varying.correction("every step", last, blend=0, lightness=-3) == every | {"keep": 0, "lightness": -3}
    middle = chain(transform(multi_step=True, save_middle=True, loop_to_loop=True))
    assert [each.since for each in middle] == [1, 1, 1, 1]
    assert [each.reference for each in middle] == [None, None, "loop 1/step 2", "loop 1/step 2"]


@pytest.mark.skipif(not shutil.which("bash") or not shutil.which("md5sum"), reason="needs bash and md5sum")
@pytest.mark.parametrize("prompt", ["a red circle", "  a   red\tcircle,\nof wool ", "été 日本", "a|b", "x" * 5000])
def test_a_folder_is_the_md5_of_what_echo_prints(prompt):
    made = subprocess.run(["bash", "-c", "set -f; echo $P | md5sum"], env={"P": prompt}, capture_output=True, text=True)
    assert naming.folder_of(prompt) == f"explore/{made.stdout.split()[0]}"


def test_what_is_kept_away_from_belongs_to_the_folder():
    assert naming.folder_of("a", "b") == naming.folder_of("a|b") != naming.folder_of("a", " ") == naming.folder_of("a")


@pytest.mark.parametrize(
    "prompt, add, whole",
    [("a", "", "a"), ("a", "b", "a, b"), ("a", ", b", "a, b"), ("a", " b", "a b"), ("", "b", "b"), ("a", " ", "a ")],
)
def test_words_are_added(prompt, add, whole):
    assert naming.joined(prompt, add) == whole


def test_names_tell_how_a_picture_was_made():
    made = "2026-11-22T10-40-00", 7, 6.0, 40, 12
    assert naming.stem_of(*made) == "2026-11-22T10-40-00-007_scale-6_steps-40_seed-12"
    assert naming.stem_of(*made, 0.35) == "2026-11-22T10-40-00-007_scale-6_steps-40_strength-0.35_seed-12"
    original = naming.stem_of(*made, 0.35, names="original")
    assert original == "2026-11-22T10-40-00_scale-6_steps-40_strenght-0.35_seed-12"


def test_steps_follow_the_scale():
    assert [options.steps_of(scale, "seed") for scale in (6, 0, 7.5, 6.9, 30)] == [40, 10, 47, 44, 150]
    assert [options.steps_of(scale, "head") for scale in (6, 0, 7.5, 30)] == [62, 20, 72, 150]


def test_rests_come_after_each_third_and_ninth_picture():
    assert [options.rests("3,3,3", drawn) for drawn in range(1, 10)] == [3, 3, 6, 3, 3, 6, 3, 3, 9]
    assert [options.rests("1, 2,4", drawn) for drawn in (1, 3, 9)] == [1, 3, 7]
    assert options.rests("0, 0.5", 3) == 0.5 and options.rests("", 9) == 0


def test_aspects_come_from_the_settings():
    known = options.aspects(options.Settings())
    sizes = {"portrait": (448, 768), "landscape": (768, 448), "square": (576, 576), "optimal": (512, 512)}
    assert known == {"own": (0, 0)} | sizes
    wide = options.Settings(aspects=["wide 1024x256"])
    size = lambda **given: options.size_of(options.ExploreParams(**given), wide)  # noqa: E731
    assert size(aspect="wide") == {"width": 1024, "height": 256}
    assert size(aspect="wide", height=512) == {"width": 1024, "height": 512} and size() == {}
    with pytest.raises(InvalidParams, match="there is no aspect 'portrait'."):
        size(aspect="portrait")


@pytest.fixture
def models(tmp_path):
    (tmp_path / "transform").mkdir()
    return tmp_path


def write(models, name, content):
    (models / "transform" / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_transform_of_ones_own_is_read_in_our_words_and_in_the_originals(models):
    write(
        models, "ours.json", {"program": [{"cfg_scale": 5, "denoising_strength": 0.2, "add": "at night"}], "loops": 4}
    )
    theirs = {"program": [{"scale": 5, "strength": 0.2}], "merge_steps": True, "merge_loops": True}
    write(models, "theirs.json", theirs | {"save_intermediates": True})
    ours, theirs = (transforms.named(name, "seed", models) for name in ("ours", "theirs"))
    assert numbers(ours) == numbers(theirs) == ([5], [0.2]) and ours.program[0].add == "at night" and ours.loops == 4
    assert theirs.multi_step and theirs.loop_to_loop and theirs.save_middle


def test_a_transform_is_saved_changed_and_deleted(models):
    for loops in (2, 5):
        transforms.save(models, "mine", transforms.Transform(program=[{}], loops=loops))
        assert transforms.named("mine", "head", models).loops == loops
    transforms.save(models, "snake", transforms.Transform(program=[{}]))
    assert len(transforms.named("snake", "seed", models).program) == 1, "one's own goes before the shipped one"
    for name in ("mine", "snake"):
        transforms.delete(models, name)
    assert len(transforms.named("snake", "seed", models).program) == 4
    with pytest.raises(InvalidParams, match="you have no transform 'snake' of your own. It comes with the plugin."):
        transforms.delete(models, "snake")


@pytest.mark.parametrize(
    "content, problem",
    [
        ("{", "bad.json is no JSON"), ("[" * 100_000, "bad.json is no JSON"), ("[]", "a transform is an object"),
        ({"program": []}, "program: List should have at least 1 item"), ({}, "program: Field required"),
        ({"program": [{"scale": 99}]}, r"program.0.cfg_scale: Input should be less than or equal to 30"),
        ({"program": [{}], "loop": 3}, "loop: Extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_a_broken_file_says_what_is_wrong_and_spoils_no_other(models, content, problem):
    write(models, "bad.json", content)
    write(models, "good.json", {"program": [{}]})
    with pytest.raises(InvalidParams, match=problem):
        transforms.named("bad", "seed", models)
    found, problems = transforms.own(models)
    assert [*found] == ["good"] and len(problems) == 1


@pytest.mark.parametrize(
    "name, near", [("beest", "Did you mean beast?"), ("", ""), ("../snake", "Did you mean snake?")]
)
def test_a_transform_that_does_not_exist_is_told_with_those_that_do(models, name, near):
    with pytest.raises(InvalidParams, match=f"there is no transform {name!r}.") as error:
        transforms.named(name, "seed", models)
    assert near in str(error.value) and "normal, shake, focus" in error.value.wire()["hint"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a b", "x" * 61])
def test_a_name_that_is_no_files_is_refused(models, name):
    with pytest.raises(InvalidParams, match="a transform cannot be called"):
        transforms.save(models, name, transforms.Transform(program=[{}]))
    assert not [*(models / "transform").iterdir()]
