"""What a transform redraws, from what and in which order, and how colours are corrected. No pictures here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .transforms import Step, Transform

CORRECTIONS = ("every step", "head", "seed", "none")


@dataclass(frozen=True)
class Redraw:
    """One redrawing. `start` and `reference` are keys of earlier ones, None is the picture that was given; `since`
    counts the redrawings since colours were last corrected, with this one."""

    key: str
    start: str | None
    reference: str | None
    step: Step
    seed: int
    saved: bool
    since: int


def redraws(transform: Transform, seeds: Iterable[int]) -> Iterator[Redraw]:
    """One loop for each seed."""
    before = None  # the last result of the loop before, if that is where this one begins
    last = len(transform.program)
    for loop, seed in enumerate(seeds, 1):
        start, since = before, 0
        for number, step in enumerate(transform.program, 1):
            saved = not transform.multi_step or transform.save_middle or number == last
            key = f"loop {loop}/step {number}"
            since = since + 1 if transform.multi_step else 1
            yield Redraw(key, start, before, step, seed, saved, since)
            since = 0 if saved else since
            start = key if transform.multi_step else start
            done = key
        before = done if transform.loop_to_loop else None


def waves(found: Iterable[Redraw]) -> list[list[Redraw]]:
    """Those that can be drawn side by side, then those that begin with what these made, and so on."""
    depths: dict[str | None, int] = {None: -1}
    found_at: dict[int, list[Redraw]] = {}
    for each in found:
        depths[each.key] = depth = 1 + max(depths[each.start], depths[each.reference])
        found_at.setdefault(depth, []).append(each)
    return [*found_at.values()]


def correction(
    how: str, each: Redraw, blend: float | None = None, lightness: float | None = None
) -> dict[str, Any] | None:
    """What match_colors is told for one redrawing, None where its colours stay. `blend` and `lightness` count more than
    `how`, where they are given."""
    if how == "none" or (how != "every step" and not each.saved):
        return None
    if how == "seed":
        found = {"keep": 0, "rounds": 1, "lightness": 10, "truncate": True}
    else:
        lighter = each.since if how == "head" else 1
        strength = each.step.denoising_strength
        found = {"keep": strength, "rounds": 2, "lightness": lighter, "truncate": how == "head"}
    given = {"keep": blend, "lightness": lightness}
    return {"method": "lab"} | found | {name: value for name, value in given.items() if value is not None}
