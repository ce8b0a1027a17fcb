"""Words for pictures at the wire: what the built-in image model has drawn, and what A1111's apps ask."""

import base64
import json

import pytest
import requests

from tests.shell import in_process

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def drawing(artist, tmp_path_factory):
    """A file of a red circle on blue, from the built-in model."""
    with artist.client() as client:
        asked = {"prompt": "a red circle on a blue background", "steps": 12, "width": 128, "height": 128, "seed": 1}
        (picture,) = client.submit("txt2img", asked).wait()
        file = tmp_path_factory.mktemp("drawn") / "drawn.png"
        file.write_bytes(picture.bytes())
    return file


def test_what_was_drawn_is_tagged_and_can_be_drawn_again(artist, drawing):
    with artist.client() as client:
        done = in_process(client, "run", "tag", "--image", str(drawing), "--threshold", "0.3")
        assert done.returncode == 0, done.stderr
        (tags,) = client.submit("tag", {}, {"image": client.upload(drawing.read_bytes())}).wait()
        assert {"red", "circle", "blue background"} <= {*tags.text().split(", ")}
        assert tags.record["facts"]["scores"].keys() >= {"red", "circle", "blue_background"}
        about = client.submit("tag_scores", {"threshold": 0.2}, {"image": client.upload(drawing.read_bytes())}).wait()
        assert json.loads(about[0].text())["general"].keys() >= {"red", "circle"}


@pytest.mark.parametrize("model, names", [("clip", ["blip-", "clip-vit-"]), ("deepdanbooru", ["deepdanbooru"])])
def test_a1111s_apps_are_told_what_to_fetch(artist, drawing, model, names):
    body = {"image": base64.b64encode(drawing.read_bytes()).decode(), "model": model}
    headers = {"Authorization": f"Bearer {artist.token}"}
    answer = requests.post(f"{artist.url}/sdapi/v1/interrogate", json=body, headers=headers, timeout=60)
    assert answer.status_code in (404, 422) and "plugins fetch" in answer.text
    assert all(name in answer.text for name in names)
