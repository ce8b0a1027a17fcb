"""A picture redrawn again and again, each time from the result before: a program of img2img jobs."""

from core.plugin import Artifact, Context

from .curves import loopback_strength
from .options import SEEDS, ImageToImage, Loopback


def loopback(image: Artifact, params: Loopback, ctx: Context) -> list[Artifact]:
    """All loops are submitted at once, each waiting for the one before; loop i has the seed seed + i, as in A1111."""
    seed = params.seed if params.seed >= 0 else ctx.seed("seed")
    common = {name: value for name, value in params.model_dump().items() if name in ImageToImage.model_fields}
    children = []
    for i in range(params.loops):
        share = loopback_strength(
            params.denoising_strength, params.final_denoising_strength, i, params.loops, params.curve
        )
        options = common | {"seed": (seed + i) % SEEDS, "denoising_strength": share}
        children.append(ctx.submit("img2img", options, {"image": children[-1] if children else image}, key=f"loop {i}"))
    return [child.outputs[0] for child in ctx.gather(children)]
