"""CIELAB, as OpenCV computes it.

Its way there reads a table of 33^3 entries and interpolates: up to 0.19 in L and 0.42 in a beside the CIE's formulas.
What is to be as in programs that use it has to come from there; its way back is the formula's."""

import cv2
import numpy


def lab(rgb: numpy.ndarray) -> numpy.ndarray:
    """float32 (..., 3): L from 0 to 100, a and b about -128 to 127; of uint8 (..., 3)."""
    return _converted(rgb.astype(numpy.float32) / 255, cv2.COLOR_RGB2LAB)


def rgb(lab: numpy.ndarray) -> numpy.ndarray:
    """float32 (..., 3) from 0 to 1; colours that no screen has are clipped."""
    return _converted(lab.astype(numpy.float32), cv2.COLOR_LAB2RGB)


def lab_bytes(rgb: numpy.ndarray) -> numpy.ndarray:
    """uint8 (..., 3): L * 2.55, a + 128, b + 128."""
    return _converted(rgb, cv2.COLOR_RGB2LAB)


def rgb_of_bytes(lab: numpy.ndarray) -> numpy.ndarray:
    return _converted(lab, cv2.COLOR_LAB2RGB)


def _converted(pixels: numpy.ndarray, code: int) -> numpy.ndarray:
    return cv2.cvtColor(numpy.ascontiguousarray(pixels).reshape(1, -1, 3), code).reshape(pixels.shape)
