"""ComfyUI's graphs, in its documented API format, as A1111's texts."""

import copy
import random

import pytest
from sd.comfyui import infotext_of
from sd.forms import params_of
from sd.infotext import parse

DEFAULT = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "cfg": 8, "denoise": 1, "latent_image": ["5", 0], "model": ["4", 0], "negative": ["7", 0],
            "positive": ["6", 0], "sampler_name": "euler", "scheduler": "normal", "seed": 8566257, "steps": 20,
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 1, "height": 512, "width": 768}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "masterpiece best girl"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "bad hands"}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}  # fmt: skip


def graph(nodes=(), **settings):
    """The default graph with other nodes, {id: (class, inputs)}, and other settings of its sampler."""
    changed = copy.deepcopy(DEFAULT)
    for key, (kind, inputs) in dict(nodes).items():
        changed[key] = {"class_type": kind, "inputs": inputs}
    changed["3"]["inputs"].update(settings)
    return changed


def read(nodes=(), **settings):
    """Job, parameters, and all notes."""
    text, notes = infotext_of(graph(nodes, **settings))
    job, params, more = params_of(parse(text))
    return job, params, notes + more


def test_the_default_graph_becomes_a1111s_text():
    text, notes = infotext_of(DEFAULT)
    assert notes == []
    assert text == (
        "masterpiece best girl\nNegative prompt: bad hands\n"
        "Steps: 20, Sampler: Euler, CFG scale: 8, Seed: 8566257, Size: 768x512, "
        "Model: v1-5-pruned-emaonly.safetensors, RNG: CPU, Emphasis: ComfyUI, Version: ComfyUI"
    )
    job, params, notes = read()
    assert (job, params["emphasis"], params["noise_source"], notes) == ("txt2img", "comfyui", "CPU", [])


def test_samplers_and_schedules_have_our_names():
    _, params, notes = read(sampler_name="dpmpp_2m_sde", scheduler="karras")
    assert (params["sampler"], params["schedule"], notes) == ("DPM++ 2M SDE", "karras", [])
    assert "there is no sampler 'warp'" in read(sampler_name="warp")[2][0]


def test_networks_clip_skip_and_embeddings_are_found_along_the_links():
    _, params, notes = read(
        {
            "6": ("CLIPTextEncode", {"clip": ["12", 0], "text": "a (embedding:by\\ink.pt:1.2), b"}),
            "10": ("LoraLoader", {"lora_name": "a\\x.safetensors", "strength_model": 0.8, "strength_clip": 0.8,
                                  "model": ["4", 0], "clip": ["4", 1]}),
            "11": ("LoraLoader", {"lora_name": "y.pt", "strength_model": 1, "strength_clip": 0.5,
                                  "model": ["10", 0], "clip": ["10", 1]}),
            "12": ("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["11", 1]}),
            "13": ("LoraLoaderModelOnly", {"lora_name": "z.safetensors", "strength_model": 0.3, "model": ["11", 0]}),
            "14": ("HypernetworkLoader", {"hypernetwork_name": "h.pt", "strength": 0.5, "model": ["13", 0]}),
            "15": ("RescaleCFG", {"multiplier": 0.7, "model": ["14", 0]}),
        },
        model=["15", 0],
    )  # fmt: skip
    assert notes == []
    assert params["prompt"] == "a (ink:1.2), b <lora:x:0.8> <lora:y:0.5:1> <lora:z:0:0.3> <hypernet:h:0.5>"
    assert (params["clip_skip"], params["cfg_rescale"]) == (2, 0.7)
    assert params["model"] == "v1-5-pruned-emaonly.safetensors"


def test_prompts_are_found_behind_other_nodes_of_conditionings():
    _, params, notes = read(
        {
            "20": ("ControlNetApplyAdvanced", {"positive": ["21", 0], "negative": ["7", 0], "strength": 1}),
            "21": ("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["22", 0]}),
            "22": ("ConditioningConcat", {"conditioning_to": ["23", 0], "conditioning_from": ["24", 0]}),
            "23": ("CLIPTextEncode", {"clip": ["4", 1], "text": ["25", 0]}),
            "24": ("CLIPTextEncode", {"clip": ["4", 1], "text": "c"}),
            "25": ("PrimitiveString", {"value": "b"}),
        },
        positive=["20", 0],
        negative=["20", 1],
    )
    assert params["prompt"] == "masterpiece best girl AND b BREAK c"
    assert params["negative_prompt"] == "bad hands"
    assert notes == ["The node ControlNetApplyAdvanced has no counterpart here."]


def test_settings_are_found_behind_links():
    _, params, _ = read(
        {"30": ("PrimitiveInt", {"value": 5}), "31": ("Seed (rgthree)", {"seed": ["30", 0]})}, seed=["31", 0]
    )
    assert params["seed"] == 5


def test_the_size_is_that_of_the_latents_that_are_sampled():
    nodes = {"50": ("LatentUpscale", {"samples": ["5", 0], "upscale_method": "bicubic", "width": 64, "height": 72})}
    _, params, _ = read(nodes, latent_image=["50", 0])
    assert (params["width"], params["height"], params["hires"]) == (64, 72, False)


def test_custom_samplers_have_their_settings_in_other_nodes():
    nodes = {
        "3": ("SamplerCustomAdvanced", {"noise": ["40", 0], "guider": ["41", 0], "sampler": ["42", 0],
                                        "sigmas": ["43", 0], "latent_image": ["5", 0]}),
        "40": ("RandomNoise", {"noise_seed": 3}),
        "41": ("CFGGuider", {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "cfg": 4.5}),
        "42": ("KSamplerSelect", {"sampler_name": "dpmpp_2m"}),
        "43": ("KarrasScheduler", {"steps": 9, "sigma_max": 14.5, "sigma_min": 0.03, "rho": 7}),
    }  # fmt: skip
    _, params, notes = read(nodes)
    assert (params["seed"], params["cfg_scale"], params["steps"], params["prompt"]) == (
        3,
        4.5,
        9,
        "masterpiece best girl",
    )
    assert (params["sampler"], params["schedule"]) == ("DPM++ 2M", "karras")
    assert (params["sigma_max"], params["sigma_min"], params["rho"], notes) == (14.5, 0.03, 7, [])


def test_a_guider_without_guidance_is_cfg_scale_1():
    nodes = {
        "3": ("SamplerCustomAdvanced", {"guider": ["41", 0], "sigmas": ["43", 0], "latent_image": ["5", 0]}),
        "41": ("BasicGuider", {"model": ["4", 0], "conditioning": ["6", 0]}),
        "43": ("BasicScheduler", {"steps": 4, "scheduler": "simple", "denoise": 1, "model": ["4", 0]}),
    }
    _, params, _ = read(nodes)
    assert (params["cfg_scale"], params["prompt"], params["schedule"]) == (1, "masterpiece best girl", "simple")


def test_a_second_pass_is_hires_fix():
    nodes = {
        "8": ("VAEDecode", {"samples": ["51", 0], "vae": ["4", 2]}),
        "50": ("LatentUpscaleBy", {"samples": ["3", 0], "upscale_method": "nearest-exact", "scale_by": 1.5}),
        "51": ("KSampler", DEFAULT["3"]["inputs"] | {"latent_image": ["50", 0], "denoise": 0.5, "steps": 14, "cfg": 6}),
    }
    job, params, notes = read(nodes)
    assert (job, params["hires"], params["hires_scale"], params["hires_steps"]) == ("txt2img", True, 1.5, 14)
    assert (params["hires_upscaler"], params["denoising_strength"]) == ("Latent (nearest-exact)", 0.5)
    assert (params["width"], params["steps"], params["hires_cfg_scale"], notes) == (768, 20, 6, [])


def test_a_second_pass_over_the_picture_is_hires_fix_with_lanczos():
    nodes = {
        "8": ("VAEDecode", {"samples": ["64", 0], "vae": ["4", 2]}),
        "61": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "62": ("ImageScale", {"image": ["61", 0], "upscale_method": "lanczos", "width": 1536, "height": 1024}),
        "63": ("VAEEncode", {"pixels": ["62", 0], "vae": ["4", 2]}),
        "64": ("KSampler", DEFAULT["3"]["inputs"] | {"latent_image": ["63", 0], "denoise": 0.3, "seed": 4}),
    }
    _, params, notes = read(nodes)
    assert (params["hires_upscaler"], params["hires_width"], params["hires_height"]) == ("Lanczos", 1536, 1024)
    assert params["seed"] == 8566257
    assert notes == ["The second pass had a seed of its own; here both have that of the first."]


def test_a_redrawn_picture_is_img2img_and_a_masked_one_inpainting():
    load = {"70": ("LoadImage", {"image": "cat.png"}), "71": ("VAEEncode", {"pixels": ["70", 0], "vae": ["4", 2]})}
    job, params, notes = read(load, latent_image=["71", 0], denoise=0.6)
    assert (job, params["denoising_strength"], params["fix_steps"], params["width"]) == ("img2img", 0.6, True, 0)
    assert notes == ["It was made from the picture 'cat.png'."]
    load["72"] = ("SetLatentNoiseMask", {"samples": ["71", 0], "mask": ["70", 1]})
    job, params, _ = read(load, latent_image=["72", 0], denoise=0.6)
    assert (job, params["mask_blur"], params["fill"]) == ("inpaint", 0, "original")


def test_what_has_no_counterpart_is_told():
    assert read({"5": ("EmptyLatentImage", {"batch_size": 4, "height": 512, "width": 512})})[2] == [
        "It was one of a batch. Only the first of these has the noise that its seed makes here."
    ]
    _, params, notes = read({"80": ("FreeU", {"model": ["4", 0], "multiplier": 0.5})}, model=["80", 0])
    assert (params["cfg_rescale"], notes) == (0, ["The node FreeU has no counterpart here."])
    assert read(seed=2**63)[2][0].startswith("seed was '9223372036854775808', which does not go here")
    assert read(denoise=0.5)[2] == ["It was drawn with a denoise below 1 from empty latents; here it is drawn in full."]
    nodes = {
        "3": ("KSamplerAdvanced", DEFAULT["3"]["inputs"] | {"start_at_step": 0, "end_at_step": 10, "noise_seed": 1})
    }
    assert read(nodes)[2] == ["Only the steps from 0 to 10 of 20 were run; here it is all of them."]


def test_of_several_pictures_the_first_is_taken():
    nodes = {
        "90": ("KSampler", DEFAULT["3"]["inputs"] | {"seed": 1}),
        "91": ("VAEDecode", {"samples": ["90", 0], "vae": ["4", 2]}),
        "92": ("PreviewImage", {"images": ["91", 0]}),
    }
    _, params, notes = read(nodes)
    assert (params["seed"], len(notes)) == (8566257, 1)
    assert notes[0].startswith("The graph draws several pictures")


def test_without_outputs_the_last_sampler_is_taken():
    nodes = graph(
        {"51": ("KSampler", DEFAULT["3"]["inputs"] | {"latent_image": ["3", 0], "denoise": 0.5, "steps": 14})}
    )
    del nodes["8"], nodes["9"]
    assert "Hires steps: 14" in infotext_of(nodes)[0]


@pytest.mark.parametrize(
    "nodes", [{}, {"1": 2}, {"1": {"class_type": 3, "inputs": {}}}, {"1": {"class_type": "KSampler"}}]
)
def test_what_is_no_graph_gives_nothing(nodes):
    assert infotext_of(nodes) == (None, [])


def test_a_graph_without_a_sampler_is_told():
    text, notes = infotext_of({"9": DEFAULT["9"]})
    assert (text, notes) == (None, ["ComfyUI's graph has no sampler that is known here."])


def test_cycles_end():
    for key, name in [
        ("5", "samples"),
        ("6", "conditioning"),
        ("6", "text"),
        ("4", "model"),
        ("4", "ckpt_name"),
        ("8", "samples"),
    ]:
        nodes = graph()
        nodes[key]["inputs"][name] = [key, 0]
        assert infotext_of(nodes)[0]
    assert infotext_of(graph({"4": ("A", {"model": ["9", 0]})}))[0]


def test_large_graphs_take_no_longer_than_others():
    chain = {str(k): ("ConditioningCombine", {"conditioning_1": [str(k + 1), 0], "conditioning_2": [str(k + 1), 0]})
             for k in range(100, 5000)}  # fmt: skip
    samplers = {f"s{k}": ("KSampler", DEFAULT["3"]["inputs"] | {"latent_image": [f"s{k + 1}", 0]}) for k in range(5000)}
    outputs = {f"o{k}": ("SaveImage", {"images": [f"s{k}", 0]}) for k in range(5000)}
    assert infotext_of(graph(chain, positive=["100", 0]))[0]
    assert infotext_of(graph({**samplers, **outputs}, latent_image=["s0", 0]))[0]


def test_any_wrong_value_is_survived():
    dice = random.Random(1)
    values = [
        None,
        True,
        -1,
        2**70,
        1e300,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\ud800",
        [],
        {},
        ["3", 0],
        ["4", 0],
        ["nowhere", 0],
    ]
    values += [[[]], [1, 2], {"a": []}, "a" * 5000, "1x1", [[], 0], -(2**40), ["6", 0], ["9", 0]]
    second = {"51": ("KSampler", DEFAULT["3"]["inputs"] | {"latent_image": ["5", 0], "denoise": 0.5})}
    for _ in range(3000):
        nodes = graph(second)
        for _ in range(dice.randrange(1, 6)):
            node = nodes[dice.choice(list(nodes))]
            names = [
                *node["inputs"],
                "samples",
                "pixels",
                "conditioning",
                "width",
                "scale_by",
                "lora_name",
                "add_noise",
            ]
            node["inputs"][dice.choice(names)] = dice.choice(values)
        text, notes = infotext_of(nodes)
        job, params, more = params_of(parse(text or ""))
        assert all(isinstance(note, str) and len(note) < 1000 for note in notes + more)
