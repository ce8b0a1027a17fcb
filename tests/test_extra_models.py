"""Folders of A1111, ComfyUI and others are used where they are: found, told, handed to workers, not changed."""

import re

import pytest

from core.library import apps
from core.library.apps import ExtraModels
from core.library.models import Models
from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire

READER = """
class ReaderParams(Params):
    name: str = param(help="Of a lora.")

class Reader(Plugin):
    @job()
    def where(self, params: ReaderParams, ctx: Context) -> Text:
        return str(ctx.models.path("lora", params.name))
"""
A1111 = """models/Stable-diffusion/dream.safetensors models/Stable-diffusion/dream.vae.pt models/VAE/sharp.safetensors
    models/Lora/people/ann.safetensors models/LyCORIS/bob.safetensors embeddings/bad.pt models/hypernetworks/h.pt
    models/ControlNet/canny.pth models/VAE-taesd/taesd_decoder.pth models/ESRGAN/x4.pth
    models/GFPGAN/GFPGANv1.4.pth models/GFPGAN/detection_Resnet50_Final.pth models/GFPGAN/parsing_parsenet.pth
    models/Codeformer/codeformer-v0.1.0.pth"""
COMFYUI = """models/checkpoints/xl/dream.safetensors models/vae/sharp.safetensors models/loras/ann.safetensors
    models/ipadapter/face.bin models/clip_vision/h.safetensors models/vae_approx/taesdxl_decoder.safetensors
    models/vae_approx/taef1_decoder.safetensors models/upscale_models/x4.pth
    models/facedetection/yolov5l-face.pth models/facedetection/detection_Resnet50_Final.pth"""


def fill(folder, names):
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def found(tmp_path, *extra):
    models = Models(tmp_path / "models", apps.folders([ExtraModels(**each) for each in extra]))
    kinds = {entry["kind"] for entry in models.shipped}
    return {kind: [*models.entries(kind)] for kind in sorted(kinds) if models.entries(kind)}


def test_the_folders_of_a1111_are_known(tmp_path):
    assert found(tmp_path, {"app": "a1111", "path": fill(tmp_path / "webui", A1111)}) == {
        "checkpoint": ["dream.safetensors"], "controlnet": ["canny.pth"], "embedding": ["bad.pt"],
        "face_detector": ["detection_Resnet50_Final.pth"], "face_parser": ["parsing_parsenet.pth"],
        "face_restorer": ["codeformer-v0.1.0.pth", "GFPGANv1.4.pth"],
        "hypernetwork": ["h.pt"], "lora": ["bob.safetensors", "people/ann.safetensors"],
        "taesd": ["taesd_decoder.pth"], "upscaler": ["x4.pth"], "vae": ["dream.vae.pt", "sharp.safetensors"],
    }  # fmt: skip


def test_the_folders_of_comfyui_are_known(tmp_path):
    assert found(tmp_path, {"app": "comfyui", "path": fill(tmp_path / "comfy", COMFYUI)}) == {
        "checkpoint": ["xl/dream.safetensors"], "clip_vision": ["h.safetensors"],
        "face_detector": ["detection_Resnet50_Final.pth"], "ip_adapter": ["face.bin"],
        "lora": ["ann.safetensors"], "taesd": ["taesdxl_decoder.safetensors"], "upscaler": ["x4.pth"],
        "vae": ["sharp.safetensors"],
    }  # fmt: skip


def test_any_folder_can_be_named_by_kinds(tmp_path):
    fill(tmp_path / "more", "L/a.pt sd/b.ckpt xl/c.ckpt")
    kinds = {"lora": "L", "checkpoint": ["sd", "xl"]}
    assert found(tmp_path, {"path": tmp_path / "more", "kinds": kinds}) == {
        "checkpoint": ["c.ckpt", "b.ckpt"], "lora": ["a.pt"]
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [{}, {"app": "fooocus"}, {"kinds": {"../x": "a"}}, {"app": "a1111", "folder": "x"}])
def test_a_folder_that_nobody_could_use_is_refused(wrong):
    with pytest.raises(ValueError, match=r"say app|Input should be|pattern|Extra inputs"):
        ExtraModels(path="/x", **wrong)


def test_of_one_name_the_own_folder_counts_then_the_first_app(tmp_path):
    first, second = fill(tmp_path / "1", "models/Lora/a.pt models/Lora/b.pt"), fill(tmp_path / "2", "models/loras/b.pt")
    own = fill(tmp_path, "models/lora/a.pt") / "models"
    extra = [ExtraModels(app="a1111", path=first), ExtraModels(app="comfyui", path=second)]
    models = Models(own, apps.folders(extra))
    assert models.path("lora", "a.pt") == own / "lora" / "a.pt"
    assert models.path("lora", "b.pt") == first / "models" / "Lora" / "b.pt"


def test_the_document_names_the_folders_that_are_known():
    table = (ROOT / "docs" / "models.md").read_text("utf-8").split("| kind | A1111 | ComfyUI |")[1]
    for row in re.findall(r"^\| (`.*?) \|(.*)\|(.*)\|$", table, re.MULTILINE):
        kinds, *named = (re.findall("`([^`*]+)`", cell) for cell in row)
        for app, places in zip(("a1111", "comfyui"), named, strict=True):
            known = [place for kind in kinds for place in apps.LAYOUTS[app].get(kind, [])]
            assert [place for place in places if place in known] == known, (app, kinds)
    assert {*re.findall("`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))} >= {
        kind for layout in apps.LAYOUTS.values() for kind in layout
    }


def test_a_server_uses_them_in_place_and_sees_what_comes(tmp_path):
    theirs = fill(tmp_path / "webui", A1111)
    extra = [{"app": "a1111", "path": theirs}, {"app": "comfyui", "path": tmp_path / "not there"}]
    with serve({"reader": READER}, extra_model_paths=extra) as server, Wire(server) as wire:
        assert f"{tmp_path / 'not there'} of extra_model_paths is not there" in server.log
        kinds = {each["kind"]: each["files"] for each in wire.call("models")["kinds"]}
        assert {(file["name"], file["source"]) for file in kinds["lora"]} == {
            ("bob.safetensors", "in place: a1111"), ("people/ann.safetensors", "in place: a1111"),
        }  # fmt: skip
        choices = lambda: wire.call("choices", {"list": "models/lora"})["choices"]  # noqa: E731
        assert choices() == ["bob.safetensors", "people/ann.safetensors"]
        (theirs / "models" / "Lora" / "new.pt").touch()
        wire.until(lambda: any(name == "models" and body["kinds"] == ["lora"] for _, name, body in wire.state_events()))
        job = wire.submit("where", {"name": "new.pt"})
        answer = wait_until(lambda: (done := wire.call("job", {"id": job})["job"])["state"] == "done" and done)
        assert wire.download(answer["outputs"][0]).text == str(theirs / "models" / "Lora" / "new.pt")
    assert sorted(path.name for path in (theirs / "models" / "Lora").iterdir()) == ["new.pt", "people"]
