"""How much memory of a graphics card models of full size take, counted without one: run by the plugin's own Python.

Networks with the published configurations are made of tensors that have a shape, a type and a device, but no numbers
(torch's FakeTensorMode), and go through the plugin's own code: words, UNet with guidance, VAE. All that lives on
the card is counted. Attention is one operation with nothing but its result, as the kernels compute it that
torch chooses for these shapes on a card; not counted are CUDA's own memory and workspaces of convolutions.

Prints a JSON object for each model, size, precision and mode: bytes at most, by stage, and the plugin's estimate."""

import contextlib
import json
import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
DECODER = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
           "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}  # fmt: skip
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
          "hidden_act": "gelu", "projection_dim": 1280}  # fmt: skip
SD1 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
XL = {"sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
      "block_out_channels": [320, 640, 1280], "transformer_layers_per_block": [1, 2, 10],
      "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
      "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "addition_embed_type": "text_time",
      "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}  # fmt: skip


class Live(TorchDispatchMode):
    """Counts the bytes that live on a kind of device."""

    def __init__(self, kind: str = "cuda"):
        super().__init__()
        self._kind, self._sizes, self.now, self.most = kind, {}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.see(tensor)
        return out

    def see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if tensor.device.type == self._kind and key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def plugin():
    """The package of the plugin; where its tests have imported it, theirs."""
    if "sd" not in sys.modules:
        sys.path.insert(0, str(ROOT))
        from core.ops.describe import load_plugin

        sys.modules["sd"] = sys.modules[load_plugin(ROOT / "plugins/stable_diffusion").__module__]
    return sys.modules["sd"].__name__


def module(name: str):
    import importlib

    return importlib.import_module(f"{plugin()}.{name}")


@contextlib.contextmanager
def made_of(dtype: torch.dtype, device: str):
    """Inside, networks are made in that precision, there, and without initial numbers."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def checkpoint(kind: str, dtype: torch.dtype, vae_dtype: torch.dtype, mode: str):
    """A Checkpoint of "sd1" or "xl" size on a card that is not there."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    placement = module("placement").Placement("cuda", mode)
    # In full mode all is there from the beginning: tensors without numbers cannot be moved as others are.
    with made_of(dtype, "cuda" if mode == "full" else "cpu"):
        clips = [CLIPTextModel(CLIPTextConfig(**CLIP_L))]
        if kind == "xl":
            clips.append(CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G)))
        unet = UNet2DConditionModel(**(XL if kind == "xl" else SD1))
    with made_of(vae_dtype, "cuda" if mode == "full" else "cpu"):
        vae = AutoencoderKL(**DECODER, sample_size=unet.config.sample_size * 8)
    networks = [each.eval().requires_grad_(False) for each in (*clips, unet, vae)]
    placement._at.update(dict.fromkeys(networks, mode == "full"))  # the others wait from the beginning
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "plugins/stable_diffusion/builtin/tokenizer")
    noise = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return module("checkpoint").Checkpoint(
        kind, "sdxl" if kind == "xl" else "sd1", "", tuple(clips), unet, vae, (tokenizer,) * len(clips), noise,
        placement, dtype if mode == "low" else None,
    )  # fmt: skip


def measured(kind: str, side: int, dtype: torch.dtype, mode: str, rows: int = 2) -> tuple[dict[str, int], Any]:
    """Bytes at most while words are read ("text"), in a step with `rows` of the UNet ("unet") and while a picture of
    side x side is decoded ("vae"); and the plugin's "estimate" of all, with the Need that it is from."""
    conditioning, denoiser, pieces = (module(name) for name in ("conditioning", "denoiser", "pieces"))
    found = {}
    with FakeTensorMode(), Live() as live, reading_no_numbers():
        model = checkpoint(kind, dtype, torch.float32, mode)

        @contextlib.contextmanager
        def stage(name: str):
            live.most = live.now
            with torch.inference_mode():
                yield
            found[name] = live.most

        with stage("text"):
            for clip in model.clips:
                with model.placement.present(clip) as (net,):
                    net(input_ids=torch.zeros(2, 77, dtype=torch.long, device="cuda"), output_hidden_states=True)
        with stage("unet"):
            context = torch.zeros(1, 77, model.unet.config.cross_attention_dim, dtype=dtype, device="cuda")
            more = {}
            if kind == "xl":
                more["pooled"] = torch.zeros(1, 1280, dtype=dtype, device="cuda")
                more["sizes"] = model.sizes(side, side, False)
            x, sigma = torch.zeros(1, 4, side // 8, side // 8, device="cuda"), torch.ones(1, device="cuda")
            model.denoiser.denoise([denoiser.Ask(x, sigma, [conditioning.Condition(context, **more)] * rows)])
        with stage("vae"):
            whole = side // 8 <= pieces.PIECE or (mode != "low" and (side // 8) ** 2 <= pieces.WHOLE)
            model.autoencoder.decode([x if whole else x[:, :, : pieces.PIECE, : pieces.PIECE]])
        need = model.need(side, side)
    return found | {"estimate": need.at(module("placement").Mode[mode.upper()])}, need


@contextlib.contextmanager
def reading_no_numbers():
    """Pictures stay where they are, for there is nothing to be seen in them."""
    autoencoder = module("autoencoder")
    before = autoencoder.number, autoencoder.to_picture
    autoencoder.number, autoencoder.to_picture = lambda x: x, lambda x: x.float()
    try:
        yield
    finally:
        autoencoder.number, autoencoder.to_picture = before


if __name__ == "__main__":
    for kind, side in (("sd1", 512), ("sd1", 1024), ("xl", 1024)):
        for dtype in (torch.float16, torch.float32):
            for mode in ("full", "medium", "low"):
                row = {"kind": kind, "side": side, "dtype": str(dtype).removeprefix("torch."), "mode": mode}
                print(json.dumps(row | measured(kind, side, dtype, mode)[0]), flush=True)
