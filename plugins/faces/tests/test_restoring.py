"""Faces are restored in their place; all else stays."""

import drawing
import numpy
import PIL.Image
import published
import pytest
from faces import finding, restoring

from core.errors import Cancelled
from core.plugin import InvalidParams, ModelNotFound

EMPTY = PIL.Image.new("RGB", (64, 64), "teal")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """As the faces here are turned, and no further."""
    monkeypatch.setattr(finding, "TURNS", (0, -30, -90))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return published.tiny_restoreformer(tmp_path_factory.mktemp("weights") / "tiny.pth")


@pytest.fixture
def model(tmp_path, tiny):
    """The name of a tiny RestoreFormer with random weights."""
    path = tmp_path / "models/face_restorer/tiny.pth"
    path.parent.mkdir(parents=True)
    path.symlink_to(tiny)
    return path.name


@pytest.fixture
def grey(monkeypatch):
    """Every restored face is plain grey; the list of squares that were asked for."""
    asked = []

    class Grey:
        kind = "CodeFormer"

        def __call__(self, square, weight):
            asked.append((square, weight))
            return numpy.full_like(square, 128)

    monkeypatch.setattr(restoring, "restorer", lambda *_: Grey())
    return asked


def two_faces(mode="RGB"):
    return drawing.scene(400, 256, (110, 128, 130, 0), (300, 128, 110, 20))[0].convert(mode)


def test_a_network_restores_the_faces_and_nothing_else(run, model):
    picture = drawing.scene(400, 256, (110, 128, 110, 0))[0]
    result = run("restore_faces", picture, model=model)
    before, after = numpy.asarray(picture).astype(int), numpy.asarray(result.value).astype(int)
    assert result.facts["faces"] == 1 and result.facts["model"] == model
    assert abs(before - after)[90:170, 80:140].mean() > 10
    assert (before[:, 260:] == after[:, 260:]).all()


def test_visibility_blends(run, model, grey):
    picture = two_faces()
    shares = {
        v: numpy.asarray(run("restore_faces", picture, model=model, visibility=v).value).astype(int)
        for v in (0, 0.5, 1)
    }
    assert (shares[0] == numpy.asarray(picture)).all()
    assert abs((shares[0] + shares[1]) / 2 - shares[0.5]).max() <= 1


def test_without_visibility_no_model_is_needed(run):
    assert run("restore_faces", two_faces(), model="none.pth", visibility=0).facts["faces"] == 0


def test_a_model_that_is_not_there_is_told_before_faces_are_looked_for(run, ctx):
    with pytest.raises(ModelNotFound, match=r"face_restorer model 'GFPGANv1\.4\.pth'"):
        run("restore_faces", two_faces())
    assert not [event for event, _ in ctx.told if event == "progress"]


def test_each_network_sees_the_faces_as_they_were(run, model, grey):
    picture = drawing.scene(300, 256, (110, 128, 130, 0), (200, 128, 130, 0))[0]  # the squares overlap
    run("restore_faces", picture, model=model, weight=0.3)
    assert [weight for _, weight in grey] == [0.3, 0.3]
    assert all((square == 128).all(-1).mean() < 0.01 for square, _ in grey)


def test_a_picture_without_faces_stays_as_it_is(run, model, ctx):
    picture = PIL.Image.effect_noise((256, 256), 20).convert("RGB")
    result = run("restore_faces", picture, model=model)
    assert result.value is picture and result.facts["faces"] == 0 and "infotext" not in result.facts
    assert ("log", {"text": "found 0 faces; the picture stays as it is"}) in ctx.told


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_stays_grey_and_alpha_is_kept(run, model, grey, mode):
    picture = two_faces(mode)
    if mode == "RGBA":
        picture.putalpha(PIL.Image.radial_gradient("L").resize(picture.size))
    picture.info["icc_profile"] = b"a profile"
    made = run("restore_faces", picture, model=model).value
    assert made.mode == mode and made.info == {"icc_profile": b"a profile"}
    assert mode == "L" or made.getchannel("A").tobytes() == picture.getchannel("A").tobytes()


def test_a_face_at_the_edge_is_restored(run, model, grey):
    picture = drawing.scene(256, 256, (75, 128, 150, 0))[0].crop((18, 0, 256, 256))
    result = run("restore_faces", picture, model=model)
    assert result.facts["faces"] == 1 and (numpy.asarray(result.value)[128, 57] == 128).all()


def test_the_text_of_the_picture_is_kept_and_added_to(run, model, grey):
    picture = two_faces()
    picture.info["parameters"] = "two people\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 400x256"
    text = run("restore_faces", picture, model=model, visibility=0.8, weight=0.25).facts["infotext"]
    assert text.startswith("two people\nSteps: 20, Sampler: Euler")
    assert text.endswith("Postprocess CodeFormer visibility: 0.8, Postprocess CodeFormer weight: 0.25")


def test_a_cancelled_job_stops_at_the_next_face_or_gives_what_is_there(run, model, grey, ctx, monkeypatch):
    monkeypatch.setattr(ctx, "preview", lambda image: ctx._cancelled.set())
    with pytest.raises(Cancelled):
        run("restore_faces", two_faces(), model=model)
    ctx._cancelled.clear()
    ctx._preview_at, ctx.keep_partial = 0, True
    facts = run("restore_faces", two_faces(), model=model).facts
    assert facts["faces"] == 1 and facts["partial"] and len(facts["boxes"]) == 1


def test_the_search_stops_at_once(run, ctx, monkeypatch):
    told = []
    monkeypatch.setattr(ctx, "progress", lambda *given: told.append(given) or (given[0] == 2 and ctx._cancelled.set()))
    with pytest.raises(Cancelled):
        run("find_faces", two_faces())
    assert told[-1] == (2, 3, "find faces")


def test_faces_are_cut_out_upright(run):
    picture, _ = drawing.scene(500, 256, (110, 128, 130, 0), (350, 128, 130, 90))
    straight, turned = (numpy.asarray(cut.value).astype(int) for cut in run("cut_faces", picture, size=64))
    assert straight.shape == turned.shape == (64, 64, 3)
    eyes, forehead = straight[28:32, 22:26].mean(), straight[21:23, 30:34].mean()
    assert eyes < forehead  # dark where the eyes belong
    assert abs(straight[28:32, 38:42].mean() - eyes) < 25


def test_faces_are_cut_out_restored(run, model, grey):
    cuts = run("cut_faces", two_faces(), size=96, model=model)
    assert [cut.facts["face"] for cut in cuts] == [0, 1]
    assert all(cut.value.size == (96, 96) and (numpy.asarray(cut.value) == 128).all() for cut in cuts)


def test_no_faces_give_no_pictures(run):
    assert run("cut_faces", PIL.Image.new("RGB", (200, 100), "teal")) == []


def test_the_parser_s_mask_limits_what_is_pasted(run, model, grey, tmp_path, monkeypatch):
    monkeypatch.setattr(restoring, "Parser", lambda *_: lambda square: numpy.zeros((512, 512), numpy.float32))
    path = tmp_path / "models/face_parser/parsing_parsenet.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    result = run("restore_faces", two_faces(), model=model)
    assert result.facts["faces"] == 2 and result.value.tobytes() == two_faces().tobytes()


def test_memory_is_given_back(plugin, run, ctx, model):
    run("restore_faces", EMPTY, model=model)
    assert plugin._kept.keys() == {"detector", "restorer"}
    ctx.low_memory = True
    run("restore_faces", EMPTY, model=model)
    assert plugin._kept.keys() == {"restorer"}
    plugin.unload()
    assert not plugin._kept


def test_a_file_that_has_changed_is_read_again(plugin, run, tmp_path):
    path, kept = tmp_path / "models/face_restorer/mine.pth", []
    for seed in (0, 0, 1):
        if not kept or seed:
            published.tiny_restoreformer(path, seed)
        run("restore_faces", EMPTY, model="mine.pth")
        kept.append(plugin._kept["restorer"][1])
    assert kept[0] is kept[1] and kept[1] is not kept[2]


def test_what_is_not_numbers_is_told():
    import torch

    class Broken(torch.nn.Module):
        def forward(self, given):
            return (given * float("nan"),)

    with pytest.raises(InvalidParams, match="is not numbers"):
        restoring.Restorer("RestoreFormer", Broken(), "cpu")(numpy.zeros((512, 512, 3), numpy.uint8), 0.5)
