"""What the upscaler learns from: pictures of four kinds, drawn at random, and what is left of them at a quarter.

Everything is drawn SUPERSAMPLING times as large and reduced, so that edges are as smooth as those of a camera."""

import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SCALE = 4
SUPERSAMPLING = 3
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?&%()+-/"
Colour = tuple[int, int, int]


def cloud(size: int, rng: np.random.Generator, slope: float) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency**slope, float (size, size) with mean 0 and deviation 1."""
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequencies[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequencies**slope
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (size, size))
    return noise / noise.std()


def colour(rng: random.Random) -> Colour:
    """Any colour, or, as most are in photographs, one that is nearly grey."""
    if rng.random() < 0.5:
        return tuple(rng.randint(0, 255) for _ in range(3))
    light = rng.uniform(0, 255)
    return tuple(round(min(255, max(0, light + rng.gauss(0, 20)))) for _ in range(3))


def surface(size: int, rng: random.Random) -> Image.Image:
    """A colour that changes: softly from side to side, and with a texture, smooth or rough."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, math.tau)
    ramp = (x * math.cos(angle) + y * math.sin(angle))[..., None]
    light = np.array([rng.uniform(-70, 70) for _ in range(3)])
    texture = cloud(size, numbers, rng.uniform(0.8, 2.2))[..., None] * rng.choice([0, 4, 12, 25])
    return Image.fromarray(np.clip(np.array(colour(rng)) + ramp * light + texture, 0, 255).astype(np.uint8))


def blob(size: int, radius: float, rng: random.Random) -> list[tuple[float, float]]:
    """Corners of a leaf, a stone or a crystal somewhere in the picture."""
    x, y, turn = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0, math.tau)
    corners, flat = rng.choice([3, 4, 4, 5, 40, 40, 40]), rng.uniform(0.3, 1)
    lobes, depth = rng.randint(2, 6), rng.choice([0, 0, 0.3])
    points = []
    for k in range(corners):
        angle = math.tau * k / corners
        r = radius * (1 + depth * math.sin(lobes * angle))
        u, v = r * math.cos(angle), r * flat * math.sin(angle)
        points.append((x + u * math.cos(turn) - v * math.sin(turn), y + u * math.sin(turn) + v * math.cos(turn)))
    return points


def leaves(size: int, rng: random.Random) -> Image.Image:
    """Things of all sizes before each other, as a camera sees a forest floor or a beach: the statistics of edges of
    photographs come from this (Lee, Mumford and Huang 2001, "dead leaves"). Half of them a little out of focus."""
    large = size * SUPERSAMPLING
    image = surface(large, rng)
    surfaces = [surface(large, rng) for _ in range(4)]
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(60, 400)):
        radius = SUPERSAMPLING / rng.uniform(1 / 90, 1 / 3)  # many small ones, few large
        points = blob(large, radius, rng)
        if radius > 12 * SUPERSAMPLING and rng.random() < 0.6:
            mask = Image.new("L", image.size)
            ImageDraw.Draw(mask).polygon(points, fill=255)
            image.paste(rng.choice(surfaces), mask=mask)
        else:
            pen.polygon(points, fill=colour(rng))
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(SUPERSAMPLING * rng.uniform(0.3, 1.5)))
    return image.reduce(SUPERSAMPLING)


def text(size: int, rng: random.Random) -> Image.Image:
    """Lines of letters of several sizes, dark on light or light on dark, as in screenshots and comics."""
    large = size * SUPERSAMPLING
    paper = colour(rng) if rng.random() < 0.6 else rng.choice([(255, 255, 255), (0, 0, 0), (245, 240, 225)])
    image = surface(large, rng) if rng.random() < 0.2 else Image.new("RGB", (large, large), paper)
    pen, y = ImageDraw.Draw(image), 0
    while y < large:
        font = ImageFont.load_default(SUPERSAMPLING * rng.uniform(9, 48))
        ink = colour(rng) if rng.random() < 0.5 else tuple(255 if value < 128 else 0 for value in paper)
        words = ("".join(rng.choices(LETTERS, k=rng.randint(1, 9))) for _ in range(12))
        pen.text((-rng.uniform(0, 40), y), " ".join(words), fill=ink, font=font)
        y += font.size * rng.uniform(1.0, 1.6)
    return image.rotate(rng.choice([0, 0, 90, rng.uniform(0, 360)]), Image.Resampling.BICUBIC).reduce(SUPERSAMPLING)


def strokes(size: int, rng: random.Random) -> Image.Image:
    """Curves, hatching and rings of a pen, one to six pixels wide."""
    large = size * SUPERSAMPLING
    image = surface(large, rng) if rng.random() < 0.3 else Image.new("RGB", (large, large), colour(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(6, 30)):
        ink, width = colour(rng), round(SUPERSAMPLING * rng.uniform(1, 6))
        x, y = rng.uniform(0, large), rng.uniform(0, large)
        if rng.random() < 0.25:
            r = rng.uniform(10, large / 3)
            pen.ellipse([x - r, y - r, x + r, y + r], outline=ink, width=width)
        elif rng.random() < 0.3:
            angle, gap = rng.uniform(0, math.pi), width + SUPERSAMPLING * rng.uniform(2, 9)
            right, down, half = math.cos(angle), math.sin(angle), large / 4
            for k in range(rng.randint(3, 14)):
                u, v = x - down * gap * k, y + right * gap * k
                pen.line([u - right * half, v - down * half, u + right * half, v + down * half], fill=ink, width=width)
        else:
            turn, points = rng.uniform(0, math.tau), []
            for _ in range(60):
                turn += rng.uniform(-0.35, 0.35)
                x, y = x + large / 60 * math.cos(turn), y + large / 60 * math.sin(turn)
                points.append((x, y))
            pen.line(points, fill=ink, width=width, joint="curve")
    return image.reduce(SUPERSAMPLING)


def shapes(size: int, rng: random.Random) -> Image.Image:
    """What the built-in Stable Diffusion model draws."""
    from plugins.stable_diffusion.training.drawing import crowded_scene, draw, random_scene

    return draw((crowded_scene if rng.random() < 0.5 else random_scene)(rng), size, size, jitter=20)


KINDS: dict[str, Callable[[int, random.Random], Image.Image]] = {
    "shapes": shapes, "leaves": leaves, "text": text, "strokes": strokes,
}  # fmt: skip
SHARES = {"shapes": 0.2, "leaves": 0.5, "text": 0.15, "strokes": 0.15}


def smaller(image: Image.Image, way: str) -> Image.Image:
    """The picture at a quarter of each side, by "area", "bicubic", "lanczos" or "bilinear", all free of aliases."""
    size = (image.width // SCALE, image.height // SCALE)
    filters = {"area": "BOX", "bicubic": "BICUBIC", "lanczos": "LANCZOS", "bilinear": "BILINEAR"}
    return image.resize(size, Image.Resampling[filters[way]])


WAYS = {"area": 0.3, "bicubic": 0.3, "lanczos": 0.25, "bilinear": 0.15}


def way(rng: random.Random) -> str:
    return rng.choices(list(WAYS), list(WAYS.values()))[0]


def soften(large: np.ndarray, small: np.ndarray, share: float, seed: int) -> None:
    """Blur a share of a pool's pictures in place, so far that what is left at a quarter is soft, too: as what the
    decoder of a diffusion model makes, and much on the web."""
    for k in range(len(large)):
        rng = random.Random(f"soft {seed} {k}")
        if rng.random() < share:
            image = Image.fromarray(large[k]).filter(ImageFilter.GaussianBlur(rng.uniform(1, 7)))
            large[k], small[k] = np.asarray(image), np.asarray(smaller(image, way(rng)))


def pool(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (count, size, size, 3) uint8 and what is left of each, (count, size / 4, size / 4, 3) uint8."""
    large = np.empty((count, size, size, 3), np.uint8)
    small = np.empty((count, size // SCALE, size // SCALE, 3), np.uint8)
    for k in range(count):
        rng = random.Random(f"{seed} {k}")
        (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
        chosen = way(rng)
        image = KINDS[kind](size, rng)
        large[k], small[k] = np.asarray(image), np.asarray(smaller(image, chosen))
    return large, small
