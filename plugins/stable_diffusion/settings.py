"""What the admin decides once for all jobs: `[plugin_settings.stable_diffusion]` in config.toml. Light at import."""

from typing import Literal

from core.plugin import Params, param


class Settings(Params):
    memory: Literal["auto", "full", "medium", "low"] = param(
        "auto",
        help="Where weights are while pictures are drawn. full: all on the device. medium: text encoder, UNet and VAE "
        "take turns, the others wait in the machine's memory. low: layer by layer, slow. auto: as the device allows.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = param(
        "auto", help="Precision of text encoder and UNet. auto: float32 on CPUs and Apple's chips, else float16."
    )
    vae_dtype: Literal["auto", "float32", "float16", "bfloat16"] = param(
        "auto",
        help="Precision of the VAE. auto: float32, but dtype with memory = low. What is not a number in half precision "
        "is computed again in float32.",
    )
    attention: Literal["sdpa", "xformers"] = param(
        "sdpa", help="How attention is computed: by PyTorch, or by xformers, which you have to install."
    )
    compile: bool = param(
        False,
        help="Whether the UNet is compiled for the device by torch.compile, in full mode: faster, but each new kind of "
        "model and each size takes up to minutes at first. On a CPU that needs a C++ compiler.",
    )
    cache_bytes: int = param(
        0, ge=0, help="Models stay loaded as long as all together take no more; 0: what suits the device's memory."
    )
    pinned: list[str] = param([], help="Names of models that stay loaded.")
    unload_after_seconds: float = param(
        0, ge=0, help="A model that was not used for so long is unloaded, if it is not pinned; 0: never."
    )
