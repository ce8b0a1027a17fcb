"""How the mean colour of pictures goes away from where it began: L*, a* and b* of CIELAB, plotted."""

import io
import math
from typing import Any

import numpy
import PIL.Image

from core.plugin import Context, InvalidParams

from .looks import color_of, hex_of, ink_on

STRIP = 1 << 20  # pixels at once
DOTS = 100  # pixels of an inch
XYZ = numpy.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LINES = (("L*", "lightness", "o-"), ("a*", "green to red", "s--"), ("b*", "blue to yellow", "^:"))
LEVELS = numpy.arange(256) / 255
LINEAR = numpy.where(LEVELS <= 0.04045, LEVELS / 12.92, ((LEVELS + 0.055) / 1.055) ** 2.4)  # of sRGB


def mean_lab(image: PIL.Image.Image, ctx: Context) -> list[float] | None:
    """The mean of L*, a* and b* (CIE 1976, D65) over all pixels, each as much as it is opaque; None if nothing is."""
    pixels = numpy.asarray(image.convert("RGBA")).reshape(-1, 4)
    total, weight = numpy.zeros(3), 0.0
    for start in range(0, len(pixels), STRIP):
        ctx.raise_if_cancelled()
        part = pixels[start : start + STRIP]
        alpha = part[:, 3] / 255
        total += (lab(part[:, :3]) * alpha[:, None]).sum(0)
        weight += alpha.sum()
    return [round(float(value), 3) for value in total / weight] if weight else None


def lab(rgb: numpy.ndarray) -> numpy.ndarray:
    """(N, 3) uint8 sRGB as L* (0..100), a*, b*, by the formulas: float64 (N, 3)."""
    ratio = LINEAR[rgb] @ (XYZ / XYZ.sum(1, keepdims=True)).T  # to the white point, which all ones give
    cube = numpy.where(ratio > (6 / 29) ** 3, numpy.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = cube.T
    return numpy.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def drift_plot(
    images: list[PIL.Image.Image], params: Any, ctx: Context
) -> tuple[PIL.Image.Image, list[list[float] | None]]:
    """The plot, and L*, a*, b* of each picture (None of one that is transparent all over)."""
    if not images:
        raise InvalidParams("a drift plot needs pictures, got none.", field="images", hint="Give one or more.")
    if params.labels and len(params.labels) != len(images):
        raise InvalidParams(
            f"labels: got {len(params.labels)} for {len(images)} pictures.", field="labels",
            hint="Send one for each picture, or none at all.",
        )  # fmt: skip
    background = color_of(params.background)
    values = []
    for number, image in enumerate(images, 1):
        values.append(mean_lab(image, ctx))
        ctx.progress(number, len(images), "drift")
    return plotted(values, params, background), values


def plotted(values: list[list[float] | None], params: Any, background: tuple[int, int, int]) -> PIL.Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    table = numpy.array([each or [math.nan] * 3 for each in values])
    seen = table[~numpy.isnan(table[:, 0])]
    if params.show == "change" and len(seen):
        table = table - seen[0]
    ink, page = hex_of(ink_on(background)), hex_of(background)
    dark = ink == "#ffffff"
    colors = ("#ffffff", "#ff8a80", "#82b1ff") if dark else ("#000000", "#c62828", "#1a4fb4")
    figure = Figure(figsize=(params.width / DOTS, params.height / DOTS), dpi=DOTS, facecolor=page, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 1, sharex=True)
    numbers = numpy.arange(1, len(values) + 1)
    for k, (panel, (name, meaning, style), color) in enumerate(zip(panels, LINES, colors, strict=True)):
        panel.set_facecolor(page)
        panel.plot(numbers, table[:, k], style, color=color, markersize=5 if len(values) <= 100 else 0, linewidth=1.8)
        panel.set_ylabel(f"{name}\n{meaning}", color=ink)
        panel.margins(y=0.15)
        low, high = panel.get_ylim()
        if high - low < 2:  # what cannot be seen is not made to look large
            panel.set_ylim((low + high) / 2 - 1, (low + high) / 2 + 1)
        panel.grid(True, color=ink, alpha=0.25)
        panel.tick_params(colors=ink)
        for side in panel.spines.values():
            side.set_color(ink)
    axis = panels[-1].xaxis
    if params.labels:
        step = math.ceil(len(values) / 20)
        long = max(map(len, params.labels)) * min(len(values), 20) > params.width / 8
        shown = [label if len(label) <= 24 else label[:23] + "…" for label in params.labels]
        panels[-1].set_xticks(
            numbers[::step], shown[::step], rotation=40 if long else 0, ha="right" if long else "center"
        )
        for tick in panels[-1].get_xticklabels():
            tick.set_parse_math(False)
    else:
        axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        panels[-1].set_xlabel("picture", color=ink)
    if params.title:
        figure.suptitle(params.title, color=ink, parse_math=False, wrap=True)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=page)
    with PIL.Image.open(out) as picture:
        return picture.convert("RGB")
