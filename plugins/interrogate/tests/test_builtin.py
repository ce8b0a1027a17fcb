"""The built-in tagger, of pictures that it has not learnt from: drawn here, in other sizes, and as JPEG."""

import io

import PIL.Image
import PIL.ImageDraw
import pytest

SHAPES = {
    "circle": lambda pen, box, colour: pen.ellipse(box, fill=colour),
    "square": lambda pen, box, colour: pen.rectangle(box, fill=colour),
    "triangle": lambda pen, box, colour: pen.polygon(
        [((box[0] + box[2]) / 2, box[1]), (box[2], box[3]), (box[0], box[3])], fill=colour
    ),
}
COLOURS = {"red": (220, 30, 35), "yellow": (250, 225, 40), "green": (35, 160, 60), "blue": (35, 75, 215)}


def drawn(shape, colour, background, size=(256, 256), share=0.3):
    picture = PIL.Image.new("RGB", (4 * size[0], 4 * size[1]), COLOURS[background])
    middle, radius = [length / 2 for length in picture.size], share * min(picture.size)
    box = [*(length - radius for length in middle), *(length + radius for length in middle)]
    SHAPES[shape](PIL.ImageDraw.Draw(picture), box, COLOURS[colour])
    return picture.resize(size, PIL.Image.Resampling.BOX)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour, background", [("red", "blue"), ("yellow", "green"), ("blue", "yellow")])
def test_shape_colour_and_background_are_named(ask, shape, colour, background):
    picture = drawn(shape, colour, background)
    told = {*ask("tag", picture).value.split(", ")}
    assert {colour, f"{background} background"} <= told <= {shape, colour, f"{background} background"}
    likely = ask("tag_scores", picture, threshold=0)["general"]
    assert next(tag for tag in likely if tag not in (colour, f"{background}_background")) == shape


@pytest.mark.parametrize("size", [(64, 64), (1024, 1024), (512, 400)])
def test_size_and_jpeg_matter_little(ask, size):
    file = io.BytesIO()
    drawn("circle", "red", "blue", size).save(file, "JPEG", quality=60)
    told = ask("tag", PIL.Image.open(file)).value
    assert {"circle", "red", "blue background"} <= {*told.split(", ")}


def test_of_noise_nothing_is_said(ask):
    noise = PIL.Image.effect_noise((128, 128), 90).convert("RGB")
    assert ask("tag", noise).value == ""
