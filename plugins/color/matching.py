"""How a picture gets the colours of another one: in CIELAB, as A1111 does it, or in red, green and blue."""

import numpy

from .blending import with_luminosity
from .lab import lab, lab_bytes, rgb, rgb_of_bytes
from .palette import Palette

MOST_COLOR = 150  # of a and b, up and down


def matched_in_lab(
    own: Palette, reference: Palette, keep: float, rounds: int, lightness: float, truncate: bool
) -> numpy.ndarray:
    """a and b get the histograms of the reference, L only grows by `lightness`. uint8 (K, 3)."""
    source, wanted = lab(own.colors), lab(reference.colors)
    new = numpy.empty(source.shape)
    new[:, 0] = (source[:, 0] + lightness).clip(0, 100)
    for channel in (1, 2):
        values = source[:, channel].clip(-MOST_COLOR, MOST_COLOR)
        new[:, channel] = drawn_near(values, own.counts, wanted[:, channel], reference.counts, keep, rounds)
    return _to_bytes(255 * rgb(new), truncate)


def matched_as_a1111(own: Palette, reference: Palette, keep: float, rounds: int) -> numpy.ndarray:
    """L, a and b, 8 bits each, get the histograms of the reference; then each colour its own luminosity again."""
    source, wanted = lab_bytes(own.colors), lab_bytes(reference.colors)
    new = _each_channel(source, own.counts, wanted, reference.counts, keep, rounds)
    found = rgb_of_bytes(_to_bytes(new, truncate=True))
    return _to_bytes(255 * with_luminosity(found / numpy.float32(255), own.colors / numpy.float32(255)), False)


def matched_in_rgb(own: Palette, reference: Palette, keep: float, rounds: int) -> numpy.ndarray:
    """Red, green and blue get the histograms of the reference."""
    return _to_bytes(_each_channel(own.colors, own.counts, reference.colors, reference.counts, keep, rounds), False)


def drawn_near(
    values: numpy.ndarray, counts: numpy.ndarray, wanted: numpy.ndarray, wanted_counts: numpy.ndarray,
    keep: float, rounds: int,
) -> numpy.ndarray:  # fmt: skip
    """Each round: `keep` of what there is, and for the rest what has the histogram that is wanted. float64 (K,)."""
    for _ in range(rounds):
        values = values * keep + matched(values, counts, wanted, wanted_counts) * (1 - keep)
    return values


def matched(
    values: numpy.ndarray, counts: numpy.ndarray, wanted: numpy.ndarray, wanted_counts: numpy.ndarray
) -> numpy.ndarray:
    """What stands at the same quantile of `wanted`, between two of its levels in proportion. float64 (K,)."""
    _, place, quantiles = _quantiles(values, counts)
    levels, _, wanted_quantiles = _quantiles(wanted, wanted_counts)
    return numpy.interp(quantiles, wanted_quantiles, levels)[place]


def _quantiles(values: numpy.ndarray, counts: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """The levels that there are, the place among them of each value, and which part of all is not above each level."""
    levels, place = numpy.unique(values, return_inverse=True)
    return levels, place, numpy.cumsum(numpy.bincount(place, counts)) / counts.sum()


def _each_channel(source, counts, wanted, wanted_counts, keep, rounds) -> numpy.ndarray:
    return numpy.stack(
        [drawn_near(source[:, k], counts, wanted[:, k], wanted_counts, keep, rounds) for k in range(3)], -1
    )


def _to_bytes(values: numpy.ndarray, truncate: bool) -> numpy.ndarray:
    return (values if truncate else values.round()).clip(0, 255).astype(numpy.uint8)
