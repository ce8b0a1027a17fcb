"""Every architecture that spandrel knows for super-resolution is taken, and so are the tensors of published files.

`published.json` says which tensors these have, shortened: "body.{0-22}.rdb{1-3}.conv1.weight" stands for 69 keys. Their
numbers are compared with the parameters that the papers count, or with the sizes of the files."""

import json
import re
import typing
from pathlib import Path

import pytest
import torch
from spandrel import MAIN_REGISTRY
from up import networks

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())
NOT_SR = {"GFPGAN", "RestoreFormer", "LaMa"}  # faces, and what a mask hides
RESTORERS = {  # taken, too, and a picture is as large afterwards as before; two of them are tried below
    "DRUNet", "DnCNN", "FBCNN", "FFTformer", "HVICIDNet", "KBNet", "MixDehazeNet", "RetinexFormer", "SAFMNBCIE",
    "Uformer",
}  # fmt: skip
DEEP = {"embed_dim": 16, "upscale": 2, "upsampler": "pixelshuffle", "mlp_ratio": 2, "depths": [2]}
WINDOWS = DEEP | {"num_heads": [2], "window_size": 8}
SPLIT = {"embed_dim": 32, "split_size": [8, 8], "depth": [2], "num_heads": [2], "upscale": 2}
STYLE = {"dim_in": 8, "dim_out": 32, "depth": 1}
# By architecture, as few channels and layers as it has.
TINY = {
    "ATD": WINDOWS | {"category_size": 16, "num_tokens": 4, "reducted_dim": 2},
    "AuraSR": {"dim": 8, "image_size": 64, "input_image_size": 16, "self_attn_dim_head": 8, "style_network": STYLE},
    "CRAFT": {"depths": [2], "num_heads": [6]},
    "Compact": {"num_feat": 4, "num_conv": 1},
    "DAT": SPLIT,
    "DCTLSA": {"nf": 10},
    "DITN": {"dim": 4, "ITL_blocks": 1, "SAL_blocks": 1},
    "DRCT": WINDOWS | {"gc": 4},
    "ESRGAN": {"num_filters": 4, "num_blocks": 1},
    "FDAT": {"embed_dim": 8, "num_groups": 1, "depth_per_group": 1, "num_heads": 2, "mid_dim": 8},
    "GRL": DEEP | {"num_heads_window": [1], "num_heads_stripe": [1]},
    "HAT": WINDOWS | {"squeeze_factor": 4},
    "IPT": {"n_feats": 4, "scale": [2], "num_heads": 2, "num_layers": 1, "patch_size": 12},
    "MMRealSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_feats": [8] * 4},
    "MoESR": {"dim": 8, "n_blocks": 1, "n_block": 1, "upsample_dim": 8},
    "MoSR": {"n_block": 1, "dim": 8},
    "NAFNet": {"width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]},
    "OmniSR": {"num_feat": 8, "res_num": 1},
    "PLKSR": {"dim": 8, "n_blocks": 1},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16},
    "RGT": SPLIT,
    "RealCUGAN": {},
    "SAFMN": {"dim": 8, "n_blocks": 1},
    "SCUNet": {"config": [1] * 7},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8},
    "SeemoRe": {"num_experts": 2, "num_layers": 1, "embedding_dim": 8},
    "SwiftSRGAN": {"num_channels": 4, "num_blocks": 1},
    "Swin2SR": WINDOWS,
    "SwinIR": WINDOWS,
}


def class_of(architecture):
    """The network's class: Architecture[SwinIR] of spandrel names it; the first, if there are several."""
    for base in type(architecture).__orig_bases__:
        (named,) = typing.get_args(base)
        return (typing.get_args(named) or (named,))[0]


def test_every_architecture_is_either_taken_or_left_to_others():
    assert {support.architecture.id for support in MAIN_REGISTRY} == set(TINY) | RESTORERS | NOT_SR


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # asks for an argument that these architectures do not give
@pytest.mark.parametrize("architecture", TINY)
def test_a_network_of_the_architecture_is_read_and_enlarges(architecture, tmp_path):
    torch.manual_seed(0)
    (known,) = (each.architecture for each in MAIN_REGISTRY if each.architecture.id == architecture)
    state = class_of(known)(**TINY[architecture]).state_dict()
    torch.save({"params_ema": state}, tmp_path / "tiny.pth")

    network = networks.load(tmp_path / "tiny.pth", "cpu")
    side = max(-(-24 // network.multiple) * network.multiple, network.minimum)
    with torch.inference_mode():
        made = network(torch.rand(1, network.channels, side, side))

    assert network.architecture == known.name
    assert made.shape == (1, network.channels, side * network.scale, side * network.scale)
    assert torch.isfinite(made).all()


@pytest.mark.parametrize("file", PUBLISHED)
def test_the_tensors_of_a_published_file_are_read(file, tmp_path):
    about = PUBLISHED[file]
    state = {key: random(shape) for key, shape in expanded(about["keys"])}
    count = sum(tensor.numel() for tensor in state.values())
    state |= {key: random(shape) for key, shape in expanded(about.get("buffers", {}))}
    wrapped = {about["wrapped"]: state} if "wrapped" in about else state
    torch.save(wrapped, tmp_path / "published.pth")

    network = networks.load(tmp_path / "published.pth", "cpu")
    size_bytes = (tmp_path / "published.pth").stat().st_size
    (tmp_path / "published.pth").unlink()  # pytest keeps what is left in such folders

    assert (network.architecture, network.scale, network.channels) == (about["architecture"], about["scale"], 3)
    if "millions" in about:
        assert count / 1e6 == pytest.approx(about["millions"], rel=0.02)
    if "megabytes" in about:
        assert size_bytes / 1e6 == pytest.approx(about["megabytes"], rel=0.01)


def expanded(keys):
    """(key, shape) of all that "{0-2}" and "{1,3}" stand for."""
    for short, shape in keys.items():
        found = [short]
        while "{" in found[0]:
            found = [key for each in found for key in _first(each)]
        yield from ((key, shape) for key in found)


def _first(short):
    before, inside, after = re.fullmatch(r"([^{]*)\{([^}]*)\}(.*)", short).groups()
    first, dash, last = inside.partition("-")
    numbers = range(int(first), int(last) + 1) if dash else inside.split(",")
    return [f"{before}{number}{after}" for number in numbers]


def random(shape):
    """Small numbers; ["int64", ...]: indices, all 0; ["offsets", height, width]: between pixels of a window."""
    if shape[:1] == ["int64"]:
        return torch.zeros(shape[1:], dtype=torch.int64)
    if shape[:1] == ["offsets"]:
        return torch.cartesian_prod(*(torch.arange(1 - side, side) for side in shape[1:]))
    return torch.empty(shape).uniform_(-0.02, 0.02)
