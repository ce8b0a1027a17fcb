"""The way of a picture through one or two upscalers to its size."""

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import PIL.ImageFilter
import torch

from core.plugin import Context, InvalidParams, Params, Result, infotext_of

from . import networks
from .ldsr import Ldsr
from .networks import Network
from .sizes import LARGEST, Box, Canvas, Size, framed, outside, passes
from .tiles import cut_up, strips

METHODS = {"lanczos": PIL.Image.Resampling.LANCZOS, "nearest": PIL.Image.Resampling.NEAREST}
LOADED = 2  # networks stay: that of the last job, and its second one
CPU_BYTES = 1_000_000_000  # that tiles may take where the device does not say what is free
SHARE = 0.7  # of what is free
PREVIEW = 512  # pixels
BESIDE = 8  # pixels
MOST_BETWEEN = 5 * LARGEST  # pixels that a network may make of what it has made: 4 times the largest result, and more
MODES = {3: "RGB", 4: "RGBA"}  # of the pictures that networks of so many channels take; one takes each colour by itself

Upscaler = Network | PIL.Image.Resampling


class Upscalers:
    """The networks that were used last, on their device."""

    def __init__(self, device: str, dtype: str):
        self.device, self._dtype = torch.device(device), dtype
        self._loaded: dict[tuple, Network] = {}

    def get(self, path: Path) -> Upscaler:
        """What a file of weights holds, or the method of resampling that a JSON file names. Raises InvalidParams."""
        if path.suffix == ".json":
            return METHODS[json.loads(path.read_text("utf-8"))["method"]]
        about = path.stat()
        key = (path, about.st_mtime_ns, about.st_size)
        found = self._loaded.pop(key, None)
        if found is None:
            while len(self._loaded) >= LOADED:
                del self._loaded[next(iter(self._loaded))]
            found = networks.load(path, str(self.device), self._dtype)
        self._loaded[key] = found
        return found

    def clear(self) -> None:
        self._loaded.clear()

    def budget(self, low_memory: bool) -> float:
        """Bytes that tiles may take at once."""
        free = CPU_BYTES
        if self.device.type == "cuda":
            kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            free = (torch.cuda.mem_get_info(self.device)[0] + kept) * SHARE
        return free / 4 if low_memory else free


class Stopped(Exception):
    """Somebody wants what there is."""


def upscaled(upscalers: Upscalers, image: PIL.Image.Image, params: Params, ctx: Context) -> Result:
    """The job. What the networks did not come to because somebody wanted an end is enlarged by Lanczos."""
    size, box = framed(image.size, params.scale, params.width, params.height, params.crop)
    chosen = {"model": (params.model, 1.0)}
    if params.second_model and params.second_visibility:
        chosen["second_model"] = params.second_model, params.second_visibility
    work = Work(upscalers, params, ctx, image, size, box)
    for field, (name, share) in chosen.items():
        try:
            work.plan(upscalers.get(ctx.models.path("upscaler", name)), share)
        except InvalidParams as error:
            error.extra["field"] = field
            raise
    picture, partial = work.done()
    told: dict[str, Any] = {"Postprocess upscale by": params.scale}
    if params.width or params.height:
        told = {"Postprocess upscale to": f"{size[0]}x{size[1]}"}
    told |= {"Postprocess upscaler": params.model}
    told |= {"Postprocess upscaler 2": params.second_model} if "second_model" in chosen else {}
    return Result(picture, {"infotext": infotext_of(image, told)} | ({"partial": True} if partial else {}))


class Work:
    """One picture, and the upscalers that enlarge it one after the other, each mixed into what was made before."""

    def __init__(
        self, upscalers: Upscalers, params: Params, ctx: Context, image: PIL.Image.Image, size: Size, box: Box
    ):
        cut = outside(image.size, box)
        self._image, self._box = image.crop(cut), (box[0] - cut[0], box[1] - cut[1], box[2] - cut[0], box[3] - cut[1])
        self._picture = PIL.Image.new(image.mode, size)
        self._upscalers, self._params, self._ctx, self._skips = upscalers, params, ctx, ctx.skips
        self._plans: list[tuple[Upscaler, float, list[Size]]] = []
        self._done = self._total = 0.0  # megapixels given to networks
        self._preview: PIL.Image.Image | None = None
        self._seen = 0  # rows of the picture that are in it

    def plan(self, upscaler: Upscaler, share: float) -> None:
        """Take another upscaler, of whose result `share` is to be seen."""
        sizes = []
        if isinstance(upscaler, Network):
            shown = self._box[2] - self._box[0], self._box[3] - self._box[1]
            sides = zip(self._image.size, self._picture.size, shown, strict=True)
            target = tuple(math.ceil(side * to / part) for side, to, part in sides)
            sizes = passes(self._image.size, target, upscaler.scale)
            if len(sizes) > 1 and math.prod(sizes[-1]) * upscaler.scale**2 > MOST_BETWEEN:
                raise InvalidParams(
                    f"a strip of {shown[0]:g}x{shown[1]:g} pixels is too thin to be enlarged to "
                    f"{self._picture.width}x{self._picture.height} by a network.",
                    hint="Choose Lanczos or Nearest, or a size whose shape is nearer to the picture's.",
                )
            self._total += sum(width * height for width, height in sizes) / 1e6
        self._plans.append((upscaler, share, sizes))

    def done(self) -> tuple[PIL.Image.Image, bool]:
        """The picture, and whether somebody wanted an end."""
        partial = False
        for n, (upscaler, share, sizes) in enumerate(self._plans):
            if not sizes:
                Canvas(self._picture, self._image.size, self._box, share).fill(self._colours, self._box, upscaler)
                continue
            source = sizes[-1][0] * upscaler.scale, sizes[-1][1] * upscaler.scale
            factors = 2 * tuple(made / side for made, side in zip(source, self._image.size, strict=True))
            box = tuple(at * factor for at, factor in zip(self._box, factors, strict=True))
            canvas = Canvas(self._picture, source, box, share)
            try:
                self._enlarge(upscaler, sizes, canvas)
            except Stopped:
                partial = True
                if not n:
                    canvas.fill(self._colours, self._box, PIL.Image.Resampling.LANCZOS)
                break
            finally:
                if isinstance(upscaler, Ldsr):  # which stays, and would keep the picture
                    upscaler.diffusion.before = lambda *step: None
        if self._image.mode == "RGBA":
            first = self._plans[0][0]
            method = PIL.Image.Resampling.LANCZOS if isinstance(first, Network) else first
            self._picture.putalpha(self._image.getchannel("A").resize(self._picture.size, method, self._box))
        if profile := self._image.info.get("icc_profile"):
            self._picture.info["icc_profile"] = profile
        return self._picture, partial

    @functools.cached_property
    def _colours(self) -> PIL.Image.Image:
        """What is to be enlarged, grey or RGB. Where nothing is seen, it has the colours of what is beside it: what is
        hidden there would shine through at the edges."""
        if self._image.mode != "RGBA":
            return self._image
        colours, hidden = self._image.convert("RGB"), self._image.getchannel("A").point(lambda a: 255 * (a == 0))
        spread = self._image.convert("RGBa").filter(PIL.ImageFilter.BoxBlur(BESIDE)).convert("RGBA")
        colours.paste(spread.convert("RGB"), mask=hidden)
        return colours

    def _enlarge(self, network: Network, sizes: list[Size], canvas: Canvas) -> None:
        """Through a network, once for each of `sizes`."""
        if isinstance(network, Ldsr):
            network.diffusion.steps, network.diffusion.before = self._params.steps, self._stop
        mode = MODES.get(network.channels, self._colours.mode)
        picture = (self._image if mode == "RGBA" else self._colours).convert(mode)
        budget = self._upscalers.budget(self._ctx.low_memory)
        for (width, height), after in zip(sizes, [*sizes[1:], None], strict=True):
            grown = width * network.scale, height * network.scale
            target = Canvas(PIL.Image.new(mode, after), grown) if after else canvas
            tiling = cut_up(network, width, height, budget, self._params.tile, self._params.overlap)
            pixels = numpy.asarray(picture).reshape(height, width, -1)
            for strip in strips(network, pixels, *tiling, before=self._before(width * height / 1e6)):
                target.add(strip)
                if not after:
                    self._show(canvas.done)
            picture = target.picture

    def _show(self, rows: int) -> None:
        """A preview: what is done of the picture, and the rest as it came."""
        whole, ctx = self._picture, self._ctx
        if not ctx.wants_preview or not self._seen < rows < whole.height:
            return
        if not self._preview:
            ratio = min(1, PREVIEW / max(whole.size))
            size = [max(1, round(side * ratio)) for side in whole.size]
            self._preview = self._image.convert("RGB").resize(size, PIL.Image.Resampling.BILINEAR, self._box)
        first, last = (at * self._preview.height // whole.height for at in (self._seen, rows))
        if last > first:
            part = whole.crop((0, self._seen, whole.width, rows)).convert("RGB")
            self._preview.paste(part.resize((self._preview.width, last - first), PIL.Image.Resampling.BOX), (0, first))
            self._seen = rows
        ctx.preview(self._preview)

    def _before(self, megapixels: float) -> Callable[[int, int], None]:
        """What is called before each tile of a picture so large."""
        start, ctx = self._done, self._ctx
        self._done += megapixels

        def before(done: int, total: int) -> None:
            ctx.progress(round(100 * (start + megapixels * done / total) / self._total, 1), 100, "upscale")
            self._stop()

        return before

    def _stop(self, *step: int) -> None:
        """Raises where somebody wants an end."""
        if self._ctx.skips > self._skips or (self._ctx.cancelled and self._ctx.keep_partial):
            raise Stopped
        self._ctx.raise_if_cancelled()
