"""Many results at once, for tests and benchmarks of the gallery: rows of the store and a few pictures, made before a
server starts."""

import colorsys
import io
import random

import PIL.Image
import PIL.ImageDraw

from core.artifacts import Blobs
from core.auth import OWNER
from core.jobs import Store, new_id, now

SIZES = ((512, 512), (512, 768), (768, 512), (640, 480))
COLOURS = 40
EACH = 4  # pictures of a job
JOB = {"name": "demo.paint", "plugin": "demo", "state": "done", "priority": "normal", "class": 1, "inputs": {}}
JOB |= {"params": {"prompt": "many"}, "embed_metadata": "full"}
ARTIFACT = {"kind": "image", "mime": "image/png", "name": None, "review": "new"}


def fill(folder, count, session="many"):
    """Put `count` pictures of one job into the data of a server that does not run yet."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    blobs = Blobs(data / "blobs")
    pictures = [drawn(blobs, number) for number in range(COLOURS)]
    store = Store(data / "jobs.db", False, lambda function, *args: function(*args), lambda event: None)
    chance = random.Random(7)

    def add(tx):
        tx.add_session(session, OWNER)
        for number in range(count):
            if number % EACH == 0:
                job = {"id": new_id(), "owner": OWNER, "session": session}
                tx.insert("jobs", JOB | job | dict.fromkeys(("rank", "aged", "created", "queued", "finished"), now()))
            infotext = f"picture number {number} of many, a {number % 7}-sided thing\nSteps: 20, Seed: {number}"
            picture = chance.choice(pictures)
            row = picture | {"id": f"{job['id']}.{number % EACH}", "job": job["id"], "idx": number % EACH}
            row |= {"facts": picture["facts"] | {"seed": number, "infotext": infotext}, "created": now()}
            tx.insert("artifacts", ARTIFACT | {"owner": OWNER, "session": session} | row)

    store.write(add)
    store.close()


def drawn(blobs, number):
    """A picture that one can tell from the others."""
    width, height = SIZES[number % len(SIZES)]
    shade = lambda light: tuple(int(255 * part) for part in colorsys.hls_to_rgb(number / COLOURS, light, 0.6))  # noqa: E731
    picture = PIL.Image.new("RGB", (width, height), shade(0.75))
    centre, radius = (width / 2, height / 2), min(width, height) / 3
    PIL.ImageDraw.Draw(picture).regular_polygon((*centre, radius), 3 + number % 7, fill=shade(0.35))
    file = io.BytesIO()
    picture.save(file, "PNG")
    sha256 = blobs.write(file.getvalue())
    return {"sha256": sha256, "size_bytes": file.tell(), "facts": {"width": width, "height": height}}
