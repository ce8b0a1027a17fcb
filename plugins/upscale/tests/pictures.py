"""Pictures for the tests, with edges, fine lines and slow changes."""

import numpy
import PIL.Image
import PIL.ImageDraw


def picture(width=96, height=64, mode="RGB"):
    y, x = numpy.mgrid[0:height, 0:width] / max(width, height)
    slow = numpy.stack([x, y, 0.5 + 0.5 * numpy.sin(20 * x * y + 3 * x)], -1)
    made = PIL.Image.fromarray((slow * 255).astype(numpy.uint8))
    draw = PIL.ImageDraw.Draw(made)
    for k in range(0, width, 24):
        draw.ellipse((k, (k * 7) % height, k + 15, (k * 7) % height + 11), fill=(k * 5 % 256, 200 - k % 200, 90))
        draw.line((k, 0, width - k, height), fill="white" if k % 48 else "black")
    made = made.convert(mode)
    if mode == "RGBA":
        made.putalpha(PIL.Image.fromarray(((x + y < 0.8) * 255).astype(numpy.uint8)))
    return made


def pixels(picture):
    return numpy.asarray(picture).astype(int)


def psnr(one, other):
    return -10 * numpy.log10(numpy.mean((pixels(one) / 255 - pixels(other) / 255) ** 2) + 1e-12)
