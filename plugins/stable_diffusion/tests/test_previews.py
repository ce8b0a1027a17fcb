"""Previews: how near they are to the picture, and when a TAESD is taken for them."""

import pytest
import torch
from diffusers import AutoencoderTiny
from drawing import difference
from safetensors.torch import save_file
from sd.previews import Previewer, TinyPreviewer, previewer, sample, tiny_decoder


@pytest.fixture
def autoencoder(plugin, make_context):
    return plugin._studio.checkpoints.get("builtin", make_context()).autoencoder


def original_layout(tiny):
    """The decoder's weights as TAESD's own files have them: numbers of a Sequential that begins with a clamp."""
    return {
        f"{int(key.split('.')[1]) + 1}.{key.split('.', 2)[2]}": value.contiguous()
        for key, value in tiny.decoder.state_dict().items()
    }


@torch.inference_mode()
def test_the_linear_preview_is_near_to_the_picture(autoencoder):
    picture, latents = sample(autoencoder)
    assert difference(Previewer(autoencoder).picture(latents).resize((8, 8)), picture.resize((8, 8))) < 15


@torch.inference_mode()
def test_a_taesd_file_and_folder_give_the_decoder_they_hold(tmp_path):
    tiny = AutoencoderTiny().eval()
    tiny.save_pretrained(tmp_path / "taesd")
    save_file(original_layout(tiny), tmp_path / "taesd_decoder.safetensors")
    torch.save(original_layout(tiny), tmp_path / "taesd_decoder.pth")
    latents = torch.randn(1, 4, 8, 8)
    wanted = TinyPreviewer(tiny).picture(latents)
    assert wanted.size == (64, 64)
    for name in ("taesd", "taesd_decoder.safetensors", "taesd_decoder.pth"):
        assert TinyPreviewer(tiny_decoder(tmp_path / name)).picture(latents).tobytes() == wanted.tobytes()


@torch.inference_mode()
def test_the_previewer_that_shows_this_model_best_is_taken(autoencoder, make_context, monkeypatch):
    ctx = make_context()
    folder = ctx.models.folder / "taesd"
    folder.mkdir(parents=True)
    save_file(original_layout(AutoencoderTiny()), folder / "taesd_decoder.safetensors")
    assert isinstance(previewer(autoencoder, ctx, "cpu"), Previewer)  # untrained, it shows nothing
    full = lambda self, latents: autoencoder.decode([latents])[0]  # noqa: E731
    monkeypatch.setattr(TinyPreviewer, "picture", full)  # trained, it shows what the large one does
    assert isinstance(previewer(autoencoder, ctx, "cpu"), TinyPreviewer)


@torch.inference_mode()
def test_a_damaged_taesd_is_told_and_costs_no_picture(autoencoder, make_context):
    ctx = make_context()
    folder = ctx.models.folder / "taesd"
    folder.mkdir(parents=True)
    (folder / "taesd_decoder.safetensors").write_bytes(b"damaged")
    assert isinstance(previewer(autoencoder, ctx, "cpu"), Previewer)
    assert "taesd_decoder.safetensors cannot be loaded" in ctx.told[0][1]["text"]
