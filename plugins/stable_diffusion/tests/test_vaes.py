"""Pictures through another VAE than the model's own, in all the ways that VAEs are published."""

import shutil

import pytest
import safetensors.torch
import tiny_models
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from sd import png_info
from sd.model_files import opened, opened_vae
from sd.original import VAE, names
from sd.saving import save

from core.plugin import InvalidParams, ModelNotFound


@pytest.fixture
def ctx(make_context):
    """Of a job, with the built-in model's VAE as models/vae/own, and as models/vae/pale with greyer pictures."""
    ctx = make_context()
    for name in ("own", "pale"):
        shutil.copytree(tiny_models.BUILTIN / "vae", ctx.models.folder / "vae" / name)
    path = ctx.models.folder / "vae/pale/diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["decoder.conv_out.weight"] /= 2
    safetensors.torch.save_file(tensors, path)
    return ctx


def test_a_picture_goes_through_the_chosen_vae_and_says_so(ctx, draw):
    (plain,), (own,), (pale,) = (draw(ctx, vae=vae, exact=True) for vae in ("", "own", "pale"))
    assert own.value.tobytes() == plain.value.tobytes() != pale.value.tobytes()
    assert "VAE" not in plain.facts["infotext"]
    assert f"VAE hash: {pale.facts['vae_hash']}, VAE: pale" in pale.facts["infotext"]
    assert own.facts["vae_hash"] != pale.facts["vae_hash"]
    assert own.facts["model_hash"] == plain.facts["model_hash"]


def test_the_form_of_a_picture_names_its_vae(ctx, draw):
    (pale,) = draw(ctx, vae="pale")
    pale.value.info["parameters"] = pale.facts["infotext"]
    form = png_info.read(pale.value)["form"]
    assert form["params"]["vae"] == "pale"


def test_models_with_different_vaes_share_the_rest(ctx, plugin):
    checkpoints = plugin._studio.checkpoints
    plain, pale = checkpoints.get("builtin", ctx), checkpoints.get("builtin", ctx, "pale")
    assert pale.unet is plain.unet and pale.clips == plain.clips
    assert pale.vae is not plain.vae
    assert checkpoints.get("builtin", ctx, "pale") is pale


def test_a_model_without_a_vae_draws_with_one_that_is_chosen(ctx, draw, tmp_path):
    path = ctx.models.folder / "checkpoint/pruned.safetensors"
    path.parent.mkdir(parents=True)
    save(tmp_path / "whole.safetensors", opened("builtin", tiny_models.BUILTIN), torch.float32, {})
    tensors = safetensors.torch.load_file(tmp_path / "whole.safetensors")
    with safetensors.safe_open(tmp_path / "whole.safetensors", "pt") as file:
        told = file.metadata()
    kept = {name: each for name, each in tensors.items() if not name.startswith(VAE)}
    safetensors.torch.save_file(kept, path, told)
    with pytest.raises(InvalidParams, match="pruned.safetensors holds no VAE"):
        draw(ctx, model="pruned.safetensors")
    (plain,), (pruned,) = draw(ctx, exact=True), draw(ctx, model="pruned.safetensors", vae="own", exact=True)
    assert pruned.value.tobytes() == plain.value.tobytes()
    assert pruned.facts["vae_hash"] and "vae_hash" not in plain.facts


def test_a_vae_is_read_in_all_the_ways_that_it_is_published(tmp_path):
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    vae = AutoencoderKL(block_out_channels=(32, 64), layers_per_block=1, **blocks)
    vae.save_pretrained(tmp_path / "folder")
    ours = vae.state_dict()
    theirs = {
        name: ours[own][..., None, None] if "attn_1" in name and ours[own].ndim == 2 else ours[own]
        for own, name in names("vae", ours).items()
    }
    first_stage = {VAE + name: each for name, each in theirs.items()}
    safetensors.torch.save_file(ours, tmp_path / "diffusers.safetensors")
    safetensors.torch.save_file(theirs, tmp_path / "plain.safetensors")
    safetensors.torch.save_file(first_stage, tmp_path / "first_stage.safetensors")
    torch.save({"state_dict": theirs | {"loss.logvar": torch.ones(1)}}, tmp_path / "pickled.vae.pt")
    torch.save({"state_dict": first_stage}, tmp_path / "pickled.ckpt")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 6
    for path in paths:
        found = opened_vae("x", path, "sdxl").module("vae", torch.float32)
        state = found.state_dict()
        assert state.keys() == ours.keys() and all(torch.equal(state[name], ours[name]) for name in ours)
        assert found.config.scaling_factor == (0.18215 if path.is_dir() else 0.13025)


def test_what_is_no_vae_for_these_models_is_refused_by_name(ctx, draw, tmp_path):
    folder = ctx.models.folder / "vae"
    safetensors.torch.save_file({"lora_unet_x.lora_down.weight": torch.ones(2)}, folder / "lora.safetensors")
    (folder / "empty.safetensors").touch()
    wide = tmp_path / "wide"
    AutoencoderKL(latent_channels=16, block_out_channels=(32,), norm_num_groups=8).save_pretrained(folder / wide.name)
    for name, message in (
        ("lora.safetensors", "lora.safetensors holds no VAE"),
        ("empty.safetensors", "it is empty"),
        ("wide", "latents of 16 channels, not of 4"),
    ):
        with pytest.raises(InvalidParams, match=f"vae '{name}' cannot be used: .*{message}") as error:
            draw(ctx, vae=name)
        assert error.value.wire()["field"] == "vae"
    with pytest.raises(ModelNotFound, match="no vae model 'palr'. Did you mean pale"):
        draw(ctx, vae="palr")
