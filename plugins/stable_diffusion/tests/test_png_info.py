"""What pictures say about how they were made, with real files of all formats and from all programs."""

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import PIL.Image
import PIL.PngImagePlugin
import pytest
from sd.forms import JOBS, fields_of
from sd.infotext import infotext
from sd.novelai import weighted
from sd.png_info import read

from core.library.embedded import to_exif
from core.library.media import decode_image, encode_image

TEXT = (
    "a (größer:1.2) cat 🐈\nNegative prompt: blurry\n"
    "Steps: 9, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x72, Model: m, RNG: CPU, Version: v1.6.0"
)
USER_COMMENT, EXIF_IFD = 0x9286, 0x8769


def saved(kind, mode="RGB", **options):
    """A picture as it comes back from a file."""
    out = io.BytesIO()
    PIL.Image.new(mode, (64, 72)).save(out, kind, **options)
    return decode_image(out.getvalue())


def png(**texts):
    return decode_image(
        encode_image(PIL.Image.new("RGB", (64, 72)), {key.replace("_", "-"): text for key, text in texts.items()})
    )


def with_comment(comment):
    exif = PIL.Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    return exif.tobytes()


def record(name="stable_diffusion.txt2img", params=None, facts=None, inputs=None, **more):
    """A picture with the record that core/library/calling.py puts in."""
    whole = {
        "artifact": "job.1",
        "name": name,
        "params": params,
        "inputs": inputs or {},
        "version": "0.1.0",
        "facts": facts,
    }
    return png(stable_core=json.dumps(whole), **more)


def chunks(kind):
    info = PIL.PngImagePlugin.PngInfo()
    getattr(info, f"add_{kind}")("parameters", TEXT if kind == "itxt" else TEXT.replace(" 🐈", ""))
    return info


@pytest.mark.parametrize(
    "picture",
    [
        saved("PNG", pnginfo=chunks("itxt")),
        saved("PNG", "P", pnginfo=chunks("text")),
        saved("PNG", "RGBA", pnginfo=chunks("text")),
        saved("JPEG", exif=with_comment(b"UNICODE\0" + TEXT.encode("utf-16-be"))),
        saved("JPEG", exif=with_comment(b"UNICODE\0" + TEXT.encode("utf-16-le"))),
        saved("JPEG", exif=with_comment(b"UNICODE\0" + TEXT.encode("utf-16"))),
        saved("JPEG", exif=with_comment(b"ASCII\0\0\0" + TEXT.encode())),
        saved("JPEG", exif=with_comment(bytes(8) + TEXT.encode() + b"\0\0")),
        saved("JPEG", exif=with_comment(TEXT.encode())),
        saved("WEBP", exif=with_comment(b"UNICODE\0" + TEXT.encode("utf-16-be"))),
        saved("PNG", exif=with_comment(b"UNICODE\0" + TEXT.encode("utf-16-be"))),
        saved("GIF", "P", comment=TEXT.encode()),
    ],
)
def test_a1111s_text_is_read_from_every_format(picture):
    found = read(picture)
    form = found["form"]
    assert (found["source"], found["notes"], form["job"], form["inputs"]) == ("a1111", [], "txt2img", {})
    assert found["infotext"].replace(" 🐈", "") == TEXT.replace(" 🐈", "")
    assert form["params"] == JOBS["txt2img"](
        prompt=found["infotext"].split("\n")[0], negative_prompt="blurry", steps=9, sampler="Euler", seed=1, model="m",
        width=64, height=72,
    ).model_dump()  # fmt: skip


@pytest.mark.parametrize(
    "picture",
    [
        saved("PNG"),
        saved("BMP"),
        saved("GIF", "P", comment=b"Created with GIMP"),
        saved("JPEG", comment=b"Lavc58, a: 1"),
        saved("JPEG", exif=with_comment(b"UNICODE\0" + "taken at sea".encode("utf-16-le"))),
        saved("JPEG", exif=with_comment(b"ASCII\0\0\0" + b" " * 100)),
        saved("JPEG", exif=with_comment(b"")),
        png(parameters=""),
        png(parameters='{"prompt": "of Fooocus", "steps": 30}'),
        png(stable_core="null"),
        png(stable_core='{"name": 1'),
        png(Software="NovelAI", Comment="[]"),
        png(prompt="a text"),
    ],
)
def test_a_picture_that_says_nothing_is_told(picture):
    note = "The picture does not say how it was made."
    assert read(picture) == {"source": None, "infotext": None, "form": None, "notes": [note]}


def test_a_prompt_in_the_parameters_is_a_form_with_notes():
    found = read(png(parameters="a cat"))
    assert (found["source"], found["form"]["params"]["prompt"], len(found["notes"])) == ("a1111", "a cat", 3)


def test_texts_behind_the_pixels_are_read():
    data = bytearray(encode_image(PIL.Image.new("RGB", (8, 8)), {"parameters": TEXT}))
    length = int.from_bytes(data[33:37], "big") + 12
    assert data[37:41] == b"iTXt"
    moved = data[:33] + data[33 + length : -12] + data[33 : 33 + length] + data[-12:]
    assert read(PIL.Image.open(io.BytesIO(moved)))["infotext"] == TEXT


PARAMS = {
    "prompt": "a",
    "model": "builtin",
    "steps": 3,
    "batch_size": 4,
    "n_iter": 2,
    "width": 0,
    "height": 0,
    "seed": -1,
}


def drawn(params, seed, **texts):
    """The facts of a picture, as the plugin tells them."""
    params = {**params, "prompt": texts.get("prompt", params["prompt"])}
    fields = fields_of(params, {"seed": seed, "width": 64, "height": 72} | texts)
    return {"seed": seed, "infotext": infotext(params["prompt"], "", fields)}


def test_models_are_found_by_the_names_that_a1111_gives_them(make_context):
    models = make_context().models
    for name in ("checkpoint/old/m.safetensors", "checkpoint/two.ckpt", "checkpoint/old/two.safetensors", "vae/v.pt"):
        (models.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (models.folder / name).touch()
    params = read(png(parameters=TEXT + ", VAE: v.pt, Refiner: two [0123456789]"), models)["form"]["params"]
    assert (params["model"], params["vae"]) == ("old/m.safetensors", "v.pt")
    assert params["refiner"] == "two"  # which of both is not known


def test_our_record_becomes_the_form_of_this_one_picture():
    params = JOBS["txt2img"](**PARAMS).model_dump()
    facts = drawn(params, 8)
    found = read(record(params=params, facts=facts, parameters="something else"))
    assert found["form"] == {
        "job": "txt2img", "params": params | {"seed": 8, "batch_size": 1, "n_iter": 1}, "inputs": {},
    }  # fmt: skip
    assert (found["source"], found["infotext"], found["notes"]) == ("stable-core", facts["infotext"], [])


def test_a_text_that_came_in_is_the_prompt_of_the_form():
    facts = drawn(JOBS["txt2img"](**PARAMS | {"prompt": "a red star"}).model_dump(), 8)
    params = JOBS["txt2img"](**PARAMS | {"prompt": ""}).model_dump()
    form = read(record(params=params, facts=facts, inputs={"text": [{"id": "t"}], "control": [{"id": "c"}]}))["form"]
    assert form["params"]["prompt"] == "a red star" and form["inputs"] == {"control": ["c"]}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_our_record_is_read_from_exif(kind):
    exported = saved(kind, exif=to_exif(record(params=PARAMS, facts={"seed": 8}, parameters=TEXT).info))
    found = read(exported)
    assert (found["source"], found["infotext"], found["form"]["params"]["seed"]) == ("stable-core", TEXT, 1)
    assert found["form"]["params"]["steps"] == 3


def test_a_variation_has_the_variation_seed_of_the_picture():
    params = JOBS["txt2img"](**PARAMS | {"variation_strength": 0.5}).model_dump()
    form = read(record(params=params, facts=drawn(params, 8, variation_seed=11)))["form"]
    assert (form["params"]["seed"], form["params"]["variation_seed"]) == (8, 11)


def test_choices_that_were_made_for_the_picture_stay_made():
    params = JOBS["txt2img"](**PARAMS | {"prompt": "{red|blue} circle", "styles": ["x"]}).model_dump()
    form = read(record(params=params, facts=drawn(params, 8, prompt="red circle, style")))["form"]
    assert form["params"] == params | {
        "prompt": "red circle, style", "styles": [], "dynamic_prompts": False, "seed": 8, "batch_size": 1, "n_iter": 1,
    }  # fmt: skip


def test_a_series_is_drawn_as_a_whole():
    common = {name: value for name, value in PARAMS.items() if name not in ("batch_size", "n_iter")}
    params = JOBS["loopback"](**common | {"seed": 5}).model_dump()
    form = read(record("stable_diffusion.loopback", params, drawn(params, 8), {"image": [{"id": "i.0"}]}))["form"]
    assert form == {"job": "loopback", "params": params, "inputs": {"image": ["i.0"]}}


def test_inputs_are_the_ids_of_what_went_in():
    items = {"image": [{"id": "i.0", "kind": "image"}, {"id": "i.1"}], "mask": [{"id": "m.0"}], "odd": 3, "no": [1, {}]}
    found = read(record("stable_diffusion.inpaint", PARAMS, {"seed": 8}, items))
    assert found["form"]["inputs"] == {"image": ["i.0", "i.1"], "mask": ["m.0"], "odd": [], "no": []}
    assert found["notes"] == ["image had 2 items, each made into a picture of its own."]


def test_what_our_job_does_not_have_is_told_and_left_out():
    found = read(record(params=PARAMS | {"steps": "x", "new": 1}, facts={"seed": 8}))
    assert found["form"]["params"]["steps"] == 20
    assert "new" not in found["form"]["params"]
    assert found["notes"][0].startswith("steps was 'x', which does not go here: ")


def test_a_record_of_another_plugin_is_given_as_it_is():
    found = read(record("frame.frame", {"color": "gold"}))
    assert found["form"] == {"job": "frame.frame", "params": {"color": "gold"}, "inputs": {}}
    assert found["notes"] == ["frame.frame is a job of another plugin; its parameters were not checked."]


def test_a_record_that_is_too_deep_or_too_long_is_none():
    deep = "[" * 100 + "]" * 100
    assert read(png(stable_core=f'{{"name": "frame.frame", "params": {{"deep": {deep}}}}}'))["source"] is None
    picture = PIL.Image.new("RGB", (8, 8))
    picture.info = {"parameters": "x" * 3_000_000}
    assert read(picture)["source"] is None


def test_a_minimal_record_only_says_which_result_it_is():
    found = read(png(stable_core='{"artifact": "job.1"}'))
    note = "It is the result job.1 of a stable-core server, which knows the rest."
    assert found == {"source": "stable-core", "infotext": None, "form": None, "notes": [note]}


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ("Denoising strength: 0.5", "from is not inside."),
        ("Denoising strength: 0.5, Mask blur: 4", "from and its mask is not inside."),
    ],
)
def test_a_picture_that_is_not_inside_has_to_be_chosen(fields, note):
    found = read(png(parameters=f"{TEXT}, {fields}"))
    assert (found["form"]["inputs"], found["notes"]) == ({}, [f"The picture that it was made {note} Choose it."])


def test_novelais_record_is_read_as_a1111_does():
    comment = {
        "steps": 28,
        "sampler": "k_euler_ancestral",
        "seed": 3,
        "strength": 0.69,
        "noise": 0.67,
        "scale": 11.0,
        "uc": "lowres",
    }
    found = read(png(Software="NovelAI", Description="{{cat}} (grin)", Comment=json.dumps(comment)))
    assert found["source"] == "novelai"
    assert found["infotext"] == (
        "((cat:1.05):1.05) \\(grin\\)\nNegative prompt: lowres\n"
        "Steps: 28, Sampler: Euler a, CFG scale: 11, Seed: 3, Size: 64x72, Clip skip: 2, ENSD: 31337, Version: NovelAI"
    )
    params = found["form"]["params"]
    assert (params["sampler"], params["clip_skip"], params["ensd"], params["width"]) == ("Euler a", 2, 31337, 64)
    assert found["notes"][1:] == ["It does not say which model drew it. Choose one."]


def test_novelais_newer_records_are_read():
    comment = {
        "prompt": "cat, 1.2::dog::", "steps": 23, "height": 1216, "width": 832, "scale": 5.0, "cfg_rescale": 0.4,
        "seed": 2**32 - 1, "noise_schedule": "karras", "sampler": "k_dpmpp_2m", "uc": "", "strength": 0.7,
        "request_type": "Img2ImgRequest",
    }  # fmt: skip
    found = read(png(Software="NovelAI", Source="NovelAI Diffusion V4", Comment=json.dumps(comment)))
    params = found["form"]["params"]
    assert (found["form"]["job"], params["width"], params["height"], params["cfg_rescale"]) == (
        "img2img",
        832,
        1216,
        0.4,
    )
    assert (params["sampler"], params["schedule"], params["denoising_strength"]) == ("DPM++ 2M", "karras", 0.7)
    assert "Weights in NovelAI's form 1.2::text:: were left as they stand." in found["notes"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", ""),
        ("{a}", "(a:1.05)"),
        ("{{a} b}", "((a:1.05) b:1.05)"),
        ("[[a]]", "((a:0.952381):0.952381)"),
        ("{a", "(a:1.05)"),
        ("{a [b", "(a (b:0.952381):1.05)"),
        ("a}", "a}"),
        ("a] (b) \\", "a\\] \\(b\\) \\\\"),
        ("{[}]", "((}:0.952381):1.05)"),
    ],
)
def test_novelais_emphasis_becomes_a1111s(prompt, expected):
    assert weighted(prompt) == expected


def test_comfyuis_graph_is_read_from_png_and_webp():
    nodes = {
        "1": {"class_type": "KSampler", "inputs": {
            "seed": 3, "steps": 2, "cfg": 7.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1,
            "model": ["4", 0], "latent_image": ["5", 0], "positive": ["6", 0],
        }},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.ckpt"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 72, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
    }  # fmt: skip
    exif = PIL.Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(nodes)
    for picture in (png(prompt=json.dumps(nodes), workflow="{}"), saved("WEBP", exif=exif)):
        found = read(picture)
        assert (found["source"], found["notes"]) == ("comfyui", [])
        assert (
            found["form"]["params"]
            == JOBS["txt2img"](
                prompt="a cat",
                steps=2,
                cfg_scale=7.5,
                seed=3,
                sampler="Euler",
                model="m.ckpt",
                width=64,
                height=72,
                emphasis="comfyui",
            ).model_dump()
        )


def test_a_graph_without_a_known_sampler_is_told():
    nodes = {"1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}}}
    note = "ComfyUI's graph has no sampler that is known here."
    assert read(png(prompt=json.dumps(nodes))) == {"source": "comfyui", "infotext": None, "form": None, "notes": [note]}


def test_our_record_wins_over_a1111s_text_and_that_over_a_graph():
    own = record(params=PARAMS, parameters=TEXT, prompt='{"1": {"class_type": "A", "inputs": {}}}')
    assert read(own)["source"] == "stable-core"
    del own.info["stable-core"]
    assert read(own)["source"] == "a1111"
    del own.info["parameters"]
    assert read(own)["source"] == "comfyui"


def test_reading_needs_neither_torch_nor_numpy():
    code = "import sys, conftest, sd.png_info; print(sorted({'torch', 'numpy'} & sys.modules.keys()))"
    folders = [str(Path(__file__).parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


DEEP = "[" * 900 + "]" * 900
HUGE = "9" * 5000


OURS = '{"name": "stable_diffusion.txt2img", "params": %s}'


@pytest.mark.parametrize(
    "value",
    [
        DEEP,
        f'{{"artifact": {DEEP}}}',
        OURS % f'{{"steps": {DEEP}}}',
        OURS % f'{{"seed": {HUGE}}}',
        OURS % '{"prompt": "\\ud800", "model": "\\udfff", "sides": [1]}, "facts": 3',
        OURS % '{}, "inputs": [], "facts": {"infotext": "\\ud800", "seed": "x"}',
        '{"name": "stable_diffusion.", "params": {}}',
        '{"name": "stable_diffusion.interpolate", "params": {"frames": -1}}',
        '{"1": {"class_type": "KSampler", "inputs": {"latent_image": 1, "cfg": {}, "model": [[], {}]}}}',
        '{"steps": 1e999, "prompt": 3, "width": NaN}',
        "[" * 400_000,
        "x" * 3_000_000,
        "\0",
    ],
)
def test_any_text_in_any_place_is_survived(value):
    picture = PIL.Image.new("RGB", (8, 8))
    for key in ("stable-core", "parameters", "Comment", "prompt", "comment", "exif"):
        for odd in (value, value.encode("utf-8", "replace"), 7, None):
            picture.info = {key: odd, "Software": "NovelAI"}
            found = read(picture)
            assert found.keys() == {"source", "infotext", "form", "notes"}
            assert len(json.dumps(found)) < 2_500_000
            assert found["infotext"] is None or found["infotext"].encode()
            assert all(len(note) < 1000 for note in found["notes"])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow tells what is wrong with it
def test_any_exif_is_survived():
    whole = with_comment(b"UNICODE\0" + TEXT.encode("utf-16-be"))
    dice = random.Random(1)
    picture = PIL.Image.new("RGB", (8, 8))
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 8)):
            data[dice.randrange(min(60, len(data)))] = dice.randrange(256)
        picture.info = {"exif": bytes(data[: dice.randrange(len(data))] if dice.random() < 0.3 else data)}
        assert read(picture.copy())["source"] in (None, "a1111")
