"""A plugin to be watched: its jobs run until they are let go on, so that tests need not hurry."""

import contextlib

from clients.python import Conflict
from tests.serving import wait_until

DEMO = '''
from collections.abc import Iterator
import os
import PIL.Image, PIL.ImageDraw

class Paint(Params):
    prompt: str = param("", widget="textarea", help="What to draw.")
    pictures: int = param(1, ge=1, le=64, help="How many.")
    steps: int = param(5, ge=1, le=1000, help="How many steps each takes.")
    delay: float = param(0.05, ge=0, le=60, help="Seconds for a step.")
    seed: int = param(-1, widget="seed", help="Which.")

class Fail(Params):
    why: str = param("no reason", help="What to say.")

class Many(Params):
    parts: int = param(3, ge=1, le=1000, help="How many jobs.")
    delay: float = param(0.05, ge=0, le=60, help="Seconds for a step of each.")

class Demo(Plugin):
    @job()
    def paint(self, params: Paint, ctx: Context) -> Iterator[Image]:
        """Paint rings, picture after picture."""
        for number in range(params.pictures):
            picture, skips = PIL.Image.new("RGB", (192, 128), (232, 228, 218)), ctx.skips
            draw = PIL.ImageDraw.Draw(picture)
            for step in range(params.steps):
                ctx.progress(number * params.steps + step, params.pictures * params.steps, "painting")
                hue = (40 + step * 37 % 200, 60 + number * 53 % 160, 150)
                draw.ellipse((96 - step * 9, 64 - step * 6, 96 + step * 9, 64 + step * 6), outline=hue, width=3)
                ctx.preview(picture)
                if ctx.cancelled or ctx.skips > skips:
                    break
                time.sleep(params.delay)
            yield Result(picture, {"seed": 1000 + number})
            if ctx.cancelled:
                return

    @job()
    def look(self, image: Image) -> Text:
        return f"{image.width} x {image.height}"

    @job()
    def fail(self, params: Fail, ctx: Context) -> Text:
        ctx.log("Looked everywhere.")
        raise InvalidParams(params.why, hint="Say something else.")

    @job()
    def die(self, ctx: Context) -> Text:
        """Take the worker down the first time."""
        mark = self.folder / "died"
        if not mark.exists():
            mark.touch()
            os._exit(7)
        time.sleep(2)
        return "alive"

    @job(program=True)
    def several(self, params: Many, ctx: Context) -> list[Image]:
        """Submit several paintings and wait for them."""
        children = [
            ctx.submit("demo.paint", {"prompt": f"part {number + 1}", "delay": params.delay, "seed": number})
            for number in range(params.parts)
        ]
        return [artifact for child in ctx.gather(children) for artifact in child.outputs]

    @job()
    def copy(self, image: Image) -> Image:
        return image

    @job(program=True)
    def chosen(self, params: Many, ctx: Context) -> list[Image]:
        """Copy those paintings that somebody has picked."""
        draw = lambda number: ctx.submit("demo.paint", {"prompt": f"part {number + 1}", "delay": 0, "seed": number})
        pictures = [child.outputs[0] for child in ctx.gather([draw(number) for number in range(params.parts)])]
        picked = [each for each, said in zip(pictures, ctx.review(pictures)) if said == "picked"]
        copies = ctx.gather([ctx.submit("demo.copy", {}, {"image": each}) for each in picked])
        return [child.outputs[0] for child in copies]
'''


def end_all(client):
    """Nothing runs or waits any more, and the queue goes on."""
    for job in client.jobs(order="queue", limit=1000):
        with contextlib.suppress(Conflict):  # it has ended meanwhile
            job.cancel()
    client.queue("resume")
    wait_until(lambda: not client.jobs(order="queue"))
