"""Who finds the faces in a picture: RetinaFace, where its weights are, or the cascades that come with OpenCV."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy

from . import alignment, facexlib, restoring

WIDEST = 4  # times as long as the shorter side, at most: what is longer is looked at made smaller still
TURNS = (0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180)  # degrees; a cascade sees what is 20 off at most
AGREEING = 3  # windows that have to see a face in the same place
CONTRAST = 2  # times at most, by which differences of light are raised where they are small
SMALLEST = 28  # pixels, of the picture as it is looked at
EYES_AT = 160  # pixels: faces are made so wide to look for their eyes
USUAL_EYES = numpy.array([[0.31, 0.40], [0.69, 0.40]])  # in the square that a cascade finds
OVERLAP = 0.3  # of two boxes' joint area: more is one face
AT_LEAST = 0.5  # sure RetinaFace has to be: less cannot be asked for
Step = Callable[[int, int], None]  # is told how much is done of how much, and may raise to stop
Finder = Callable[[numpy.ndarray, Step], list["Face"]]


@dataclass
class Face:
    """One face: its box (left, top, right, bottom) and its landmarks (5, 2), as in alignment.TEMPLATE, in pixels of
    the picture; and how sure the finder is, 0 to 1."""

    box: numpy.ndarray
    landmarks: numpy.ndarray
    score: float

    @property
    def size(self) -> float:
        """Pixels, of the box's shorter side."""
        return float((self.box[2:] - self.box[:2]).min())

    def away_from(self, x: float, y: float) -> float:
        """Pixels, of the box's middle."""
        left, top, right, bottom = self.box
        return math.hypot((left + right) / 2 - x, (top + bottom) / 2 - y)


def faces(pixels: numpy.ndarray, finder: Finder, shorter_side: int, step: Step) -> list[Face]:
    """All faces in (H, W, 3) uint8 RGB, from left to right. The finder sees the picture with that shorter side."""
    height, width = pixels.shape[:2]
    scale = shorter_side / max(min(height, width), max(height, width) / WIDEST)
    size = [max(1, round(width * scale)), max(1, round(height * scale))]
    seen = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    ratio = numpy.array([width / size[0], height / size[1]])
    found = []
    for face in finder(seen, step):
        box, landmarks = face.box * [*ratio, *ratio], (face.landmarks + 0.5) * ratio - 0.5
        if numpy.isfinite(box).all() and alignment.to_square(landmarks) is not None:
            found.append(Face(box, landmarks, face.score))
    return sorted(found, key=lambda face: (face.box[0], face.box[1]))


class Cascades:
    """The Haar cascades inside opencv-python: faces from the front, turned by any angle. Eyes are looked for; nose and
    mouth are put where they are in most faces."""

    def __init__(self) -> None:
        names = ("frontalface_alt2", "eye_tree_eyeglasses", "eye")
        self._face, *self._eye = (
            cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml") for name in names
        )

    def __call__(self, pixels: numpy.ndarray, step: Step) -> list[Face]:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        grey = cv2.createCLAHE(CONTRAST, (8, 8)).apply(grey)  # or dark skin in the shade would be missed
        found = []
        for number, degrees in enumerate(TURNS):
            step(number, len(TURNS))
            found += self._upright(grey, degrees)
        return distinct(found)

    def _upright(self, grey: numpy.ndarray, degrees: int) -> list[Face]:
        """Faces that stand upright in the picture turned by that."""
        turned, back = _turned(grey, degrees)
        boxes, counts = self._face.detectMultiScale2(turned, 1.1, AGREEING, minSize=(SMALLEST, SMALLEST))
        found = []
        for box, count in zip(boxes, counts, strict=True):
            eyes = self._eyes(turned, box)
            if eyes is None and abs(degrees) > 30:  # without eyes, what looks like a face upside down is none
                continue
            x, y, side, _ = box
            landmarks = alignment.from_eyes(USUAL_EYES * side + (x, y) if eyes is None else eyes)
            corners = numpy.array([[x, y], [x + side, y], [x, y + side], [x + side, y + side]])
            corners, landmarks = alignment.moved(corners, back), alignment.moved(landmarks, back)
            middle, half = corners.mean(0), side / 2
            score = 1 - 0.5 ** (count / (4 if eyes is None else 2))
            found.append(Face(numpy.concatenate([middle - half, middle + half]), landmarks, score))
        return found

    def _eyes(self, grey: numpy.ndarray, box: numpy.ndarray) -> numpy.ndarray | None:
        """The middles of both eyes (2, 2), if there is one on each side, in line, and as far apart as eyes are."""
        x, y, side, _ = box
        face = cv2.resize(grey[y : y + side * 2 // 3, x : x + side], (EYES_AT, EYES_AT * 2 // 3))
        for cascade in self._eye:
            found, counts = cascade.detectMultiScale2(
                face, 1.05, 2, minSize=(EYES_AT // 9,) * 2, maxSize=(EYES_AT // 2,) * 2
            )
            middles = [
                (count, left + wide / 2, top + high / 2)
                for (left, top, wide, high), count in zip(found, counts, strict=True)
            ]
            sides = [
                max((each for each in middles if (each[1] < EYES_AT / 2) == left), default=None)
                for left in (True, False)
            ]
            if None in sides:
                continue
            eyes = numpy.array([each[1:] for each in sides])
            across, down = (eyes[1] - eyes[0]) / EYES_AT
            if 0.25 < across < 0.6 and abs(down) < across / 2:
                return (eyes + 0.5) * side / EYES_AT - 0.5 + (x, y)
        return None


class RetinaFace:
    """facexlib's RetinaFace, with the weights in a file."""

    def __init__(self, path: Path, device: str):
        tensors = restoring.tensors_of(path, "detector")
        self._network = facexlib.retinaface("resnet50" if "body.conv1.weight" in tensors else "mobile0.25", device)
        restoring.fill(self._network, tensors, path, "RetinaFace", "detector")
        self._network.eval().requires_grad_(False)

    def __call__(self, pixels: numpy.ndarray, step: Step) -> list[Face]:
        import torch

        with torch.inference_mode():
            rows = self._network.detect_faces(pixels[..., ::-1], AT_LEAST)
        return [Face(row[:4].astype(float), row[5:].reshape(5, 2).astype(float), float(row[4])) for row in rows]


def distinct(found: list[Face]) -> list[Face]:
    """Of faces that lie over each other only the surest."""
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        if all(_overlap(face.box, other.box) < OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Of the smaller box, how much lies in the other."""
    sides = (numpy.minimum(one[2:], other[2:]) - numpy.maximum(one[:2], other[:2])).clip(0)
    return float(sides.prod() / min((box[2:] - box[:2]).prod() for box in (one, other)))


def _turned(grey: numpy.ndarray, degrees: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """All of the picture turned to the left by degrees, and the matrix back."""
    height, width = grey.shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = (round(abs(cos) * width + abs(sin) * height), round(abs(sin) * width + abs(cos) * height))
    matrix = numpy.array([[cos, sin, 0], [-sin, cos, 0]])
    matrix[:, 2] = (numpy.array(size) - 1) / 2 - matrix[:, :2] @ ((numpy.array([width, height]) - 1) / 2)
    turned = grey if not degrees else cv2.warpAffine(grey, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return turned, alignment.inverse(matrix)
