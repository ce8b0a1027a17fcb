"""The form of a pipeline: which arguments are inputs and parameters, under which names, with which bounds."""

from pathlib import Path

import diffusers
import pytest
from df.docstrings import arguments_of
from df.folders import PipelineFolder
from df.running import _arguments
from df.signatures import form_of

from core.plugin import InvalidParams


def form(name, path=Path("/nowhere")):
    return form_of(getattr(diffusers, name), PipelineFolder(name, path, name, {}))


def fields(name, *path):
    return form(name, *path).params.model_json_schema()["properties"]


def inputs(name):
    return {key: (each.kind, each.many, each.optional) for key, each in form(name).inputs.items()}


def test_names_are_the_fields_terms_and_bounds_are_enforced():
    found = fields("StableDiffusion3Pipeline")
    assert (found["steps"]["default"], found["steps"]["minimum"], found["steps"]["maximum"]) == (28, 1, 1000)
    assert found["cfg_scale"]["default"] == 7.0 and found["seed"]["ui"]["widget"] == "seed"
    assert found["negative_prompt"] | {"description": ""} == {
        "default": "", "description": "", "maxLength": 20_000, "title": "Negative Prompt", "type": "string",
        "ui": {"order": 1, "widget": "textarea"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="multiple of"):
        form("StableDiffusion3Pipeline").params(width=1001)


def test_where_there_is_a_true_cfg_scale_the_other_keeps_its_name():
    flux = form("FluxPipeline")
    assert flux.arguments["cfg_scale"] == "true_cfg_scale" and flux.arguments["guidance_scale"] == "guidance_scale"
    assert form("WanPipeline").arguments["cfg_scale"] == "guidance_scale"


def test_an_empty_text_is_none_for_the_pipeline_and_a_list_a_tuple_where_it_wants_one():
    found = form("StableDiffusionXLPipeline")
    given = found.params(negative_prompt="", target_size=[8, 8]).model_dump(exclude={"seed", "pictures"})
    arguments = _arguments(given, found)
    assert (arguments["prompt"], arguments["negative_prompt"], arguments["prompt_2"]) == ("", None, None)
    assert arguments["target_size"] == (8, 8) and arguments["num_inference_steps"] == 50


def test_what_cannot_be_written_as_json_is_left_out():
    found = fields("FluxPipeline").keys()
    assert not {name for name in found if any(part in name for part in ("latents", "embeds", "callback", "kwargs"))}
    assert not found & {"generator", "output_type", "return_dict", "num_images_per_prompt", "self"}
    assert {"prompt", "prompt_2", "sigmas", "max_sequence_length", "pictures"} <= found


def test_arguments_that_take_pictures_masks_sounds_and_films_are_inputs():
    assert inputs("StableDiffusionInpaintPipeline") == {
        "image": ("image", False, False),
        "mask": ("mask", False, False),
    }
    assert inputs("FluxFillPipeline")["image"] == ("image", False, True)  # only its docstring says that it is a picture
    assert inputs("Flux2Pipeline") == {"image": ("image", True, True)}
    assert inputs("QwenImage21Pipeline") == {"image": ("image", True, True)}  # "one or more", as its docstring says
    assert inputs("WanVideoToVideoPipeline") == {"video": ("video", False, False)}
    assert inputs("StableAudioPipeline") == {"audio": ("audio", False, True)}
    assert inputs("WanImageToVideoPipeline")["image"] == ("image", False, False)


def test_the_help_of_an_input_leaves_out_what_only_programmers_need():
    assert form("WanImageToVideoPipeline").inputs["image"].help == "The input image to condition the generation on."
    assert form("FluxInpaintPipeline").inputs["mask"].help.startswith("White pixels in the mask are repainted")
    assert form("FluxKontextPipeline").inputs["image"].help == ""


def test_the_sides_are_what_the_pipeline_would_take_for_the_folder(written):
    redraw = diffusers.StableDiffusionPipeline.from_pretrained(written / "redraw", safety_checker=None)
    for name, side in (("flux", 128 * 2), ("redraw", redraw.unet.config.sample_size * redraw.vae_scale_factor)):
        kind = "FluxPipeline" if name == "flux" else "StableDiffusionPipeline"
        assert {fields(kind, written / name)[each]["default"] for each in ("width", "height")} == {side}


def test_help_is_the_beginning_of_what_the_docstring_says():
    help = fields("FluxPipeline")["guidance_scale"]["description"]
    assert help.startswith("Embedded guiddance scale is enabled by setting guidance_scale > 1.") and len(help) <= 300
    assert arguments_of(diffusers.FluxPipeline.__call__)["max_sequence_length"] == (
        "`int` defaults to 512",
        "Maximum sequence length to use with the prompt.",
    )


def test_a_film_has_the_frames_a_second_of_the_pipelines_own_example():
    assert fields("WanPipeline")["fps"]["default"] == 16
    assert form("LTXPipeline").arguments["fps"] == "frame_rate"


def test_every_pipeline_of_diffusers_has_a_form_or_a_reason_why_not():
    names = [name for name in dir(diffusers) if isinstance(each := getattr(diffusers, name), type)
             and issubclass(each, diffusers.DiffusionPipeline) and "__call__" in dir(each)]  # fmt: skip
    found, reasons = {}, {}
    for name in names:
        try:
            found[name] = form(name)
        except InvalidParams as error:
            reasons[name] = str(error)
    assert len(found) > 200 and len(reasons) < 30
    assert all("no picture, film or sound" in reason for reason in reasons.values())
    for each in found.values():
        schema = each.params.model_json_schema()["properties"]
        defaults = {name: about["default"] for name, about in schema.items() if "default" in about}
        if defaults.keys() == schema.keys():
            assert each.params(**defaults) == each.params()
