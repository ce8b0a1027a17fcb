"""LDSR of a few channels, with random weights, in the layout of the published folder."""

import json
from pathlib import Path

import PIL.Image
import pytest
import torch
from diffusers import DDIMScheduler, LDMSuperResolutionPipeline, UNet2DModel, VQModel
from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion_superresolution as theirs
from pictures import picture, psnr
from safetensors.torch import load_file
from up import networks

from core.errors import Cancelled
from core.plugin import InvalidParams


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    vqvae = VQModel(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=3, num_vq_embeddings=64,
    )  # fmt: skip
    unet = UNet2DModel(
        in_channels=6, out_channels=3, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    schedule = {"beta_start": 0.0015, "beta_end": 0.0155, "beta_schedule": "scaled_linear", "clip_sample": False}
    return LDMSuperResolutionPipeline(vqvae, unet, DDIMScheduler(**schedule))


@pytest.fixture
def folder(pipeline, tmp_path):
    """As it was published: pickled, and with the names that diffusers' attention had then."""
    folder = tmp_path / "models/upscaler/ldsr"
    pipeline.save_pretrained(folder)
    for file in folder.glob("*/*.safetensors"):
        state = load_file(file)
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            state = {key.replace(f".{new}.", f".{old}."): value for key, value in state.items()}
        assert any(".proj_attn." in key for key in state)
        torch.save(state, file.with_suffix(".bin"))
        file.unlink()
    return folder


@pytest.fixture(autouse=True)
def quiet():
    from diffusers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def test_a_tile_is_what_the_pipeline_makes_from_the_same_noise(folder, pipeline, monkeypatch):
    network = networks.load(folder, "cpu")
    network.diffusion.steps = 3
    pixels = torch.rand(1, 3, 64, 128)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 1, 2)
    monkeypatch.setattr(theirs, "randn_tensor", lambda *shape, **options: noise)
    pipeline.set_progress_bar_config(disable=True)

    wanted = pipeline(pixels * 2 - 1, num_inference_steps=3, output_type="pt").images

    assert (network.architecture, network.scale, network.channels) == ("LDSR", 4, 3)
    assert torch.equal(network(pixels), wanted)


def test_it_enlarges_to_any_size_in_tiles_that_fade_into_each_other(folder, upscale):
    source = picture(200, 60)
    whole = upscale(source, model="ldsr", width=500, height=150, steps=2).value
    tiles = upscale(source, model="ldsr", width=500, height=150, steps=2, tile=128).value
    assert whole.size == tiles.size == (500, 150)
    assert psnr(whole, tiles) > 20  # it sees all of a tile, so it draws two tiles a little differently
    assert upscale(source, model="ldsr", width=500, height=150, steps=3).value.tobytes() != whole.tobytes()


def test_a_cancel_is_heard_at_the_next_step(folder, upscale, make_context):
    ctx = make_context()
    heard = []
    ctx.raise_if_cancelled = lambda: heard.append(1) or (len(heard) > 3 and _cancelled())
    with pytest.raises(Cancelled):
        upscale(PIL.Image.new("RGB", (64, 64)), ctx, model="ldsr", steps=50)
    assert len(heard) == 4


def _cancelled():
    raise Cancelled("now")


def test_a_folder_that_is_not_ldsr_is_refused_with_what_is_wrong(folder, upscale):
    source = PIL.Image.new("RGB", (8, 8))
    config = folder / "unet/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"in_channels": 4}))
    with pytest.raises(InvalidParams, match="ldsr cannot be used: unet"):
        upscale(source, model="ldsr")
    torch.save({"model": Path}, folder / "unet/diffusion_pytorch_model.bin")  # a class, which nobody should import
    with pytest.raises(InvalidParams, match="unet cannot be read"):
        upscale(source, model="ldsr")
    (folder / "vqvae").rename(folder / "vae")
    with pytest.raises(InvalidParams, match="ldsr cannot be used: it has no vqvae") as refused:
        upscale(source, model="ldsr")
    assert refused.value.extra["field"] == "model"
