"""Tiny networks with random weights, as files: their architecture is read from the shapes of their tensors."""

import safetensors.torch
import torch


def compact(channels=3, scale=2, features=6, layers=2, seed=0):
    """Real-ESRGAN's Compact: convolutions alone."""
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(seed)
    return SRVGGNetCompact(num_in_ch=channels, num_out_ch=channels, num_feat=features, num_conv=layers, upscale=scale)


def esrgan(scale=2, features=8, blocks=1, channels=3):
    """ESRGAN, which sees far."""
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    torch.manual_seed(0)
    return RRDBNet(in_nc=channels, out_nc=channels, num_filters=features, num_blocks=blocks, scale=scale)


def swinir():
    """Attention in windows of 8 pixels."""
    from spandrel.architectures.SwinIR.__arch.SwinIR import SwinIR

    torch.manual_seed(0)
    return SwinIR(
        upscale=2, img_size=64, window_size=8, depths=[2], embed_dim=12, num_heads=[2], mlp_ratio=2,
        upsampler="pixelshuffledirect",
    )  # fmt: skip


def saved(network, path):
    """As published: .safetensors, or a .pth with the weights under the key params."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"params": state}, path)
    return path
