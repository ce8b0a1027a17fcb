"""How cells are run: all submitted at once, watched in a grid that grows, and put into grids at the end."""

from collections.abc import Callable, Sequence
from typing import Any

from core.plugin import Artifact, Child, Context, DependencyFailed, Result

from . import pictures
from .cells import Cell, Layout
from .options import Results
from .pictures import Thumbnails

PARTS = 20  # after which the growing grid is shown
MOST_INPUTS = 1_000  # of one job
MOST_RETURNED = 2_000  # more, with their facts, could not be told in one message
TOLD = 20  # cells that failed


def run(
    job: str, cells: Sequence[Cell], layout: Layout, inputs: Callable[[Cell], dict[str, Any]], params: Results,
    thumbnails: Thumbnails, ctx: Context,
) -> list[Artifact | Result]:  # fmt: skip
    """What the program returns: grids, and the pictures in them if they are wanted. Raises DependencyFailed if no cell
    came to an end."""
    layout = layout if params.legend else layout.bare()
    requests = [{"job": job, "params": cell.params, "inputs": inputs(cell), "key": cell.key} for cell in cells]
    children = watched(ctx.submit_all(requests), layout, thumbnails, ctx)
    failed = [(child, cell) for child, cell in zip(children, cells, strict=True) if child.state != "done"]
    said = [f"{cell.key} {child.state}: {(child.error or {}).get('message', '')}" for child, cell in failed[:TOLD]]
    if len(failed) == len(cells):
        text = f"none of {len(cells):,} cells came to an end. The first: {said[0]}"
        raise DependencyFailed(text[:1_000], hint="Mend what is wrong, and retry.")
    found = [_first(child) for child in children]
    outputs = [*grids_of(found, layout, params, ctx)] if params.grid and any(found) else []
    if params.cells:
        alone = [each for child in children for each in child.outputs if each.kind in ("image", "mask")]
        if len(alone) <= MOST_RETURNED:
            outputs += alone
        else:
            text = f"{len(alone):,} pictures are too many to be returned, the limit is {MOST_RETURNED:,}."
            ctx.log(f"{text} They are results of this program's jobs.")
    if failed:  # at the end, where it is told once
        more = [f"and {len(failed) - TOLD:,} more"] if len(failed) > TOLD else []
        hint = "Their places in the grid are empty. Retry with extend runs only these again."
        ctx.log("\n".join([f"{len(failed):,} of {len(cells):,} cells failed. {hint}", *said, *more]))
    return outputs


def watched(children: list[Child], layout: Layout, thumbnails: Thumbnails, ctx: Context) -> list[Child]:
    """The children once all have ended; after each part of them, what is there is shown."""
    gathered: list[Child] = []
    for part in range(1, PARTS + 1):
        gathered = ctx.gather(children[: -(-len(children) * part // PARTS)], allow_failed=True)
        if len(gathered) < len(children) and ctx.wants_preview:
            there = [_first(child) for child in gathered] + [None] * (len(children) - len(gathered))
            if any(there):
                ctx.preview(pictures.live(there, layout, thumbnails, ctx))
    return gathered


def _first(child: Child) -> Artifact | None:
    """What stands for the child in a grid."""
    kinds = [each for each in child.outputs if each.kind in ("image", "mask")] or child.outputs
    return kinds[0] if child.state == "done" and kinds else None


def grids_of(
    found: Sequence[Artifact | None], layout: Layout, params: Results, ctx: Context
) -> list[Artifact | Result]:
    """The grid of all, then, if they are wanted, that of each title. Up to a thousand pictures they are drawn by jobs
    of their own, so that lineage leads from a grid to what is in it."""
    look = {"margin": params.margin, "background": params.background}
    planes = [found[start : start + layout.plane] for start in range(0, len(found), layout.plane)]
    too_many = max(len(planes), *map(len, planes)) > MOST_INPUTS
    if too_many or any(each and each.kind not in ("image", "mask") for each in found):
        take = lambda artifact: pictures.shown(artifact, ctx)  # noqa: E731
        look["most_pixels"] = pictures.most(params)
        drawn = [pictures.whole(found, layout, take, title=params.title, **look)]
        if params.sub_grids and len(planes) > 1:
            size, titles = pictures.size_of(found), layout.titles
            drawn += [
                pictures.plane(each, layout, take, size, title, **look)
                for each, title in zip(planes, titles, strict=True)
            ]
        return [Result(each, pictures.infotext(found)) for each in drawn]
    look["max_megapixels"] = params.max_megapixels
    words = {name: [*getattr(layout, name)] for name in ("above", "beside", "captions")} | {"columns": layout.wide}
    requests = []
    for place, (part, title) in enumerate(zip(planes, layout.titles, strict=True)):
        empty = [number for number, each in enumerate(part) if each is None]
        own = {"title": title if len(planes) > 1 else params.title, "empty": empty}
        images = [each for each in part if each]
        request = {"job": "sweeps.grid", "params": look | words | own, "inputs": {"images": images}}
        requests += [request | {"key": f"grid {place}"}] if images else []
    made = [child.outputs[0] for child in ctx.gather(ctx.submit_all(requests))]
    if len(made) == 1:
        return made
    joined = {"columns": pictures.columns(len(made)), "title": params.title} | look
    whole = ctx.submit("sweeps.grid", joined, {"images": made}, key="grid of grids")
    return [ctx.gather([whole])[0].outputs[0], *(made if params.sub_grids else [])]
