"""Does a picture show what its prompt says? An automatic score for "a COLOUR SHAPE on a COLOUR background".

No network is involved, so the score is repeatable and cannot learn the model's habits. The border tells the background;
what differs from it is the object; its commonest colour counts as the object's colour; its outline is cut out, put on
a square and compared with drawn outlines. Needs numpy and Pillow only."""

import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from .captions import noun, with_article
from .drawing import COLOURS, PALETTE, POSITIONS, SHAPES, Scene, Thing, draw, role_colour

GRID = 48
BORDER = 6
CONTRAST = 45.0  # about half of the distance between the two palette colours most alike


@dataclass(frozen=True)
class Prompt:
    """What to ask for and what must be seen. `position` is a key of POSITIONS, or None if the prompt leaves it open."""

    text: str
    background: str
    colour: str
    shape: str
    position: str | None = None


@dataclass(frozen=True)
class Score:
    """What is right in a picture, each 1 or 0; `position` is 1 where none was asked for.

    `overlap` (0..1) says how exactly the shape was drawn: intersection over union with the drawn outline."""

    background: int
    colour: int
    shape: int
    position: int
    overlap: float

    @property
    def right(self) -> bool:
        """Everything the prompt says is in the picture."""
        return bool(self.background and self.colour and self.shape and self.position)


def prompts() -> list[Prompt]:
    """The 100 prompts without a position; the same ones for ever, so that scores can be compared."""
    rng = random.Random(7)
    found = []
    for _ in range(100):
        colour, background = rng.sample(COLOURS, 2)
        found.append(_prompt(background, colour, rng.choice(list(SHAPES)), None))
    return found


def position_prompts() -> list[Prompt]:
    """32 prompts with a position, each of the eight but the centre four times."""
    rng = random.Random(8)
    found = []
    for position in [name for name in POSITIONS if name != "center"] * 4:
        colour, background = rng.sample(COLOURS, 2)
        found.append(_prompt(background, colour, rng.choice(list(SHAPES)), position))
    return found


def _prompt(background: str, colour: str, shape: str, position: str | None) -> Prompt:
    words = f"{with_article(colour)} {noun(Thing(shape, colour))}"
    if position:
        place = "in" if " " in position else "on" if position in ("left", "right") else "at"
        words += f" {place} the {position}" + (" corner" if " " in position else "")
    return Prompt(f"{words} on {with_article(background)} background", background, colour, shape, position)


def score(image: Image.Image, prompt: Prompt) -> Score:
    """Compare a picture of any size with its prompt."""
    pixels = np.asarray(image.convert("RGB"), np.float32)
    border = _border(pixels)
    background = int(np.bincount(_nearest(border, _palette()), minlength=len(COLOURS)).argmax())
    object_mask = _without_specks(_distance(pixels, np.median(border, axis=0)) > CONTRAST)
    right_background = int(COLOURS[background] == prompt.background)
    if object_mask.mean() < 0.002:
        return Score(right_background, 0, 0, 0, 0.0)
    colours = _object_colours(pixels)
    colour = int(np.bincount(colours[object_mask], _votes(pixels)[object_mask], len(COLOURS)).argmax())
    left, top, right, bottom = _bounds(object_mask)
    overlaps = _overlaps(object_mask, object_mask & (colours == colour))
    height, width = object_mask.shape
    position = _nearest_position((left + right) / 2 / width, (top + bottom) / 2 / height)
    return Score(
        background=right_background,
        colour=int(COLOURS[colour] == prompt.colour),
        shape=int(max(overlaps, key=overlaps.get) == prompt.shape),
        position=int(prompt.position in (None, position)),
        overlap=overlaps[prompt.shape],
    )


@cache
def _palette() -> np.ndarray:
    """(12, 3) RGB in the order of COLOURS."""
    return np.array(list(PALETTE.values()), np.float32)


@cache
def _details() -> np.ndarray:
    """(N, 3) RGB of roofs, windows, stems and the like, where these are not colours of the palette."""
    roles = ["trunk", "roof", "window", "stem", "core", "ink"]
    pairs = [(name, {behind}) for name in COLOURS for behind in COLOURS]
    found = {role_colour(role, name, behind, PALETTE[name]) for role in roles for name, behind in pairs}
    return np.array(sorted(found - set(PALETTE.values())), np.float32)


def _distance(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.sqrt(((pixels - colour) ** 2).sum(-1))


def _nearest(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Index of the nearest of `colours` (N, 3) for pixels (..., 3)."""
    return ((pixels[..., None, :] - colours) ** 2).sum(-1).argmin(-1)


def _object_colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W) indices into COLOURS; a detail's colour counts as the palette's that is nearest to it."""
    names = np.concatenate([np.arange(len(COLOURS)), _nearest(_details(), _palette())])
    return names[_nearest(pixels, np.concatenate([_palette(), _details()]))]


def _votes(pixels: np.ndarray) -> np.ndarray:
    """(H, W) what a pixel counts when the object's colour is asked: half if it looks like a roof or another detail."""
    return np.where(_nearest(pixels, np.concatenate([_palette(), _details()])) < len(COLOURS), 1.0, 0.5)


def _border(pixels: np.ndarray) -> np.ndarray:
    sides = [pixels[:BORDER], pixels[-BORDER:], pixels[:, :BORDER], pixels[:, -BORDER:]]
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Drop set pixels with fewer than four set pixels around them."""
    padded = np.pad(mask.astype(np.uint8), 1)
    height, width = mask.shape
    around = sum(padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)) - mask
    return mask & (around >= 4)


def _bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of all but the outermost half per cent of the mask on each side."""
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return 0.0, 0.0, 1.0, 1.0
    left, right = np.quantile(columns, [0.005, 0.995])
    top, bottom = np.quantile(rows, [0.005, 0.995])
    return float(left), float(top), float(right) + 1, float(bottom) + 1


def _cut_out(mask: np.ndarray, bounds: tuple[float, float, float, float]) -> np.ndarray:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((GRID, GRID), Image.Resampling.BOX, box=bounds)) > 127


def _outlines(object_mask: np.ndarray, main_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The object and its main colour on a GRID x GRID square, and the logarithm of width over height."""
    bounds = _bounds(object_mask)
    left, top, right, bottom = bounds
    slant = float(np.log((right - left) / (bottom - top)))
    return _cut_out(object_mask, bounds), _cut_out(main_mask, bounds), slant


@cache
def _drawn_outlines() -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """The outlines of every shape as the training pictures have it."""
    outlines = {}
    for shape in SHAPES:
        scene = Scene(("solid", "white"), (Thing(shape, "cyan", radius=0.4),))
        pixels = np.asarray(draw(scene, 256, 256), np.float32)
        object_mask = _distance(pixels, np.array(PALETTE["white"])) > CONTRAST
        outlines[shape] = _outlines(object_mask, object_mask & (_object_colours(pixels) == COLOURS.index("cyan")))
    return outlines


def _overlaps(object_mask: np.ndarray, main_mask: np.ndarray) -> dict[str, float]:
    """How well each shape fits: mean of the object's and its main colour's overlap, less for wrong proportions."""
    found, found_main, slant = _outlines(object_mask, main_mask)
    overlaps = {}
    for shape, (drawn, drawn_main, drawn_slant) in _drawn_outlines().items():
        proportions = float(np.exp(-abs(slant - drawn_slant)))
        overlaps[shape] = 0.5 * proportions * (_overlap(found, drawn) + _overlap(found_main, drawn_main))
    return overlaps


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _nearest_position(x: float, y: float) -> str:
    return min(POSITIONS, key=lambda name: (POSITIONS[name][0] - x) ** 2 + (POSITIONS[name][1] - y) ** 2)
