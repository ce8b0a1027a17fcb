"""A family as a picture: thumbnails in generations, the oldest above, with arrows from what something was made from."""

import math
from dataclasses import dataclass, field
from typing import Any

import PIL.Image
import PIL.ImageDraw

from core.library.grids import wrapped
from core.plugin import Context, InvalidParams

from .looks import Color, color_of, font_of, hex_of, ink_on

TOGETHER = 4  # that many with the same parents, and no children, stand in a block
SMALLEST = 16  # pixels of a thumbnail's side
CAPTION = 2  # lines
MARKS = {"picked": ("✓", (22, 122, 58)), "rejected": ("✗", (196, 32, 32))}
ASKED, GREY = (30, 90, 200), (128, 128, 128)
DOTS = 100


@dataclass
class Block:
    """Members that stand together; `x` is the middle, `y` the upper end."""

    members: list[int]
    columns: int = 1
    x: float = 0
    y: float = 0
    width: int = 0
    height: int = 0
    low: float = 0  # the lower end of its generation


@dataclass
class Page:
    side: int  # of a thumbnail
    blocks: list[Block] = field(default_factory=list)
    ways: list[list[tuple[float, float]]] = field(default_factory=list)  # of the arrows
    width: int = 0
    height: int = 0

    @property
    def gap(self) -> int:
        return max(8, self.side // 5)

    @property
    def points(self) -> int:
        return max(11, min(20, self.side // 9))

    @property
    def strong(self) -> int:
        """The width of a frame."""
        return max(3, self.side // 30)

    @property
    def caption(self) -> int:
        return round(CAPTION * 1.3 * self.points) + 4 + 2 * self.strong


def family_tree(images: list[PIL.Image.Image], params: Any, ctx: Context) -> PIL.Image.Image:
    check(len(images), params)
    background = color_of(params.background)
    ink = ink_on(background)
    blocks, arrows = blocks_of(len(params.members), params.arrows)
    page = laid_out(blocks, arrows, params)
    ctx.progress(1, 3, "layout")
    sheet = with_arrows(page, background, ink)
    ctx.progress(2, 3, "arrows")
    draw = PIL.ImageDraw.Draw(sheet)
    for block in page.blocks:
        ctx.raise_if_cancelled()
        if len(block.members) > 1:
            left, half = round(block.x - block.width / 2), page.gap // 2
            draw.rectangle(
                _around((left, round(block.y), left + block.width, round(block.y) + block.height), half), outline=GREY
            )
        for place, number in enumerate(block.members):
            x = round(block.x - block.width / 2) + place % block.columns * (page.side + page.gap)
            y = round(block.y) + place // block.columns * (page.side + page.caption + page.gap)
            member = params.members[number]
            picture = images[member.picture] if member.picture >= 0 else None
            _member(sheet, draw, member, picture, (x, y), page, ink)
    _words(draw, params, page, ink)
    return sheet


def check(pictures: int, params: Any) -> None:
    members = params.members
    if not members:
        raise InvalidParams("a family tree needs members, got none.", field="members", hint="Send pictures.")
    for number, member in enumerate(members):
        if member.picture >= pictures:
            raise InvalidParams(
                f"members: number {number} is picture {member.picture}, of {pictures}.", field="members",
                hint="Pictures count from 0; -1 is none.",
            )  # fmt: skip
    for arrow in params.arrows:
        if len(arrow) != 2 or not all(0 <= end < len(members) for end in arrow) or arrow[0] == arrow[1]:
            raise InvalidParams(
                f"arrows: {arrow} does not lead from one of the {len(members)} members to another.", field="arrows",
                hint="Send [from, to] for each, by their places from 0.",
            )  # fmt: skip


def blocks_of(count: int, arrows: list[list[int]]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """The members of each block, and the arrows between blocks."""
    parents: list[list[int]] = [[] for _ in range(count)]
    for come, to in arrows:
        parents[to].append(come)
    has_children = {come for come, _ in arrows}
    groups: dict[Any, list[int]] = {}
    for member in range(count):
        alone = member in has_children or not parents[member]
        groups.setdefault(("one", member) if alone else tuple(sorted(set(parents[member]))), []).append(member)
    blocks = []
    for group in groups.values():
        blocks += [group] if len(group) >= TOGETHER else [[member] for member in group]
    of = {member: place for place, block in enumerate(blocks) for member in block}
    return blocks, sorted({(of[come], of[to]) for come, to in arrows})


def laid_out(blocks: list[list[int]], arrows: list[tuple[int, int]], params: Any) -> Page:
    """With the largest thumbnails for which the page is no larger than max_side."""
    import igraph

    graph = igraph.Graph(len(blocks), arrows, directed=True)
    if graph.is_dag() and max(graph.indegree()) <= 1:  # then no arrows need to cross each other
        roots = [place for place, parents in enumerate(graph.indegree()) if not parents]
        found, bends = graph.layout_reingold_tilford("out", roots), [[] for _ in arrows]
    else:
        found = graph.layout_sugiyama(maxiter=200)
        bends = found.edge_routing
    side = params.thumbnail
    while side >= SMALLEST:
        page = _placed(
            Page(side, [Block(members) for members in blocks]), found.coords, bends, arrows, bool(params.title)
        )
        if max(page.width, page.height) <= params.max_side:
            return page
        side = min(side - 1, int(side * 0.93))
    raise InvalidParams(
        f"max_side: {sum(map(len, blocks))} members do not fit into {params.max_side}x{params.max_side} pixels.",
        field="max_side", hint="Take a larger max_side, or a smaller limit or depth.",
    )  # fmt: skip


def _placed(page: Page, places: Any, bends_of: Any, arrows: list[tuple[int, int]], titled: bool) -> Page:
    """The order that was found within each generation, with the room that each block needs."""
    gap, unit = page.gap, page.side + page.gap
    for block in page.blocks:
        block.columns = math.ceil(math.sqrt(len(block.members)))
        block.width = block.columns * unit - gap
        block.height = math.ceil(len(block.members) / block.columns) * (page.side + page.caption + gap) - gap
    rows: dict[int, list[tuple[float, int, Any]]] = {}  # (where it would be, how wide it is, what it is)
    for block, (x, y) in zip(page.blocks, places, strict=True):
        rows.setdefault(round(y), []).append((x * unit, block.width, block))
    bends: dict[tuple[int, int], Block] = {}
    for arrow, points in enumerate(bends_of):
        for number, (x, y) in enumerate(points):
            bends[arrow, number] = Block([], width=gap)
            rows.setdefault(round(y), []).append((x * unit, gap, bends[arrow, number]))
    top = gap + (page.points * 3 if titled else 0)
    for _, row in sorted(rows.items()):
        row.sort(key=lambda each: each[0])
        right = -math.inf
        for wish, width, block in row:
            block.x = max(wish, right + gap + width / 2)
            right = block.x + width / 2
        shift = sum(block.x - wish for wish, _, block in row) / len(row)
        height = max(block.height for _, _, block in row)
        for _, _, block in row:
            block.x, block.y = block.x - shift, top
            block.height, block.low = block.height or height, top + height
        top += height + 3 * gap
    everything = [*page.blocks, *bends.values()]
    left = min(block.x - block.width / 2 for block in everything) - gap
    for block in everything:
        block.x -= left
    page.width = math.ceil(max(block.x + block.width / 2 for block in everything) + gap)
    page.height = math.ceil(top - 3 * gap + gap + 2 * page.points)
    for number, (come, to) in enumerate(arrows):
        between = [bends[number, place] for place in range(len(bends_of[number]))]
        between = between if page.blocks[come].y <= page.blocks[to].y else between[::-1]
        way = [(page.blocks[come].x, page.blocks[come].y + page.blocks[come].height)]
        for passed in [page.blocks[come], *between]:  # straight down beside those of the same generation
            way += [(passed.x, passed.y)] * (not passed.members) + [(passed.x, passed.low)]
        above = page.gap // 2 if len(page.blocks[to].members) > 1 else 2
        page.ways.append([*way, (page.blocks[to].x, page.blocks[to].y - above)])
    return page


def with_arrows(page: Page, background: Color, ink: Color) -> PIL.Image.Image:
    import numpy
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    figure = Figure(figsize=(page.width / DOTS, page.height / DOTS), dpi=DOTS, facecolor=hex_of(background))
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, page.width), ylim=(page.height, 0))
    color, head = hex_of(ink), max(5, page.gap / 3)
    for way in page.ways:
        points, codes = [way[0]], [Path.MOVETO]
        ends = [*way[:-1], (way[-1][0], way[-1][1] - head)]
        for (x0, y0), (x1, y1) in zip(ends, ends[1:], strict=False):
            middle = (y0 + y1) / 2
            points += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
        axes.add_patch(PathPatch(Path(points, codes), fill=False, edgecolor=color, linewidth=1.2, alpha=0.75))
        x, y = way[-1]
        axes.add_patch(Polygon([(x, y), (x - head / 2, y - head), (x + head / 2, y - head)], color=color, alpha=0.75))
    canvas.draw()
    picture = PIL.Image.fromarray(numpy.asarray(canvas.buffer_rgba())).convert("RGB")
    sheet = PIL.Image.new("RGB", (page.width, page.height), background)
    sheet.paste(picture)
    return sheet


def _member(
    sheet: PIL.Image.Image, draw: PIL.ImageDraw.ImageDraw, member: Any, picture: PIL.Image.Image | None,
    corner: tuple[int, int], page: Page, ink: Color,
) -> None:  # fmt: skip
    x, y = corner
    side, strong, font = page.side, page.strong, font_of(page.points)
    box = (x, y, x + side - 1, y + side - 1)
    if picture is not None:
        small = picture.copy()
        small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
        left, top = x + (side - small.width) // 2, y
        alpha = small.getchannel("A") if "A" in small.getbands() else None
        sheet.paste(small.convert("RGB"), (left, top), alpha)
        box = (left, top, left + small.width - 1, top + small.height - 1)
    draw.rectangle(box, outline=ink)
    if member.review in MARKS:
        sign, color = MARKS[member.review]
        draw.rectangle(_around(box, strong), outline=color, width=strong)
        radius = max(7, side // 10)
        middle = box[2] - radius + strong, box[1] + radius - strong
        draw.ellipse((middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=color)
        draw.text(middle, sign, (255, 255, 255), font_of(round(radius * 1.5)), "mm")
    if member.asked:
        draw.rectangle(_around(box, 2 * strong + 1), outline=ASKED, width=strong)
    for number, line in enumerate(wrapped(member.caption, side + page.gap, font, CAPTION)):
        draw.text((x + side / 2, box[3] + 2 * strong + 4 + number * 1.3 * page.points), line, ink, font, "ma")


def _around(box: tuple[int, int, int, int], by: int) -> tuple[int, int, int, int]:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _words(draw: PIL.ImageDraw.ImageDraw, params: Any, page: Page, ink: Color) -> None:
    """The title, and what the marks mean that are there."""
    if params.title:
        font = font_of(page.points * 3 // 2)
        draw.text((page.width / 2, page.gap), wrapped(params.title, page.width - page.gap, font, 1)[0], ink, font, "ma")
    states = {member.review for member in params.members}
    legend = [f"{sign} {state}" for state, (sign, _) in MARKS.items() if state in states]
    font = font_of(page.points)
    draw.text((page.gap, page.height - 1.6 * page.points), "   ".join(legend), ink, font)
