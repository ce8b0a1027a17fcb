"""Pictures enlarged: by super-resolution networks in tiles, or by resampling."""

from typing import Literal

from core.plugin import Context, Image, Params, Plugin, job, param

from .extras import DEFAULT, LIST, ExtrasParams, extras


class UpscaleSettings(Params):
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = param(
        "auto",
        help="Precision of the networks. auto: float16 on graphics cards where the architecture can, else float32.",
    )


class UpscaleParams(Params):
    model: str = param(DEFAULT, choices_from=LIST, help="The network that enlarges, or a plain method.")
    scale: float = param(
        4, ge=1, le=8, step=0.25, widget="slider", visible_if={"width": 0, "height": 0},
        help="How many times larger each side becomes. A network may run several times for it.",
    )  # fmt: skip
    width: int = param(
        0, ge=0, le=32_768, unit="pixels", pairs_with="height", group="exact size",
        help="Width of the result, in place of the scale. With only one of width and height, the other follows.",
    )  # fmt: skip
    height: int = param(0, ge=0, le=32_768, unit="pixels", group="exact size", help="Height of the result.")
    crop: bool = param(
        True, group="exact size", visible_if={"width": True, "height": True},
        help="Cut off what is beyond the exact size, as much at both sides. If not, the result covers that size.",
    )  # fmt: skip
    second_model: str = param(
        "", choices_from=LIST, group="second upscaler", help="Another one, whose result is mixed in. Empty: none."
    )
    second_visibility: float = param(
        0.5, ge=0, le=1, step=0.05, widget="slider", group="second upscaler", visible_if={"second_model": True},
        help="How much of the second one's result is seen.",
    )  # fmt: skip
    steps: int = param(
        100, ge=1, le=1000, advanced=True, help="Steps of LDSR, for each tile. Other upscalers have none."
    )
    tile: int = param(
        0, ge=0, le=4096, unit="pixels", advanced=True,
        help="Side of the tiles that a network gets. Smaller ones need less memory. 0: as large as memory allows.",
    )  # fmt: skip
    overlap: int = param(
        0, ge=0, le=256, unit="pixels", advanced=True,
        help="How far a tile sees into its neighbours. 0: as far as the network looks, which is measured.",
    )  # fmt: skip


class Upscale(Plugin):
    settings: UpscaleSettings

    def load(self, device: str) -> None:
        from .upscaling import Upscalers

        self._upscalers = Upscalers(device, self.settings.dtype)

    def unload(self) -> None:
        self._upscalers.clear()

    @job(affinity="model", reuse=True, memory=1_000_000_000)
    def upscale(self, image: Image, params: UpscaleParams, ctx: Context) -> Image:
        """Enlarge a picture with a super-resolution network."""
        from .upscaling import upscaled

        return upscaled(self._upscalers, image, params, ctx)

    @job(program=True)
    def extras(self, image: Image, params: ExtrasParams, ctx: Context) -> Image:
        """Enlarge a finished picture and restore its faces, as A1111's Extras do."""
        return extras(image, params, ctx)
