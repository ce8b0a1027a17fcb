"""How a picture keeps its colours while it is redrawn, many times perhaps."""

import numpy
import PIL.Image
from skimage import color, exposure

LUMINOSITY = numpy.array([0.3, 0.59, 0.11], numpy.float32)
TO_BYTES, MIDDLE = numpy.array([2.55, 1, 1], numpy.float32), numpy.array([0, 128, 128], numpy.float32)  # of L, a, b


def corrected(painted: PIL.Image.Image, original: PIL.Image.Image) -> PIL.Image.Image:
    """`painted` with the colours of `original`, both RGB, in any sizes. A1111's colour correction, in two steps.

    The histograms of L, a and b (CIELAB, 8 bits each) become those of the original. Then each pixel gets back the
    luminosity that it had in `painted`: what is drawn stays as light and dark as it is."""
    pixels, reference = numpy.asarray(painted), numpy.asarray(original)
    matched = exposure.match_histograms(_lab(pixels), _lab(reference), channel_axis=2)
    rgb = _with_luminosity(_rgb(matched), (pixels / numpy.float32(255)) @ LUMINOSITY)
    return PIL.Image.fromarray((rgb * 255).round().astype(numpy.uint8))


def _lab(rgb: numpy.ndarray) -> numpy.ndarray:
    """uint8 (H, W, 3) of L * 2.55, a + 128, b + 128. In bytes, histograms are counted instead of sorted: 30x faster."""
    return (color.rgb2lab(rgb / numpy.float32(255)) * TO_BYTES + MIDDLE).round().astype(numpy.uint8)


def _rgb(lab: numpy.ndarray) -> numpy.ndarray:
    lab = (lab - MIDDLE) / TO_BYTES
    yellowest = 199.9 / 116 * (lab[..., 0] + 16)  # with a larger b, Z is negative: no light has that, and skimage warns
    lab[..., 2] = numpy.minimum(lab[..., 2], yellowest)
    return color.lab2rgb(lab)


def _with_luminosity(rgb: numpy.ndarray, luminosity: numpy.ndarray) -> numpy.ndarray:
    """Blend mode "luminosity" of W3C Compositing and Blending Level 1, section 10: float32 (H, W, 3) in 0 to 1.

    Departs from it in one thing: a colour out of range on both sides is drawn to grey once, by what both need."""
    chroma = rgb - (rgb @ LUMINOSITY)[..., None]
    luminosity = luminosity.clip(0, 1)[..., None]
    tiny = numpy.float32(1e-6)
    down = luminosity / numpy.maximum(-chroma.min(-1, keepdims=True), tiny)
    up = (1 - luminosity) / numpy.maximum(chroma.max(-1, keepdims=True), tiny)
    return (luminosity + chroma * numpy.minimum(numpy.minimum(down, up), 1)).clip(0, 1)
