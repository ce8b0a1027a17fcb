"""Files of networks: read without running code, refused by what they are."""

import pickle

import numpy
import pytest
import safetensors.torch
import tiny
import torch
from pictures import picture, pixels
from up import networks
from up.networks import load

from core.plugin import InvalidParams


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("echo evil",)


def refused(path, match):
    with pytest.raises(InvalidParams, match=match) as told:
        load(path, "cpu")
    assert told.value.extra["field"] == "model" and told.value.extra["hint"]
    return told.value


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"PK\x03\x04 damaged", "cannot be read"),
        (pickle.dumps(Evil()), "it is damaged, or holds other things than weights"),
        (pickle.dumps([1, 2, 3]), "it holds a list|cannot be read"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path, data, why):
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    refused(path, f"x.pth cannot be used: .*{why}")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save({"params": tiny.compact().state_dict(), "more": Evil()}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", r"reading it would run code \((posix|nt).system\); take it as .safetensors")


@pytest.mark.parametrize(
    "key, what",
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "it is a Stable Diffusion model"),
        ("lora_unet_down_blocks_0.lora_up.weight", "it is a LoRA"),
        ("position_emb", "it is CodeFormer, which restores faces"),
        ("strange.weight", r"no architecture is known that has its 1 tensors \(strange.weight"),
    ],
)
def test_another_kind_of_file_is_called_by_its_name(tmp_path, key, what):
    safetensors.torch.save_file({key: torch.zeros(4, 4)}, tmp_path / "x.safetensors")
    refused(tmp_path / "x.safetensors", f"x.safetensors cannot be used: {what}")


def test_a_network_of_which_something_is_missing_is_refused(tmp_path):
    state = tiny.esrgan().state_dict()
    del state["model.1.sub.0.RDB1.conv2.0.weight"]
    safetensors.torch.save_file(state, tmp_path / "x.safetensors")
    refused(tmp_path / "x.safetensors", "x.safetensors cannot be used: its tensors do not fit together")


@pytest.mark.parametrize("name, rows", [("body.2000000000.weight", 4), ("body.4.weight", 50_000)])
def test_a_file_that_names_far_more_than_it_holds_is_refused_before_the_memory_is_full(tmp_path, name, rows):
    """Two billion layers, and one of 90 GB."""
    state = {"body.0.weight": torch.zeros(rows, 3, 3, 3), "body.1.weight": torch.zeros(rows)}
    state |= {"body.2.weight": torch.zeros(1), name: torch.zeros(48), name.replace("weight", "bias"): torch.zeros(48)}
    safetensors.torch.save_file(state | {"body.0.bias": torch.zeros(rows)}, tmp_path / "x.safetensors")
    refused(tmp_path / "x.safetensors", "they are 6 with .* numbers, and name far more")


def test_names_that_are_no_texts_are_refused(tmp_path):
    torch.save({1: torch.zeros(2), None: 3}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "x.pth cannot be used: its tensors do not fit together")


def test_onnx_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"onnx")
    refused(tmp_path / "x.onnx", "networks are not read from .onnx")


def test_which_upscaler_is_wrong_is_told(upscale, tmp_path):
    path = tmp_path / "models/upscaler/x.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(InvalidParams, match="x.pth cannot be used") as told:
        upscale(picture(), second_model="x.pth")
    assert told.value.extra["field"] == "second_model"


@pytest.mark.parametrize("wanted, dtype", [("auto", "float32"), ("float16", "float16"), ("bfloat16", "bfloat16")])
def test_precision_is_what_was_wanted_if_the_architecture_can(tmp_path, wanted, dtype):
    network = load(tiny.saved(tiny.compact(), tmp_path / "x.pth"), "cpu", wanted)
    assert network.dtype == getattr(torch, dtype)
    given = torch.from_numpy(pixels(picture())).permute(2, 0, 1)[None] / 255
    exact = load(tmp_path / "x.pth", "cpu")(given)
    assert (network(given).float() - exact).abs().max() < 0.02
    can = load(tiny.saved(tiny.swinir(), tmp_path / "swinir.pth"), "cpu", wanted).dtype
    assert can == (torch.float32 if wanted != "bfloat16" else torch.bfloat16)


def test_what_is_too_much_for_half_precision_is_done_in_full(tmp_path):
    made = tiny.compact()
    with torch.no_grad():
        made.body[0].weight *= 1e6
        made.body[2].weight *= 1e-6
    network = load(tiny.saved(made, tmp_path / "x.pth"), "cpu", "float16")
    result = network(torch.rand(1, 3, 16, 16))
    assert network.dtype == torch.float32 and torch.isfinite(result).all()


def test_a_network_of_no_numbers_is_refused(tmp_path):
    made = tiny.compact()
    with torch.no_grad():
        made.body[0].bias[0] = numpy.nan
    with pytest.raises(InvalidParams, match="what it makes of a picture is not numbers"):
        load(tiny.saved(made, tmp_path / "x.pth"), "cpu")(torch.rand(1, 3, 16, 16))


def test_how_far_a_network_sees_is_measured(tmp_path):
    made = tiny.compact()
    with torch.no_grad():
        for each in made.body:
            if isinstance(each, torch.nn.Conv2d):  # what is one pixel to the right
                each.bias.zero_()
                each.weight.zero_()[:, :, 1, 2] = 1 / each.in_channels
    assert load(tiny.saved(made, tmp_path / "x.pth"), "cpu").reach == 4  # convolutions
    assert networks.windows(tiny.swinir()) == {8}
