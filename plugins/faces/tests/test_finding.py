"""Faces are found, wherever and however they are."""

import drawing
import numpy
import PIL.Image
import pytest
import torch
from faces import finding

from core.plugin import InvalidParams, ModelNotFound


def missed(found, eyes):
    """How far each face's eyes are from the nearest that were found, in distances of the eyes."""
    marks = [numpy.array(face["landmarks"])[:2] for face in found]
    apart = [numpy.linalg.norm(one - other) for one, other in eyes]
    return [min(abs(mark - each).max() for mark in marks) / gap for each, gap in zip(eyes, apart, strict=True)]


@pytest.mark.parametrize("degrees", [-20, 45, 90, 180, 260])
def test_a_face_is_found_however_it_is_turned(run, degrees):
    picture, eyes = drawing.scene(256, 256, (128, 128, 130, degrees))
    found = run("find_faces", picture)["faces"]
    assert len(found) == 1 and missed(found, eyes)[0] < 0.15


@pytest.mark.parametrize("number", range(len(drawing.SKINS)))
def test_a_face_is_found_whatever_its_skin(run, number):
    picture = PIL.Image.new("RGB", (256, 256), "#6f8fa8")
    face = drawing.face(150, number).rotate(45, PIL.Image.BICUBIC, expand=True)
    picture.paste(face, (128 - face.width // 2, 128 - face.height // 2), face)
    assert len(run("find_faces", picture)["faces"]) == 1


@pytest.mark.parametrize("side", [48, 240])
def test_a_face_is_found_at_any_size(run, side):
    picture, eyes = drawing.scene(320, 256, (160, 128, side, 0))
    found = run("find_faces", picture)["faces"]
    assert len(found) == 1 and missed(found, eyes)[0] < 0.15
    left, top, right, bottom = found[0]["box"]
    assert left < 160 < right and top < 128 < bottom and side / 2 < right - left < side * 1.1


def test_many_faces_are_told_from_left_to_right(run):
    picture, eyes = drawing.scene(
        600, 300, (80, 90, 110, 0), (220, 190, 130, 15), (380, 90, 90, -20), (510, 190, 140, 0)
    )
    found = run("find_faces", picture)["faces"]
    assert [round(face["box"][0]) for face in found] == sorted(round(face["box"][0]) for face in found)
    assert len(found) == 4 and max(missed(found, eyes)) < 0.15


def test_the_picture_s_size_does_not_move_the_landmarks(run):
    picture, eyes = drawing.scene(300, 256, (150, 128, 130, 0))
    larger = picture.resize((1500, 1280), PIL.Image.BICUBIC)
    found = run("find_faces", larger)["faces"]
    assert missed(found, (eyes + 0.5) * 5 - 0.5)[0] < 0.1


@pytest.mark.parametrize(("faces", "middle"), [("all", None), ("largest", 400), ("middle", 250)])
def test_one_face_may_be_chosen(run, faces, middle):
    picture, _ = drawing.scene(500, 256, (80, 128, 100, 0), (250, 128, 90, 0), (400, 128, 150, 0))
    found = run("find_faces", picture, faces=faces)["faces"]
    assert len(found) == (3 if faces == "all" else 1)
    assert middle is None or abs(sum(found[0]["box"][::2]) / 2 - middle) < 20


def test_small_and_unsure_ones_are_left_out(run):
    picture, _ = drawing.scene(400, 256, (80, 128, 60, 0), (280, 128, 160, 0))
    assert len(run("find_faces", picture)["faces"]) == 2
    assert len(run("find_faces", picture, smallest=80)["faces"]) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 2)])
def test_nothing_is_found_in_next_to_nothing(run, ctx, size):
    assert run("find_faces", PIL.Image.new("RGB", size))["faces"] == []
    assert ("log", {"text": "found 0 faces; the picture stays as it is"}) in ctx.told


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_pictures_are_looked_at(run, mode):
    picture = drawing.scene(256, 256, (128, 128, 150, 0))[0].convert(mode)
    assert len(run("find_faces", picture)["faces"]) == 1


def test_noise_is_no_face(run):
    noise = numpy.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=numpy.uint8)
    assert run("find_faces", PIL.Image.fromarray(noise))["faces"] == []


def test_of_boxes_over_each_other_the_surest_stays():
    def face(left, score):
        return finding.Face(numpy.array([left, 0, left + 10, 10]), numpy.zeros((5, 2)), score)

    assert [each.score for each in finding.distinct([face(0, 0.6), face(2, 0.9), face(40, 0.5)])] == [0.9, 0.5]


def test_a_detector_that_is_not_there_is_told(run):
    with pytest.raises(ModelNotFound, match=r"face_detector model 'retina\.pth'"):
        run("find_faces", PIL.Image.new("RGB", (64, 64)), detector="retina.pth")


def test_weights_of_something_else_are_no_detector(run, tmp_path):
    path = tmp_path / "models/face_detector/odd.pth"
    path.parent.mkdir(parents=True)
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(InvalidParams, match="odd.pth cannot be used: it is no RetinaFace"):
        run("find_faces", PIL.Image.new("RGB", (64, 64)))
