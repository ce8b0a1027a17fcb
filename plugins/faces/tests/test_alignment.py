"""Faces in squares, and squares pasted back."""

import drawing
import numpy
import pytest
from faces import alignment

NOISE = numpy.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=numpy.uint8)


def landmarks_of(x, y, scale, degrees):
    turn = scale * numpy.exp(1j * numpy.radians(degrees))
    points = (alignment.TEMPLATE - 256) @ numpy.array([[turn.real, turn.imag], [-turn.imag, turn.real]])
    return points + (x, y)


@pytest.mark.parametrize("scale", [0.02, 0.4, 1, 7])
@pytest.mark.parametrize("degrees", [0, 33, 180, -91])
def test_points_survive_the_way_to_the_square_and_back(scale, degrees):
    landmarks = landmarks_of(1234.5, -17.25, scale, degrees)
    matrix = alignment.to_square(landmarks)
    assert alignment.moved(landmarks, matrix) == pytest.approx(alignment.TEMPLATE, abs=1e-3)
    points = numpy.random.default_rng(1).uniform(-5000, 5000, (50, 2))
    assert alignment.moved(alignment.moved(points, matrix), alignment.inverse(matrix)) == pytest.approx(
        points, abs=1e-3
    )


def test_the_eyes_alone_say_where_the_other_landmarks_are():
    landmarks = landmarks_of(100, 80, 0.3, 25)
    assert alignment.from_eyes(landmarks[:2]) == pytest.approx(landmarks, abs=1e-6)


@pytest.mark.parametrize("bad", [numpy.zeros((5, 2)), numpy.full((5, 2), numpy.nan), numpy.full((5, 2), 1e9)])
def test_landmarks_that_are_no_face_have_no_square(bad):
    assert alignment.to_square(bad) is None


@pytest.mark.parametrize(("x", "y", "scale", "degrees"), [(200, 150, 0.3, 0), (150, 120, 0.25, 40), (390, 10, 0.4, 90)])
def test_only_what_the_mask_reaches_is_touched(x, y, scale, degrees):
    matrix = alignment.to_square(landmarks_of(x, y, scale, degrees))
    pixels = NOISE.copy()
    alignment.paste(pixels, numpy.zeros((512, 512, 3), numpy.uint8), matrix, alignment.feathered())
    ys, xs = numpy.mgrid[0:300, 0:400]
    there = alignment.moved(numpy.column_stack([xs.ravel(), ys.ravel()]), matrix).reshape(300, 400, 2)
    outside = ((there < alignment.EDGE - 4) | (there > 511 - alignment.EDGE + 4)).any(-1)  # but for a pixel's width
    assert (pixels[outside] == NOISE[outside]).all() and outside.any()
    inside = ((there > 120) & (there < 392)).all(-1)
    assert (pixels[inside] == 0).all() and inside.any()


@pytest.mark.parametrize("scale", [0.15, 0.5, 1.5])
def test_what_is_pasted_has_no_visible_edge(scale):
    pixels = numpy.full((900, 900, 3), 40, numpy.uint8)
    matrix = alignment.to_square(landmarks_of(450, 450, scale, 30))
    alignment.paste(pixels, numpy.full((512, 512, 3), 240, numpy.uint8), matrix, alignment.feathered())
    steepest = 200 * numpy.pi / 2 / alignment.RAMP / scale  # levels a pixel: of a cosine's middle, in both directions
    levels = pixels[..., 0].astype(int)
    assert levels.max() == 240
    for axis in (0, 1):
        assert abs(numpy.diff(levels, axis=axis)).max() <= steepest * 1.42 + 1


def test_a_face_that_is_not_changed_comes_back_as_it_was():
    picture, eyes = drawing.scene(400, 300, (200, 150, 150, 20))
    pixels = numpy.asarray(picture)
    matrix = alignment.to_square(alignment.from_eyes(eyes[0]))
    square, pasted = alignment.cut(pixels, matrix), pixels.copy()
    alignment.paste(pasted, square, matrix, alignment.feathered())
    difference = abs(pasted.astype(int) - pixels)
    assert difference.mean() < 0.3 and difference.max() < 40  # it was resampled twice


def test_a_square_of_any_side_shows_the_same():
    pixels = numpy.asarray(drawing.scene(400, 300, (200, 150, 150, 20))[0])
    matrix = alignment.to_square(landmarks_of(200, 150, 0.3, -20))
    large, small = (alignment.cut(pixels, matrix, side).astype(float) for side in (512, 64))
    averaged = large.reshape(64, 8, 64, 8, 3).mean((1, 3))
    assert abs(averaged - small).mean() < 2


def test_a_large_face_is_averaged_and_not_sampled():
    stripes = numpy.zeros((4000, 4000, 3), numpy.uint8)
    stripes[:, ::2] = 255  # 1 pixel wide: grey from afar
    square = alignment.cut(stripes, alignment.to_square(landmarks_of(2000, 2000, 7, 0)))
    assert abs(square[50:-50, 50:-50].astype(int) - 127).max() < 40


def test_a_face_beyond_the_picture_is_grey_and_pastes_nothing():
    matrix = alignment.to_square(landmarks_of(5000, 5000, 0.3, 0))
    assert (alignment.cut(NOISE, matrix) == alignment.OUTSIDE).all()
    pixels = NOISE.copy()
    alignment.paste(pixels, numpy.zeros((512, 512, 3), numpy.uint8), matrix, alignment.feathered())
    assert (pixels == NOISE).all()


def test_a_picture_longer_than_opencv_warps_is_no_problem():
    pixels = numpy.zeros((200, 40_000, 3), numpy.uint8)
    matrix = alignment.to_square(landmarks_of(39_000, 100, 0.3, 0))
    alignment.paste(pixels, numpy.full((512, 512, 3), 9, numpy.uint8), matrix, alignment.feathered())
    assert alignment.cut(pixels, matrix)[256, 256].tolist() == [9, 9, 9] and not pixels[:, :38_000].any()
