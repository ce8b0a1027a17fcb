"""What is done to finished pictures besides drawing: colours, frames, layers and masks."""

from typing import Annotated, Literal

from core.plugin import Context, Image, InvalidParams, Mask, Params, Plugin, Result, infotext_of, job, param

HALF_WAY = {"widget": "slider", "step": 0.05}


class MatchParams(Params):
    method: Literal["lab", "a1111", "rgb"] = param(
        "lab",
        help="lab: colours become those of the reference, light and dark stay. a1111: the same, after light and dark "
        "have been matched, too, as in A1111's colour correction. rgb: the histograms of red, green and blue.",
    )
    keep: float = param(0, ge=0, le=1, **HALF_WAY, help="How much the picture keeps of its own colours in each round.")
    rounds: int = param(1, ge=1, le=10, help="How often the colours are matched; more than once where some are kept.")
    lightness: float = param(
        0, ge=-100, le=100, step=1, visible_if={"method": "lab"}, help="How much lighter the picture gets, of 100."
    )
    truncate: bool = param(
        False,
        visible_if={"method": "lab"},
        advanced=True,
        help="Cut off what is behind the point instead of rounding, as some programs do: half a level darker.",
    )


class EqualizeParams(Params):
    method: Literal["lightness", "channels", "adaptive"] = param(
        "lightness",
        help="lightness: light and dark over the whole range, hues stay. channels: red, green and blue each by itself. "
        "adaptive: lightness in each part of the picture by itself (CLAHE).",
    )
    amount: float = param(1, ge=0, le=1, **HALF_WAY, help="0 leaves the picture as it is, 1 equalises it fully.")
    clip_limit: float = param(
        2, ge=1, le=40, step=0.5, visible_if={"method": "adaptive"}, help="How much contrast it may get: 1 is little."
    )
    tiles: int = param(8, ge=1, le=32, visible_if={"method": "adaptive"}, help="Parts in each direction.")


class CropParams(Params):
    mode: Literal["box", "shape", "border", "mask"] = param(
        "box",
        help="box: what you say in pixels. shape: the largest part of that shape. border: without sides of one colour. "
        "mask: what is white in the mask.",
    )
    left: int = param(0, ge=0, unit="pixels", visible_if={"mode": "box"}, help="Box: where it begins, from the left.")
    top: int = param(0, ge=0, unit="pixels", visible_if={"mode": "box"}, help="Box: where it begins, from above.")
    width: int = param(
        0, ge=0, unit="pixels", visible_if={"mode": "box"}, pairs_with="height", help="Box: 0 to the right edge."
    )
    height: int = param(0, ge=0, unit="pixels", visible_if={"mode": "box"}, help="Box: 0 to the lower edge.")
    wide: float = param(1, gt=0, le=100, visible_if={"mode": "shape"}, help="Shape: this wide, 16 of 16:9.")
    high: float = param(1, gt=0, le=100, visible_if={"mode": "shape"}, help="Shape: this high, 9 of 16:9.")
    across: float = param(
        0.5, ge=0, le=1, **HALF_WAY, visible_if={"mode": "shape"}, help="Shape: 0 keeps the left, 1 the right part."
    )
    down: float = param(
        0.5, ge=0, le=1, **HALF_WAY, visible_if={"mode": "shape"}, help="Shape: 0 keeps the upper, 1 the lower part."
    )
    tolerance: int = param(
        10, ge=0, le=255, visible_if={"mode": "border"}, help="Border: how much its colours may differ."
    )
    padding: int = param(
        32, ge=0, le=10_000, unit="pixels", visible_if={"mode": "mask"}, help="Mask: how much stays around it."
    )
    multiple_of: int = param(
        1,
        ge=1,
        le=256,
        advanced=True,
        unit="pixels",
        help="Cut off what is over a multiple of this.",
    )


class ExtendParams(Params):
    left: int = param(0, ge=0, le=8192, frame="left", unit="pixels", help="New pixels at the left side.")
    right: int = param(0, ge=0, le=8192, frame="right", unit="pixels", help="New pixels at the right side.")
    up: int = param(0, ge=0, le=8192, frame="up", unit="pixels", help="New pixels above.")
    down: int = param(0, ge=0, le=8192, frame="down", unit="pixels", help="New pixels below.")
    fill: Literal["color", "transparent", "edge", "mirror", "wrap"] = param(
        "color",
        help="What is there: a colour, nothing, its outermost pixels, the picture mirrored, or the picture again.",
    )
    color: str = param(
        "white",
        max_length=50,
        visible_if={"fill": "color"},
        examples=["white", "#202020"],
        help="Colour: name or #rrggbb.",
    )


class BlendParams(Params):
    mode: Literal[
        "normal", "multiply", "screen", "overlay", "darken", "lighten", "color dodge", "color burn", "hard light",
        "soft light", "difference", "exclusion", "add", "subtract", "hue", "saturation", "color", "luminosity",
    ] = param("normal", help="What the layer does to the picture below.")  # fmt: skip
    opacity: float = param(1, ge=0, le=1, **HALF_WAY, help="How much of the layer is to be seen.")
    fit: Literal["cover", "inside", "stretch", "place"] = param(
        "cover",
        help="cover: the layer covers the picture, what is over is cut off. inside: it fits inside. stretch: it gets "
        "the picture's size. place: it keeps its size and lies where you say.",
    )
    left: int = param(
        0, ge=-10_000, le=100_000, unit="pixels", visible_if={"fit": "place"}, help="Place: from the left."
    )
    top: int = param(0, ge=-10_000, le=100_000, unit="pixels", visible_if={"fit": "place"}, help="Place: from above.")


class MaskShape(Params):
    grow: int = param(0, ge=-1024, le=1024, unit="pixels", order=50, help="Make it larger, below 0 smaller.")
    feather: float = param(
        0, ge=0, le=256, step=1, unit="pixels", order=51, help="Soft edges: the standard deviation of a Gaussian blur."
    )
    invert: bool = param(False, order=52, help="Swap white and black, at last.")


class MakeMaskParams(MaskShape):
    source: Literal["alpha", "color", "lightness"] = param(
        "color", order=1, help="White is what is opaque, what has about that colour, or what is that light."
    )
    color: str = param(
        "white", max_length=50, order=2, visible_if={"source": "color"}, examples=["white", "#00ff00"],
        help="Colour: name or #rrggbb.",
    )  # fmt: skip
    tolerance: float = param(
        15, ge=0, le=300, order=3, visible_if={"source": "color"},
        help="How far colours may be from it: 2 can just be seen, black and white are 100 apart.",
    )  # fmt: skip
    low: float = param(50, ge=0, le=100, order=4, visible_if={"source": "lightness"}, help="From this lightness on.")
    high: float = param(100, ge=0, le=100, order=5, visible_if={"source": "lightness"}, help="Up to this lightness.")
    softness: float = param(
        0, ge=0, le=100, order=6, advanced=True, help="What is up to this much further away is masked in part."
    )


class EditMaskParams(MaskShape):
    combine: Literal["add", "subtract", "intersect", "exclude"] = param(
        "add",
        order=1,
        help="With another mask: what is in one of both, only in the first, in both, or in one but not in both.",
    )


Reference = Annotated[Image, "The picture that has the colours; of any size."]
Layer = Annotated[Image, "What is laid on the picture."]
Shown = Annotated[Mask | None, "Where the layer shows; everywhere without it."]
Around = Annotated[Mask | None, "For the mode mask: what is to stay."]
Other = Annotated[Mask | None, "A mask to combine the first one with."]


class Color(Plugin):
    @job(reuse=True, concurrency=2)
    def match_colors(self, image: Image, reference: Reference, params: MatchParams, ctx: Context) -> Image:
        """Give a picture the colours of another one."""
        from . import matching
        from .palette import palette_of, recolored

        wanted = palette_of(reference, ctx)
        if not len(wanted.counts):
            raise InvalidParams("the reference is transparent all over.", field="reference")
        mix = (params.keep, params.rounds)
        change = {
            "lab": lambda own: matching.matched_in_lab(own, wanted, *mix, params.lightness, params.truncate),
            "a1111": lambda own: matching.matched_as_a1111(own, wanted, *mix),
            "rgb": lambda own: matching.matched_in_rgb(own, wanted, *mix),
        }[params.method]
        return _told(recolored(image, ctx, change), image, "color match", params.method)

    @job(reuse=True, concurrency=2)
    def equalize(self, image: Image, params: EqualizeParams, ctx: Context) -> Image:
        """Get contrast into a picture that has little, or little in some parts."""
        from . import equalizing
        from .palette import recolored

        if params.method == "adaptive":
            result = equalizing.locally_equalized(image, params.amount, params.clip_limit, params.tiles, ctx)
        else:
            change = getattr(equalizing, f"{params.method}_equalized")
            result = recolored(image, ctx, lambda own: change(own, params.amount))
        if image.mode == "L" and result.mode == "RGB":
            result = result.convert("L")
        return _told(result, image, "equalize", params.method)

    @job(reuse=True, concurrency=2)
    def crop(self, image: Image, params: CropParams, ctx: Context, mask: Around = None) -> Image:
        """Cut out a part of a picture: a box, a shape, what is inside of a border, or what a mask shows."""
        from . import framing
        from .pictures import with_alpha, with_profile

        if params.mode == "box":
            box = framing.box_inside(image.size, params.left, params.top, params.width, params.height)
        elif params.mode == "shape":
            box = framing.box_of_shape(image.size, params.wide, params.high, params.across, params.down)
        elif params.mode == "border":
            box = framing.box_without_border(image, params.tolerance, ctx)
            if box is None:
                ctx.log("The picture is of one colour: nothing is cut off.")
                box = (0, 0, *image.size)
        else:
            if mask is None:
                raise InvalidParams(
                    "the mode mask needs a mask.", field="mask", hint="Give one, or choose another mode."
                )
            box = framing.box_around(_like(mask, image), params.padding)
        box = framing.in_multiples(box, params.multiple_of)
        result = with_profile(with_alpha(image).crop(box), image)
        return _told(result, image, "crop", "{2}x{3}+{0}+{1}".format(*box[:2], *result.size), box=list(box))

    @job(reuse=True, concurrency=2)
    def extend(self, image: Image, params: ExtendParams) -> Image:
        """Make a picture larger at its sides, by a colour, by nothing or by what it shows."""
        from .framing import extended

        sides = params.left, params.right, params.up, params.down
        result = extended(image, *sides, params.fill, params.color)
        place = f"{result.width}x{result.height}+{params.left}+{params.up}"
        return _told(result, image, "extend", place)

    @job(reuse=True, concurrency=2)
    def blend(self, image: Image, layer: Layer, params: BlendParams, ctx: Context, mask: Shown = None) -> Image:
        """Lay one picture on another one, as layers in a paint program."""
        from .blending import blended, placed

        layer, box = placed(layer, image.size, params.fit, params.left, params.top)
        if box[0] >= box[2]:
            ctx.log("The layer lies beside the picture: nothing of it is to be seen.")
        mask = mask and _like(mask, image)
        result = blended(image, layer, box, mask, params.mode, params.opacity, ctx)
        return _told(result, image, "blend", params.mode)

    @job(reuse=True, concurrency=2)
    def make_mask(self, image: Image, params: MakeMaskParams, ctx: Context) -> Mask:
        """Make a mask of a picture: of what is opaque, of a colour, or of what is light."""
        from . import masks

        if params.source == "alpha":
            mask = masks.from_alpha(image)
        elif params.source == "color":
            mask = masks.from_color(image, params.color, params.tolerance, params.softness, ctx)
        elif params.low <= params.high:
            mask = masks.from_lightness(image, params.low, params.high, params.softness, ctx)
        else:
            raise InvalidParams(f"low is {params.low:g}, above high, which is {params.high:g}.", field="low")
        return _shaped(mask, params, ctx)

    @job(reuse=True, concurrency=2)
    def edit_mask(self, mask: Mask, params: EditMaskParams, ctx: Context, other: Other = None) -> Mask:
        """Combine masks, make one larger or smaller, soften its edges, invert it; in this order."""
        import numpy

        from .masks import COMBINE

        pixels = numpy.asarray(mask.convert("L"))
        if other is not None:
            pixels = COMBINE[params.combine](pixels, numpy.asarray(_like(other, mask)))
        return _shaped(pixels, params, ctx)


def _like(mask, image):
    """The mask in the size of the picture."""
    mask = mask.convert("L")
    return mask if mask.size == image.size else mask.resize(image.size)


def _shaped(mask, params: MaskShape, ctx: Context):
    import PIL.Image

    from .masks import feathered, grown

    ctx.raise_if_cancelled()
    mask = feathered(grown(mask, params.grow), params.feather, ctx)
    return PIL.Image.fromarray(255 - mask if params.invert else mask)


def _told(result, image, what: str, how: str, **facts) -> Result:
    """With the text that the picture came with, and in it what was done."""
    return Result(result, {"infotext": infotext_of(image, {f"Postprocess {what}": how})} | facts)
