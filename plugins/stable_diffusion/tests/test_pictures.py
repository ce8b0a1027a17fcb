"""The jobs from end to end on the built-in model: what is on the pictures, and that jobs do not disturb each other."""

import gc
import hashlib
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from math import nan

import numpy
import PIL.Image
import pytest
import torch
from drawing import RED_CIRCLE, difference, is_red_disc_on_blue, pixels, psnr, same
from safetensors.torch import save_file
from sd import TextToImage
from sd.autoencoder import Autoencoder
from sd.conditioning import TextEncoder
from sd.denoiser import Denoiser
from sd.resizing import upscaled

from core.plugin import Cancelled, InvalidParams, ModelNotFound

SMALL = {"width": 64, "height": 64}  # where it does not matter what is on the picture


@pytest.mark.parametrize("schedule", ["automatic", "karras"])
@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M"])
def test_a_red_circle_on_a_blue_background_is_one(draw, sampler, schedule):
    (result,) = draw(sampler=sampler, schedule=schedule, steps=12)
    assert is_red_disc_on_blue(result)


def test_the_facts_tell_how_to_draw_the_picture_again(draw):
    (result,) = draw(negative_prompt="green", schedule="karras", steps=2, width=64, height=72)
    facts = result.facts
    assert {key: facts[key] for key in ("seed", "width", "height", "model")} == {
        "seed": 1, "width": 64, "height": 72, "model": "builtin",
    }  # fmt: skip
    assert facts["infotext"] == (
        f"{RED_CIRCLE}\nNegative prompt: green\nSteps: 2, Sampler: Euler, Schedule type: Karras, CFG scale: 7, "
        f"Seed: 1, Size: 64x72, Model hash: {facts['model_hash']}, Model: builtin, RNG: CPU, Version: stable-core 0.1.0"
    )


def test_the_same_seed_is_the_same_picture_and_another_seed_another(draw):
    (first,), (again,), (other,) = (draw(sampler="Euler a", seed=seed, **SMALL) for seed in (1, 1, 2))
    assert first.value.tobytes() == again.value.tobytes()
    assert difference(first, other) > 3


def test_samplers_and_schedules_give_different_pictures(draw):
    ways = [("Euler", "automatic"), ("Euler a", "automatic"), ("DPM++ 2M", "automatic"), ("Euler", "karras")]
    pictures = [draw(sampler=sampler, schedule=schedule, **SMALL)[0] for sampler, schedule in ways]
    assert all(difference(a, b) > 0.5 for i, a in enumerate(pictures) for b in pictures[:i])


def test_a_random_seed_is_reported_and_draws_the_picture_again(draw):
    (first,), (other,) = draw(seed=-1, **SMALL), draw(seed=-1, **SMALL)
    assert first.facts["seed"] != other.facts["seed"]
    (again,) = draw(seed=first.facts["seed"], **SMALL)
    assert again.value.tobytes() == first.value.tobytes()


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M"])
def test_image_k_of_a_batch_is_the_image_alone(draw, latents, sampler):
    batch = draw(batch_size=3, seed=2**32 - 2, sampler=sampler, **SMALL)
    together = latents[:]
    alone = [draw(seed=seed, sampler=sampler, **SMALL)[0] for seed in (2**32 - 2, 2**32 - 1, 0)]
    assert [result.facts["seed"] for result in batch] == [result.facts["seed"] for result in alone]
    assert all(same(a, b) for a, b in zip(batch, alone, strict=True))
    for a, b in zip(together, latents[3:], strict=True):
        assert (a - b).norm() / b.norm() < 1e-3


def test_a_batch_is_sampled_in_shared_calls_and_its_pictures_come_one_by_one(draw, calls):
    assert len(draw(batch_size=10, steps=2, width=64, height=64)) == 10
    assert max(len(asks) for asks in calls) == 8  # 16 rows; the first may begin before the others are there
    assert sum(len(asks) for asks in calls) == 20


def test_a_batch_reads_its_prompts_once(draw, unread, monkeypatch):
    read, rows = [], TextEncoder._read
    monkeypatch.setattr(TextEncoder, "_read", lambda self, chunks: read.extend(chunks) or rows(self, chunks))
    draw(batch_size=8, steps=1, width=64, height=64)
    assert len(read) == 2


def test_a_prompt_of_many_parts_is_read_in_turns_by_the_unet(draw, calls):
    (many,) = draw(prompt=" AND ".join([f"{RED_CIRCLE} :0.025"] * 40), steps=2, width=64, height=64)
    assert max(sum(len(ask.conditions) for ask in asks) for asks in calls) == 16
    assert difference(many, draw(steps=2, width=64, height=64)[0]) < 1


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M"])
def test_one_step_and_two_steps_work(draw, sampler):
    for steps in (1, 2):
        (result,) = draw(sampler=sampler, steps=steps)
        assert result.value.size == (128, 128) and pixels(result).std() > 10


def test_an_empty_prompt_draws_something(draw):
    (result,) = draw(prompt="")
    assert pixels(result).std() > 5


@pytest.mark.parametrize(("width", "height"), [(8, 8), (64, 136), (192, 0)])
def test_sizes_are_multiples_of_8_and_0_is_the_models_own(draw, width, height):
    (result,) = draw(width=width, height=height, steps=1)
    assert result.value.size == (width, height or 128)


def test_cfg_scale_1_takes_one_row_of_the_unet_and_ignores_the_negative_prompt(draw, calls):
    (one,), (other,) = draw(cfg_scale=1, **SMALL), draw(cfg_scale=1, negative_prompt="red", **SMALL)
    assert one.value.tobytes() == other.value.tobytes()
    assert {len(ask.conditions) for asks in calls for ask in asks} == {1}


def test_img2img_keeps_more_of_the_picture_at_less_strength(draw):
    source = PIL.Image.new("RGB", (200, 300), (40, 160, 60))
    stretched = source.resize((128, 128))
    strengths = (0, 0.3, 0.6, 1)
    size = {"width": 128, "height": 128}
    results = [draw(image=source, denoising_strength=strength, steps=12, **size)[0] for strength in strengths]
    distances = [difference(result, stretched) for result in results]
    assert distances == sorted(distances) and distances[0] < 12
    assert is_red_disc_on_blue(results[-1])
    assert "Denoising strength: 0.3" in results[1].facts["infotext"]


def test_img2img_puts_transparent_pictures_on_white(draw):
    clear, white = PIL.Image.new("RGBA", (64, 64), (255, 0, 0, 0)), PIL.Image.new("RGB", (64, 64), "white")
    results = [draw(image=image, denoising_strength=0, width=64, height=64, steps=1)[0] for image in (clear, white)]
    assert results[0].value.tobytes() == results[1].value.tobytes()


def test_strength_0_runs_one_step_and_half_of_4_steps_are_3(draw, calls):
    image = PIL.Image.new("RGB", (128, 128), "white")
    draw(image=image, denoising_strength=0)
    assert len(calls) == 1
    draw(image=image, denoising_strength=0.5)
    assert len(calls) == 1 + 3


MIXED = [
    {"prompt": "a green star on a white background", "sampler": "Euler a", "steps": 7},
    {"prompt": "a red circle on a blue background", "sampler": "DPM++ 2M", "schedule": "karras", "seed": 9},
    {"prompt": "a yellow square on a black background", "sampler": "Euler", "cfg_scale": 1},
    {"prompt": "a blue heart on a pink background", "sampler": "Euler a", "width": 64, "height": 64},
    {"prompt": "a black ring", "negative_prompt": "white", "sampler": "DPM++ 2M", "steps": 5, "batch_size": 2},
    {"prompt": "", "sampler": "Euler a", "steps": 2, "width": 192},
    {"prompt": "a purple moon", "image": PIL.Image.new("RGB", (50, 50), "orange"), "denoising_strength": 0.5},
    {"prompt": "a red circle on a blue background", "sampler": "Euler", "cfg_scale": 4.5},
]


def test_concurrent_jobs_get_the_pictures_they_would_get_alone_and_share_calls(draw, calls):
    alone = [draw(**options) for options in MIXED]
    asks_alone, calls_alone = sum(len(asks) for asks in calls), len(calls)
    calls.clear()
    with ThreadPoolExecutor(len(MIXED)) as pool:
        together = list(pool.map(lambda options: draw(**options), MIXED))
    for ours, theirs in zip(together, alone, strict=True):
        assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    assert sum(len(asks) for asks in calls) == asks_alone and len(calls) < calls_alone
    assert max(len({id(ask.conditions[0].context) for ask in asks}) for asks in calls) >= 3  # jobs in one call


def stopping(make_context, at_step, keep_partial=False):
    """A context that is cancelled when the job tells that `at_step` is done."""

    def listen(event, body):
        if event == "progress" and body["phase"] == "sample" and body["step"] >= at_step:
            ctx.keep_partial = keep_partial
            ctx._cancelled.set()

    ctx = make_context(listen)
    return ctx


def test_a_cancelled_job_stops_within_a_step_and_is_not_decoded(draw, make_context, calls, latents):
    with pytest.raises(Cancelled):
        draw(stopping(make_context, 3), steps=50)
    assert len(calls) == 3 and latents == []


def test_cancelling_one_job_leaves_the_others_equal(draw, make_context, calls):
    (alone,) = draw(sampler="Euler a", steps=12, seed=7)
    calls.clear()
    ctx = stopping(make_context, 3)
    with ThreadPoolExecutor() as pool:
        doomed = pool.submit(draw, ctx, steps=50, batch_size=2)
        (other,) = draw(sampler="Euler a", steps=12, seed=7)
        assert isinstance(doomed.exception(20), Cancelled)
    assert same(alone, other) and any(len(asks) > 1 for asks in calls)


def test_keep_partial_gives_the_unfinished_pictures(draw, make_context, calls):
    results = draw(stopping(make_context, 8, keep_partial=True), steps=12, batch_size=2)
    assert len(results) == 2 and sum(len(asks) for asks in calls) < 2 * 12
    assert all(is_red_disc_on_blue(result) and result.facts["partial"] for result in results)


@pytest.mark.parametrize("failing", ["cancelled", "unknown network", "broken model"])
def test_a_job_that_ends_badly_is_freed_at_once(draw, plugin, make_context, monkeypatch, failing):
    from sd import studio

    jobs, job = [], studio.Job
    monkeypatch.setattr(studio, "Job", lambda *given: jobs.append(weakref.ref(made := job(*given))) or made)
    if failing == "broken model":
        monkeypatch.setattr(Denoiser, "denoise", lambda self, asks: 1 / 0)
    ctx = stopping(make_context, 1) if failing == "cancelled" else make_context()
    gc.disable()  # only what nothing refers to is freed, not what goes round in circles: that may take minutes
    try:
        draw(ctx, **SMALL, steps=3, batch_size=2, prompt="<lora:x>" if failing == "unknown network" else "")
    except (Cancelled, ModelNotFound, ZeroDivisionError):
        plugin._studio.batcher.submit(lambda: None).result(10)  # the device's thread is done with it, too
        assert len(jobs) == 1 and jobs[0]() is not None  # the error that we have still knows it
    finally:
        gc.enable()
    assert jobs[0]() is None


def test_keep_partial_of_a_job_that_has_nothing_yet_is_cancelled(draw, make_context):
    ctx = make_context()
    ctx.keep_partial = True
    ctx._cancelled.set()
    with pytest.raises(Cancelled):
        draw(ctx)


def test_a_failing_image_costs_only_itself(plugin, make_context, draw, monkeypatch):
    from sd import shot

    alone = draw(batch_size=3, **SMALL)
    noise = shot.Noise

    def failing(seed, *rest, **more):
        if seed == 2:
            raise RuntimeError("bad luck")
        return noise(seed, *rest, **more)

    monkeypatch.setattr(shot, "Noise", failing)
    results = []
    params = TextToImage(prompt=RED_CIRCLE, seed=1, steps=4, sampler="Euler", batch_size=3, **SMALL)
    with pytest.raises(RuntimeError, match="bad luck"):
        for result in plugin.txt2img(params, make_context()):
            results.append(result)
    assert len(results) == 2
    assert same(results[0], alone[0]) and same(results[1], alone[2])


@pytest.mark.parametrize("sampler", ["Euler", "DPM adaptive"])
def test_what_is_not_a_number_is_an_error_and_no_black_picture(draw, monkeypatch, sampler):
    def denoise(self, asks):
        return [ask.x.new_full((len(ask.conditions), *ask.x.shape[1:]), nan) for ask in asks]

    monkeypatch.setattr(Denoiser, "denoise", denoise)
    with pytest.raises(InvalidParams, match="model 'builtin' answered with not-a-number") as caught:
        draw(sampler=sampler)
    assert "cfg_scale" in caught.value.extra["hint"]


def test_a_mistake_in_all_of_many_pictures_is_told_at_once(draw, monkeypatch):
    from sd.words import Reader

    reads, read = [], Reader.read
    monkeypatch.setattr(Reader, "read", lambda self, *texts: reads.append(texts) or read(self, *texts))
    with pytest.raises(ModelNotFound, match="nowhere"):
        draw(prompt="<lora:nowhere>", batch_size=64, n_iter=1000)
    assert len(reads) < 64


def test_a_job_that_nobody_waits_for_ends(plugin, make_context, calls):
    params = TextToImage(prompt=RED_CIRCLE, steps=12, batch_size=16)
    results = plugin.txt2img(params, make_context())
    next(results)
    next(results)  # the ninth image has begun
    results.close()
    while plugin._studio.batcher._flying:
        time.sleep(0.01)
    assert sum(len(asks) for asks in calls) < 9 * 12


def test_progress_tells_phases_in_order_and_ends_full(draw, make_context):
    ctx = make_context()
    draw(ctx, batch_size=2, **SMALL)
    told = [body for event, body in ctx.told if event == "progress"]
    assert list(dict.fromkeys(body["phase"] for body in told)) == ["load", "sample", "decode"]
    assert told[-1] == {"step": 2, "total": 2, "phase": "decode", "eta_seconds": 0}
    steps = [body["step"] for body in told if body["phase"] == "sample"]
    assert steps == sorted(steps) and steps[-1] == 4


def test_progress_tells_when_the_next_of_several_pictures_will_be_there(draw, make_context):
    ctx = make_context()
    draw(ctx, batch_size=9, steps=2, width=64, height=64)
    told = [body["next_output"] for event, body in ctx.told if body.get("next_output")]
    numbers = [each["index"] for each in told]
    assert numbers == sorted(numbers) and numbers[0] == 0 < numbers[-1]
    assert all(each["eta_seconds"] >= 0 for each in told)


def test_the_last_preview_looks_like_the_picture(draw, make_context):
    ctx = make_context()
    (result,) = draw(ctx, steps=8, width=192)
    previews = [body["image"] for event, body in ctx.told if event == "preview"]
    assert len(previews) == 8 and previews[-1].size == (192, 128)
    small = [picture.resize((12, 8), PIL.Image.Resampling.BOX) for picture in (previews[-1], result.value)]
    assert difference(*small) < 20


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_pictures_are_those_of_the_bare_diffusers_pipeline(plugin, draw):
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    folder = plugin.folder / "builtin"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config, timestep_spacing="linspace")
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(RED_CIRCLE, num_inference_steps=10, guidance_scale=7.0, generator=generator).images[0]
    (ours,) = draw(steps=10, seed=5)
    assert psnr(ours, theirs) > 40


def test_jobs_run_on_one_thread(draw, monkeypatch):
    threads, decode = set(), Autoencoder.decode

    def noting(self, batch):
        threads.add(threading.current_thread().name)
        return decode(self, batch)

    monkeypatch.setattr(Autoencoder, "decode", noting)
    draw(steps=1)
    assert threads == {"device"}


def test_ddim_is_that_of_the_bare_diffusers_pipeline(plugin, draw):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    folder = plugin.folder / "builtin"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, steps_offset=1)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(RED_CIRCLE, num_inference_steps=10, guidance_scale=7.0, generator=generator).images[0]
    (ours,) = draw(steps=10, seed=5, sampler="DDIM")
    assert psnr(ours, theirs) > 40


def test_variations_go_from_one_seed_to_the_other(draw):
    (start,), (end,) = draw(steps=4), draw(seed=9, steps=4)
    strengths = (0, 0.1, 0.3, 0.6, 1)
    varied = [draw(variation_seed=9, variation_strength=strength, steps=4)[0] for strength in strengths]
    distances = [difference(start, picture) for picture in varied]
    assert distances == sorted(distances) and distances[0] == 0 and difference(varied[-1], end) < 0.5
    assert varied[2].facts["variation_seed"] == 9
    assert "Variation seed: 9, Variation seed strength: 0.3" in varied[2].facts["infotext"]


def test_variations_of_a_batch_have_one_seed_and_variation_seeds_that_go_on(draw):
    batch = draw(variation_seed=2**32 - 1, variation_strength=0.2, batch_size=2, steps=2, **SMALL)
    assert [(r.facts["seed"], r.facts["variation_seed"]) for r in batch] == [(1, 2**32 - 1), (1, 0)]


def test_a_resized_seed_keeps_the_composition(draw):
    (small,) = draw(steps=8)
    (wide,) = draw(steps=8, width=192, seed_resize_width=128, seed_resize_height=128)
    (other,) = draw(steps=8, width=192)
    inside = (32, 0, 160, 128)
    assert difference(wide.value.crop(inside), small) < difference(other.value.crop(inside), small)
    assert "Seed resize from: 128x128" in wide.facts["infotext"]


def test_noise_sources_and_ensd_give_other_pictures(draw):
    (cpu,), (nv,) = draw(sampler="Euler a", **SMALL), draw(sampler="Euler a", noise_source="NV", **SMALL)
    (ensd,) = draw(sampler="Euler a", ensd=31337, **SMALL)
    assert difference(cpu, nv) > 1 and difference(cpu, ensd) > 0.5
    gpu, plain = (draw(noise_source=source, **SMALL)[0].value.tobytes() for source in ("GPU", "CPU"))
    assert gpu == plain  # on a CPU that is the CPU


def test_an_exact_picture_is_the_same_to_the_byte_whatever_runs_beside_it(draw, calls):
    (alone,) = draw(exact=True, **SMALL)
    calls.clear()
    batch = draw(exact=True, batch_size=4, seed=0, **SMALL)
    assert {len(asks) for asks in calls} == {1}
    assert batch[1].value.tobytes() == alone.value.tobytes()
    assert not alone.facts["determinism"]["shared"] and draw(**SMALL)[0].facts["determinism"]["shared"]


@pytest.mark.parametrize(("exact", "most"), [(True, 1), (False, 3)])
def test_the_words_of_exact_pictures_are_read_alone(draw, unread, monkeypatch, exact, most):
    together, encode = [], TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, texts: together.append(len(texts)) or encode(self, texts))
    draw(exact=exact, batch_size=3, steps=1, width=64, height=64)
    assert max(together) == most


def test_the_record_of_determinism_names_what_a_picture_depends_on(draw):
    record = draw(steps=1)[0].facts["determinism"]
    assert record["torch"] == torch.__version__.split("+")[0]
    assert (record["device"], record["dtype"], record["noise_source"]) == ("cpu", "float32", "CPU")


def test_batches_are_drawn_one_after_the_other(draw):
    assert [result.facts["seed"] for result in draw(n_iter=3, batch_size=2, steps=1, width=64, height=64)] == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip


def test_a_tiling_picture_has_no_seam(draw):
    def seams(result):
        rgb = pixels(result)
        return abs(rgb[:, 0] - rgb[:, -1]).mean() + abs(rgb[0] - rgb[-1]).mean(), abs(numpy.diff(rgb, axis=1)).mean()

    prompt = "a red star and a green star on a yellow background"
    (tiling,), (plain,) = (draw(prompt=prompt, tiling=on, steps=8, seed=4, width=64) for on in (True, False))
    seam, inside = seams(tiling)
    assert seam < 6 * inside + 2 and seam < seams(plain)[0]


@pytest.mark.parametrize("upscaler", ["Latent", "Latent (bicubic antialiased)", "Latent (nearest-exact)", "Lanczos"])
def test_hires_fix_draws_the_same_larger(draw, calls, upscaler):
    (small,) = draw(steps=8)
    calls.clear()
    (large,) = draw(steps=8, hires=True, hires_upscaler=upscaler, hires_scale=1.5, hires_steps=5)
    assert large.value.size == (192, 192)
    assert [asks[0].x.shape[-1] for asks in calls] == [16] * 8 + [24] * 5
    assert difference(large.value.resize((128, 128)), small) < 40
    assert f"Size: 128x128, Model hash: {large.facts['model_hash']}" in large.facts["infotext"]
    assert f"Hires upscale: 1.5, Hires steps: 5, Hires upscaler: {upscaler}" in large.facts["infotext"]


def test_hires_fix_alone_ends_with_what_txt2img_with_it_ends_with(draw):
    hires = {"hires_upscaler": "Lanczos", "hires_scale": 1.5, "hires_steps": 2, "steps": 2, "seed": 5}
    (whole,), (first,) = draw(hires=True, **hires), draw(steps=2, seed=5)
    (second,) = draw(job="hires_fix", image=first.value, **hires)
    assert second.value.tobytes() == whole.value.tobytes()
    assert second.facts["infotext"] == whole.facts["infotext"]
    enlarged = upscaled(first.value, *whole.value.size, "Lanczos")  # somebody else has enlarged it already
    (third,) = draw(
        job="hires_fix", image=enlarged, **hires | {"hires_upscaler": "Mine, x4", "width": 128, "height": 128}
    )
    assert third.value.tobytes() == whole.value.tobytes()
    assert third.facts["infotext"] == whole.facts["infotext"].replace("Lanczos", '"Mine, x4"')


@pytest.mark.parametrize(("wide", "high", "size"), [(256, 0, (256, 256)), (0, 160, (160, 160)), (192, 256, (192, 256))])
def test_hires_fix_takes_a_size_instead_of_a_scale(draw, wide, high, size):
    (result,) = draw(steps=1, hires=True, hires_width=wide, hires_height=high)
    assert result.value.size == size


def test_the_second_pass_has_its_own_prompt_sampler_schedule_and_guidance(draw, calls):
    (plain,) = draw(steps=2, hires=True, **SMALL)
    other = draw(
        steps=2, hires=True, hires_prompt="a green star", hires_sampler="Heun", hires_schedule="karras",
        hires_cfg_scale=1, hires_steps=3, **SMALL,
    )[0]  # fmt: skip
    assert difference(plain, other) > 3
    assert [len(ask.conditions) for asks in calls[4:] for ask in asks] == [2, 2] + [1] * 5


def test_the_second_pass_counts_the_evaluations_of_the_first_by_its_own_sampler(draw, calls):
    draw(steps=3, hires=True, hires_scale=1, hires_prompt="[red:green:5]", hires_sampler="Heun", hires_steps=3, **SMALL)
    words = [id(ask.conditions[0].context) for asks in calls[3:] for ask in asks]
    assert words == [words[0]] * 3 + [words[3]] * 2 and words[0] != words[3]  # red until 5 - 3, counted from 0


def test_a_picture_that_would_be_too_large_is_refused(draw):
    with pytest.raises(InvalidParams, match="hires_scale: 1024x1024 would be enlarged to 8192x8192"):
        draw(width=1024, height=1024, hires=True, hires_scale=8, steps=1)


def test_a_skip_ends_the_oldest_picture_where_it_is_and_the_others_go_on(draw, make_context, calls):
    def listen(event, body):
        if event == "progress" and body["phase"] == "sample" and body["step"] >= 4:
            ctx.skips = 1

    ctx = make_context(listen)
    results = draw(ctx, steps=12, batch_size=2)
    assert [bool(result.facts.get("partial")) for result in results] == [True, False]
    assert same(results[1], draw(seed=2, steps=12)[0])
    assert sum(len(asks) for asks in calls) < 3 * 12


@pytest.mark.parametrize(
    ("job", "given", "size"),
    [
        ("txt2img", {"hires": True}, (256, 256)),  # in the second pass
        ("outpaint", {"directions": ["left", "right"], "pixels": 64}, (256, 128)),  # at the second side
        ("sd_upscale", {"scale": 1.5, "overlap": 32}, (192, 192)),
    ],
)
def test_an_interrupted_job_of_several_runs_keeps_what_is_there(draw, unread, make_context, job, given, size):
    def listen(event, body):
        if event == "progress" and body["phase"] == "sample" and body["step"] > body["total"] / 2:
            ctx.keep_partial = True
            ctx._cancelled.set()

    ctx = make_context(listen)
    image = {} if job == "txt2img" else {"image": PIL.Image.new("RGB", (128, 128), "blue")}
    (result,) = draw(ctx, job=job, **image, **given, steps=6)
    assert result.value.size == size
    assert result.facts.get("partial") or job == "sd_upscale"  # whose tiles, drawn together, may all be complete


def test_a_picture_that_is_to_end_before_its_second_pass_begins_is_that_of_the_first(draw, unread, make_context):
    def listen(event, body):
        if body.get("phase") == "sample" and body["step"] >= body["total"] / 2:
            ctx._cancelled.set()

    ctx = make_context(listen)
    ctx.keep_partial = True
    (result,) = draw(ctx, hires=True, hires_prompt="a green star", steps=2, **SMALL)  # these words are yet to be read
    assert result.facts["partial"] and same(result, draw(steps=2, **SMALL)[0])


def test_a_skip_before_the_pictures_began_ends_none(draw, make_context):
    ctx = make_context(lambda event, body: setattr(ctx, "skips", 1) if body.get("phase") == "load" else None)
    assert [result.facts["seed"] for result in draw(ctx, batch_size=2, **SMALL)] == [1, 2]


def test_what_is_skipped_before_its_first_step_is_left_out(draw, unread, make_context, monkeypatch):
    ctx = make_context()
    before(monkeypatch, TextEncoder, "encode", lambda: setattr(ctx, "skips", 1))
    assert [result.facts["seed"] for result in draw(ctx, batch_size=2, steps=1)] == [2]
    assert [body for event, body in ctx.told if event == "progress"][-1]["step"] == 2  # all are told of as done


def before(monkeypatch, cls, method, act):
    """Let `act()` happen before each call of a method."""
    call = getattr(cls, method)

    def acting(self, values):
        act()
        return call(self, values)

    monkeypatch.setattr(cls, method, acting)


def test_pictures_that_wait_to_be_decoded_when_the_job_is_to_end_are_whole(draw, make_context):
    def listen(event, body):
        if body.get("phase") == "sample" and body["step"] == body["total"]:  # the last one, too; they may start apart
            ctx._cancelled.set()

    ctx = make_context(listen)
    ctx.keep_partial = True
    results = draw(ctx, batch_size=3, steps=1, width=64, height=64)
    assert [(result.facts["seed"], "partial" in result.facts) for result in results] == [
        (1, False), (2, False), (3, False),
    ]  # fmt: skip


def test_the_text_names_the_networks_of_both_passes_and_the_embeddings(draw, plugin, make_context, tmp_path):
    ctx, layer = make_context(), "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = plugin._studio.checkpoints.get("builtin", ctx).unet.get_submodule(layer).weight
    for name in ("one", "two"):
        save(tmp_path / f"models/lora/{name}.safetensors", {f"lora_unet_{layer.replace('.', '_')}.diff": weight * 0.1})
    save(tmp_path / "models/embedding/myword.safetensors", {"emb_params": torch.ones(2, 96)})
    words = {"prompt": "a myword <lora:one:1>", "hires_prompt": "a star <lora:two:1>"}
    (result,) = draw(ctx, **words, steps=1, hires=True, hires_scale=1)
    facts = result.facts
    assert ([*facts["lora_hashes"]], [*facts["ti_hashes"]]) == (["one", "two"], ["myword"])
    digest = hashlib.sha256((tmp_path / "models/embedding/myword.safetensors").read_bytes()).hexdigest()
    assert f'TI hashes: "myword: {digest[:10]}"' in facts["infotext"]
    assert f'Lora hashes: "one: {facts["lora_hashes"]["one"]}, two: ' in facts["infotext"]


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def test_ngms_leaves_out_the_negative_prompt_every_other_step_at_low_noise(draw, calls):
    draw(steps=8, ngms=3)
    rows = [len(ask.conditions) for asks in calls for ask in asks]
    assert rows[:2] == [2, 2] and rows.count(1) == sum(rows[k] == 1 for k in (1, 3, 5, 7)) >= 2


def test_cfg_rescale_takes_contrast_back(draw):
    strong, rescaled = (draw(cfg_scale=20, cfg_rescale=amount, steps=8)[0] for amount in (0, 1))
    assert pixels(rescaled).std() < pixels(strong).std()


@pytest.mark.parametrize("given", ["DPM++ 2M Karras", "dpmpp_2m_karras"])
def test_combined_names_of_samplers_and_schedules_are_understood(draw, given):
    (combined,), (apart,) = draw(sampler=given, **SMALL), draw(sampler="DPM++ 2M", schedule="karras", **SMALL)
    assert combined.value.tobytes() == apart.value.tobytes()
    assert "Sampler: DPM++ 2M, Schedule type: Karras" in combined.facts["infotext"]
