"""What the tests of pictures share: how a job is drawn without a server, and how pictures are measured."""

import numpy

from core.plugin import Result

RED_CIRCLE = "a red circle on a blue background"
DEFAULTS = {"prompt": RED_CIRCLE, "seed": 1, "steps": 4, "sampler": "Euler"}


def pixels(result):
    picture = result.value if isinstance(result, Result) else result
    return numpy.asarray(picture.convert("RGB"), numpy.float32)


def difference(one, other):
    """Mean absolute difference of two pictures, 0 to 255."""
    return abs(pixels(one) - pixels(other)).mean()


def same(one, other):
    """Equal but for what rounding does to another composition of the batch."""
    return one.value.size == other.value.size and abs(pixels(one) - pixels(other)).max() <= 2


def psnr(one, other):
    return 10 * numpy.log10(255**2 / ((pixels(one) - pixels(other)) ** 2).mean())


def middle(result):
    """The mean colour, red, green and blue, of the sixteenth in the middle."""
    rgb = pixels(result)
    height, width = rgb.shape[:2]
    return rgb[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8].mean((0, 1))


def redness(result):
    red, green, blue = middle(result)
    return red - (green + blue) / 2


def is_red_disc_on_blue(result):
    rgb = pixels(result)
    height, width = rgb.shape[:2]
    red = (rgb[..., 0] > 150) & (rgb[..., 2] < 120)
    blue = (rgb[..., 2] > 130) & (rgb[..., 0] < 120)
    edge = numpy.concatenate([blue[:6].ravel(), blue[-6:].ravel(), blue[:, :6].ravel(), blue[:, -6:].ravel()])
    return red[height // 2, width // 2] and edge.mean() > 0.95 and 0.05 < red.mean() < 0.6
