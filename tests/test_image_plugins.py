"""The plugins for pictures together, at the wire: flows from drawing to enlarging, extras, and A1111's API for them."""

import base64
import io
import json
import re

import PIL.Image
import pytest
import requests

from tests.shell import in_process

SMALL = {"prompt": "a red circle on a blue background", "steps": 4, "width": 64, "height": 64, "seed": 3}


def picture(width=24, height=16):
    """Red, with a half that can be seen through, and what it was made from."""
    image = PIL.Image.new("RGBA", (width, height), "red")
    image.paste((0, 0, 255, 0), (0, 0, width // 2, height))
    return image


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def opened(data):
    return PIL.Image.open(io.BytesIO(data))


def sdapi(server, path, **body):
    headers = {"Authorization": f"Bearer {server.token}"}
    answer = requests.post(f"{server.url}/sdapi/v1/{path}", json=body, headers=headers, timeout=120)
    return answer, [opened(base64.b64decode(image)) for image in answer.json().get("images", [])]


@pytest.fixture
def client(artist):
    with artist.client() as client:
        yield client


def test_a_network_enlarges_between_the_passes_of_hires_fix(artist):
    names = [row["name"] for row in requests.get(
        f"{artist.url}/sdapi/v1/upscalers", headers={"Authorization": f"Bearer {artist.token}"}, timeout=60
    ).json()]  # fmt: skip
    assert {"None", "Lanczos", "Nearest", "compact-x4"} <= {*names} and len({*names}) == len(names)
    asked = SMALL | {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 2, "denoising_strength": 0.5}
    answer, images = sdapi(artist, "txt2img", **asked, hr_upscaler="compact-x4", batch_size=2)
    assert "Warning" not in answer.headers and [image.size for image in images] == [(96, 96)] * 2
    told = json.loads(answer.json()["info"])
    assert told["all_seeds"] == [3, 4]
    text = "Seed: 4, Size: 64x64, .*Denoising strength: 0.5, .*Hires upscale: 1.5, Hires steps: 2, "
    assert re.search(text + "Hires upscaler: builtin/compact-x4", told["infotexts"][1])
    assert images[1].info["parameters"] == told["infotexts"][1]


def test_extras_of_a1111_enlarge_and_keep_the_text(artist, client):
    (drawn,) = client.submit("txt2img", SMALL).wait()
    body = {"image": base64.b64encode(drawn.bytes()).decode(), "upscaler_1": "compact-x4", "upscaling_resize": 2}
    more = {"upscaler_2": "Lanczos", "extras_upscaler_2_visibility": 0.25}
    answer = sdapi(artist, "extra-single-image", **body, **more)[0]
    image = opened(base64.b64decode(answer.json()["image"]))
    assert image.size == (128, 128) and "Warning" not in answer.headers
    before, after = drawn.image().info["parameters"], image.info["parameters"]
    assert after.startswith(before.rpartition(", Version")[0] + ", Postprocess upscale by: 2, Postprocess upscaler: ")
    sizes = {"resize_mode": 1, "upscaling_resize_w": 80, "upscaling_resize_h": 100}
    files = [{"data": base64.b64encode(png(picture(*size))).decode(), "name": "a.png"} for size in [(24, 16), (9, 30)]]
    for crop, wanted in [(True, [(80, 100)] * 2), (False, [(150, 100), (80, 267)])]:
        more = {"imageList": files, "upscaling_crop": crop, "upscaler_1": "Lanczos", "resize_mode": 1}
        images = sdapi(artist, "extra-batch-images", **sizes | more)[1]
        assert [image.size for image in images] == wanted and images[0].mode == "RGBA"


def test_extras_are_one_job_also_for_all_files_of_a_folder(client, tmp_path):
    (alone,) = client.submit("extras", {"upscaler": ""}, {"image": client.upload(png(picture()))}).wait()
    assert alone.image().tobytes() == picture().tobytes()
    (tmp_path / "in").mkdir()
    for k in range(2):
        (tmp_path / "in" / f"{k}.png").write_bytes(png(picture(24 + k, 16)))
    words = ("--scale", "3", "--second-upscaler", "Nearest", "--second-visibility", "1", "--gfpgan-visibility", "0")
    done = in_process(client, "batch", "extras", str(tmp_path / "in"), *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    made = [opened((tmp_path / "out" / f"{k}.png").read_bytes()) for k in range(2)]
    assert [image.size for image in made] == [(72, 48), (75, 48)] and made[0].mode == "RGBA"
    nearest = picture().resize((72, 48), PIL.Image.Resampling.NEAREST)
    assert (
        made[0].getchannel("R").crop((40, 0, 72, 48)).tobytes()
        == nearest.getchannel("R").crop((40, 0, 72, 48)).tobytes()
    )
