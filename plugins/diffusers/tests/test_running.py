"""Jobs of real pipelines with random weights: what comes out is what the bare pipeline gives, and errors have words."""

import io

import av
import diffusers
import numpy
import pytest
import scipy.io.wavfile
import torch
from df import media
from PIL import Image, ImageChops

from core.library.models import Models
from core.plugin import Cancelled, InvalidParams

SMALL = {"width": 16, "height": 16, "steps": 2, "seed": 7}
RED = Image.new("RGB", (64, 64), "red")


@pytest.fixture
def models(written):
    return Models(written.parent, [])  # nothing is changed here, so the pipelines are loaded once


def bare(pipeline, path, seed=7, **given):
    made = pipeline.from_pretrained(path)
    made.set_progress_bar_config(disable=True)
    return made(generator=torch.Generator().manual_seed(seed), num_inference_steps=2, **given)


def difference(one, other):
    return max(high for _, high in ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema())


def test_a_picture_is_the_one_of_the_bare_pipeline(run, written):
    (result,) = run("flux", prompt="a cat", guidance_scale=2.0, **SMALL)
    expected = bare(
        diffusers.FluxPipeline, written / "flux", prompt="a cat", guidance_scale=2.0, width=16, height=16
    ).images[0]
    assert result.value.size == (16, 16) and difference(result.value, expected) == 0
    assert result.facts["seed"] == 7
    assert result.facts["infotext"].splitlines() == [
        "a cat", "Steps: 2, CFG scale: 1.0, Distilled CFG Scale: 2.0, Seed: 7, Size: 16x16, Model: flux",
    ]  # fmt: skip


def test_picture_k_is_the_one_that_its_seed_gives_alone(run):
    results = run("flux", pictures=2, **SMALL)
    assert [result.facts["seed"] for result in results] == [7, 8]
    (alone,) = run("flux", **SMALL | {"seed": 8})
    assert difference(results[1].value, alone.value) == 0 and difference(results[0].value, alone.value) > 0


def test_a_random_seed_is_told_and_gives_the_picture_again(run):
    first, second = (run("flux", **SMALL | {"seed": -1})[0] for _ in range(2))
    assert first.facts["seed"] != second.facts["seed"]
    assert difference(run("flux", **SMALL | {"seed": first.facts["seed"]})[0].value, first.value) == 0


def test_cfg_without_a_negative_prompt_is_not_left_out(run):
    plain, guided = (run("flux", prompt="a cat", cfg_scale=scale, **SMALL)[0].value for scale in (1, 5))
    assert difference(plain, guided) > 0


def test_a_film_has_its_frames_and_its_speed(run, written):
    (result,) = run("wan", prompt="a", num_frames=5, fps=12, **SMALL)
    with av.open(io.BytesIO(result.value)) as film:
        assert film.streams.video[0].average_rate == 12
    frames = media.read_film(result.value, "film")
    expected = bare(diffusers.WanPipeline, written / "wan", prompt="a", num_frames=5, width=16, height=16).frames[0]
    assert len(frames) == 5 and frames[0].size == (16, 16)
    seen = numpy.stack([numpy.asarray(frame) for frame in frames]) / 255
    assert numpy.abs(seen.mean((1, 2)) - expected.mean((1, 2))).max() < 0.05  # H.264 loses a little


def test_a_film_can_have_a_sound():
    tone = numpy.sin(numpy.arange(24_000) * 0.2) * 0.5  # a second
    data = media.write_film([RED] * 10, 10, numpy.stack([tone, tone]), 24_000)
    sound = media.read_sound(data, 24_000, "film")
    assert len(media.read_film(data, "film")) == 10 and sound.shape[0] == 2
    assert sound.shape[1] == pytest.approx(24_000, abs=2100)  # AAC fills its last frames
    assert numpy.abs(sound[:, 4000:20_000]).max() == pytest.approx(0.5, abs=0.05)


def test_a_sound_has_its_rate_and_length_and_can_begin_with_another(run):
    given = {"prompt": "a", "audio_end_in_s": 0.02, "steps": 2, "seed": 7}
    (result,) = run("stable_audio", **given)
    rate, samples = scipy.io.wavfile.read(io.BytesIO(result.value))
    assert (rate, samples.dtype, samples.shape) == (400, numpy.int16, (7, 2))  # as this decoder rounds
    (other,) = run("stable_audio", **given, audio=media.write_sound(numpy.ones((2, 1600)), 800))
    assert other.value != result.value


def test_a_picture_goes_in_and_little_strength_changes_little(run):
    given = {"prompt": "a red circle on a blue background", "image": RED, "steps": 10, "seed": 7}
    little, much = (run("redraw", **given, denoising_strength=share)[0].value for share in (0.1, 1.0))
    assert (
        difference(little.resize((1, 1)), RED.resize((1, 1))) < 40 < difference(much.resize((1, 1)), RED.resize((1, 1)))
    )


def test_a_mask_says_what_is_drawn_anew(run):
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (32, 0, 64, 64))
    given = {"prompt": "a yellow square on a green background", "width": 64, "height": 64, "steps": 8, "seed": 7}
    found = run("fill", image=RED, mask=mask, denoising_strength=1.0, **given)[0].value
    kept, drawn = (numpy.asarray(found.crop(box)).mean((0, 1)) for box in ((0, 0, 24, 64), (40, 0, 64, 64)))
    assert kept[0] > 200 and kept[1] < 60 and numpy.abs(drawn - kept).max() > 60


def test_what_does_not_go_together_is_told_in_the_pipelines_words(run):
    with pytest.raises(InvalidParams, match="flux: `max_sequence_length` cannot be greater than 512 but is 600"):
        run("flux", max_sequence_length=600, **SMALL)


def test_what_is_no_film_or_sound_is_told_by_its_name(run):
    with pytest.raises(InvalidParams, match="audio cannot be read as a sound"):
        run("stable_audio", audio=b"RIFF....WAVE nothing", steps=2)
    with pytest.raises(InvalidParams, match="video cannot be read as a film"):
        media.read_film(b"....ftyp", "video")


def test_progress_counts_the_steps_of_all_pictures(run, make_context):
    run("flux", ctx := make_context(), pictures=2, **SMALL)
    steps = [body["step"] for event, body in ctx.told if event == "progress" and body["phase"].startswith("picture")]
    assert steps == [1, 2, 3, 4]


def test_a_cancel_is_heard_between_two_steps(run, make_context):
    ctx = make_context(lambda event, body: body.get("phase") == "steps" and ctx._cancelled.set())
    with pytest.raises(Cancelled):
        run("flux", ctx, **SMALL | {"steps": 50})
    assert [body["step"] for event, body in ctx.told if body.get("phase") == "steps"] == [1]
    assert run("flux", **SMALL)  # and the pipeline is as good as before


def test_a_skip_leaves_a_picture_and_goes_on_with_the_next(run, make_context):
    def skip_first(event, body):
        ctx.skips += body.get("phase") == "picture 1 of 2"

    ctx = make_context(skip_first)
    assert [result.facts["seed"] for result in run("flux", ctx, pictures=2, **SMALL)] == [8]
