"""A face in the picture and the square that restorers know: the way there, and back without a trace.

Pictures are (H, W, 3) uint8 RGB; matrices are (2, 3) float64, from points of the picture to points of the square."""

import cv2
import numpy

SIDE = 512  # pixels, of the square that GFPGAN, RestoreFormer and CodeFormer were trained on
# Eyes, nose and corners of the mouth in that square, seen from the front; from facexlib, which has them from FFHQ.
TEMPLATE = numpy.array(
    [[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935],
     [201.26117, 371.41043], [313.08905, 371.15118]]
)  # fmt: skip
OUTSIDE = (132, 133, 135)  # the grey that restorers know beyond the picture's edge
EDGE, RAMP = 8, 80  # pixels of the square at its edges that are left, and over which what is pasted fades in


def to_square(landmarks: numpy.ndarray) -> numpy.ndarray | None:
    """The shift, turn and scaling that bring landmarks (5, 2) nearest to TEMPLATE; None if there is none."""
    if not numpy.isfinite(landmarks).all() or numpy.ptp(landmarks, axis=0).max() < 1:
        return None
    middle = landmarks.mean(0)  # OpenCV reckons in float32: far from 0, much of a pixel would be lost
    matrix = cv2.estimateAffinePartial2D(landmarks - middle, TEMPLATE, method=cv2.LMEDS)[0]  # as facexlib does it
    if matrix is None or not 1e-4 < scale_of(matrix) < 1e3:
        return None
    matrix[:, 2] -= matrix[:, :2] @ middle
    return matrix


def scale_of(matrix: numpy.ndarray) -> float:
    """How many times as large as in the picture things are in the square."""
    return float(numpy.hypot(matrix[0, 0], matrix[1, 0]))


def moved(points: numpy.ndarray, matrix: numpy.ndarray) -> numpy.ndarray:
    """Points (N, 2), where the matrix brings them."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: numpy.ndarray) -> numpy.ndarray:
    return cv2.invertAffineTransform(matrix)


def from_eyes(eyes: numpy.ndarray) -> numpy.ndarray:
    """All five landmarks (5, 2) of a face from the front whose eyes (2, 2) are there."""
    (x, y), (there_x, there_y) = TEMPLATE[1] - TEMPLATE[0], eyes[1] - eyes[0]
    turn = complex(there_x, there_y) / complex(x, y)
    matrix = numpy.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return (TEMPLATE - TEMPLATE[0]) @ matrix.T + eyes[0]


def cut(pixels: numpy.ndarray, matrix: numpy.ndarray, side: int = SIDE) -> numpy.ndarray:
    """The square (side, side, 3) with the face."""
    part, offset = _around(pixels.shape, matrix)
    if part is None:
        return numpy.full((side, side, 3), OUTSIDE, numpy.uint8)
    larger = side / SIDE
    to_part = numpy.array([[larger], [larger]]) * matrix
    to_part[:, 2] += to_part[:, :2] @ offset + (larger - 1) / 2
    return _warped(pixels[part], to_part, side, side, OUTSIDE)


def paste(pixels: numpy.ndarray, square: numpy.ndarray, matrix: numpy.ndarray, mask: numpy.ndarray) -> None:
    """Lay the square (SIDE, SIDE, 3) uint8 over the picture, in place, as much as mask (SIDE, SIDE) float32 says.

    Only what the mask reaches is touched."""
    part, offset = _around(pixels.shape, matrix)
    if part is None:
        return
    back = inverse(matrix)
    back[:, 2] -= offset
    below = pixels[part]
    height, width = below.shape[:2]
    above = _warped(square, back, width, height)
    share = _warped(mask, back, width, height)[..., None]
    pixels[part] = numpy.rint(below + (above.astype(numpy.float32) - below) * share).clip(0, 255).astype(numpy.uint8)


def feathered() -> numpy.ndarray:
    """A mask (SIDE, SIDE) float32: 1 in the middle, falling to 0 before the edges, without a corner anywhere."""
    inwards = numpy.minimum(numpy.arange(SIDE), numpy.arange(SIDE)[::-1])
    slope = ((inwards - EDGE) / RAMP).clip(0, 1)
    soft = (1 - numpy.cos(numpy.pi * slope)) / 2
    return numpy.outer(soft, soft).astype(numpy.float32)


def _around(shape: tuple[int, ...], matrix: numpy.ndarray) -> tuple[tuple[slice, slice] | None, numpy.ndarray]:
    """The part of the picture that the square covers, and where it begins (x, y). Faces are small, pictures may not
    be; and OpenCV refuses to warp what has more than 32,767 pixels on a side."""
    corners = moved(numpy.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) - 0.5, inverse(matrix))
    first = numpy.floor(corners.min(0) - 2).clip(0, (shape[1], shape[0])).astype(int)
    last = numpy.ceil(corners.max(0) + 3).clip(0, (shape[1], shape[0])).astype(int)
    if (last <= first).any():
        return None, first
    return (slice(first[1], last[1]), slice(first[0], last[0])), first


def _warped(
    pixels: numpy.ndarray, matrix: numpy.ndarray, width: int, height: int, outside: tuple[int, ...] | int = 0
) -> numpy.ndarray:
    """The pixels where the matrix brings them. What gets less than half as large is averaged first, or fine lines
    would turn into dots."""
    if (smaller := int(1 / scale_of(matrix))) > 1:
        was = numpy.array([pixels.shape[1], pixels.shape[0]])
        now = numpy.maximum(was // smaller, 1)
        pixels = cv2.resize(pixels, now.tolist(), interpolation=cv2.INTER_AREA)
        ratio = was / now  # a pixel's middle x is (x + 0.5) * ratio - 0.5 of before
        matrix = numpy.column_stack([matrix[:, :2] * ratio, matrix[:, 2] + matrix[:, :2] @ ((ratio - 1) / 2)])
    border = outside if isinstance(outside, tuple) else (outside,)
    return cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=border)
