"""What models are shown of pictures of any size and kind."""

import numpy as np
import PIL.Image
import pytest
from interrogating.pictures import MOST, middle, on_white, on_white_square, to_the_edges

SIZES = [(1, 1), (1, 500), (500, 1), (3, 2), (70, 30), (6000, 10)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("prepare", [on_white_square, to_the_edges])
def test_square_has_its_size_and_a_picture_of_one_colour_stays_so(prepare, size):
    square = prepare(PIL.Image.new("RGB", size, (10, 200, 30)), 32)
    colours = np.unique(np.asarray(square).reshape(-1, 3), axis=0)
    assert square.size == (32, 32)
    if prepare is to_the_edges or size[0] == size[1]:
        assert colours.tolist() == [[10, 200, 30]]


@pytest.mark.parametrize("size", SIZES)
def test_middle_of_any_shape(size):
    assert middle(on_white(PIL.Image.new("RGB", size)), 16).size == (16, 16)


def test_edges_are_repeated():
    picture = PIL.Image.fromarray(np.uint8([[[255, 0, 0], [0, 0, 255]]]))  # red beside blue
    seen = np.asarray(to_the_edges(picture, 8))
    assert (seen[:, 0] == (255, 0, 0)).all() and (seen[:, 7] == (0, 0, 255)).all()
    upright = np.asarray(to_the_edges(picture.rotate(90, expand=True), 8))
    assert (upright[0] == (0, 0, 255)).all() and (upright[7] == (255, 0, 0)).all()


def test_wd14_sees_white_around():
    seen = np.asarray(on_white_square(PIL.Image.new("RGB", (40, 20)), 20))
    assert (seen[:4] == 255).all() and (seen[16:] == 255).all() and (seen[8:12] == 0).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_all_modes_are_seen(mode):
    seen = on_white(PIL.Image.new("RGB", (4, 4), "white").convert("L" if mode == "I;16" else mode).convert(mode))
    assert seen.mode == "RGB"


def test_what_is_transparent_is_white():
    picture = PIL.Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert on_white(picture).getpixel((0, 0)) == (255, 255, 255)
    picture.putalpha(128)
    assert on_white(picture).getpixel((0, 0)) == pytest.approx((255, 127, 127), abs=1)


def test_huge_pictures_are_made_smaller_first():
    assert max(on_white(PIL.Image.new("L", (10_000, 10_000))).size) < 2 * MOST
