"""A1111's fields and the parameters of jobs, translated both ways."""

import json
from typing import get_type_hints

import pytest
from sd import StableDiffusion
from sd.forms import AUTOMATIC, JOBS, ROWS, fields_of, named, params_of
from sd.infotext import VERSION, infotext, parse
from sd.names import SAMPLERS, SCHEDULES
from sd.options import Drawing


def back(job, params, facts=()):
    """The job, parameters and notes that are read from what is written."""
    params = JOBS[job](**params).model_dump()
    fields = fields_of(params, dict(facts))
    return params_of(parse(infotext(params["prompt"], params["negative_prompt"], fields)))


BASE = {"prompt": "a (cat:1.2)", "negative_prompt": "blurry", "model": "m", "seed": 7, "width": 64, "height": 72}
HIRES = {"hires": True, "denoising_strength": 0.6}


@pytest.mark.parametrize(
    ("job", "params"),
    [
        ("txt2img", {}),
        ("txt2img", {"steps": 1, "cfg_scale": 0.1, "sampler": "DDIM", "eta": 0.3, "tiling": True, "clip_skip": 2}),
        ("txt2img", {"sampler": "DPM++ 2M SDE", "schedule": "karras", "eta": 0, "s_noise": 1.003, "rho": 5}),
        ("txt2img", {"sampler": "Heun", "s_churn": 1, "s_tmin": 0.1, "s_tmax": 9, "sigma_min": 0.1, "sigma_max": 10}),
        ("txt2img", {"variation_strength": 0.123456789, "variation_seed": 0, "ensd": 31337, "ngms": 1.5}),
        ("txt2img", {"seed_resize_width": 512, "seed_resize_height": 768, "noise_source": "NV", "cfg_rescale": 0.7}),
        ("txt2img", {"emphasis": "no norm", "comma_backtrack": 0, "noise_source": "GPU"}),
        ("txt2img", HIRES | {"hires_scale": 1.5, "hires_steps": 3, "hires_upscaler": "Lanczos"}),
        ("txt2img", HIRES | {"hires_width": 128, "hires_prompt": "a dog, b", "hires_negative_prompt": "c: d\ne"}),
        ("txt2img", HIRES | {"hires_sampler": "DDIM", "hires_schedule": "beta", "hires_cfg_scale": 3}),
        ("txt2img", HIRES | {"schedule": "karras", "hires_schedule": "automatic", "hires_height": 144}),
        ("txt2img", HIRES | {"denoising_strength": 0}),
        ("img2img", {}),
        ("img2img", {"denoising_strength": 0}),
        ("img2img", {"denoising_strength": 1, "fix_steps": True, "noise_multiplier": 0.9, "color_correction": True}),
        ("img2img", {"resize_mode": "just resize (latent upscale)"}),
        ("inpaint", {}),
        ("inpaint", {"mask_blur": 0}),
        ("inpaint", {"fill": "latent nothing", "invert_mask": True, "resize_mode": "crop and resize"}),
        ("inpaint", {"only_masked": True, "only_masked_padding": 0}),
        ("sd_upscale", {"scale": 1.5, "upscaler": "Nearest", "overlap": 0, "denoising_strength": 0.25}),
        (
            "img2img_alternative",
            {"original_prompt": "a, b", "decode_steps": 1, "decode_cfg_scale": 1, "randomness": 0.5},
        ),
    ],
)
def test_parameters_come_back_as_they_were(job, params):
    params = JOBS[job](**BASE | params).model_dump()
    assert back(job, params) == (job, params, [])


CONTROLS = "The pictures that its ControlNets were shown are not inside. Choose them (control)."


def test_controlnets_come_back_without_their_pictures():
    units = [
        {"model": "canny.safetensors", "preprocessor": "canny", "low_threshold": 50, "weight": 0.35, "start": 0.1},
        {"model": "a/tile", "preprocessor": "tile", "downsampling": 2.5, "end": 0.8, "resize_mode": "resize and fill"},
        {
            "model": "s.pth",
            "preprocessor": "scribble",
            "line_threshold": 7,
            "control_mode": "my prompt is more important",
        },
        *({"model": "m", "preprocessor": kind} for kind in ("none", "mask", "inpaint", "invert")),
    ]
    params = JOBS["txt2img"](**BASE, controlnets=units).model_dump()
    assert back("txt2img", params, {"controlnet_hashes": {"canny.safetensors": "0123456789"}}) == (
        "txt2img",
        params,
        [CONTROLS],
    )


def test_an_ip_adapter_comes_back_without_its_pictures():
    adapter = {"ip_adapter": "a.safetensors", "ip_adapter_weight": 0.35, "ip_adapter_end": 0.5}
    params = JOBS["img2img"](**BASE | adapter).model_dump()
    note = "The pictures that its IP-Adapter was shown are not inside. Choose them (reference)."
    assert back("img2img", params) == ("img2img", params, [note])


@pytest.mark.parametrize(
    "told",
    [
        "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, Resize Mode: Resize and Fill, "
        "Low Vram: False, Processor Res: 512, Threshold A: 90, Threshold B: 210, Guidance Start: 0.1, "
        "Guidance End: 0.9, Pixel Perfect: True, Control Mode: My prompt is more important, Hr Option: Both",
        "preprocessor: canny, model: control_v11p_sd15_canny [d14c016b], weight: 0.8, starting/ending: (0.1, 0.9), "
        "resize mode: Resize and Fill, pixel perfect: False, control mode: My prompt is more important, "
        "preprocessor params: (512, 90, 210)",
    ],
)
def test_a_controlnet_of_a1111s_extension_is_read(told):
    text = infotext(
        "a", "", {"Steps": 4, "Sampler": "Euler", "CFG scale": 7, "Seed": 1, "Model": "m", "ControlNet 0": told}
    )
    job, params, notes = params_of(parse(text))
    (unit,) = params["controlnets"]
    expected = {"preprocessor": "canny", "model": "control_v11p_sd15_canny", "weight": 0.8, "start": 0.1, "end": 0.9}
    expected |= {"low_threshold": 90, "high_threshold": 210, "resize_mode": "resize and fill"}
    assert unit.items() >= (expected | {"control_mode": "my prompt is more important"}).items()
    assert notes == [CONTROLS]


def test_a_preprocessor_that_needs_weights_is_told():
    fields = {"Steps": "4", "Sampler": "Euler", "CFG scale": "7", "Seed": "1", "Model": "m"}
    job, params, notes = params_of(
        fields | {"ControlNet 0": "Module: depth_midas, Model: depth [aa]", "ControlNet 1": "((("}
    )
    assert params["controlnets"] == [] and "controlnets was" in notes[-1]
    told = "Module: ip-adapter_clip_sd15, Model: ip-adapter_sd15 [6a3f6166], Weight: 1"
    _, adapted, others = params_of(fields | {"ControlNet 0": told})
    assert adapted["controlnets"] == [] and others[0].startswith("ControlNet 0 is the IP-Adapter ip-adapter_sd15 [")
    job, params, notes = params_of(fields | {"ControlNet 0": "Module: depth_midas, Model: depth [aa]"})
    assert params["controlnets"][0]["preprocessor"] == "none"
    assert (
        notes[0] == "ControlNet 0: the preprocessor depth_midas is not here. Give what it makes as its control picture."
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_and_schedule_comes_back(sampler):
    for schedule in SCHEDULES:
        _, params, notes = back("txt2img", BASE | {"sampler": sampler, "schedule": schedule})
        assert (params["sampler"], params["schedule"], notes) == (sampler, schedule, [])


def test_every_parameter_that_changes_a_picture_is_written():
    unwritten = {"styles", "dynamic_prompts", "batch_size", "n_iter", "exact"}  # chosen before, or no matter
    pairs = {"width", "height", "seed_resize_width", "seed_resize_height", "hires_width", "hires_height"}
    others = {
        "prompt",
        "negative_prompt",
        "hires",
        "sampler",
        "schedule",
        "hires_sampler",
        "hires_schedule",
        "controlnets",
        "refiner",
    }
    known = {row.parameter for row in ROWS} | pairs | others | unwritten
    for job in ("txt2img", "img2img", "inpaint", "sd_upscale", "img2img_alternative"):
        assert JOBS[job].model_fields.keys() - known == set()


def test_each_job_of_the_plugin_that_draws_can_be_read_back():
    methods = {name: method for name, method in vars(StableDiffusion).items() if hasattr(method, "__job__")}
    classes = {name: get_type_hints(method).get("params") for name, method in methods.items()}
    drawing = {name: each for name, each in classes.items() if each and issubclass(each, Drawing)}
    assert drawing == {name: JOBS.get(name) for name in drawing}


def test_facts_of_the_picture_win_and_sizes_fill_in():
    facts = {
        "seed": 9,
        "width": 64,
        "height": 72,
        "model": "builtin",
        "model_hash": "ab12",
        "lora_hashes": {"x": "1", "y": "2"},
    }
    text = infotext("a", "", fields_of(JOBS["txt2img"](model="").model_dump(), facts))
    assert text == (
        "a\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 9, Size: 64x72, Model hash: ab12, Model: builtin, "
        f'RNG: CPU, Lora hashes: "x: 1, y: 2", Version: {VERSION}'
    )
    assert fields_of({"width": 32, "height": 40}, facts)["Size"] == "32x40"
    assert fields_of({}, {"lora_hashes": {}, "ti_hashes": None})["Lora hashes"] is None


def test_fields_have_the_names_that_a1111_reads():
    ddim = fields_of({"sampler": "DDIM", "eta": 0.5}, {})
    assert (ddim["Eta DDIM"], "Eta" in ddim) == (0.5, False)
    resized = fields_of({"hires": True, "hires_scale": 2, "hires_width": 64, "hires_height": 0}, {})
    assert (resized["Hires resize"], resized["Hires upscale"]) == ("64x0", None)
    assert "Hires resize" not in fields_of({"hires": False, "hires_width": 64, "hires_height": 0}, {})


@pytest.mark.parametrize(
    ("params", "written"),
    [
        ({"sampler": "Euler a"}, True),
        ({"sampler": "Euler a", "eta": 0}, False),
        ({"sampler": "Euler"}, False),
        ({"sampler": "Euler", "s_churn": 1}, True),
        ({"sampler": "DPM++ 2M SDE", "s_churn": 1}, False),  # its noise is a Brownian motion
        ({"sampler": "DDIM"}, False),
        ({"sampler": "DDIM", "eta": 0.5}, True),
        ({"sampler": "LCM"}, True),
        ({"sampler": "Euler", "hires": True, "hires_sampler": "DPM2 a"}, True),
        ({"sampler": "Euler", "hires": False, "hires_sampler": "DPM2 a"}, False),
    ],
)
def test_ensd_is_written_where_it_matters(params, written):
    fields = fields_of(JOBS["txt2img"](ensd=31337, **params).model_dump(), {})
    assert fields["ENSD"] == (31337 if written else None)


def test_what_has_no_effect_is_not_written():
    methods = {"mk2": None, "poor man's": "fill"}
    for method, content in methods.items():
        assert fields_of(JOBS["outpaint"](method=method).model_dump(), {})["Masked content"] == content
    fields = fields_of(JOBS["txt2img"](seed_resize_width=64, noise_source="GPU").model_dump(), {})
    assert "Seed resize from" not in fields and fields["RNG"] is None


A1111 = (
    "1girl, [night:day:0.5] {{x}}\nNegative prompt: lowres\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 11, Seed: 2870305590, Size: 512x768, Model hash: 7f96a1a9ca, "
    "Model: anything-v4.5, Denoising strength: 0.5, Clip skip: 2, ENSD: 31337, Hires upscale: 2, Hires steps: 15, "
    "Hires upscaler: Latent (bicubic antialiased), Version: v1.7.0"
)


def test_a_text_of_a1111_with_hires_fix_is_a_complete_form():
    job, params, notes = params_of(parse(A1111))
    assert (job, notes) == ("txt2img", [])
    assert params == JOBS["txt2img"](
        prompt="1girl, [night:day:0.5] {{x}}", negative_prompt="lowres", dynamic_prompts=False, steps=28,
        sampler="DPM++ 2M", schedule="karras", cfg_scale=11, seed=2870305590, width=512, height=768, hires=True,
        model="anything-v4.5", denoising_strength=0.5, clip_skip=2, ensd=31337, hires_scale=2, hires_steps=15,
        hires_upscaler="Latent (bicubic antialiased)", noise_source="NV",
    ).model_dump()  # fmt: skip
    assert json.loads(json.dumps(params)) == params


STATED = "Steps: 9, CFG scale: 7, Seed: 1, Size: 64x64, Model: m"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Sampler: DPM++ 2M", ("DPM++ 2M", "automatic")),
        ("Sampler: DPM++ 2M, Version: v1.8.0", ("DPM++ 2M", "automatic")),
        ("Sampler: DPM++ 2M, Version: v1.9.0", ("DPM++ 2M", "karras")),
        ("Sampler: DPM++ 2M, Schedule type: Automatic, Version: f2.0.1v1.10.1-previous-1-gab", ("DPM++ 2M", "karras")),
        ("Sampler: DPM++ 2M, Schedule type: Uniform, Version: v1.9.0", ("DPM++ 2M", "automatic")),
        ("Sampler: DPM++ 2M, Schedule type: SGM Uniform, Version: v1.9.0", ("DPM++ 2M", "sgm uniform")),
        ("Sampler: DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "exponential")),
        ("Sampler: DPM++ 2M Karras, Schedule type: Exponential", ("DPM++ 2M", "exponential")),
        ("Sampler: Euler a, Version: v1.9.0", ("Euler a", "automatic")),
        ("Sampler: k_euler_a", ("Euler a", "automatic")),
    ],
)
def test_samplers_and_schedules_are_what_that_version_took(fields, expected):
    _, params, notes = params_of(parse(f"a\n{STATED}, {fields}"))
    assert ((params["sampler"], params["schedule"]), notes) == (expected, [])


def test_automatic_is_written_so_that_a1111_takes_the_same():
    assert {sampler for sampler in SAMPLERS if sampler in AUTOMATIC} == set(AUTOMATIC)
    assert fields_of({"sampler": "DPM++ 2M", "schedule": "automatic"}, {})["Schedule type"] == "Uniform"
    assert fields_of({"sampler": "Euler", "schedule": "automatic"}, {})["Schedule type"] is None


@pytest.mark.parametrize(
    ("fields", "job"),
    [
        ("Sampler: Euler", "txt2img"),
        ("Sampler: Euler, Denoising strength: 0.7, Hires upscaler: Latent", "txt2img"),
        ("Sampler: Euler, Denoising strength: 0.7, Hires resize: 0x768", "txt2img"),
        ("Sampler: Euler, Denoising strength: 0.7, First pass size: 0x0", "txt2img"),
        ("Sampler: Euler, Denoising strength: 0.7", "img2img"),
        ("Sampler: Euler, Denoising strength: 0.7, Mask blur: 4", "inpaint"),
        ("Sampler: Euler, Denoising strength: 0.7, Masked content: fill", "inpaint"),
        ("Sampler: Euler, Denoising strength: 0.7, Mask blur: 4, SD upscale overlap: 64", "sd_upscale"),
        ("Sampler: Euler, Denoising strength: 1, Decode steps: 50", "img2img_alternative"),
    ],
)
def test_the_fields_tell_the_job(fields, job):
    assert params_of(parse(f"a\n{STATED}, {fields}"))[0] == job


def test_an_inpainted_picture_whose_text_has_no_mask_blur_had_none():
    _, params, _ = params_of(parse(f"a\n{STATED}, Sampler: Euler, Denoising strength: 0.7, Inpaint area: Only masked"))
    assert (params["mask_blur"], params["only_masked"], params["only_masked_padding"]) == (0, True, 32)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ("Sampler: Warp", "there is no sampler 'Warp'. Use Euler, "),
        ("Sampler: Euler, Schedule type: Turbo", "there is no schedule 'Turbo'. Use automatic, "),
        ("Sampler: Euler, Face restoration: GFPGAN", "Face restoration: GFPGAN has no counterpart here."),
        ("Sampler: Euler, FP8 weight: x", "FP8 weight: x has no counterpart here."),
        ("Sampler: Euler, Mask blur: x", "mask_blur was 'x', which does not go here: "),
        (
            "Sampler: Euler, Hires upscaler: ESRGAN",
            "hires_upscaler was 'ESRGAN', which does not go here: Input should be ",
        ),
        ("Sampler: Euler, Clip skip: 99", "clip_skip was '99', which does not go here: "),
        ("Sampler: Euler, Eta: inf", "eta was 'inf', which does not go here: "),
        ("Sampler: Euler, ENSD: " + "9" * 5000, "ensd was '999"),
        ("Clip skip: 1", "It does not say Sampler. The usual was taken."),
    ],
)
def test_what_cannot_be_translated_is_told_and_left_out(fields, note):
    job, params, notes = params_of(parse(f"a\n{STATED}, {fields}"))
    assert [each for each in notes if each.startswith(note)]
    assert all(len(each) < 600 for each in notes)
    assert JOBS[job](**params)


def test_what_a1111_only_tells_makes_no_note():
    told = 'Sampler: Euler, Model hash: ab, VAE hash: cd, User: me, Version: v1.5.1, Lora hashes: "x: 1", TI hashes: x'
    assert params_of(parse(f"[a:b:3]\n{STATED}, {told}"))[2] == []
    assert params_of(parse(f"[a:b:3]\n{STATED}, {told}, Hires upscale: 2"))[2] == [
        "Old prompt editing timelines: True has no counterpart here."
    ]


def test_a_prompt_alone_is_a_form_with_notes():
    job, params, notes = params_of(parse("a cat"))
    assert (job, params["prompt"], params["seed"], "model" in params) == ("txt2img", "a cat", -1, False)
    assert notes == [
        "It does not say Steps, Sampler, CFG scale. The usual was taken.",
        "It does not say which model drew it. Choose one.",
        "Its seed is not known, so this will be another picture.",
    ]


def test_old_hypernetworks_become_part_of_the_prompt():
    _, params, notes = params_of(parse(f"a\n{STATED}, Sampler: Euler, Hypernet: h, Hypernet strength: 0.8"))
    assert (params["prompt"], notes) == ("a<hypernet:h:0.8>", [])


def test_many_unknown_fields_make_few_notes():
    text = f"a\n{STATED}, Sampler: Euler, " + ", ".join(f"key{k}: 1" for k in range(100))
    notes = params_of(parse(text))[2]
    assert (len(notes), notes[-1]) == (21, "80 more fields have no counterpart here.")


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (("euler_ancestral", "normal"), ("Euler a", None)),
        (("dpmpp_2m", "karras"), ("DPM++ 2M", "Karras")),
        (("k_dpmpp_2m", None), ("DPM++ 2M", "Uniform")),
        (("warp", "karras"), ("warp", "Karras")),
        (("euler", "warp"), ("Euler", "warp")),
        ((None, None), (None, None)),
        (({}, 7), (None, None)),
    ],
)
def test_names_of_other_programs_become_a1111s(names, fields):
    assert tuple(named(*names).values()) == fields
