"""How prompts are read, which mode is chosen, and which part of the picture is taken."""

import pytest
from isi import IsiParams
from isi.drawing import drawings_of, fitted, mode_of
from isi.grammar import one_line, parts_of, weight_of_all, weighted

from core.plugin import Artifact, InvalidParams

PICTURE = Artifact("start", "image", "0" * 64, {"width": 800, "height": 600})


class Recorder:
    """A context that keeps what is submitted."""

    def __init__(self):
        self.submitted = []

    def submit(self, job, params, inputs, key):
        self.submitted.append((job, params))
        return key


@pytest.mark.parametrize(
    "prompt, image, mode",
    [
        ("a;b", None, "txt2img"), ("a", None, "txt2img"), ("a;b", PICTURE, "isi"), ("{a}b;", PICTURE, "isi"),
        ("a, b", PICTURE, "img2img"), ("", PICTURE, "img2img"),
    ],
)  # fmt: skip
def test_the_mode_is_chosen_by_picture_and_semicolon(prompt, image, mode):
    assert mode_of(IsiParams(prompt=prompt), image) == mode


def test_the_mode_can_be_said():
    assert mode_of(IsiParams(prompt="a", mode="isi"), None) == "isi"
    with pytest.raises(InvalidParams, match="img2img needs a picture"):
        mode_of(IsiParams(mode="img2img"), None)


@pytest.mark.parametrize(
    "prompt, prompts",
    [
        ("{a castle}in spring;in autumn", ["a castle,in spring", "a castle,in autumn"]),
        ("{a castle} in spring ; in autumn ", ["a castle,in spring", "a castle,in autumn"]),
        ("in spring;in autumn", ["in spring", "in autumn"]),
        ("{a\ncastle}\nin\nspring;\nin autumn\n", ["a castle,in spring", "a castle,in autumn"]),
        ("old {castle}in spring;", ["old castle,in spring"]),
        ("{}in spring;;in autumn", ["in spring", "in autumn"]),
    ],
)
def test_each_part_is_drawn_behind_what_all_share(prompt, prompts):
    assert [part.prompt for part in parts_of(prompt)] == prompts


@pytest.mark.parametrize(
    "group, text, weight",
    [
        ("a cat", "a cat", 1), ("(a cat:1.21)", "a cat", 1.21), ("(a cat:.5)", "a cat", 0.5),
        ("((a cat:1.3))", "a cat", 1.3),
        ("(a cat)", "a cat", 1.1), ("((a cat))", "a cat", 1.21), ("(((a cat)))", "a cat", 1.331),
        ("((((a cat))))", "a cat", 1.4641), ("(((((a cat)))))", "a cat", 1.61051),
        ("((a cat)", "a cat", 1), ("a cat)", "a cat", 1), ("(a: cat", "a cat", 1),
        ("(a cat:1.2, a dog)", "a cat:1.2, a dog", 1.1), ("a cat:1.2", "a cat:1.2", 1), ("a (cat:1.5)", "a cat", 1.5),
        ("(a) or (b)", "(a) or (b)", 1), ("((a) or (b))", "(a) or (b)", 1.1), ("(a cat:1.234567)", "a cat", 1.23457),
        ("a <lora:x:0.8> cat (red)", "a <lora:x:0.8> cat (red)", 1), ("(a <lora:x:0.8>:1.2)", "a <lora:x:0.8>", 1.2),
        (r"(a \(cat\):1.2)", r"a \(cat\)", 1.2), (r"a cat \(red\)", r"a cat \(red\)", 1),
        ("a (cat)", "a (cat)", 1), ("(a)) ((b)", "(a)) ((b)", 1),
    ],
)  # fmt: skip
def test_weights_of_groups(group, text, weight):
    assert weighted(group) == (text, weight)


@pytest.mark.parametrize(
    "joined, weight",
    [("a,b", 1), ("a,(b:1.3)", 1.3), ("(a),((b))", 1.331), ("(a,((b))", 1), ("a:2,b", None), ("a, b: 2", 2)],
)
def test_weights_as_the_first_version_read_them(joined, weight):
    if weight is None:
        with pytest.raises(InvalidParams, match="'2,b' where its weight stands"):
            weight_of_all(joined)
    else:
        assert weight_of_all(joined) == weight


def test_a_weight_multiplies_the_cfg_scale_or_is_attention():
    prompt = "{a castle}in spring;(in autumn:1.5);((snow))"
    assert [part.factor for part in parts_of(prompt)] == [1, 1.5, 1.21]
    assert [each.cfg_scale for each in drawings_of(IsiParams(prompt=prompt, cfg_scale=6), "isi")] == [6, 9, 7.26]
    attention = parts_of(prompt, "attention")
    assert [part.prompt for part in attention][1:] == ["a castle,(in autumn:1.5)", "a castle,(snow:1.21)"]
    assert {part.factor for part in attention} == {1}


def test_the_first_version_draws_brackets_as_text():
    (part,) = parts_of("{a (castle)}((snow));", "cfg", "seed_commit")
    assert (part.prompt, part.factor) == (r"a \(castle\),\(\(snow\)\)", 1.331)
    (part,) = parts_of("{a (castle)}((snow));", "attention", "seed_commit")
    assert (part.prompt, part.factor) == ("a (castle),((snow))", 1)


@pytest.mark.parametrize(
    "prompt, words",
    [
        ("{a", "got 1 { and 0 }"), ("}a{;b", "one pair of braces"), ("{a}{b}c", "got 2 { and 2 }"),
        ("{a}", "no part to draw"), ("{a};;", "no part to draw"), ("", "no part to draw"),
        ("a;(b:big)", "part 2, '(b:big)', has 'big'"), ("(a:nan)", "has 'nan'"), ("(a:1e5)", "has '1e5'"),
        ("(a:)", "has ''"), ("a;(b:5)", "its CFG scale would be 35"), ("(a:-1)", "its CFG scale would be -7"),
        (f"(a:{'9' * 400})", "weighs inf, more than 100"), ("(" * 9000 + ")" * 9000, "more than 100"),
        ("a;" * 501, "501 parts, of 500 at most"),
    ],
)  # fmt: skip
def test_mistakes_say_which_part_and_what_to_do(prompt, words):
    with pytest.raises(InvalidParams) as caught:
        drawings_of(IsiParams(prompt=prompt), "isi")
    assert words in str(caught.value) and caught.value.wire()["hint"] and caught.value.wire()["field"] == "prompt"


@pytest.mark.parametrize(
    "fit, width, height, job, box",
    [
        ("crop", 512, 512, "crop", {"left": 144, "top": 44, "width": 512, "height": 512}),
        ("crop", 1024, 1024, "crop", {"left": 100, "top": 0, "width": 600, "height": 600}),
        ("shape", 512, 512, "crop", {"left": 100, "top": 0, "width": 600, "height": 600}),
        ("shape", 512, 256, "crop", {"left": 0, "top": 100, "width": 800, "height": 400}),
        ("extend", 512, 512, "extend", {"left": 0, "right": 0, "up": 100, "down": 100}),
        ("extend", 512, 256, "extend", {"left": 200, "right": 200, "up": 0, "down": 0}),
    ],
)
def test_the_picture_gets_the_shape(fit, width, height, job, box):
    ctx = Recorder()
    fitted(PICTURE, IsiParams(fit=fit, width=width, height=height), ctx)
    ((name, params),) = ctx.submitted
    assert name == job and {key: params[key] for key in box} == box


@pytest.mark.parametrize("given", [{"fit": "resize"}, {"width": 0}, {"width": 800, "height": 600}])
def test_a_picture_that_fits_is_taken_as_it_is(given):
    ctx = Recorder()
    assert fitted(PICTURE, IsiParams(**given), ctx) is PICTURE and not ctx.submitted


def test_lines_are_joined():
    assert one_line("\n a cat\n\n sits \r\n") == "a cat sits"
