"""Draws the picture of plugins/explore/README.md anew: python docs/examples/explore.py (in .venv)"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.serving import serve  # noqa: E402

PLUGINS = ("stable_diffusion", "color", "flows", "sheets", "explore")
TARGET = ROOT / "docs/images/explore.png"


def draw(client):
    found = client.run("explore", prompt="a star", count=6, seed=1)
    options = {"image": found[0], "seed": 7, "loops": 2, "correction": "none"}
    rows = {
        "explore": found,
        "shake": client.run("vary", **options | {"loops": 1}, transform="shake"),
        "unfocus": client.run("vary", **options, transform="unfocus"),
        "video": client.run("vary", **options, transform="video"),
    }
    captions = [f"{name} {number}" for name, row in rows.items() for number in range(1, len(row) + 1)]
    images = [each for row in rows.values() for each in row]
    (sheet,) = client.run("contact_sheet", images=images, captions=captions, columns=6, max_side=960)
    sheet.image().convert("RGB").quantize(128).save(TARGET, optimize=True)


if __name__ == "__main__":
    with serve({name: ROOT / "plugins" / name for name in PLUGINS}) as server, server.client() as client:
        draw(client)
