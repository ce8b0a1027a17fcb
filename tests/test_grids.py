"""Grids of pictures with words beside them."""

import PIL.Image
import pytest

from core.library import grids


def picture(color, size=(40, 30)):
    return PIL.Image.new("RGB", size, color)


def test_cells_lie_row_by_row_with_a_margin():
    whole = grids.grid([picture("red"), picture("lime"), picture("blue")], 2, margin=4)
    assert whole.size == (84, 64)
    assert [whole.getpixel(place) for place in ((5, 5), (50, 5), (5, 40), (42, 5), (50, 40))] == [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (0, 0, 0),
    ]  # fmt: skip


def test_words_stand_outside_of_the_pictures_and_fit_their_column():
    whole = grids.grid([picture("red")] * 4, 2, ["CFG scale: 7", "uninterruptedlylongwordsgobeyond"], ["a", "b"])
    plain = grids.grid([picture("red")] * 4, 2)
    assert whole.crop((whole.width - 80, whole.height - 60, whole.width, whole.height)).tobytes() == plain.tobytes()
    margin = whole.crop((0, 0, whole.width, whole.height - 60)).convert("L")
    assert 0 in margin.tobytes() and margin.getpixel((whole.width - 1, 0)) == 255


def test_a_picture_that_is_missing_is_an_empty_cell_and_a_larger_one_is_made_smaller():
    whole = grids.grid(iter([None, picture("red", (80, 60))]), 2, size=(40, 30), count=2)
    assert whole.size == (80, 30) and whole.getpixel((60, 15)) == (255, 0, 0)
    assert whole.getpixel((0, 0)) == grids.GREY and whole.getpixel((30, 5)) == (0, 0, 0)


def test_captions_and_a_title_are_written_on_any_background():
    for background in ("#101010", "white"):
        whole = grids.grid([picture("red")], 1, captions=["seed 7"], title="All", background=background)
        darkest, brightest = whole.crop((0, whole.height - 16, 40, whole.height)).convert("L").getextrema()
        assert darkest < 55 and brightest > 200 and whole.height > 60


def test_captions_take_no_more_room_than_pictures_however_small_these_are():
    captions = ["a caption of many words that would be eight lines below a small picture"] * 100
    whole = grids.grid([picture("red", (400, 400))] * 100, 10, captions=captions, most_side=600)
    assert whole.width > 250 and whole.height <= 600


@pytest.mark.parametrize("most", [200_000, 20_000])
def test_a_grid_stays_below_the_most_pixels_with_words_and_all(most):
    cells = (picture("red") for _ in range(400))
    whole = grids.grid(cells, 20, ["word"] * 20, ["word"] * 20, 4, size=(40, 30), count=400, most_pixels=most)
    assert most * 0.5 < whole.width * whole.height <= most


def test_long_texts_end_in_dots():
    font = grids.PIL.ImageFont.load_default(12)
    lines = grids.wrapped("word " * 100, 60, font, 3)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert all(font.getlength(line) <= 60 for line in lines)


def test_a_word_that_does_not_fit_is_not_measured_to_its_end():
    class Font:
        measured = 0

        def getlength(self, text):
            self.measured += 1
            return 10 * len(text)

    assert grids.wrapped("w" * 200, 20, font := Font(), 3) == ["ww", "ww", "w…"]
    assert font.measured < 30
