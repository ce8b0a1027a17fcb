"""Which folders become jobs, and what is told of the others. Code in a folder is never run."""

import json
import os
import re

import pytest
from conftest import edit


def note(announced):
    jobs, notes = announced()
    assert not jobs and len(notes) == 1, (jobs, notes)
    return notes[0]


def test_without_a_folder_there_is_a_hint_and_no_torch_is_needed(announced, models):
    assert "Put a folder in diffusers layout" in note(announced)
    (models.folder / "pipeline" / "lone").mkdir(parents=True)
    (models.folder / "pipeline" / "lone" / "config.json").write_text("{}")
    assert note(announced) == "No pipelines, as they have no model_index.json: lone."


def test_each_folder_is_a_job_with_a_name_of_its_own(announced, put):
    for name in ("FLUX.1-dev", "FLUX_1 dev", "load", "3d", "x" * 200):
        put("flux", name)
    put("wan", "films/wan")
    jobs, notes = announced()
    assert sorted(jobs) == ["FLUX_1_dev", "FLUX_1_dev_2", "films_wan", "load_2", "pipeline_3d", "x" * 64] and not notes
    assert jobs["films_wan"]["output"] == {"kind": "video", "list": True, "optional": False}
    assert jobs["load_2"]["help"] == "load: The Flux pipeline for text-to-image generation."


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"_class_name": ["pipeline", "Mine"]}, "is code of its own, which is never run"),
        ({"_class_name": "FluxPipelin"}, r"diffusers [\d.]+ has no pipeline FluxPipelin\."),
        ({"_class_name": "ConsisIDPipeline"}, "ConsisIDPipeline needs packages that are not installed: opencv"),
        ({"_class_name": "MarigoldDepthPipeline"}, "gives prediction, which is no picture, film or sound"),
        ({"_class_name": "AutoencoderKL"}, "AutoencoderKL of diffusers is no pipeline"),
        ({"_class_name": "DiffusionPipeline"}, "DiffusionPipeline of diffusers runs nothing itself"),
        ({"_class_name": None}, "names no pipeline class, but 'None'"),
        ({"vae": ["mine", "MyVAE"]}, "vae is a MyVAE of mine, and only classes of diffusers and transformers are run"),
        ({"more": ["diffusers", "AutoencoderKL"]}, "the folder more is missing"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_with_the_reason_and_hides_no_other(changes, says, announced, put):
    put("flux", "broken", **changes)
    put("wan")
    jobs, notes = announced()
    assert [*jobs] == ["wan"] and len(notes) == 1
    assert re.match(f"models/pipeline/broken cannot be used: .*{says}", notes[0]), notes[0]


def test_a_folder_with_which_nobody_had_reckoned_hides_no_other(announced, put, monkeypatch):
    put("flux", "odd"), put("wan")
    from df import jobs as making

    job_of = making.job_of
    monkeypatch.setattr(making, "job_of", lambda name, *rest: 1 / 0 if name == "odd" else job_of(name, *rest))
    jobs, notes = announced()
    assert [*jobs] == ["wan"] and notes == ["models/pipeline/odd cannot be used: ZeroDivisionError: division by zero."]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_pipe_in_a_folder_is_not_waited_for(announced, put):
    config = put("flux") / "vae/config.json"
    config.unlink()
    os.mkfifo(config)
    assert "config.json is no file" in note(announced)


@pytest.mark.parametrize("place", ["pipeline.py", "transformer/mine.py", "unused.py"])
def test_code_in_a_folder_refuses_it_and_is_not_run(place, announced, put, tmp_path):
    (put("flux", "evil") / place).write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    assert f"it brings code of its own ({place}), which is never run" in note(announced)
    assert not (tmp_path / "was_run").exists()


def test_a_component_that_asks_for_code_is_refused(announced, put):
    edit(put("flux"), "text_encoder_2/config.json", auto_map={"AutoModel": "somebody/else--modeling.Model"})
    assert "text_encoder_2/config.json asks for code of its own (auto_map)" in note(announced)


def test_more_layers_than_any_model_has_are_refused(announced, put):
    edit(put("flux"), "transformer/config.json", num_layers=10**9)
    assert "transformer/config.json has num_layers of 1000000000" in note(announced)


def test_a_side_that_nobody_can_draw_is_no_default(announced, put):
    edit(put("fill"), "unet/config.json", sample_size=10**12)
    assert announced()[0]["fill"]["params"]["properties"]["width"]["default"] is None


@pytest.mark.parametrize(
    "text, says", [("{", "cannot be read"), ("[]", "holds no JSON object"), ("[" * 100_000, "cannot")]
)
def test_a_damaged_index_is_told(text, says, announced, put):
    (put("flux") / "model_index.json").write_text(text)
    assert f"model_index.json {says}" in note(announced)


def test_what_changes_in_a_folder_changes_its_job(announced, put):
    path = put("flux")
    assert announced()[0]["flux"]["params"]["properties"]["width"]["default"] == 256
    config = json.loads((path / "vae/config.json").read_text())
    edit(path, "vae/config.json", block_out_channels=[*config["block_out_channels"], 4])
    assert announced()[0]["flux"]["params"]["properties"]["width"]["default"] == 512
