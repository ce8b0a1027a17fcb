"""What the training pictures look like: scenes of coloured shapes, chosen at random and drawn with Pillow.

A `Scene` is data; `random_scene` invents one, `draw` turns it into pixels. Shapes are given in unit coordinates: x to
the right, y down, and the shape fills about -1..1 on both axes.

Things come in a few radii and places, with their centres on corners of the autoencoder's cells of 8 x 8 pixels. So the
networks can learn by heart what a clean edge is; with free places and radii a model of this size draws wobbly ones."""

import math
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

PALETTE = {
    "red": (220, 30, 35),
    "orange": (250, 140, 20),
    "yellow": (250, 225, 40),
    "green": (35, 160, 60),
    "cyan": (60, 210, 225),
    "blue": (35, 75, 215),
    "purple": (130, 45, 170),
    "pink": (250, 135, 185),
    "brown": (120, 72, 35),
    "black": (15, 15, 18),
    "white": (250, 250, 250),
    "gray": (135, 135, 138),
}
COLOURS = list(PALETTE)
POSITIONS = {
    "center": (0.5, 0.5),
    "left": (0.25, 0.5),
    "right": (0.75, 0.5),
    "top": (0.5, 0.25),
    "bottom": (0.5, 0.75),
    "top left": (0.25, 0.25),
    "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75),
    "bottom right": (0.75, 0.75),
}
SIZES = {"small": 20 / 128, "medium": 32 / 128, "large": 48 / 128}
SIZES_ASIDE = {"small": 20 / 128, "medium": 24 / 128, "large": 28 / 128}
NIGHT = ((8, 10, 38), (28, 32, 85))
SUNSET = ((95, 45, 125), (235, 95, 85), (255, 190, 80))
SUPERSAMPLING = 4

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """One area of a shape. `role` picks its colour; `cut` parts remove what the shape has drawn so far."""

    role: str
    kind: str
    points: tuple[Point, ...]
    width: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class Thing:
    """One object: centre x, y as fractions of width and height, radius as a fraction of the shorter side."""

    shape: str
    colour: str
    style: str = "solid"
    size: str = "medium"
    x: float = 0.5
    y: float = 0.5
    radius: float = 0.25


@dataclass(frozen=True)
class Scene:
    """A picture: background ("solid", c), ("gradient", top, bottom), ("night",) or ("sunset",), and one or two things.

    `layout` is a key of POSITIONS for one thing, "beside" or "stacked" for two."""

    background: tuple[str, ...]
    things: tuple[Thing, ...]
    layout: str = "center"
    seed: int = 0


def _polygon(*points: Point, role: str = "main") -> Part:
    return Part(role, "polygon", points)


def _ellipse(x: float, y: float, rx: float, ry: float | None = None, role: str = "main", cut: bool = False) -> Part:
    ry = rx if ry is None else ry
    return Part(role, "ellipse", ((x - rx, y - ry), (x + rx, y + ry)), cut=cut)


def _box(left: float, top: float, right: float, bottom: float, role: str = "main") -> Part:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom), role=role)


def _star_points(tips: int = 5, outer: float = 1.08, inner: float = 0.47) -> list[Point]:
    radii = [outer if i % 2 == 0 else inner for i in range(2 * tips)]
    angles = [math.pi * i / tips for i in range(2 * tips)]
    return [(r * math.sin(a), 0.07 - r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]


def _heart_points(radius: float = 0.52, x: float = 0.48, y: float = -0.4, tip: float = 0.98) -> list[Point]:
    """Two arcs from the notch to where the tangents from the tip touch them."""
    notch = math.atan2(-math.sqrt(radius**2 - x**2), -x)
    to_tip = math.atan2(tip - y, -x)
    touch = to_tip - math.acos(radius / math.hypot(x, tip - y))
    right = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in np.linspace(notch, touch, 40)]
    return [*right, (0.0, tip), *[(-px, py) for px, py in reversed(right)]]


def _cross_points(half: float = 0.36) -> list[Point]:
    corner = [(half, -half), (1.0, -half), (1.0, half)]
    points = []
    for _ in range(4):
        points += corner
        corner = [(-py, px) for px, py in corner]
    return points


SHAPES = {
    "circle": (_ellipse(0, 0, 1),),
    "square": (_box(-0.9, -0.9, 0.9, 0.9),),
    "triangle": (_polygon((0, -0.95), (1, 0.85), (-1, 0.85)),),
    "star": (_polygon(*_star_points()),),
    "heart": (_polygon(*_heart_points()),),
    "ring": (_ellipse(0, 0, 1), _ellipse(0, 0, 0.52, cut=True)),
    "cross": (_polygon(*_cross_points()),),
    "diamond": (_polygon((0, -1.05), (0.72, 0), (0, 1.05), (-0.72, 0)),),
    "moon": (_ellipse(0.2, 0, 1), _ellipse(0.75, 0, 0.84, cut=True)),
    "tree": (
        _box(-0.2, 0.2, 0.2, 1.05, role="trunk"),
        _ellipse(0, -0.5, 0.56),
        _ellipse(-0.45, -0.05, 0.53),
        _ellipse(0.45, -0.05, 0.53),
    ),
    "house": (
        _box(-0.78, -0.2, 0.78, 1),
        _polygon((-1.02, -0.12), (0, -1.05), (1.02, -0.12), role="roof"),
        _box(-0.55, 0.3, -0.08, 1, role="roof"),
        _box(0.14, 0.18, 0.58, 0.62, role="window"),
    ),
    "flower": (
        _box(-0.1, 0, 0.1, 1.1, role="stem"),
        *(_ellipse(0.47 * math.sin(k * math.pi / 3), -0.3 - 0.47 * math.cos(k * math.pi / 3), 0.36) for k in range(6)),
        _ellipse(0, -0.3, 0.28, role="core"),
    ),
    "smiley": (
        _ellipse(0, 0, 1),
        _ellipse(-0.35, -0.3, 0.16, 0.22, role="ink"),
        _ellipse(0.35, -0.3, 0.16, 0.22, role="ink"),
        Part("ink", "arc", ((-0.58, -0.5), (0.58, 0.62)), width=0.15),
    ),
}
STYLES = {
    "outline": ("circle", "square", "triangle", "star", "heart", "cross", "diamond"),
    "striped": ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond"),
    "dotted": ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond"),
}


def role_colour(role: str, colour: str, behind: set[str], main: Colour) -> Colour:
    """The RGB of a part, chosen to stand out from the colour of its thing and from the colours behind it."""
    names = {colour} | behind
    match role:
        case "main":
            return main
        case "trunk":
            return PALETTE["brown"] if "brown" not in names else (60, 35, 15)
        case "roof":
            return (205, 190, 160) if names & {"brown", "black", "red"} else (92, 38, 28)
        case "window":
            return (255, 240, 150) if colour not in ("yellow", "white") else (150, 215, 250)
        case "stem":
            return (50, 130, 50) if "green" not in behind else (20, 80, 30)
        case "core":
            return (250, 210, 50) if colour not in ("yellow", "orange") else (120, 72, 35)
        case "ink":
            return (245, 245, 245) if sum(main) < 150 else (15, 15, 18)
    raise ValueError(f"unknown role {role}")


def _part_mask(part: Part, size: tuple[int, int], centre: Point, radius: float, outline: bool) -> Image.Image:
    mask = Image.new("L", size, 0)
    pen = ImageDraw.Draw(mask)
    points = [(centre[0] + x * radius, centre[1] + y * radius) for x, y in part.points]
    line = round(0.2 * radius)
    if part.kind == "polygon" and outline:
        pen.line([*points, *points[:2]], fill=255, width=line, joint="curve")
    elif part.kind == "polygon":
        pen.polygon(points, fill=255)
    elif part.kind == "ellipse" and outline:
        pen.ellipse([*points[0], *points[1]], outline=255, width=line)
    elif part.kind == "ellipse":
        pen.ellipse([*points[0], *points[1]], fill=255)
    else:
        pen.arc([*points[0], *points[1]], 20, 160, fill=255, width=round(part.width * radius))
    return mask


@cache
def _pattern(style: str, width: int, height: int) -> Image.Image:
    """Mask of stripes or dots, 8 or 16 pixels apart and so in step with the autoencoder's cells of 8 x 8 pixels."""
    y, x = np.mgrid[0 : height * SUPERSAMPLING, 0 : width * SUPERSAMPLING] / SUPERSAMPLING
    if style == "striped":
        mask = y % 16 < 8
    else:
        mask = (x % 16 - 8) ** 2 + (y % 16 - 8) ** 2 < 4.6**2
    return Image.fromarray((mask * 255).astype(np.uint8))


def _paint_thing(image: Image.Image, thing: Thing, behind: set[str], jitter: int, rng: random.Random) -> None:
    size = image.size
    shorter = min(size)
    centre, radius = (thing.x * size[0], thing.y * size[1]), thing.radius * shorter
    main = _jittered(PALETTE[thing.colour], jitter, rng)
    before = image.copy()
    for part in SHAPES[thing.shape]:
        mask = _part_mask(part, size, centre, radius, thing.style == "outline")
        if part.cut:
            image.paste(before, (0, 0), mask)
            continue
        fill = Image.new("RGB", size, role_colour(part.role, thing.colour, behind, main))
        if thing.style in ("striped", "dotted"):
            light = thing.colour in ("white", "pink", "yellow", "cyan")
            other = PALETTE["black"] if light else PALETTE["white"]
            fill.paste(other, (0, 0), _pattern(thing.style, size[0] // SUPERSAMPLING, size[1] // SUPERSAMPLING))
        image.paste(fill, (0, 0), mask)


def _jittered(colour: Colour, amount: int, rng: random.Random) -> Colour:
    return tuple(min(255, max(0, value + rng.randint(-amount, amount))) for value in colour)


def _paint_background(scene: Scene, size: tuple[int, int], jitter: int, rng: random.Random) -> Image.Image:
    kind, *names = scene.background
    stops = {"night": NIGHT, "sunset": SUNSET}.get(kind) or [_jittered(PALETTE[name], jitter, rng) for name in names]
    if len(stops) == 1:
        return Image.new("RGB", size, stops[0])
    rows = np.linspace(0, len(stops) - 1, size[1])
    column = np.stack([np.interp(rows, range(len(stops)), [stop[i] for stop in stops]) for i in range(3)], -1)
    pixels = np.broadcast_to(column.round().astype(np.uint8)[:, None], (size[1], size[0], 3))
    image = Image.fromarray(pixels.copy())
    if kind == "night":
        pen, shorter = ImageDraw.Draw(image), min(size)
        for _ in range(9 * size[0] * size[1] // shorter**2):
            x, y, r = rng.random() * size[0], rng.random() * size[1], shorter * rng.uniform(0.01, 0.016)
            pen.ellipse([x - r, y - r, x + r, y + r], fill=(235, 235, 200))
    return image


def draw(scene: Scene, width: int = 128, height: int = 128, jitter: int = 0) -> Image.Image:
    """The scene as an RGB image with smooth edges; `jitter` moves every palette colour by up to that much (0..255)."""
    rng = random.Random(scene.seed)
    size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    image = _paint_background(scene, size, jitter, rng)
    for thing in scene.things:
        _paint_thing(image, thing, set(scene.background[1:]), jitter, rng)
    return image.reduce(SUPERSAMPLING)


def _random_background(rng: random.Random) -> tuple[tuple[str, ...], set[str]]:
    """A background and the colours that would not stand out from it."""
    kind = rng.random()
    if kind < 0.76:
        colour = "white" if rng.random() < 0.1 else rng.choice(COLOURS)
        return ("solid", colour), {colour}
    if kind < 0.86:
        top, bottom = rng.sample(COLOURS, 2)
        return ("gradient", top, bottom), {top, bottom}
    if kind < 0.93:
        return ("night",), {"black", "blue", "purple"}
    return ("sunset",), {"orange", "pink", "red", "purple"}


def _random_thing(
    rng: random.Random, colours: list[str], size: str, at: Point, radius: float, style: str = "solid"
) -> Thing:
    shape = rng.choice(list(SHAPES))
    style = style if shape in STYLES.get(style, ()) else "solid"
    return Thing(shape, rng.choice(colours), style, size, at[0], at[1], radius)


def random_scene(rng: random.Random) -> Scene:
    """A scene as the model should learn to draw it: one thing (70 %) somewhere, or two side by side or stacked."""
    background, clashing = _random_background(rng)
    colours = [colour for colour in COLOURS if colour not in clashing]
    style = rng.choice(["solid"] * 14 + list(STYLES))
    seed = rng.getrandbits(30)
    if rng.random() < 0.7:
        layout = "center" if rng.random() < 0.5 else rng.choice(list(POSITIONS)[1:])
        places, layout_sizes = [POSITIONS[layout]], SIZES if layout == "center" else SIZES_ASIDE
    else:
        layout = rng.choice(["beside", "beside", "stacked"])
        places = [POSITIONS[name] for name in (("left", "right") if layout == "beside" else ("top", "bottom"))]
        layout_sizes = SIZES_ASIDE
    things = []
    for place in places:
        size = rng.choice(["small", "medium", "medium", "large"])
        things.append(_random_thing(rng, colours, size, place, layout_sizes[size], style))
    return Scene(background, tuple(things), layout, seed)


def crowded_scene(rng: random.Random) -> Scene:
    """A scene for the autoencoder: three to six things of any size anywhere, so that most cells hold an edge."""
    background, _ = _random_background(rng)
    style = rng.choice(["solid"] * 8 + list(STYLES))
    things = []
    for _ in range(rng.randint(3, 6)):
        at = (rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9))
        things.append(_random_thing(rng, COLOURS, "medium", at, rng.uniform(0.12, 0.3), style))
    return Scene(background, tuple(things), "crowded", rng.getrandbits(30))
