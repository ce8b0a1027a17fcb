"""What nobody should send through the bridges: each answer has the shape of its API, and nobody else pays."""

import base64
import io
import json

import PIL.Image
import psutil
import pytest
import requests

from tests.serving import serve

PAINT = """
import PIL.Image

class PaintParams(Params):
    prompt: str = param("", help="A colour.")
    width: int = param(16, ge=8, le=64, help="Pixels.")
    height: int = param(16, ge=8, le=64, help="Pixels.")

class RedrawParams(PaintParams):
    denoising_strength: float = param(0.5, ge=0, le=1, help="How much.")

class Paint(Plugin):
    @job()
    def paint(self, params: PaintParams) -> Image:
        return PIL.Image.new("RGB", (params.width, params.height), "red")

    @job()
    def redraw(self, params: RedrawParams, image: Image, mask: Mask) -> Image:
        return image
"""
TEXT, IMAGE = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
SMALL = {"prompt": "a", "width": 16, "height": 16}
DEEP = '{"prompt": "a", "comments": {"a": ' + "[" * 900 + "]" * 900 + "}}"


@pytest.fixture(scope="module")
def server():
    with serve({"paint": PAINT}) as server:
        yield server


def post(server, path, body):
    body = body if isinstance(body, str) else json.dumps(body)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    return requests.post(server.url + path, body, headers=headers, timeout=30)


def script(name, *args, **more):
    return SMALL | {"script_name": name, "script_args": [*args]} | more


def picture(width, height, mode):
    out = io.BytesIO()
    PIL.Image.new(mode, (width, height)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TEXT, '{"prompt": "a", "force_task_id": "\\ud800"}'),
        (TEXT, '{"prompt": "a", "script_name": "\\ud800"}'),
        (TEXT, DEEP),
        (TEXT, script("X/Y/Z plot", 1, "1-" + "9" * 400)),
        (TEXT, script("X/Y/Z plot", 7, "a" * 200_000)),
        (TEXT, script("X/Y/Z plot", 8, ",".join(map(str, range(100_000))))),
        (TEXT, script("Prompt matrix", prompt="a" + "|" * 100_000)),
        (TEXT, script("Prompt matrix", width=10**400, prompt="a|b")),
        (TEXT, script("Prompt matrix", enable_hr=True, hr_scale=float("nan"), prompt="a|b")),
        (TEXT, script("Prompt matrix", enable_hr=True, hr_resize_x=10**9, hr_resize_y=10**9, prompt="a|b")),
        (TEXT, script("Prompt matrix", False, False, "positive", "comma", float("inf"))),
        (TEXT, SMALL | {"n_iter": 10**9}),
        (TEXT, script("Prompts from file or textbox", False, False, "start", "a\nb", n_iter=10_000)),
        (IMAGE, SMALL | {"init_images": [picture(1, 1, "L")] * 2000, "mask": picture(1, 1, "L")}),
        ("/agent-scheduler/v1/queue/txt2img", SMALL | {"override_settings": [1]}),
    ],
    ids=lambda value: str(value)[:70],
)
def test_a1111_refuses_what_makes_no_sense_in_its_own_shape(server, path, body):
    answer = post(server, path, body)
    assert (answer.status_code, answer.json().keys() & {"detail"}) == (422, {"detail"})


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:1/artifacts/x", "file:///etc/passwd"])
def test_openai_takes_no_picture_from_elsewhere_whatever_its_address(server, address):
    answer = post(server, "/v1/images/edits", {"prompt": "a", "image": address})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")


def test_openai_says_again_half_a_character_that_was_sent(server):
    answer = post(server, "/v1/images/generations", '{"prompt": "a", "user": "\\ud800"}')
    assert (answer.status_code, answer.json()["safety_identifier"]) == (200, "\ud800")


def test_a_small_file_that_would_unpack_to_gigabytes_is_not_unpacked_as_a_mask(server):
    bomb, small = picture(12_000, 12_000, "1"), picture(16, 16, "RGB")
    assert post(server, IMAGE, SMALL | {"init_images": [small], "mask": bomb}).status_code == 422
    answer = post(server, "/v1/images/edits", {"prompt": "a", "image": small, "mask": bomb})
    assert "12000x12000 pixels" in answer.json()["error"]["message"]
    children = psutil.Process(server.process.pid).children()
    assert all(child.memory_info().rss < 400_000_000 for child in children)


def test_what_is_written_beside_a_grid_does_not_make_it_larger_and_larger(server):
    answer = post(server, TEXT, script("X/Y/Z plot", 7, "a," + "a " * 20_000)).json()
    size = PIL.Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).size
    assert size[1] < 3000


@pytest.mark.parametrize("name", ["my%20model", "%C3%A9", "a%3Fb", "a%2Fb", "a%25"])
def test_any_name_may_stand_in_an_address(server, name):
    answer = requests.get(f"{server.url}/v1/models/{name}", headers={"Authorization": f"Bearer {server.token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert repr(requests.utils.unquote(name)) in answer.json()["error"]["message"]
