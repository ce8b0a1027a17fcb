"""Whether a picture is the same, alike or another one, and what has changed since it was drawn."""

import math

import PIL.Image
import pytest
from sd.verify import changes, compare, verify

from core.plugin import BadImage

GREY = PIL.Image.new("RGB", (4, 4), (100, 100, 100))


def test_equal_pixels_are_identical_in_any_mode():
    assert compare(GREY, GREY.convert("RGBA")) == {"verdict": "identical", "psnr_db": None, "largest_difference": 0}


@pytest.mark.parametrize(("step", "verdict"), [(1, "close"), (8, "close"), (9, "different"), (155, "different")])
def test_pictures_are_close_from_30_db_on(step, verdict):
    psnr = 10 * math.log10(255**2 / step**2)
    found = compare(GREY, PIL.Image.new("RGB", (4, 4), (100 + step,) * 3))
    assert found == {"verdict": verdict, "psnr_db": round(psnr, 2), "largest_difference": step}


def test_pictures_of_two_sizes_are_different():
    assert compare(GREY, GREY.resize((4, 5)))["verdict"] == "different"


def test_what_has_changed_since_is_told_and_any_record_is_survived():
    before = {"model_hash": "a", "determinism": {"torch": "1", "device": "cpu", "gone": "x"}}
    after = {"model_hash": "b", "determinism": {"torch": "2", "device": "cpu"}}
    assert changes(before, after) == ["model_hash was a, is b.", "torch was 1, is 2.", "gone was x, is None."]
    assert changes({"refiner_hash": "a"}, {"refiner_hash": "b"}) == ["refiner_hash was a, is b."]
    assert changes([], after) == changes({"determinism": 7}, after) == changes(None, {}) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the picture does not tell how it was drawn"),
        ("a\nSteps: 1, Sampler: Euler, Seed: 1, Denoising strength: 0.5", "the picture that it was made from is not"),
        (
            'a\nSteps: 1, Sampler: Euler, Seed: 1, ControlNet 0: "Module: canny, Model: m"',
            "the picture that it was made",
        ),
        ("a\nSteps: 1, Sampler: Euler, Seed: 1, IP-Adapter: a", "the picture that it was made from is not known"),
    ],
)
def test_a_picture_that_cannot_be_drawn_again_is_refused_with_the_reason(make_context, text, message):
    picture, ctx = GREY.copy(), make_context()
    picture.info = {"parameters": text} if text else {}
    ctx.read = lambda artifact: picture
    with pytest.raises(BadImage, match=message) as caught:
        verify(None, ctx)
    assert caught.value.extra["hint"].startswith("Verify ")
