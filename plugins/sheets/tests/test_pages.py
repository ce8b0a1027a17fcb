"""Contact sheets and plots: sizes, captions, colours, and what is told of mistakes."""

import itertools

import PIL.Image
import pytest
from stable_core_plugin_sheets.drift import mean_lab
from stable_core_plugin_sheets.looks import color_of, ink_on

from core.plugin import InvalidParams

CHAIN = [[k, k + 1] for k in range(99)]


@pytest.mark.parametrize("count, columns, rows", [(1, 1, 1), (2, 2, 1), (3, 2, 2), (5, 3, 2), (10, 4, 3)])
def test_a_sheet_is_as_square_as_it_goes(run, squares, count, columns, rows):
    sheet = run("contact_sheet", squares(count))
    assert sheet.facts == {"columns": columns, "rows": rows}
    assert sheet.value.size == (columns * 48 + 16, rows * 48 + 16)


def test_pictures_stand_row_by_row(run, squares):
    sheet = run("contact_sheet", squares(4), columns=3, gutter=10, background="red").value
    at = [sheet.getpixel((10 + 16 + 42 * (k % 3), 10 + 16 + 42 * (k // 3))) for k in range(4)]
    assert [each[0] for each in at] == [0, 85, 170, 255] and sheet.getpixel((5, 5)) == (255, 0, 0)


def test_no_side_is_over_the_limit(run, squares):
    assert max(run("contact_sheet", squares(30, 512)).value.size) in range(1950, 2097)
    words = {"captions": ["a caption that takes more than one line"] * 30, "title": "Thirty"}
    assert max(run("contact_sheet", squares(30, 512), max_side=900, **words).value.size) in range(800, 901)


def test_captions_are_written_below_the_pictures(run, squares):
    plain, written = run("contact_sheet", squares(2)).value, run("contact_sheet", squares(2), label="number").value
    assert written.height > plain.height and written.width == plain.width
    below = written.crop((0, 16 + 32, written.width, written.height)).convert("L")
    assert below.getextrema() == (0, 255)


def test_a_sheet_tells_the_seeds_and_prompts_that_pictures_know(run, squares, monkeypatch):
    written = []
    monkeypatch.setattr(
        "stable_core_plugin_sheets.contact.grid",
        lambda *images, captions, **more: written.append(captions) or next(images[0]),
    )
    pictures = squares(3)
    pictures[1].info["parameters"] = "a cat\nNegative prompt: dog\nSteps: 4, Seed: 77, Size: 8x8"
    pictures[2].info["parameters"] = "Seed: 3 is the name of a cat\nSteps: 4, Seed: 78, Size: 8x8"
    run("contact_sheet", pictures, label="seed")
    run("contact_sheet", pictures, label="prompt")
    assert written == [["", "seed 77", "seed 78"], ["", "a cat", "Seed: 3 is the name of a cat"]]


@pytest.mark.parametrize(
    "job, count, given, words",
    [
        ("contact_sheet", 0, {}, "needs pictures, got none"),
        ("contact_sheet", 3, {"captions": ["one"]}, "captions: got 1 for 3 pictures"),
        ("contact_sheet", 1, {"background": "no colour"}, "'no colour' is no colour"),
        ("contact_sheet", 9, {"max_side": 64, "gutter": 40}, "9 pictures do not fit into 64x64 pixels"),
        ("drift_plot", 0, {}, "needs pictures, got none"),
        ("drift_plot", 2, {"labels": ["a"]}, "labels: got 1 for 2 pictures"),
        ("family_tree", 0, {}, "needs members, got none"),
        ("family_tree", 1, {"members": [{"picture": 1}]}, "number 0 is picture 1, of 1"),
        ("family_tree", 2, {"arrows": [[0, 2]]}, r"\[0, 2\] does not lead from one of the 2 members to another"),
        ("family_tree", 2, {"arrows": [[1, 1]]}, r"\[1, 1\] does not lead"),
        ("family_tree", 100, {"max_side": 256, "arrows": CHAIN}, "100 members do not fit into 256x256"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_what_to_do(run, squares, job, count, given, words):
    with pytest.raises(InvalidParams, match=words) as caught:
        run(job, squares(count), **given)
    assert caught.value.wire().keys() >= {"hint", "field"}


@pytest.mark.parametrize(
    "color, lab",
    [
        ("white", (100, 0, 0)), ("black", (0, 0, 0)), ("red", (53.241, 80.092, 67.203)),
        ("#00ff00", (87.735, -86.183, 83.179)), ("blue", (32.297, 79.188, -107.860)), ("#808080", (53.585, 0, 0)),
    ],
)  # fmt: skip
def test_lab_is_that_of_the_cie(context, color, lab):
    assert mean_lab(PIL.Image.new("RGB", (3, 2), color), context) == pytest.approx(lab, abs=0.02)


def test_what_is_transparent_counts_as_much_as_it_is_seen(context):
    picture = PIL.Image.new("RGBA", (2, 1), "white")
    picture.putpixel((0, 0), (255, 0, 0, 0))
    assert mean_lab(picture, context) == pytest.approx((100, 0, 0), abs=0.02)
    assert mean_lab(PIL.Image.new("RGBA", (2, 1)), context) is None


def test_a_plot_has_its_size_and_tells_the_values(run, squares):
    plot = run("drift_plot", squares(3), width=400, height=330, title="$x_1 and more", labels=["a", "$b", "c" * 200])
    assert plot.value.size == (400, 330)
    assert [value[0] for value in plot.facts["lab"]] == pytest.approx([0, 53.6, 100], abs=0.1)
    nothing = [PIL.Image.new("RGBA", (4, 4))]
    assert run("drift_plot", nothing, show="change", background="black").facts["lab"] == [None]


def test_words_can_be_read_on_any_colour():
    def light(color):
        parts = [each / 255 for each in color]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05

    for color in itertools.product(range(0, 256, 51), repeat=3):
        ratio = sorted([light(color), light(ink_on(color))])
        assert ratio[1] / ratio[0] >= 4.5, color
    assert color_of("#102030") == (16, 32, 48)
