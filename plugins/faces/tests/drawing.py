"""Drawn faces: flat shapes with the lights and shadows that detectors look for."""

import numpy
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

SKINS = ("#e8b894", "#c68a62", "#f2cfb4", "#8d5a3c")
HAIRS = ("#3b2416", "#151515", "#a0622d", "#4a3020")
EYES = numpy.array([[0.36, 0.43], [0.64, 0.43]])  # of a face in a square of side 1
MOUTH = numpy.array([[0.40, 0.71], [0.60, 0.71]])


def face(side=200, number=0):
    """A face from the front, on nothing, in a square."""
    unit = side * 4  # drawn larger: soft edges
    picture = PIL.Image.new("RGBA", (unit, unit))
    draw = PIL.ImageDraw.Draw(picture)
    skin, hair = SKINS[number % len(SKINS)], HAIRS[number % len(HAIRS)]

    def ellipse(x, y, rx, ry, fill):
        draw.ellipse([(x - rx) * unit, (y - ry) * unit, (x + rx) * unit, (y + ry) * unit], fill)

    def shade(color, by):
        return tuple(int(part * by) for part in PIL.ImageColor.getrgb(color))

    ellipse(0.5, 0.46, 0.36, 0.42, hair)
    ellipse(0.5, 0.53, 0.29, 0.38, skin)
    ellipse(0.5, 0.17, 0.27, 0.10, hair)
    for x, y in EYES:
        ellipse(x, y, 0.095, 0.06, shade(skin, 0.72))  # the socket lies in the shadow
        ellipse(x, y + 0.005, 0.062, 0.03, "#f4f0ea")
        ellipse(x, y + 0.005, 0.03, 0.03, "#2c1d12")
        ellipse(x + 0.01, y - 0.008, 0.008, 0.008, "white")
        draw.line(
            [
                (x - 0.085) * unit,
                (y - 0.06) * unit,
                x * unit,
                (y - 0.085) * unit,
                (x + 0.085) * unit,
                (y - 0.06) * unit,
            ],
            shade(hair, 0.8),
            int(0.025 * unit),
        )
        ellipse(x, 0.585, 0.085, 0.055, shade(skin, 1.06))  # and the cheek in the light
    ellipse(0.5, 0.50, 0.028, 0.12, shade(skin, 1.08))
    ellipse(0.5, 0.60, 0.055, 0.03, shade(skin, 0.86))
    ellipse(0.5, 0.72, 0.115, 0.035, "#9c3f3f")
    draw.line([0.40 * unit, 0.715 * unit, 0.60 * unit, 0.715 * unit], "#5c1f1f", int(0.012 * unit))
    ellipse(0.5, 0.83, 0.07, 0.03, shade(skin, 1.05))
    return picture.filter(PIL.ImageFilter.GaussianBlur(unit / 150)).resize((side, side), PIL.Image.LANCZOS)


def scene(width, height, *faces, background="#6f8fa8"):
    """A picture with faces (x, y of the middle, side, degrees to the left), and where their eyes are: (N, 2, 2)."""
    picture = PIL.Image.new("RGB", (width, height), background)
    ys = numpy.linspace(0.85, 1.1, height)[:, None, None]
    picture = PIL.Image.fromarray((numpy.asarray(picture) * ys).clip(0, 255).astype("uint8"))
    eyes = []
    for number, (x, y, side, *degrees) in enumerate(faces):
        drawn = face(side, number)
        turn = numpy.radians(degrees[0] if degrees else 0)
        turned = drawn.rotate(numpy.degrees(turn), PIL.Image.BICUBIC, expand=True)
        picture.paste(turned, (round(x - turned.width / 2), round(y - turned.height / 2)), turned)
        offset = (EYES - 0.5) * side
        rotation = numpy.array([[numpy.cos(turn), numpy.sin(turn)], [-numpy.sin(turn), numpy.cos(turn)]])
        eyes.append(offset @ rotation.T + (x, y))
    return picture, numpy.array(eyes)
