"""What a ControlNet is shown of a picture: edges, lines, colours, masks. None of these needs weights."""

import numpy
import PIL.Image
from scipy import ndimage

from core.plugin import InvalidParams

from .options import Preprocessing
from .resizing import flattened

FINE, COARSE = 0.5, 5.0  # pixels: the two blurs between which lines are found


def hint(picture: PIL.Image.Image, options: Preprocessing, mask: PIL.Image.Image | None = None) -> numpy.ndarray:
    """What the preprocessor makes of a picture of any size and mode: float32 (H, W, 3) RGB, 0 to 1.

    `mask` (L, of the picture's size) is white where something is to be drawn; without one, what is transparent is.
    "inpaint" gives -1 there. Raises InvalidParams if it has no mask."""
    kind = options.preprocessor
    if kind == "mask":
        return _grey(numpy.asarray(_mask(picture, mask) or flattened(picture).convert("L")) / 255)
    rgb = numpy.asarray(flattened(picture), numpy.float32)
    if kind == "canny":
        return _grey(canny(rgb, options.low_threshold, options.high_threshold))
    if kind == "scribble":
        return _grey(scribble(rgb, options.line_threshold))
    if kind == "tile":
        rgb = numpy.asarray(_coarser(flattened(picture), options.downsampling), numpy.float32)
    if kind == "inpaint":
        return _without(rgb / 255, _mask(picture, mask))
    return (255 - rgb if kind == "invert" else rgb) / 255


def shown(hint: numpy.ndarray) -> PIL.Image.Image:
    """A hint as a picture (RGB); what is -1 is black."""
    return PIL.Image.fromarray((hint.clip(0, 1) * 255).round().astype("u1"))


def canny(rgb: numpy.ndarray, low: float, high: float) -> numpy.ndarray:
    """The edges of each colour channel, found by Canny (1986) without blurring: bool (H, W).

    A step by s, of 0 to 255, has the gradient 4 * s, as in OpenCV, so that thresholds mean what they do in A1111."""
    from skimage import feature  # takes a second to import

    first = rgb[..., :1]
    channels = first if (rgb == first).all() else rgb
    low, high = sorted((low, high))
    edges = [feature.canny(channels[..., k], 0, low, high) for k in range(channels.shape[-1])]
    return numpy.any(edges, 0)


def scribble(rgb: numpy.ndarray, threshold: float) -> numpy.ndarray:
    """Where all channels are darker than their surroundings by more than half the threshold: bool (H, W).

    A difference of Gaussians as in XDoG (Winnemoeller et al. 2012), cut off hard."""
    fine, coarse = (ndimage.gaussian_filter(rgb, (blur, blur, 0)) for blur in (FINE, COARSE))
    return 2 * (coarse - fine).min(-1) > threshold


def _grey(values: numpy.ndarray) -> numpy.ndarray:
    return numpy.repeat(values.astype(numpy.float32)[..., None], 3, axis=-1)


def _coarser(picture: PIL.Image.Image, times: float) -> PIL.Image.Image:
    """The picture without detail smaller than `times` pixels."""
    small = (max(1, round(picture.width / times)), max(1, round(picture.height / times)))
    return picture.resize(small, PIL.Image.Resampling.BOX).resize(picture.size, PIL.Image.Resampling.LANCZOS)


def _mask(picture: PIL.Image.Image, mask: PIL.Image.Image | None) -> PIL.Image.Image | None:
    if mask is None and "A" in picture.getbands():
        return picture.getchannel("A").point(lambda value: 255 - value)
    return mask


def _without(rgb: numpy.ndarray, mask: PIL.Image.Image | None) -> numpy.ndarray:
    if mask is None:
        raise InvalidParams(
            "the preprocessor inpaint needs to know which part is to be drawn.",
            field="controlnets",
            hint="Use it in the job inpaint, or with a control picture that is transparent there.",
        )
    return numpy.where(numpy.asarray(mask)[..., None] >= 128, numpy.float32(-1), rgb)
