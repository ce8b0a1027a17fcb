"""Draws the pictures of docs/pictures.md anew, with a server of its own: python docs/examples/pictures.py (in .venv)"""

import io
import sys
from pathlib import Path

import PIL.Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.serving import serve  # noqa: E402

SIDE = 384
PLUGINS = ("upscale", "faces", "color")
PEOPLE = ROOT / "plugins/faces/tests/data/two.png"
WAVES = ROOT / "docs/images/neon-waves.png"


def beside(name, *pictures):
    """Pictures, each seen in a square, in one file below docs/images."""
    strip = PIL.Image.new("RGB", (SIDE * len(pictures), SIDE), "white")
    for place, picture in enumerate(pictures):
        picture = picture.convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.NEAREST)
        strip.paste(picture, (place * SIDE, 0))
    strip.save(ROOT / "docs/images" / f"{name}.png", optimize=True)


def draw(run):
    people = run("crop", image=PEOPLE, mode="shape")
    upright = run("cut_faces", image=people, size=SIDE)
    beside("faces", people.image(), upright.image())
    head = people.image().crop((0, 60, 128, 188))  # too small to be seen well
    small = png(head.resize((64, 64), PIL.Image.Resampling.BOX))
    larger = [
        run("upscale", image=small, model=model).image() for model in ("Nearest", "Lanczos", "builtin/compact-x4")
    ]
    beside("upscale", *larger)
    mask = run("make_mask", image=people, source="color", color="#6888a0", tolerance=14, grow=1, feather=1)
    waves = run("blend", image=people, layer=WAVES, mask=mask)
    beside("color", people.image(), run("equalize", image=people).image(), mask.image(), waves.image())


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


if __name__ == "__main__":
    with serve({name: ROOT / "plugins" / name for name in PLUGINS}) as server, server.client() as client:
        draw(lambda job, **values: client.run(job, **values)[-1])
