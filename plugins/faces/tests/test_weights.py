"""Files with weights: the published ones, and all others."""

import os
import pickle
from pathlib import Path

import numpy
import PIL.Image
import published
import pytest
import torch
from faces import finding, restoring
from safetensors.torch import save_file

from core.library import weights
from core.plugin import InvalidParams

GIVEN = os.environ.get("STABLE_CORE_WEIGHTS")
SQUARE = numpy.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=numpy.uint8)
SIZES = {
    "GFPGANv1.4.pth": 348_632_874, "RestoreFormer.pth": 290_785_322, "codeformer.pth": 376_637_898,
    "detection_Resnet50_Final.pth": 109_497_761, "detection_mobilenet0.25_Final.pth": 1_789_735,
    "parsing_parsenet.pth": 85_331_193,
}  # fmt: skip


@pytest.fixture(autouse=True)
def repeating(monkeypatch):
    """Tensors may repeat their numbers: files of some MB stand for hundreds."""
    monkeypatch.setattr(weights, "MOST_SHARED", 1000)


@pytest.mark.parametrize("file", SIZES)
def test_the_tensors_fill_the_published_files(file):
    size = 4 * sum(torch.Size(shape).numel() for shape in published.shapes()[file].values())
    assert 0 < SIZES[file] - size < 400 * len(published.shapes()[file])  # names and shapes, beside the numbers


@pytest.mark.parametrize(
    ("file", "kind"),
    [("GFPGANv1.4.pth", "GFPGAN"), ("RestoreFormer.pth", "RestoreFormer"), ("codeformer.pth", "CodeFormer")],
)
def test_published_restorers_are_read(tmp_path, file, kind):
    restorer = restoring.restorer(published.write(tmp_path / file, file), "cpu", non_commercial=True)
    assert restorer.kind == kind
    network = restorer._network.to("meta")  # shapes, but no numbers: nine seconds less
    given = torch.empty(1, 3, 512, 512, device="meta")
    assert network(given, **restorer._options(0.5))[0].shape == given.shape


def test_gfpgan_gives_equal_squares(tmp_path):
    restorer = restoring.restorer(published.write(tmp_path / "g.pth", "GFPGANv1.4.pth"), "cpu", False)
    network = restorer._network
    drawn = []
    network.stylegan_decoder.register_forward_pre_hook(
        lambda _module, _args, kwargs: drawn.append(kwargs["randomize_noise"]), with_kwargs=True
    )
    restored = restorer(SQUARE, 0.5)
    assert restored.shape == (512, 512, 3) and restored.dtype == numpy.uint8 and restored.std() > 1
    assert drawn == [False]  # all its chance


@pytest.mark.parametrize("file", ["detection_Resnet50_Final.pth", "detection_mobilenet0.25_Final.pth"])
def test_published_detectors_are_read(tmp_path, file):
    detector = finding.RetinaFace(published.write(tmp_path / file, file), "cpu")
    found = finding.faces(SQUARE[:100, :64], detector, 64, lambda *_: None)
    assert all(face.landmarks.shape == (5, 2) and 0.5 <= face.score <= 1 for face in found)


def test_what_the_detector_finds_is_where_it_is(monkeypatch, tmp_path):
    file = "detection_mobilenet0.25_Final.pth"
    detector = finding.RetinaFace(published.write(tmp_path / file, file), "cpu")
    seen = []

    def found(pixels, at_least):
        seen.append(pixels)
        marks = numpy.array([40, 30, 60, 30, 50, 40, 42, 50, 58, 50])
        return numpy.array([[20, 10, 80, 70, 0.99, *marks]], numpy.float32)

    monkeypatch.setattr(detector._network, "detect_faces", found)
    picture = numpy.zeros((400, 800, 3), numpy.uint8)
    picture[..., 0] = 255
    (face,) = finding.faces(picture, detector, 100, lambda *_: None)
    assert seen[0].shape == (100, 200, 3) and (seen[0][..., 2] == 255).all()  # blue, green, red
    assert face.box.tolist() == [80, 40, 320, 280] and face.landmarks[2].tolist() == [201.5, 161.5]


def test_published_parser_is_read(tmp_path, monkeypatch):
    parser = restoring.Parser(published.write(tmp_path / "p.pth", "parsing_parsenet.pth"), "cpu")
    classes = torch.zeros(1, 19, 512, 512)
    classes[:, 1, 100:400, 100:400] = 1  # skin
    classes[:, 17, 300:] = 2  # hair
    monkeypatch.setattr(parser, "_network", lambda given: (classes, given))
    mask = parser(SQUARE)
    assert mask.shape == (512, 512) and mask[200, 200] > 0.99 and mask[450, 250] < 0.01
    assert max(abs(numpy.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.05


def test_codeformer_needs_the_admin_s_permission(tmp_path):
    path = tmp_path / "codeformer.pth"
    torch.save({"params_ema": {key: torch.zeros(1) for key in restoring.OPT_IN}}, path)
    with pytest.raises(InvalidParams, match=r"S-Lab License 1\.0, allows no commercial use") as refused:
        restoring.restorer(path, "cpu", non_commercial=False)
    assert "non_commercial = true" in refused.value.extra["hint"]


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/was-here",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"params_ema": Evil()}, protocol=2))
    torch.save({"params_ema": Evil()}, tmp_path / "zipped.pth")
    for each in (path, tmp_path / "zipped.pth"):
        with pytest.raises(InvalidParams, match="would run code|other things than weights"):
            weights.read(each, "model")
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"<html>not found</html>", b"\x80\x02]q\x00."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_files_are_told(tmp_path, data, suffix):
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(data)
    with pytest.raises(InvalidParams, match=r"broken\.(pth|safetensors) cannot be used"):
        restoring.restorer(path, "cpu", False)


def test_a_file_that_was_cut_off_is_told(tmp_path):
    path = published.tiny_restoreformer(tmp_path / "short.pth")
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InvalidParams, match="short.pth cannot be used: .*not whole"):
        restoring.restorer(path, "cpu", False)


def test_another_kind_of_network_is_named(tmp_path):
    from spandrel.architectures.Compact import Compact

    path = tmp_path / "upscaler.safetensors"
    save_file(Compact(num_feat=8, num_conv=2, upscale=4).state_dict(), path)
    with pytest.raises(InvalidParams, match="a network of RealESRGAN Compact, for models/upscaler"):
        restoring.restorer(path, "cpu", False)
    save_file({"odd": torch.zeros(3)}, path)
    with pytest.raises(InvalidParams, match="no network that restores faces"):
        restoring.restorer(path, "cpu", False)


def test_tensors_that_do_not_fit_are_told(tmp_path):
    path = published.tiny_restoreformer(tmp_path / "odd.pth")
    tensors = torch.load(path, weights_only=True)
    del tensors["params"]["encoder.down.2.block.0.conv1.weight"]
    torch.save(tensors, path)
    with pytest.raises(InvalidParams, match="tensors do not fit together"):
        restoring.restorer(path, "cpu", False)


@pytest.mark.skipif(not GIVEN, reason="python3 -m tests --weights DIR restores faces with the weights in DIR")
@pytest.mark.parametrize("file", [file for file in ("GFPGANv1.4.pth", "RestoreFormer.pth", "codeformer.pth")])
def test_real_weights_restore_a_face(file):
    import drawing

    path = next(Path(GIVEN).rglob(file), None)
    if path is None:
        pytest.skip(f"{file} is not in {GIVEN}")
    face = drawing.scene(512, 512, (256, 256, 440, 0))[0]
    blurred = numpy.asarray(face.resize((64, 64), PIL.Image.BICUBIC).resize((512, 512), PIL.Image.BICUBIC))
    restored = restoring.restorer(path, "cpu", True)(blurred, 0.5)
    assert abs(restored.astype(int) - blurred).mean() < 40  # the same face
    sharpness = [abs(numpy.diff(each.astype(int), axis=1)).mean() for each in (blurred, restored)]
    assert sharpness[1] > 1.1 * sharpness[0]
