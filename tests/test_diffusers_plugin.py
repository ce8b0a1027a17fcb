"""Pipeline folders as their users have them: put there while the server runs, they are jobs like all others."""

import io
import json
import shutil
import time

import PIL.Image
import PIL.ImageStat
import pytest

from tests.serving import ROOT, serve
from tests.wire import Wire

pytestmark = pytest.mark.torch
BUILTIN = ROOT / "plugins/stable_diffusion/builtin"  # a folder in diffusers layout as any other
SHAPES = {"prompt": "a red circle on a blue background", "seed": 3}


@pytest.fixture(scope="module")
def server():
    # It shares the environment of the other, which is no plugin here: its requirements do.
    def requirements(folder):
        target = folder / "plugins/stable_diffusion"
        target.mkdir(parents=True)
        for path in (ROOT / "plugins/stable_diffusion").glob("requirements*"):
            shutil.copy(path, target)

    with serve({"diffusers": ROOT / "plugins/diffusers"}, requirements) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def put(server, name, **changes):
    folder = server.folder / "models/pipeline" / name
    shutil.copytree(BUILTIN, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | changes))
    return folder


def announced(wire):
    (plugin,) = wire.call("plugins")["plugins"]
    assert plugin["status"] == "ready", plugin
    return {job["name"]: job for job in plugin["jobs"]}, plugin["notes"]


def submit(wire, job, params, inputs=None):
    """A folder of which nobody knew is looked at before the answer, unless that takes long: then it says so."""
    request = {"job": job, "params": params, "inputs": inputs or {}}
    answer = wire.call("submit", request)
    while not answer["ok"] and "diffusers may have it in a moment" in answer["error"].get("hint", ""):
        time.sleep(1)
        answer = wire.call("submit", request)
    assert answer["ok"], answer
    return answer["job"]["id"]


def draw(wire, job, inputs=None, **params):
    ended = wire.ended(submit(wire, job, params, inputs), seconds=120)
    assert ended["state"] == "done", ended
    return [PIL.Image.open(io.BytesIO(wire.download(each).content)) for each in ended["outputs"]], ended["outputs"]


def corner_and_middle(picture):
    return [PIL.ImageStat.Stat(picture.crop(box)).mean for box in ((0, 0, 8, 8), (60, 60, 68, 68))]


def test_a_folder_that_is_put_there_is_a_job_at_once(server, wire):
    jobs, notes = announced(wire)
    assert not jobs and "Put a folder in diffusers layout" in notes[0]
    put(server, "shapes")
    (picture,), _ = draw(wire, "shapes", steps=20, **SHAPES)
    corner, middle = corner_and_middle(picture)
    assert corner[2] > 150 > corner[0] and middle[0] > 150 > middle[2], "no red circle on a blue background"
    assert picture.text["parameters"].endswith("Steps: 20, CFG scale: 7.5, Seed: 3, Size: 128x128, Model: shapes")
    phases = [body["phase"] for name, body in wire.received if name == "progress"]
    assert "steps" in phases
    jobs, notes = announced(wire)
    assert jobs["shapes"]["params"]["properties"]["width"]["default"] == 128 and not notes


def test_the_next_folders_reach_the_worker_that_runs_and_broken_ones_hide_none(server, wire, tmp_path):
    put(server, "redraw", _class_name="StableDiffusionImg2ImgPipeline")
    (put(server, "cut") / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    (put(server, "evil") / "pipeline.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    wire.until(lambda: "redraw" in announced(wire)[0], seconds=120)
    jobs, notes = announced(wire)
    assert [*jobs] == ["cut", "redraw", "shapes"] and not (tmp_path / "was_run").exists()
    assert len(notes) == 1 and notes[0].startswith("models/pipeline/evil cannot be used: it brings code of its own")
    _, outputs = draw(wire, "shapes", steps=8, pictures=2, **SHAPES)
    redrawn, _ = draw(wire, "redraw", {"image": outputs}, steps=10, denoising_strength=0.2, **SHAPES)
    assert len(redrawn) == 2  # it takes one picture, so it ran for each
    ended = wire.ended(submit(wire, "cut", SHAPES))
    assert (ended["state"], ended["error"]["code"]) == ("failed", "invalid_params")
    assert "models/pipeline/cut/unet cannot be used" in ended["error"]["message"]


def test_a_job_that_runs_is_cancelled_between_two_steps(server, wire):
    job = submit(wire, "shapes", SHAPES | {"steps": 500})
    wire.until(lambda: any(name == "progress" and body["phase"] == "steps" for name, body in wire.received))
    wire.call("cancel", {"id": job})
    assert wire.ended(job, seconds=10)["state"] == "cancelled"
    assert wire.call("queue")["workers"][0]["ready"]  # its worker has heard it, and was not killed
