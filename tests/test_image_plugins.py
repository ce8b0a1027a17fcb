"""The plugins for pictures together, at the wire: flows from drawing to enlarging, extras, and A1111's API for them."""

import asyncio
import base64
import contextlib
import gzip
import io
import json
import math
import os
import re
import shlex
import signal

import PIL.Image
import PIL.ImageChops
import pytest
import requests

from clients.bridges.a1111.finishing import entry
from clients.python import DependencyFailed, ModelNotFound
from tests.serving import ROOT, serve, wait_until
from tests.shell import in_process

SMALL = {"prompt": "a red circle on a blue background", "steps": 4, "width": 64, "height": 64, "seed": 3}
FLOW = ROOT / "docs/examples/portrait.json"


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


def test_a1111s_name_is_the_newest_file_of_that_name_that_is_there():
    class Client:
        async def choices(self, name):
            return ["GFPGANv1.2.pth", "deep/GFPGANv1.3.pth"]

        async def call(self, event, body):
            return {"fetchable": [{"id": "face_restorer/GFPGANv1.4.pth"}, {"id": "face_restorer/codeformer.pth"}]}

    found = [asyncio.run(entry(Client(), "models/face_restorer", name)) for name in ("GFPGAN", "CodeFormer")]
    assert found == ["deep/GFPGANv1.3.pth", "codeformer.pth"]


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


def test_what_has_to_be_fetched_is_said_in_one_message(artist, client):
    how = r"is not here yet: .* MB, licence .*\. To fetch it: python3 server.py plugins fetch "
    body = {"image": base64.b64encode(png(picture())).decode()}
    for path, more, name in [
        ("extra-single-image", {"gfpgan_visibility": 1}, "face_restorer/GFPGANv1.4.pth"),
        ("extra-single-image", {"codeformer_visibility": 1}, "face_restorer/codeformer.pth"),
        ("extra-single-image", {"upscaler_1": "R-ESRGAN 4x+"}, "upscaler/RealESRGAN_x4plus.pth"),
        ("txt2img", SMALL | {"restore_faces": True}, "face_restorer/GFPGANv1.4.pth"),
        ("interrogate", {"model": "clip"}, "clip/"),
        ("interrogate", {"model": "deepdanbooru"}, "tagger/deepdanbooru.onnx"),
    ]:
        answer = sdapi(artist, path, **body | more)[0]
        assert answer.status_code == 404 and re.search(how + name, answer.json()["detail"]), answer.json()
    with pytest.raises(ModelNotFound, match=how + "face_restorer/codeformer.pth"):
        client.submit("restore_faces", {"model": "codeformer.pth"}, {"image": png(picture())}).wait()
    asked = {"gfpgan_visibility": 1, "codeformer_visibility": 1, "upscaler": "SwinIR_4x.pth"}
    files = ("face_restorer/GFPGANv1.4.pth", "face_restorer/codeformer.pth", "upscaler/SwinIR_4x.pth")
    with pytest.raises(ModelNotFound, match="; .*".join(how + file for file in files)):
        client.submit("extras", asked, {"image": png(picture())}).wait()


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


def test_the_first_examples_of_the_page_about_upscaling_run(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(90, 60).save("demo.png")
    page = (ROOT / "plugins/upscale/README.md").read_text("utf-8")
    for line in re.search(r"```\n(.*?)```", page, re.DOTALL)[1].splitlines():
        done = in_process(client, *shlex.split(line)[3:])
        assert done.returncode == 0, done.stderr
    made = [opened((tmp_path / name).read_bytes()).size for name in ("large.png", "exact.png")]
    assert made == [(180, 120), (300, 200)]


def face_restorer(folder):
    """A model with GFPGAN's tensors, all of zeros: a hole in the disk. Whatever the face, it draws the same one."""
    text = gzip.decompress((ROOT / "plugins/faces/tests/data/published_keys.txt.gz").read_bytes()).decode()
    lines = text.partition("# GFPGANv1.4.pth\n")[2].partition("\n#")[0].splitlines()
    header, end = {}, 0
    for name, *shape in map(str.split, lines):
        begin, end = end, end + 2 * math.prod(map(int, shape))
        header[name] = {"dtype": "F16", "shape": [*map(int, shape)], "data_offsets": [begin, end]}
    about = json.dumps(header).encode()
    path = folder / "models" / "face_restorer" / "GFPGANv1.4.pth"
    path.parent.mkdir(parents=True)
    with path.with_suffix(".safetensors").open("wb") as file:
        file.write(len(about).to_bytes(8, "little") + about)
        file.truncate(8 + len(about) + end)


@pytest.fixture(scope="module")
def crew():
    """A server that a test may kill."""
    plugins = {name: ROOT / "plugins" / name for name in ("stable_diffusion", "faces", "upscale")}
    with serve(plugins, before_start=face_restorer) as server:
        yield server


def whole_way(client, last):
    """What the lineage of the flow's last result tells, the nearest first."""
    rows = client.call("lineage", {"id": last.id, "direction": "ancestors"})["artifacts"]
    return [(row.get("job_name"), row["depth"], row["parents"]) for row in rows]


def test_a_flow_draws_restores_faces_and_enlarges_and_all_of_it_is_known(crew, tmp_path):
    jobs = json.loads(FLOW.read_text())["jobs"]
    jobs[0]["params"] |= SMALL
    jobs[1]["params"]["model"] = "GFPGANv1.4.safetensors"
    (tmp_path / "flow.json").write_text(json.dumps(jobs))
    with crew.client() as client:
        done = in_process(client, "flow", str(tmp_path / "flow.json"), "--out", str(tmp_path / "out.png"))
        assert done.returncode == 0, done.stderr
        image = opened((tmp_path / "out-3.png").read_bytes())
        text = "Seed: 3, Size: 64x64, .*Postprocess upscale by: 2, Postprocess upscaler: builtin/compact-x4, Version"
        assert image.size == (128, 128) and re.search(text, image.info["parameters"])
        record = json.loads(image.info["stable-core"])
        assert record["name"] == "upscale.upscale" and record["params"]["scale"] == 2
        (last,) = client.job(record["artifact"].split(".")[0]).wait()
        before = client.call("lineage", {"id": last.id, "direction": "ancestors"})["artifacts"]
        faces, drawn = [row["id"] for row in before]
        assert whole_way(client, last) == [("faces.restore_faces", 1, [drawn]), ("stable_diffusion.txt2img", 2, [])]
        assert client.call("artifact", {"id": faces})["artifact"]["facts"]["faces"] == 0
        assert [each["id"] for each in record["inputs"]["image"]] == [faces]


def test_extras_say_what_the_job_said_that_failed(crew):
    path = crew.folder / "models/face_restorer/codeformer.pth"
    path.touch()
    with crew.client() as client, pytest.raises(DependencyFailed, match="codeformer.pth cannot be used: .* empty"):
        client.submit("extras", {"codeformer_visibility": 1}, {"image": png(picture())}).wait()
    path.unlink()


def test_a_flow_goes_on_after_kill_9_of_the_server_and_its_workers(crew):
    with crew.client() as client:
        model = {"model": "GFPGANv1.4.safetensors"}
        flow = [
            {"id": "draw", "job": "txt2img", "params": SMALL | {"seed": 4}},
            {"id": "faces", "job": "restore_faces", "params": model, "inputs": {"image": {"job": "draw"}}},
            {"job": "upscale", "params": {"scale": 2}, "inputs": {"image": {"job": "faces"}}},
        ]
        draw, faces, enlarge = client.flow(flow)
        wait_until(lambda: faces.refresh().state in ("running", "done"), 120)
        workers = [worker["pid"] for worker in client.queue()["workers"]]
        crew.kill()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        crew.restart()
        (last,) = enlarge.wait(timeout=120)
        assert [job.refresh().state for job in (draw, faces)] == ["done", "done"] and last.image().size == (128, 128)
        assert [name for name, *_ in whole_way(client, last)] == ["faces.restore_faces", "stable_diffusion.txt2img"]
        assert [len(client.artifacts(job=job.id)) for job in (draw, faces, enlarge)] == [1, 1, 1]


def test_extras_restore_a_face_that_is_there_before_or_after_it_is_enlarged(crew):
    """The same by the job and by A1111's request: the face is another one, what is around it stays."""
    portrait = PIL.Image.open(ROOT / "plugins/faces/tests/data/two.png").convert("RGB").crop((0, 0, 170, 240))
    asked = {
        "upscaler_1": "Nearest",
        "upscaling_resize": 2,
        "gfpgan_visibility": 1,
        "image": base64.b64encode(png(portrait)).decode(),
    }
    nearest = portrait.resize((portrait.width * 2, portrait.height * 2), PIL.Image.Resampling.NEAREST)
    with crew.client() as client:
        for first, order in (
            (False, ["upscale.upscale", "faces.restore_faces"]),
            (True, ["faces.restore_faces", "upscale.upscale"]),
        ):
            params = {"upscaler": "Nearest", "gfpgan_visibility": 1, "upscale_first": first}
            (made,) = client.submit("extras", params, {"image": client.upload(png(portrait))}).wait()
            assert [name for name, *_ in whole_way(client, made)][:2] == order
            difference = PIL.ImageChops.difference(made.image().convert("RGB"), nearest)
            left, top, right, bottom = difference.getbbox()
            assert 0 < left < right < nearest.width and 0 < top < bottom < nearest.height
            answer = sdapi(crew, "extra-single-image", **asked, upscale_first=first)[0].json()
            same = opened(base64.b64decode(answer["image"]))
            assert same.convert("RGB").tobytes() == made.image().convert("RGB").tobytes()
