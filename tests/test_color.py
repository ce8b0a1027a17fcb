"""The colour plugin over the wire: what its README shows runs, and its jobs chain with each other and with others'."""

import re
import shlex
from pathlib import Path

import PIL.Image
import PIL.PngImagePlugin
import pytest

from tests.serving import ROOT
from tests.shell import in_process

pytestmark = pytest.mark.torch  # the server draws, too
README = (ROOT / "plugins" / "color" / "README.md").read_text("utf-8")
TEXT = "a wheel\nSteps: 4, Sampler: Euler, Seed: 1, Size: 90x70"


def opened(name):
    with PIL.Image.open(f"{name}.png") as picture:
        return picture.copy()


@pytest.fixture
def client(artist, tmp_path, monkeypatch):
    """In a folder with two pictures."""
    monkeypatch.chdir(tmp_path)
    texts = PIL.PngImagePlugin.PngInfo()
    texts.add_text("parameters", TEXT)
    wheel = PIL.Image.merge(
        "RGB", [PIL.Image.linear_gradient("L").rotate(turn).resize((90, 70)) for turn in (0, 90, 180)]
    )
    wheel.save("original.png", pnginfo=texts)
    PIL.Image.radial_gradient("L").resize((64, 64)).save("painted.png")
    with artist.client() as client:
        yield client


def test_the_examples_of_the_readme_run(client):
    for command in re.findall(r"^python3 -m clients\.cli (.*)$", README, re.MULTILINE):
        done = in_process(client, *shlex.split(command))
        assert done.returncode == 0, done.stderr
    matched, part, whole, original = map(opened, ("matched", "part", "whole", "original"))
    assert matched.size == (64, 64) and len(matched.getcolors(10_000)) > 100
    assert part.size == (64, 48) and whole.tobytes() == original.tobytes()
    assert part.info["parameters"] == f"{TEXT}, Postprocess crop: 64x48+16+8"
    assert whole.info["parameters"] == f"{TEXT}, Postprocess blend: normal"


def test_a_mask_is_made_edited_and_used_in_one_flow(client):
    picture = client.upload(Path("original.png"))
    light, soft = {"source": "lightness", "low": 60}, {"grow": 2, "feather": 3}
    jobs = client.flow(
        [
            {"id": "light", "job": "make_mask", "params": light, "inputs": {"image": picture}},
            {"id": "soft", "job": "edit_mask", "params": soft, "inputs": {"mask": {"job": "light"}}},
            {"job": "crop", "params": {"mode": "mask"}, "inputs": {"image": picture, "mask": {"job": "soft"}}},
            {"job": "blend", "inputs": {"image": {"job": "soft"}, "layer": picture, "mask": {"job": "light"}}},
        ]
    )
    left, top, right, bottom = jobs[2].wait()[0].record["facts"]["box"]
    assert 0 <= left < right <= 90 and 0 <= top < bottom <= 70
    assert jobs[3].wait()[0].image().size == (90, 70)


def test_a_phone_photo_is_upright_before_it_is_cropped(client):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    opened("original").save("photo.jpg", exif=exif)
    assert client.run("crop", image=Path("photo.jpg"), mode="shape", wide=1, high=100)[0].image().size == (1, 90)
