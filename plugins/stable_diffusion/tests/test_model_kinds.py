"""Models that look at more than noisy latents and a prompt: each does each job, and what diffusers does with it."""

import json
import shutil

import numpy
import PIL.Image
import pytest
import tiny_models
import torch
from diffusers import (
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
)
from drawing import RED_CIRCLE, same
from sd.cache import Cache
from sd.checkpoint import Checkpoints
from sd.noise import Noise
from sd.placement import Placement
from sd.settings import Settings

from core.plugin import InvalidParams

# diffusers' schedulers hand tensors to numpy as numpy 2 no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SHAPE = (1, 4, 8, 8)
SCHEDULER = "scheduler/scheduler_config.json"
NEGATIVE = "a green square"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folders of tiny models, by name."""
    root = tmp_path_factory.mktemp("checkpoint")
    folders = {kind: tiny_models.write(root / kind, kind) for kind in ("inpainting", "pix2pix")}
    folders |= {"xl inpainting": tiny_models.write(root / "xl inpainting", "sdxl", in_channels=9)}
    folders |= {"turbo": tiny_models.write(root / "turbo", "sd1")}
    folders |= {"lcm": tiny_models.write(root / "lcm", "sd1", time_cond_proj_dim=256)}
    return folders | {"ztsnr": with_noise(tiny_models.write(root / "ztsnr", "sd2-v"), rescale_betas_zero_snr=True)}


def with_noise(folder, **config):
    """The folder of a model, with another configuration of its noise."""
    path = folder / SCHEDULER
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


@pytest.fixture
def folders(written, tmp_path):
    """The same, put where jobs find them."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/checkpoint").symlink_to(written["lcm"].parent)
    return written


@pytest.fixture
def picture():
    values = numpy.random.default_rng(0).integers(0, 256, (8, 8, 3), numpy.uint8)
    return PIL.Image.fromarray(values).resize((64, 64), PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def mask():
    mask = PIL.Image.new("L", (64, 64))
    mask.paste(255, (16, 8, 64, 48))
    return mask


def pipeline_of(folder, cls=DiffusionPipeline, **scheduler):
    pipeline = cls.from_pretrained(folder, local_files_only=True)
    config = {"timestep_spacing": "linspace"} | scheduler  # as `automatic`
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config, **config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def encoded(pipeline, picture):
    """The mean latents of a picture, without the factor that makes their variance 1."""
    x = pipeline.image_processor.preprocess(picture) if isinstance(picture, PIL.Image.Image) else picture
    return pipeline.vae.encode(x).latent_dist.mean


def close(latents, theirs):
    return abs(latents - theirs).max() < 1e-4 * max(1, abs(theirs).max())


def noise(seed=1):
    return Noise(seed, SHAPE, "cpu")()


@torch.inference_mode()
@pytest.mark.parametrize(
    ("model", "cls"),
    [("inpainting", StableDiffusionInpaintPipeline), ("xl inpainting", StableDiffusionXLInpaintPipeline)],
)
def test_inpainting_is_that_of_diffusers(folders, draw, latents, picture, mask, model, cls):
    options = {"denoising_strength": 1, "mask_blur": 0, "cfg_scale": 5, "negative_prompt": NEGATIVE}
    draw(job="inpaint", model=model, image=picture, mask=mask, **options)
    pipeline = pipeline_of(folders[model], cls)
    pipeline.scheduler.set_timesteps(4)
    scale, sigmas = pipeline.vae.config.scaling_factor, pipeline.scheduler.sigmas
    start = encoded(pipeline, picture) * scale
    hole = pipeline.mask_processor.preprocess(mask)
    masked = encoded(pipeline, pipeline.image_processor.preprocess(picture) * (hole < 0.5)) * scale
    small = torch.nn.functional.interpolate(hole, SHAPE[2:])
    x = [start + noise() * sigmas[0]]

    def keep(pipeline, i, t, told):  # what is not masked goes to the picture at each step, as for all models here
        kept = x[-1] + (x[-1] - start) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
        x.append(told["latents"] * small + kept * (1 - small))
        return {"latents": x[-1]}

    theirs = pipeline(
        prompt=RED_CIRCLE, negative_prompt=NEGATIVE, image=picture, mask_image=mask, masked_image_latents=masked,
        height=64, width=64, strength=1.0, num_inference_steps=4, guidance_scale=5, latents=x[0] / sigmas[0],
        output_type="latent", callback_on_step_end=keep,
    ).images  # fmt: skip
    assert close(latents[-1], theirs)


@torch.inference_mode()
@pytest.mark.parametrize(("image_cfg_scale", "cfg_scale"), [(1.5, 7), (1, 7), (2, 1.01)])
def test_editing_is_that_of_diffusers(folders, draw, latents, picture, image_cfg_scale, cfg_scale):
    options = {"image_cfg_scale": image_cfg_scale, "cfg_scale": cfg_scale, "negative_prompt": NEGATIVE}
    draw(job="img2img", model="pix2pix", image=picture, denoising_strength=1, **options)
    pipeline = pipeline_of(folders["pix2pix"])
    pipeline.scheduler.set_timesteps(4)
    sigma = pipeline.scheduler.sigmas[0]
    start = encoded(pipeline, picture) * pipeline.vae.config.scaling_factor
    theirs = pipeline(
        RED_CIRCLE, picture, num_inference_steps=4, guidance_scale=cfg_scale, image_guidance_scale=image_cfg_scale,
        negative_prompt=NEGATIVE, latents=start / sigma + noise(), output_type="latent",
    ).images  # fmt: skip
    assert close(latents[-1], theirs)


@torch.inference_mode()
@pytest.mark.parametrize("cfg_scale", [1, 8.5])
def test_a_latent_consistency_model_is_that_of_diffusers(folders, draw, latents, monkeypatch, cfg_scale):
    draw(model="lcm", sampler="LCM", cfg_scale=cfg_scale, negative_prompt=NEGATIVE)
    pipeline = pipeline_of(folders["lcm"])
    parts = {name: part for name, part in pipeline.components.items() if name != "scheduler"}
    scheduler = LCMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="leading")
    pipeline = LatentConsistencyModelPipeline(**parts, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    drawn = Noise(1, SHAPE, "cpu")
    first = drawn()
    monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *_, **__: drawn())
    theirs = pipeline(
        RED_CIRCLE, 64, 64, num_inference_steps=4, guidance_scale=cfg_scale, latents=first, output_type="latent"
    ).images
    assert close(latents[-1], theirs)


JOBS = {
    "txt2img": {"hires": True, "hires_scale": 1.5},
    "img2img": {"image": True},
    "inpaint": {"image": True, "mask": True, "only_masked": True},
    "outpaint": {"image": True, "pixels": 64, "directions": ["left", "up"]},
    "sd_upscale": {"image": True, "scale": 1.5, "overlap": 16},
    "img2img_alternative": {"image": True, "decode_steps": 1},
    "interpolate": {"to_prompts": NEGATIVE, "frames": 2},
}


@pytest.mark.parametrize("kind", ["inpainting", "pix2pix", "lcm"])
@pytest.mark.parametrize(("job", "options"), JOBS.items(), ids=JOBS)
def test_each_kind_does_each_job(folders, draw, picture, mask, job, options, kind):
    pictures = {"image": picture, "mask": mask}
    options = {name: pictures.get(name, option) for name, option in options.items()}
    drawn = draw(job=job, model=kind, steps=1, **options)
    sizes = {"txt2img": (96, 96), "sd_upscale": (96, 96), "outpaint": (128, 128)}
    assert [each.value.size for each in drawn] == [sizes.get(job, (64, 64))] * (2 if job == "interpolate" else 1)


def test_without_a_mask_an_inpainting_model_fills_the_whole_picture_with_nothing_to_go_by(
    folders, draw, calls, picture
):
    for options in ({}, {"image": picture}):
        draw(model="inpainting", steps=1, **options)
    one, other = (asks[0].conditions[0].channels for asks in calls)
    assert one[:, 0].unique().tolist() == [1]
    assert torch.equal(one, other)


def test_an_editing_model_takes_a_row_for_each_part_of_its_guidance_that_counts(folders, draw, calls, picture):
    for image_cfg_scale, cfg_scale in ((1.5, 7), (1, 7), (7, 7), (1, 1)):
        options = {"image_cfg_scale": image_cfg_scale, "cfg_scale": cfg_scale, "denoising_strength": 0}
        draw(model="pix2pix", image=picture, **options)
    draw(model="pix2pix", steps=1)  # from words alone
    assert [len(asks[0].conditions) for asks in calls] == [3, 2, 2, 1, 2]


def test_a_model_distilled_with_guidance_takes_one_row_for_each_part_of_the_prompt(folders, draw, calls):
    draw(model="lcm", steps=1)
    draw(model="lcm", steps=1, prompt="a AND b :0.5")
    assert [[condition.scale for condition in asks[0].conditions] for asks in calls] == [[7], [7] * 3]


def test_pictures_that_are_edited_together_are_what_they_are_alone(folders, draw, calls, picture):
    options = {"model": "pix2pix", "steps": 2, "prompt": RED_CIRCLE}
    together = draw(image=picture, batch_size=2, **options)
    assert max(len(asks) for asks in calls) == 2  # they shared the UNet
    alone = [draw(image=picture, **options | {"seed": seed})[0] for seed in (1, 2)]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("rescale", [0, 0.7])
def test_zero_terminal_snr_is_that_of_diffusers(folders, draw, latents, rescale):
    draw(model="ztsnr", schedule="simple", negative_prompt=NEGATIVE, cfg_rescale=rescale)
    pipeline = pipeline_of(folders["ztsnr"], timestep_spacing="trailing")
    pipeline.scheduler.set_timesteps(4)
    assert pipeline.scheduler.sigmas[0] == pytest.approx(4096)
    theirs = pipeline(
        RED_CIRCLE, 64, 64, 4, guidance_scale=7, negative_prompt=NEGATIVE, guidance_rescale=rescale, latents=noise(),
        output_type="latent",
    ).images  # fmt: skip
    assert close(latents[-1], theirs)


@torch.inference_mode()
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_simple_is_the_trailing_spacing_with_which_turbo_models_are_drawn(folders, draw, latents, monkeypatch, steps):
    draw(model="turbo", sampler="Euler a", schedule="simple", cfg_scale=1, steps=steps)
    pipeline = pipeline_of(folders["turbo"])
    config = pipeline.scheduler.config
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(config, timestep_spacing="trailing")
    drawn = Noise(1, SHAPE, "cpu")
    first = drawn()
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor", lambda *_, **__: drawn()
    )
    told = {"num_inference_steps": steps, "guidance_scale": 1, "latents": first, "output_type": "latent"}
    assert close(latents[-1], pipeline(RED_CIRCLE, 64, 64, **told).images)


@pytest.mark.parametrize(
    "config",
    [
        {"beta_schedule": "linear", "beta_start": 0.0015, "beta_end": 0.0195},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": numpy.linspace(0.001, 0.02, 1000).tolist()},
        {"rescale_betas_zero_snr": True},
    ],
    ids=lambda config: next(reversed(config)),
)
def test_the_noise_levels_are_those_of_the_models_scheduler(plugin, tmp_path, make_context, config):
    folder = shutil.copytree(tiny_models.BUILTIN, tmp_path / "models/checkpoint/other")
    scheduler = EulerDiscreteScheduler.from_config(json.loads((with_noise(folder, **config) / SCHEDULER).read_text()))
    checkpoints = Checkpoints(Placement("cpu"), Cache(lambda: 1_000_000_000), Settings())
    levels = checkpoints.get("other", make_context()).denoiser.levels.sigmas
    theirs = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5
    assert torch.allclose(levels, theirs.clamp(max=4096), rtol=1e-4)  # the last may be without end


@pytest.mark.parametrize("model", ["inpainting", "pix2pix"])
def test_a_refiner_looks_at_no_more_than_the_model_before_it(folders, draw, picture, model):
    options = {"image": picture, "denoising_strength": 1, "refiner_switch_at": 0.5, "steps": 2}
    for refiner in ("turbo", "lcm"):
        (drawn,) = draw(model=model, refiner=refiner, **options)
        assert f"Refiner: {refiner}" in drawn.facts["infotext"]
    with pytest.raises(InvalidParams, match=f"refiner: {model} .* turbo .* looks at more than the first one"):
        draw(model="turbo", refiner=model, **options)
