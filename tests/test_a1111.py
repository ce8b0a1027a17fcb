"""A1111's REST API draws: driven by webuiapi, and by the bodies that well-known apps send."""

import asyncio
import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import PIL.Image
import PIL.ImageChops
import pytest
import requests
import webuiapi

from clients.bridges.a1111 import cells, drawing, fields, scripts
from clients.bridges.a1111.requests import KINDS
from clients.python import AsyncClient
from tests.serving import ROOT, serve

pytestmark = pytest.mark.torch
BUILTIN = ROOT / "plugins/stable_diffusion/builtin"
CIRCLE = "a red circle on a blue background"
SMALL = {"prompt": CIRCLE, "steps": 4, "width": 128, "height": 128, "seed": 5}
COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}


def furnish(folder):
    """A second model, which draws as the built-in one does, names of ControlNets, and a style."""
    shutil.copytree(BUILTIN, folder / "models/checkpoint/second")
    for name in ("controlnet/edges_sd15.safetensors", "controlnet/tiles.safetensors"):
        (folder / "models" / name).parent.mkdir(exist_ok=True)
        (folder / "models" / name).touch()
    (folder / "models/styles").mkdir()
    (folder / "models/styles/styles.csv").write_text("name,prompt,negative_prompt\nnight,at night,\n")


@pytest.fixture(scope="module")
def server():
    with serve({"stable_diffusion": ROOT / "plugins/stable_diffusion"}, furnish) as server:
        yield server


PLAIN = """
class Drawn(Params):
    prompt: str = param("", help="A colour.")
    seed: int = param(-1, help="How wide.", widget="seed")

class Plain(Plugin):
    @job()
    def draw(self, params: Drawn, ctx: Context) -> Image:
        import PIL.Image
        time.sleep(1 if "slow" in params.prompt else 0)
        return Result(PIL.Image.new("RGB", (8 + params.seed, 8), params.prompt.split()[-1]), {"seed": params.seed})
"""


@pytest.fixture(scope="module")
def plain():
    """A server with a plugin that knows of no sampler, size or batch."""
    with serve({"plain": PLAIN}) as server:
        yield server


@pytest.fixture
def api(server):
    client = webuiapi.WebUIApi(port=server.port, sampler="Euler", steps=4)
    client.set_auth("anyone", server.token)
    return client


def post(server, kind, body, status=200):
    answer = requests.post(f"{server.url}/sdapi/v1/{kind}", json=body, auth=("", server.token), timeout=120)
    assert answer.status_code == status, answer.text[:2000]
    return answer


def pictures(answer):
    return [PIL.Image.open(io.BytesIO(base64.b64decode(each))) for each in answer.json()["images"]]


def info(answer):
    return json.loads(answer.json()["info"])


def drawn(server, kind="txt2img", **body):
    """The first picture."""
    return pictures(post(server, kind, SMALL | body))[0]


def encoded(picture):
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def left_half(mode="L", size=(128, 128)):
    mask = PIL.Image.new(mode, size)
    mask.paste("white", (0, 0, size[0] // 2, size[1]))
    return mask


def background(picture):
    """Which of COLOURS the corners are nearest to."""
    corner = picture.convert("RGB").crop((0, 0, 8, 8)).resize((1, 1), PIL.Image.Resampling.BOX).getpixel((0, 0))
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], corner, strict=True)))


def same(a, b):
    return a.convert("RGB").tobytes() == b.convert("RGB").tobytes()


def translated(server, kind="txt2img", **body):
    """What a request becomes, without running it."""

    async def translate():
        async with AsyncClient(server.url, server.token) as client:
            return await drawing.translate(KINDS[kind](**body), client)

    return asyncio.run(translate())


def test_webuiapi_draws(api):
    result = api.txt2img(prompt=CIRCLE, seed=5, width=128, height=128, batch_size=2, n_iter=2)
    assert [picture.size for picture in result.images] == [(128, 128)] * 4
    assert (result.info["seed"], result.info["all_seeds"]) == (5, [5, 6, 7, 8])
    assert result.info["infotexts"] == [picture.info["parameters"] for picture in result.images]
    assert result.parameters["prompt"] == CIRCLE and background(result.image) == "blue"


def test_webuiapi_redraws(api, server):
    first = drawn(server)
    result = api.img2img(
        images=[first], prompt="a red circle on a green background", denoising_strength=0.9, seed=5, width=128,
        height=192,
    )  # fmt: skip
    assert (result.image.size, background(result.image)) == ((128, 192), "green")
    assert result.parameters["init_images"] is None


def test_webuiapi_inpaints_and_what_is_not_masked_stays_to_the_byte(api, server):
    first, size = drawn(server), {"width": 128, "height": 128}
    prompt = "a red circle on a green background"
    result = api.img2img(images=[first], mask_image=left_half(), prompt=prompt, inpaint_full_res=False, seed=5, **size)
    assert background(result.image) == "green"
    assert same(result.image.crop((80, 0, 128, 128)), first.crop((80, 0, 128, 128)))


def test_ten_calls_at_once_get_each_its_own_picture(server):
    names = [*COLOURS] * 3
    bodies = [
        {"prompt": f"a white star on a {names[k]} background", "seed": 100 + k, "steps": 6,
         "width": 128 + 8 * (k % 3), "height": 128, "cfg_scale": 4 + k / 4}
        for k in range(10)
    ]  # fmt: skip
    with ThreadPoolExecutor(10) as at_once:
        answers = [*at_once.map(lambda body: post(server, "txt2img", body), bodies)]
    for body, answer, name in zip(bodies, answers, names, strict=False):
        (picture,) = pictures(answer)
        assert (picture.size, background(picture)) == ((body["width"], 128), name)
        assert info(answer)["all_seeds"] == [body["seed"]] and info(answer)["prompt"] == body["prompt"]
        assert f"CFG scale: {body['cfg_scale']:g}," in picture.info["parameters"]


def test_ten_settings_at_once_count_each_for_its_own_call_and_for_no_other(server):
    settings = [
        {"sd_model_checkpoint": model, "CLIP_stop_at_last_layers": skip, "randn_source": source}
        for model in ("builtin", "second") for skip in (1, 2, 3) for source in ("CPU", "NV")
    ][:10]  # fmt: skip
    with ThreadPoolExecutor(10) as at_once:
        answers = [*at_once.map(lambda each: post(server, "txt2img", SMALL | {"override_settings": each}), settings)]
    for wanted, answer in zip(settings, answers, strict=True):
        (text,) = info(answer)["infotexts"]
        skip = wanted["CLIP_stop_at_last_layers"]
        assert f"Model: {wanted['sd_model_checkpoint']}," in text and f"RNG: {wanted['randn_source']}," in text
        assert (f"Clip skip: {skip}," in text) == (skip > 1)
    plain = post(server, "txt2img", SMALL | {"seed": 6})
    assert "Model: builtin," in info(plain)["infotexts"][0] and "Clip skip" not in info(plain)["infotexts"][0]


def test_what_is_not_said_is_as_in_a1111(server):
    (job,) = translated(server).jobs
    wanted = {"steps": 50, "cfg_scale": 7, "width": 512, "height": 512, "sampler": "Euler", "seed": -1, "batch_size": 1}
    assert {name: job["params"][name] for name in wanted} == wanted
    assert not job["params"].keys() & {"eta", "hires", "seed_resize_width", "s_noise", "refiner", "tiling"}


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_what_is_not_said(server, kind):
    needed = {"init_images": [encoded(left_half())]} if kind == "img2img" else {}
    nulls = translated(server, kind, **dict.fromkeys(KINDS[kind].model_fields) | needed)
    unsaid = translated(server, kind, **needed)
    assert nulls.jobs[0]["params"] == unsaid.jobs[0]["params"] and nulls.ignored == unsaid.ignored == []


@pytest.mark.parametrize(
    "said, sampler, schedule",
    [
        ({"sampler_name": "DPM++ 2M Karras"}, "DPM++ 2M Karras", None),
        ({"sampler_index": "euler a"}, "Euler a", None),
        ({"sampler_name": "Heun", "sampler_index": "Euler", "scheduler": "Exponential"}, "Heun", "exponential"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Automatic"}, "DPM++ 2M", "karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Uniform"}, "DPM++ 2M", "Uniform"),
    ],
)
def test_samplers_have_the_names_of_old_and_new_versions(server, said, sampler, schedule):
    params = translated(server, **said).jobs[0]["params"]
    assert (params["sampler"], params.get("schedule")) == (sampler, schedule)


def test_an_unknown_sampler_is_not_found(server):
    answer = post(server, "txt2img", SMALL | {"sampler_name": "Eulr"}, status=404).json()
    assert answer == {"error": "HTTPException", "detail": "Sampler not found", "body": "", "errors": ""}


def test_what_is_out_of_range_is_told_in_the_words_of_the_request(server):
    body = SMALL | {"s_min_uncond": 99, "subseed_strength": 2}
    bad = post(server, "txt2img", body, status=422).json()["detail"]
    assert [each["loc"] for each in bad] == [["body", "subseed_strength"], ["body", "s_min_uncond"]]
    assert "99" in bad[1]["msg"]
    (bad,) = post(server, "txt2img", {"steps": "many"}, status=422).json()["detail"]
    assert bad["loc"] == ["body", "steps"] and bad.keys() == {"type", "loc", "msg"}


def test_what_nothing_here_knows_is_told_in_a_header_and_is_no_error(server):
    scripts = {"ADetailer": {"args": [False]}, "ControlNet": {"args": []}}
    body = SMALL | {"restore_faces": True, "use_gpu": 1, "styles": ["night", "nowhere"],
                    "scheduler": "Align Your Steps", "alwayson_scripts": scripts,
                    "override_settings": {"save_txt": True}}  # fmt: skip
    answer = post(server, "txt2img", body)
    assert answer.headers["Warning"].startswith('299 stable-core "')
    for name in ("restore_faces", "use_gpu", "styles: nowhere", "scheduler: Align", "ADetailer", "save_txt"):
        assert name in answer.headers["Warning"], name
    assert "ControlNet" not in answer.headers["Warning"] and "at night" in info(answer)["infotexts"][0]
    assert "Warning" not in post(server, "txt2img", SMALL).headers


def test_sizes_between_are_rounded_down_to_eights(server):
    params = translated(server, width=130, height=127).jobs[0]["params"]
    assert (params["width"], params["height"]) == (128, 120)


def test_the_second_pass_has_its_own_fields(server):
    body = SMALL | {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "None", "hr_second_pass_steps": 2, "hr_cfg": 5}
    answer = post(server, "txt2img", body | {"denoising_strength": 0.5})
    assert pictures(answer)[0].size == (192, 192)
    told = "Denoising strength: 0.5, RNG: CPU, Hires upscale: 1.5, Hires steps: 2, Hires upscaler: Lanczos, Hires CFG"
    assert told in info(answer)["infotexts"][0]


def test_a_transparent_mask_masks_where_it_is_opaque(server):
    first = drawn(server)
    mask = PIL.Image.new("RGBA", (128, 128), "black")
    mask.putalpha(left_half())
    body = {"init_images": [encoded(first)], "mask": encoded(mask), "inpaint_full_res": False, "inpainting_fill": 2}
    again = drawn(server, "img2img", prompt="a red circle on a green background", **body)
    assert background(again) == "green" and same(again.crop((80, 0, 128, 128)), first.crop((80, 0, 128, 128)))


def test_mask_fields_become_parameters(server):
    picture = encoded(left_half())
    body = {"init_images": [picture], "mask": picture, "inpainting_fill": 3, "inpainting_mask_invert": 1}
    body |= {"mask_blur_x": 9, "mask_blur_y": 9, "inpaint_full_res_padding": 40, "resize_mode": 2}
    (job,) = translated(server, "img2img", **body).jobs
    wanted = {"fill": "latent nothing", "invert_mask": True, "mask_blur": 9, "only_masked": True,
              "only_masked_padding": 40, "resize_mode": "resize and fill", "denoising_strength": 0.75}  # fmt: skip
    assert {name: job["params"].get(name) for name in wanted} == wanted


def test_each_of_several_pictures_is_redrawn_with_its_own_seed(server):
    images = [encoded(PIL.Image.new("RGB", (128, 128), colour)) for colour in COLOURS]
    answer = post(server, "img2img", SMALL | {"init_images": images, "batch_size": 4, "denoising_strength": 0.1})
    assert [background(picture) for picture in pictures(answer)] == [*COLOURS]
    assert info(answer)["all_seeds"] == [5, 6, 7, 8]


def test_a_bad_picture_and_none_are_clear_errors(server):
    for images, text in ((["%%"], "init_images.0 is no base64"), (["YWJj"], "are not a picture")):
        assert text in post(server, "img2img", SMALL | {"init_images": images}, status=422).json()["detail"]
    assert post(server, "img2img", SMALL, status=404).json()["detail"] == "Init image not found"
    body = SMALL | {"init_images": [encoded(left_half())], "mask": "YWJj"}
    assert "mask is not a picture" in post(server, "img2img", body, status=422).json()["detail"]


def test_an_infotext_draws_the_same_picture_again_but_for_what_is_said(server):
    answer = post(server, "txt2img", SMALL | {"sampler_name": "Heun", "negative_prompt": "green"})
    (text,) = info(answer)["infotexts"]
    assert same(drawn_alone(server, {"infotext": text}), pictures(answer)[0])
    again = post(server, "txt2img", {"infotext": text.replace("builtin", "nowhere"), "seed": 6})
    assert info(again)["sampler_name"] == "Heun" and info(again)["all_seeds"] == [6] and info(again)["steps"] == 4
    assert again.headers["Warning"].endswith('knows them: infotext: model"')


def drawn_alone(server, body):
    return pictures(post(server, "txt2img", body))[0]


def test_a_grid_comes_first_where_pictures_are_saved(server):
    answer = post(server, "txt2img", SMALL | {"batch_size": 3, "save_images": True})
    grid, *others = pictures(answer)
    assert grid.size == (256, 256) and info(answer)["index_of_first_image"] == 1 and len(others) == 3
    assert same(grid.crop((0, 128, 128, 256)), others[2])


def test_pictures_that_are_not_wanted_are_not_sent(server):
    answer = post(server, "txt2img", SMALL | {"send_images": False})
    assert answer.json()["images"] == [] and info(answer)["all_seeds"] == [5]
    assert info(answer)["denoising_strength"] == 0.75  # that of the request, for none is used


def test_a_checkpoint_that_is_not_there_is_not_found(server):
    body = SMALL | {"override_settings": {"sd_model_checkpoint": "nowhere.safetensors [0123456789]"}}
    answer = post(server, "txt2img", body, status=404).json()
    assert answer["error"] == "ModelNotFound" and "nowhere" in answer["detail"]


@pytest.mark.parametrize("picture", ["image", "input_image"])
def test_controlnet_units_become_parameters_and_pictures(server, picture):
    source = encoded(left_half())
    units = [
        {picture: source, "module": "canny", "model": "edges_sd15 [0123abcd]", "threshold_a": 50, "threshold_b": 120,
         "weight": 0.5, "control_mode": 1, "resize_mode": "Resize and Fill", "processor_res": 512},
        {"enabled": False, "model": "tiles"},
        {"image": {"image": source, "mask": None}, "module": "depth", "model": "tiles", "guidance_end": 0.5},
    ]  # fmt: skip
    found = translated(server, alwayson_scripts={"controlnet": {"args": units}})
    first, second = found.jobs[0]["params"]["controlnets"]
    assert first == {
        "model": "edges_sd15.safetensors", "preprocessor": "canny", "low_threshold": 50, "high_threshold": 120,
        "weight": 0.5, "control_mode": "my prompt is more important", "resize_mode": "resize and fill",
    }  # fmt: skip
    assert second == {"model": "tiles.safetensors", "preprocessor": "none", "end": 0.5}
    assert len(found.jobs[0]["inputs"]["control"]) == 2 and found.ignored == ["controlnet 1: module depth"]


def test_values_of_a_controlnet_unit_one_after_the_other_are_a_unit(server):
    args = [True, "canny", "edges_sd15", 0.8, {"image": encoded(left_half())}]
    (job,) = translated(server, alwayson_scripts={"ControlNet": {"args": args}}).jobs
    (unit,) = job["params"]["controlnets"]
    assert (unit["preprocessor"], unit["weight"]) == ("canny", 0.8) and len(job["inputs"]["control"]) == 1


def plotted(server, *axes, **body):
    """The answer to an X/Y/Z plot. Axes are (number, values); the rest of its arguments follows the last of three."""
    args = [each for number, values in axes[:3] for each in (number, values, [])]
    return post(server, "txt2img", SMALL | body | {"script_name": "X/Y/Z plot", "script_args": args + [*axes[3:]]})


def test_a_plot_is_a_grid_of_what_each_value_draws_alone(server):
    answer = plotted(server, (4, "1-3 (+2)"), (7, "red, green"), (0, ""), False, True, steps=2)
    grid, *cells = pictures(answer)
    alone = [drawn(server, steps=steps, prompt=CIRCLE.replace("red", colour))
             for colour in ("red", "green") for steps in (1, 3)]  # fmt: skip
    assert grid.size == (256, 256) and info(answer)["index_of_first_image"] == 1
    for place, (cell, expected) in enumerate(zip(cells, alone, strict=True)):
        assert farthest(cell, expected) <= 2
        left, top = place % 2 * 128, place // 2 * 128
        assert same(grid.crop((left, top, left + 128, top + 128)), cell)


def farthest(a, b):
    """By how much any two values differ: jobs that share the device are rounded in other ways."""
    return max(high for _, high in PIL.ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getextrema())


def test_a_plot_has_its_values_written_beside_it_and_a_grid_for_each_of_z(server):
    answer = plotted(server, (6, "3,5"), (24, "1"), (4, "1-2 [2]"), True, False, True, steps=1)
    whole, first, second = pictures(answer)
    assert whole.width == 2 * first.width and first.size == second.size > (256, 128)
    assert len(info(answer)["infotexts"]) == 3 and "CFG scale: 3," in info(answer)["infotexts"][0]


@pytest.mark.parametrize(
    "text, kind, values",
    [
        ("1-3", int, [1, 2, 3]),
        ("1-7 (+3), 9", int, [1, 4, 7, 9]),
        ("5-1 (-2)", int, [5, 3, 1]),
        ("1-10 [4]", int, [1, 4, 7, 10]),
        ("-1, -2--1", int, [-1, -2, -1]),
        ("0.1-0.3 (+0.1)", float, [0.1, 0.2, 0.3]),
        ("0-1 [3]", float, [0, 0.5, 1]),
        ('"a, b",c', str, ["a, b", "c"]),
    ],
)
def test_values_of_an_axis_are_written_as_in_a1111(text, kind, values):
    assert cells.axis_values(cells.Axis("any", kind), text, []) == values


@pytest.mark.parametrize(
    "args, told",
    [([4, "a"], "no whole"), ([4, ""], "no values"), ([99, "1"], "axes 0 to"), ([1, "1-5000"], "more than 1,000"),
     ([7, "moon, sun"], "'moon' is not in"), ([0] * 16 + ["wide"], "number of pixels"),
     ([7, "a" * 200_000], "cannot be read"), ([8, "a," * 5000], "more than 1,000"),
     ([4, "1-99999," * 5000], "more than 1,000")],
)  # fmt: skip
def test_values_that_make_no_plot_are_refused(server, args, told):
    body = SMALL | {"script_name": "X/Y/Z plot", "script_args": args}
    (bad,) = post(server, "txt2img", body, status=422).json()["detail"]
    assert bad["loc"] == ["body", "script_args"] and told in bad["msg"]


def test_random_seeds_of_an_axis_are_chosen_once_and_count_on_around_the_highest():
    args = {argument.label: argument.value for argument in scripts.SCRIPTS[2].arguments}
    asked = KINDS["txt2img"](seed=2**32 - 1)
    args |= {"X values": "-1, 3, -1", "Y type": 4, "Y values": "1, 2"}
    seeds = [body["seed"] for body in cells.plot(asked, args).bodies]
    assert seeds[:3] == seeds[3:] and seeds[1] == 3 and -1 not in seeds and seeds[0] != seeds[2]
    args |= {"X type": 4, "X values": "1, 2", "Y type": 0, "Vary seeds for X": True}
    assert [body["seed"] for body in cells.plot(asked, args).bodies] == [2**32 - 1, 0]
    args |= {"Y type": 6, "Y values": "1, 2", "Vary seeds for X": False, "Vary seeds for Y": True}
    assert [body["seed"] for body in cells.plot(asked, args).bodies] == [2**32 - 1] * 2 + [0] * 2


def test_a_prompt_matrix_of_too_many_parts_is_refused(server):
    body = SMALL | {"prompt": "a" + "|b" * 3000, "script_name": "prompt matrix"}
    (bad,) = post(server, "txt2img", body, status=422).json()["detail"]
    assert "more than 1,000 pictures" in bad["msg"]


def test_a_prompt_matrix_draws_every_choice_with_the_same_seed(server):
    body = SMALL | {"prompt": "a circle|on a green background|red", "steps": 1, "script_name": "prompt matrix"}
    answer = post(server, "txt2img", body)
    ends = ["", ", on a green background", ", red", ", on a green background, red"]
    assert info(answer)["all_prompts"] == ["a circle" + end for end in ends]
    assert info(answer)["all_seeds"] == [5] * 4 and len(pictures(answer)) == 5


def test_each_line_of_a_text_is_drawn(server):
    text = 'a star\n\n--prompt "a moon" --steps 2 --width 64\n--what now'
    args = [True, False, "end", text]
    body = SMALL | {"steps": 1, "script_name": "Prompts from file or textbox", "script_args": args}
    answer = post(server, "txt2img", body)
    assert info(answer)["all_prompts"] == [f"{CIRCLE} {end}" for end in ("a star", "a moon", "--what now")]
    assert info(answer)["all_seeds"] == [5, 6, 7] and [each.width for each in pictures(answer)] == [128, 64, 128]


@pytest.mark.parametrize(
    "script, args, size, told",
    [
        ("Loopback", [2, 0.5, "Lazy"], (128, 128), "Denoising strength: 0.75"),
        ("SD upscale", [None, 16, 2, 1.5], (192, 192), "SD upscale upscaler: Nearest, SD upscale scale: 1.5"),
        ("Outpainting mk2", [None, 64, 8, ["left", "up"]], (192, 192), "Mask blur: 8"),
        ("Poor man's outpainting", [64, 4, 2, ["right"]], (192, 128), "Masked content: latent noise"),
        ("img2img alternative test", [None, True, True, "a star", "", True, 3], (128, 128), "Decode steps: 3"),
    ],
)
def test_scripts_are_jobs_that_take_their_arguments(server, script, args, size, told):
    colour = encoded(PIL.Image.new("RGB", (128, 128), "red"))
    body = SMALL | {"steps": 2, "init_images": [colour], "script_name": script, "script_args": args}
    answer = post(server, "img2img", body)
    assert pictures(answer)[0].size == size and told in info(answer)["infotexts"][0]
    assert ("a star\n" in info(answer)["infotexts"][0]) == ("alternative" in script)


def test_an_unknown_script_and_one_without_its_plugin_are_refused(server, plain):
    body = {"init_images": [encoded(left_half())], "script_name": "Nope"}
    assert post(server, "img2img", SMALL | body, status=422).json()["detail"] == "Script 'Nope' not found"
    body["script_name"] = "Loopback"
    told = post(plain, "img2img", body, status=404).json()["detail"]
    assert "run the script Loopback" in told and "curve, final_denoising_strength, loops" in told


def test_scripts_are_listed_with_their_arguments(api, server, plain):
    listed = api.get_scripts()
    assert listed["txt2img"] == ["controlnet", "prompt matrix", "prompts from file or textbox", "x/y/z plot"]
    assert {"loopback", "sd upscale", "outpainting mk2", "img2img alternative test"} < {*listed["img2img"]}
    told = {(each["name"], each["is_img2img"]): each["args"] for each in rest(server, "script-info")}
    assert told["loopback", True][0] == {
        "label": "Loops", "value": 4, "minimum": 1, "maximum": 32, "step": 1, "choices": None
    }  # fmt: skip
    axes = told["x/y/z plot", False][0]["choices"]
    assert axes[4] == "Steps" and axes[7] == "Prompt S/R" and len(axes) == 39
    assert "loopback" not in rest(plain, "scripts")["img2img"]


def rest(server, path):
    return requests.get(f"{server.url}/sdapi/v1/{path}", auth=("", server.token), timeout=60).json()


# What well-known apps send.

SILLY_TAVERN = {
    "url": "http://localhost:7860", "auth": "", "prompt": CIRCLE, "negative_prompt": "blurry",
    "sampler_name": "Euler a", "scheduler": "Karras", "steps": 4, "cfg_scale": 7, "width": 128, "height": 128,
    "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 2, "hr_additional_modules": [],
    "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": 5,
    "override_settings": {"CLIP_stop_at_last_layers": 1},
    "override_settings_restore_afterwards": True, "clip_skip": 1, "save_images": True, "send_images": True,
    "do_not_save_grid": False, "do_not_save_samples": False,
}  # fmt: skip
OPEN_WEBUI = {
    "prompt": CIRCLE, "batch_size": 2, "width": 128, "height": 128, "steps": 4, "negative_prompt": "", "cfg_scale": 7.0,
    "sampler_name": "DPM++ 2M", "scheduler": "Karras",
}  # fmt: skip
DISCORD_BOT = {
    "prompt": CIRCLE, "negative_prompt": "", "steps": 4, "width": 128, "height": 128, "cfg_scale": "7.0",
    "sampler_index": "DPM++ 2M Karras", "seed": 5, "seed_resize_from_h": -1, "seed_resize_from_w": -1,
    "denoising_strength": None, "n_iter": 1, "styles": ["None"], "save_images": True, "restore_faces": False,
    "override_settings": {"sd_model_checkpoint": "second", "CLIP_stop_at_last_layers": 1},
}  # fmt: skip
AI_RENDER = {
    "prompt": CIRCLE, "negative_prompt": "", "width": 128, "height": 128, "seed": 5, "cfg_scale": 7, "steps": 4,
    "sampler_index": "Euler a", "denoising_strength": 0.6, "init_images": ["data:image/png;base64,{picture}"],
    "alwayson_scripts": {"controlnet": {"args": [
        {"enabled": False, "weight": 1.0, "module": "none", "model": "None", "low_vram": False}]}},
}  # fmt: skip
PHOTOSHOP = {
    "prompt": CIRCLE, "negative_prompt": "", "steps": 4, "n_iter": 1, "batch_size": 1, "batch_count": 1, "width": 128,
    "height": 128, "cfg_scale": 7, "seed": "5", "sampler_index": "Euler a", "denoising_strength": 0.7, "mask_blur": 8,
    "inpainting_fill": 1, "inpaint_full_res": False, "inpaint_full_res_padding": 32, "inpainting_mask_invert": 0,
    "init_images": ["{picture}"], "mask": "{mask}", "styles": [], "restore_faces": False, "image_cfg_scale": 1.5,
    "use_prompt_shortcut": True, "prompt_shortcut_ui_dict": {}, "uniqueDocumentId": "a-b", "selection_mode": "ratio",
    "controlnet_units": [], "alwayson_scripts": {}, "script_args": [], "script_name": "", "use_sharp_mask": False,
}  # fmt: skip
KRITA = {
    "init_images": ["data:image/webp;base64,{picture}"], "mask": "data:image/webp;base64,{mask}", "resize_mode": 1,
    "prompt": CIRCLE, "negative_prompt": "", "sampler_name": "Euler a", "steps": 4, "cfg_scale": 7, "seed": -1,
    "denoising_strength": 0.5, "width": 128, "height": 128, "inpainting_fill": 1, "inpaint_full_res": True,
    "inpaint_full_res_padding": 16, "mask_blur": 0, "inpainting_mask_invert": 0, "restore_faces": False,
    "tiling": False, "include_init_images": False, "script_name": None, "script_args": [], "override_settings": {},
    "force_task_id": "krita-1", "save_images": False, "subseed": -1, "subseed_strength": 0.0,
    "seed_resize_from_h": 0, "seed_resize_from_w": 0, "is_inpaint": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "kind, body, unknown",
    [
        ("txt2img", SILLY_TAVERN, "url, auth, clip_skip"),
        ("txt2img", OPEN_WEBUI, None),
        ("txt2img", DISCORD_BOT, "styles: None"),
        ("img2img", AI_RENDER, None),
        (
            "img2img", PHOTOSHOP,
            "batch_count, use_prompt_shortcut, prompt_shortcut_ui_dict, uniqueDocumentId, selection_mode, "
            "controlnet_units, use_sharp_mask",
        ),
        ("img2img", KRITA, "is_inpaint"),
    ],
    ids=["SillyTavern", "Open WebUI", "Discord bot", "Blender", "Photoshop", "Krita"],
)  # fmt: skip
def test_apps_get_what_they_ask_for(server, kind, body, unknown):
    text = json.dumps(body).replace("{picture}", encoded(left_half("RGB"))).replace("{mask}", encoded(left_half()))
    answer = post(server, kind, json.loads(text))
    assert [picture.size for picture in pictures(answer)] == [(128, 128)] * body.get("batch_size", 1)
    assert info(answer)["all_prompts"] == [CIRCLE] * body.get("batch_size", 1)
    assert answer.headers.get("Warning") == (
        unknown and f'299 stable-core "ignored, for nothing here knows them: {unknown}"'
    )


# With a plugin of few words.


def test_any_plugin_that_draws_from_a_text_will_do(plain):
    answer = post(plain, "txt2img", {"prompt": "red", "batch_size": 2, "n_iter": 2, "seed": 3, "steps": 20})
    assert [picture.size for picture in pictures(answer)] == [(11, 8), (12, 8), (13, 8), (14, 8)]
    assert info(answer)["all_seeds"] == [3, 4, 5, 6]
    assert answer.headers["Warning"].endswith('them: steps"')


def test_a_failed_job_is_the_servers_error_in_a1111s_shape(plain):
    answer = post(plain, "txt2img", {"prompt": "nocolour", "seed": 1}, status=500).json()
    assert answer["error"] == "PluginError" and answer.keys() == {"error", "detail", "body", "errors"}
    assert "unknown color specifier" in answer["errors"]


def test_what_no_plugin_does_says_what_a_plugin_has_to_do(plain):
    answer = post(plain, "img2img", {"init_images": [encoded(left_half())]}, status=404).json()
    assert "no plugin announces a job with an image, and the parameters prompt and denoising_str" in answer["detail"]


def test_a_job_goes_on_when_the_caller_hangs_up(plain):
    with pytest.raises(requests.ReadTimeout):
        body, address = {"prompt": "slow green", "seed": 77}, f"{plain.url}/sdapi/v1/txt2img"
        requests.post(address, json=body, auth=("", plain.token), timeout=0.5)
    with plain.client() as client:
        (job,) = [job for job in client.jobs(session="a1111") if job.refresh().record["params"]["seed"] == 77]
        assert [artifact.record["facts"]["seed"] for artifact in job.wait(timeout=30)] == [77]


def test_an_address_with_user_and_password_will_do(plain):
    address = plain.url.replace("://", f"://any:{plain.token}@") + "/sdapi/v1/txt2img"
    assert requests.post(address, json={"prompt": "blue", "seed": 0}, timeout=60).status_code == 200


# The page about it.

PAGE = (ROOT / "docs/a1111.md").read_text("utf-8")


def test_the_page_names_every_field_and_every_parameter_it_becomes():
    text = PAGE.split("## Drawing")[1].split("## Scripts")[0]
    same = re.search(r"^\| (.*) \| the same \|$", text, re.MULTILINE)[1]
    for row in (
        *fields.ROWS,
        *fields.REFINER,
        *fields.HIRES,
        fields.HIRES_CFG,
        *fields.REDRAWING,
        *fields.MASKED,
    ):
        alike = row.field == row.parameter and f"`{row.field}`" in same
        assert alike or f"| `{row.field}` | `{row.parameter}` |" in text, row
    for model in KINDS.values():
        assert not [name for name in model.model_fields if f"`{name}`" not in text]


def test_the_page_names_every_script():
    text = PAGE.split("## Scripts")[1].split("## Options")[0]
    for script in scripts.SCRIPTS:
        assert script.title in text, script.title
    assert f"{cells.MOST:,} requests" in text


def test_the_example_of_the_page_draws(server, tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    source, environment = source.replace("7777", str(server.port)), os.environ | {"STABLE_CORE_TOKEN": server.token}
    ran = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.stdout == "[5]\n", ran.stderr
    with PIL.Image.open(tmp_path / "circle.png") as picture:
        assert picture.size == (128, 128)
