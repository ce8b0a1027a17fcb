"""The Stable Diffusion plugin as its users have it: through a server, with its own worker and side process."""

import io
import json
import subprocess

import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
import pytest
from PIL.PngImagePlugin import PngInfo

from core.ops import environments
from tests.serving import ROOT, serve
from tests.wire import Wire

pytestmark = pytest.mark.torch
FAST = {"prompt": "a red circle on a blue background", "steps": 4, "sampler": "Euler", "seed": 1}


@pytest.fixture(scope="module")
def server():
    with serve({"stable_diffusion": ROOT / "plugins" / "stable_diffusion"}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def draw(wire, job="txt2img", inputs=None, **params):
    """The ids of the outputs, which are drawn even if they are there."""
    ended = wire.ended(wire.submit(job, FAST | params, inputs=inputs or {}, fresh=True), seconds=120)
    assert ended["state"] == "done", ended
    return ended["outputs"]


def picture(wire, artifact):
    return PIL.Image.open(io.BytesIO(wire.download(artifact).content))


def pixels(wire, artifact):
    return picture(wire, artifact).convert("RGB").tobytes()


def light(wire, job, inputs=None, **params):
    answer = wire.call("call", {"job": job, "params": params, "inputs": inputs or {}})
    assert answer["ok"], answer
    return answer["outputs"][0]


@pytest.mark.parametrize(
    "params",
    [
        {
            "prompt": "a {red|green|blue} {circle|star} on a white background # any",
            "batch_size": 3,
            "seed": 7,
            "exact": True,
        },
        {
            "prompt": "a (red:1.2) [circle|star]",
            "negative_prompt": "blue,\ngreen",
            "variation_strength": 0.4,
            "seed": 5,
        },
        {"sampler": "DPM++ 2M SDE Karras", "hires": True, "hires_scale": 1.25, "clip_skip": 2, "cfg_scale": 5.5},
        {"tiling": True, "width": 64, "height": 72, "noise_source": "NV", "eta": 0.5, "sampler": "Euler a", "ensd": 7},
    ],
)
def test_from_a_picture_to_a_form_to_the_same_picture(wire, params):
    last = draw(wire, **params)[-1]
    uploaded = wire.upload(wire.download(last).content, name="a.png")["artifact"]["id"]
    for source, artifact in (("stable-core", uploaded), ("a1111", stripped(wire, last))):
        found = light(wire, "png_info", {"image": artifact})
        assert found["source"] == source
        again = draw(wire, **found["form"]["params"])
        assert len(again) == 1 and pixels(wire, again[0]) == pixels(wire, last), found


def test_a_picture_of_a_batch_is_drawn_again_alone_but_for_rounding(wire):
    last = draw(wire, batch_size=3)[-1]
    (again,) = draw(wire, **light(wire, "png_info", {"image": last})["form"]["params"])
    difference = PIL.ImageChops.difference(*(picture(wire, each).convert("RGB") for each in (last, again)))
    assert max(high for _, high in difference.getextrema()) <= 2


def stripped(wire, artifact):
    """The picture uploaded with A1111's text alone."""
    original, texts, out = picture(wire, artifact), PngInfo(), io.BytesIO()
    texts.add_text("parameters", original.text["parameters"])
    original.save(out, "PNG", pnginfo=texts)
    return wire.upload(out.getvalue(), name="b.png")["artifact"]["id"]


def test_a_redrawn_picture_can_be_redrawn_from_its_form_with_its_input(wire):
    (first,) = draw(wire)
    (second,) = draw(wire, "img2img", {"image": first}, prompt="a green star", denoising_strength=0.6)
    form = light(wire, "png_info", {"image": second})["form"]
    given = {name: items for name, items in form["inputs"].items() if items}
    assert (form["job"], given) == ("img2img", {"image": [first]})
    (again,) = draw(wire, form["job"], form["inputs"], **form["params"])
    assert pixels(wire, again) == pixels(wire, second)


def test_a_jpeg_tells_how_it_was_drawn(wire):
    (drawn,) = draw(wire)
    jpeg = wire.download(f"{drawn}?format=jpeg").content
    assert jpeg[:2] == b"\xff\xd8"
    uploaded = wire.upload(jpeg, name="a.jpg")["artifact"]["id"]
    form = light(wire, "png_info", {"image": uploaded})["form"]
    assert pixels(wire, draw(wire, **form["params"])[0]) == pixels(wire, drawn)


def test_what_is_not_to_be_told_is_not_inside(wire):
    job = wire.submit("txt2img", FAST, embed_metadata="none")
    (drawn,) = wire.ended(job)["outputs"]
    assert not picture(wire, drawn).text
    found = light(wire, "png_info", {"image": drawn})
    assert found["form"] is None and found["source"] is None


def verified(wire, image):
    (output,) = draw_verify(wire, image)
    return wire.download(output).json()


def draw_verify(wire, image):
    ended = wire.ended(wire.submit("verify", {}, inputs={"image": image}), seconds=120)
    assert ended["state"] == "done", ended
    return ended["outputs"]


def test_texts_that_come_in_are_drawn_told_and_drawn_again(wire):
    texts = [wire.upload(f"a {color} circle".encode(), kind="text")["artifact"]["id"] for color in ("red", "blue")]
    drawn = draw(wire, inputs={"text": texts}, prompt="a green star")
    form = light(wire, "png_info", {"image": drawn[1]})["form"]
    assert form["params"]["prompt"] == "a blue circle" and "text" not in form["inputs"]
    assert {each["id"] for each in wire.call("lineage", {"id": drawn[1]})["artifacts"]} >= {*texts}
    assert verified(wire, drawn[1])["verdict"] == "identical"


def test_verify_tells_identical_close_and_different_pictures_apart(wire):
    (drawn,) = draw(wire)
    assert verified(wire, drawn)["verdict"] == "identical"
    jpeg = wire.upload(wire.download(f"{drawn}?format=jpeg&quality=90").content)["artifact"]["id"]
    close = verified(wire, jpeg)
    assert close["verdict"] == "close" and 30 < close["psnr_db"] < 60
    original = picture(wire, drawn)
    original.paste("white", (0, 0, 60, 60))
    out = io.BytesIO()
    texts = PngInfo()
    for key, text in original.text.items():
        texts.add_itxt(key, text)
    original.save(out, "PNG", pnginfo=texts)
    edited = wire.upload(out.getvalue())["artifact"]["id"]
    assert verified(wire, edited)["verdict"] == "different"


def test_verify_of_a_frame_of_a_walk_compares_that_frame(wire):
    frames = draw(wire, "interpolate", to_seed=9, frames=3)
    assert verified(wire, frames[1])["verdict"] == "identical"


def test_a_picture_that_tells_nothing_cannot_be_verified(wire):
    out = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(out, "PNG")
    plain = wire.upload(out.getvalue())["artifact"]["id"]
    ended = wire.ended(wire.submit("verify", {}, inputs={"image": plain}))
    assert ended["error"]["code"] == "bad_image" and "does not tell how it was drawn" in ended["error"]["message"]


@pytest.mark.parametrize("job", ["verify", "stable_diffusion.verify", "other.job"])
def test_verify_runs_no_job_but_those_that_draw(wire, job):
    out, texts = io.BytesIO(), PngInfo()
    texts.add_text("stable-core", json.dumps({"name": job, "params": {}, "inputs": {"image": [{"id": "itself"}]}}))
    PIL.Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=texts)
    forged = wire.submit("verify", {}, inputs={"image": wire.upload(out.getvalue())["artifact"]["id"]})
    error = wire.ended(forged)["error"]
    assert error["code"] == "bad_image" and "which draws no pictures here" in error["message"]
    assert not wire.call("jobs", {"parent": forged})["jobs"]


def test_loopback_redraws_each_result_with_the_next_seed_and_strength(wire):
    (first,) = draw(wire)
    program = wire.submit(
        "loopback",
        FAST | {"loops": 3, "denoising_strength": 0.8, "final_denoising_strength": 0.4, "curve": "lazy", "steps": 2},
        inputs={"image": first},
    )
    results = wire.ended(program, seconds=120)["outputs"]
    jobs = [wire.call("artifact", {"id": each})["artifact"] for each in results]
    assert len(results) == 3 and [each["facts"]["seed"] for each in jobs] == [1, 2, 3]
    children = [job for job in wire.call("jobs", {"limit": 20})["jobs"] if job.get("parent") == program]
    found = sorted((job["params"]["seed"], round(job["params"]["denoising_strength"], 3)) for job in children)
    assert found == list(zip((1, 2, 3), (0.8, 0.683, 0.4), strict=True))


def test_each_of_several_files_is_redrawn(wire):
    files = []
    for colour in ("red", "green", "blue"):
        out = io.BytesIO()
        PIL.Image.new("RGB", (64, 64), colour).save(out, "PNG")
        files.append(wire.upload(out.getvalue())["artifact"]["id"])
    results = draw(wire, "img2img", {"image": files}, denoising_strength=0.1, prompt="")
    means = [PIL.ImageStat.Stat(picture(wire, result).convert("RGB")).mean for result in results]
    assert [mean.index(max(mean)) for mean in means] == [0, 1, 2]


def test_light_jobs_answer_while_the_queue_is_paused(wire):
    wire.call("queue", {"action": "pause"})
    try:
        explained = light(wire, "explain", prompt="a (b:1.1) [c:d:0.5] AND e :0.5", steps=10)
        counted = light(wire, "tokens", prompt="a cat, " * 25)
    finally:
        wire.call("queue", {"action": "resume"})
    first, second = explained["parts"]
    assert (first["weight"], second["weight"]) == (1.0, 0.5)
    assert [(each["until"], each["text"]) for each in first["schedule"]] == [(5, "a (b:1.1) c"), (10, "a (b:1.1) d")]
    assert first["schedule"][0]["attention"] == [["a ", 1.0], ["b", 1.1], [" c", 1.0]]
    assert first["schedule"][0]["tokens"] == 3 and first["schedule"][0]["chunks"] == 1
    assert counted["tokens"] > 75 and counted["chunks"] == 2 and "More than 75 tokens" in counted["warnings"][0]


def test_styles_are_saved_listed_used_edited_and_deleted(wire):
    light(wire, "save_style", name="night", prompt="{prompt}, at night", negative_prompt="day")
    assert wire.call("choices", {"list": "call/styles"})["choices"] == ["night"]
    assert light(wire, "style", name="night") == {
        "name": "night",
        "prompt": "{prompt}, at night",
        "negative_prompt": "day",
    }
    (drawn,) = draw(wire, prompt="a star", styles=["night"], steps=1)
    facts = wire.call("artifact", {"id": drawn})["artifact"]["facts"]
    assert facts["infotext"].startswith("a star, at night\nNegative prompt: day\n")
    light(wire, "save_style", name="night", prompt="dark")
    assert light(wire, "style", name="night")["prompt"] == "dark"
    light(wire, "delete_style", name="night")
    answer = wire.call("call", {"job": "style", "params": {"name": "night"}})
    assert answer["error"]["code"] == "invalid_params" and "there is no style 'night'" in answer["error"]["message"]


def test_names_of_other_apps_are_accepted_and_slips_of_the_pen_are_not(wire):
    (ours,), (theirs,) = draw(wire, sampler="Heun", schedule="karras"), draw(wire, sampler="heun_karras")
    assert pixels(wire, ours) == pixels(wire, theirs)
    answer = wire.call("submit", {"job": "txt2img", "params": {"sampler": "Eulr", "stepps": 3, "width": 100}})
    assert answer["error"]["code"] == "invalid_params"
    assert {each["field"] for each in answer["error"]["errors"]} == {"sampler", "stepps", "width"}


def test_a_plan_names_the_pictures_that_are_drawn(wire):
    params = FAST | {"prompt": "a {red|green|blue|black} star", "batch_size": 3, "seed": -1, "steps": 1}
    plan = wire.call("plan", {"job": "txt2img", "params": params})["plan"]
    results = draw(wire, **plan["params"])
    facts = [wire.call("artifact", {"id": each})["artifact"]["facts"] for each in results]
    assert [(each["seed"], each["prompt"]) for each in facts] == [
        (each["seed"], each["prompt"]) for each in plan["outputs"]
    ]


def test_interrupt_keeps_the_partial_picture_and_skip_goes_on_to_the_next(wire):
    job = wire.submit("txt2img", FAST | {"steps": 150, "batch_size": 2, "width": 256, "height": 256})
    at_work = lambda: any(  # noqa: E731
        name == "progress" and body["id"] == job and body["phase"] == "sample" and body["step"] > 2
        for name, body in wire.received
    )
    wire.until(at_work, 60)
    assert wire.call("skip", {"id": job})["ok"]
    wire.until(lambda: any(name == "artifact" and body["job"] == job for name, body in wire.received), 60)
    assert wire.call("cancel", {"id": job, "keep_partial": True})["ok"]
    ended = wire.ended(job, seconds=60)
    facts = [wire.call("artifact", {"id": each})["artifact"]["facts"] for each in ended["outputs"]]
    assert [(each["seed"], each["partial"]) for each in facts] == [(1, True), (2, True)]
    progress = [body for name, body in wire.received if name == "progress" and body["id"] == job]
    assert any(body["eta_seconds"] for body in progress)
    assert any(name == "preview" and body["id"] == job for name, body in wire.received)


def test_a_network_or_style_that_is_not_there_is_a_clear_error(wire):
    ended = wire.ended(wire.submit("txt2img", FAST | {"prompt": "a <lora:nowhere:0.5> star"}), seconds=60)
    assert ended["error"]["code"] == "model_not_found" and "nowhere" in ended["error"]["message"]
    ended = wire.ended(wire.submit("txt2img", FAST | {"styles": ["nowhere"]}), seconds=60)
    assert ended["error"]["code"] == "invalid_params" and "there is no style" in ended["error"]["message"]


WRITE_CONTROLNET = """
import sys
from diffusers import ControlNetModel, UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(sys.argv[1], local_files_only=True)
ControlNetModel.from_unet(unet).save_pretrained(sys.argv[2])
"""


def test_control_pictures_are_inputs_and_their_networks_a_list_of_tables(wire, server):
    python = environments.ensure(ROOT / "plugins/stable_diffusion", ROOT / ".envs")
    unet, folder = ROOT / "plugins/stable_diffusion/builtin/unet", server.folder / "models/controlnet/before training"
    subprocess.run([python, "-c", WRITE_CONTROLNET, unet, folder], check=True)
    (source,) = draw(wire, exact=True)
    units = [{"model": "before training", "preprocessor": "canny", "weight": weight} for weight in (0.5, 2)]
    (same,) = draw(wire, exact=True, controlnets=units, inputs={"control": [source]})
    assert pixels(wire, same) == pixels(wire, source)
    assert source in [each["id"] for each in wire.call("lineage", {"id": same})["artifacts"]]
    found = light(wire, "png_info", {"image": same})["form"]
    assert found["inputs"]["control"] == [source] and [unit["weight"] for unit in found["params"]["controlnets"]] == [
        0.5,
        2,
    ]
    refused = wire.call("submit", {"job": "txt2img", "params": {"controlnets": [{"model": "m", "weight": 3}]}})
    assert refused["error"]["field"] == "controlnets.0.weight"
