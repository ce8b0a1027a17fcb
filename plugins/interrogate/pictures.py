"""What a model is shown of a picture: on white where it is transparent, and as a square."""

import PIL.Image

BICUBIC, BOX = PIL.Image.Resampling.BICUBIC, PIL.Image.Resampling.BOX
MOST = 2048  # pixels of the longer side: no model here sees more than 1,000


def on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB, of at most MOST pixels a side."""
    picture = picture.reduce(max(1, max(picture.size) // MOST)) if max(picture.size) > MOST else picture
    if "A" not in picture.getbands():
        return picture.convert("RGB")
    white = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def on_white_square(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """(side, side) RGB, the picture in the middle of a white square: what WD14 taggers have learnt from."""
    picture = on_white(picture)
    whole = max(picture.size)
    square = PIL.Image.new("RGB", (whole, whole), "white")
    square.paste(picture, ((whole - picture.width) // 2, (whole - picture.height) // 2))
    return square.resize((side, side), BICUBIC)


def to_the_edges(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """(side, side) RGB, made as large as fits; what stays free repeats the nearest edge: DeepDanbooru's way."""
    picture = on_white(picture)
    share = side / max(picture.size)
    width, height = (max(1, round(length * share)) for length in picture.size)
    picture = picture.resize((width, height), BOX if share < 1 else BICUBIC)
    left, top = (side - width) // 2, (side - height) // 2
    square = PIL.Image.new("RGB", (side, side))
    square.paste(picture, (left, top))
    for edge, places in (
        ((0, 0, 1, height), (0, top, left, top + height)),
        ((width - 1, 0, width, height), (left + width, top, side, top + height)),
        ((0, 0, width, 1), (left, 0, left + width, top)),
        ((0, height - 1, width, height), (left, top + height, left + width, side)),
    ):
        size = places[2] - places[0], places[3] - places[1]
        if min(size) > 0:
            square.paste(picture.crop(edge).resize(size, PIL.Image.Resampling.NEAREST), places[:2])
    return square


def middle(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """(side, side) of an RGB picture: its middle, the shorter side in full, as CLIP has learnt from."""
    width, height = picture.size
    short = min(width, height)
    box = (width - short) / 2, (height - short) / 2, (width + short) / 2, (height + short) / 2
    return picture.resize((side, side), BICUBIC, box)


def normalised(picture: PIL.Image.Image, mean: list[float], std: list[float]):
    """A tensor (1, 3, H, W) float32."""
    import numpy
    import torch

    pixels = (numpy.asarray(picture, "float32") / 255 - numpy.float32(mean)) / numpy.float32(std)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
