"""Draws the pictures of programs anew, with a server of its own: python docs/examples/programs.py [NAME ...] (in .venv)

Each function that is marked makes docs/images/NAME.png; `client.run(job, **values)` gives the results."""

import sys
import time
from pathlib import Path

import PIL.Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.library.grids import grid  # noqa: E402
from tests.serving import serve  # noqa: E402

IMAGES = ROOT / "docs/images"
PICTURES = {}
FIRST = {"prompt": "a red circle on a blue background", "steps": 8, "seed": 3}


def picture(plugins):
    """Marks what draws docs/images/NAME.png, and names the plugins that it needs."""

    def mark(function):
        PICTURES[function.__name__] = function, plugins.split()
        return function

    return mark


@picture("isi sheets stable_diffusion color upscale")
def isi(client):
    """The picture to begin with, and what four prompts made of it."""
    start = client.run("txt2img", **FIRST)[0]
    words = "{on a blue background}a red star;a yellow star;(a yellow square:1.2);a green square"
    drawn = client.run(
        "isi", image=start, prompt=words, width=128, height=128, steps=16, seed=5, denoising_strength=0.8
    )
    captions = ["to begin with", "a red star", "a yellow star", "(a yellow square:1.2)", "a green square"]
    return client.run("contact_sheet", images=[start, *drawn[:4]], captions=captions, columns=5)[0].image()


@picture("isi sheets stable_diffusion color upscale")
def family(client):
    """What two programs and a person made of one picture."""
    start = client.run("txt2img", **FIRST)[0]
    common = {"width": 128, "height": 128, "steps": 16}
    blue = client.run(
        "isi", image=start, prompt="{on a blue background}a red star;(a yellow star:1.2)", seed=5, **common
    )
    words = "a circle on a green background;a yellow circle on a green background"
    green = client.run("isi", image=start, prompt=words, seed=6, **common)
    more = [
        client.run("img2img", image=blue[1], prompt="a star", denoising_strength=0.6, seed=k, steps=8)[0]
        for k in range(4)
    ]
    for artifact, state in ((blue[0], "rejected"), (green[1], "rejected"), (more[1], "picked")):
        client.call("review", {"ids": [artifact.id], "state": state})
    return client.run("lineage_tree", image=more[1], thumbnail=96)[0].image()


@picture("sheets stable_diffusion color")
def drift(client):
    """Colours that a picture loses when it is drawn from itself again and again."""
    start = client.run("txt2img", **FIRST)[0]
    loops = client.run(
        "loopback", image=start, prompt=FIRST["prompt"], loops=10, denoising_strength=0.3, seed=1, steps=8
    )
    return client.run("drift_plot", images=[start, *loops], title="Drawn ten times from itself", height=600)[0].image()


@picture("batch sheets stable_diffusion")
def rounds(client):
    """One of many drawings, and what came of it while a person picked."""
    asks = {"prompt": "a {red|yellow} star on a {blue|green} background", "count": 2, "steps": 12, "bang_tags": False}
    job = client.submit("rounds", asks | {"rounds": 2, "variations": 3, "finish_scale": 1.5, "denoising_strength": 0.5})
    while job.refresh().state != "done":
        asked = sorted(each["artifact"] for each in job.record.get("waits_for", []) if "artifact" in each)
        for number, id in enumerate(asked):
            picked = number in ((0, 2) if len(asked) == 3 else (0,))
            client.call("review", {"ids": [id], "state": "picked" if picked else "rejected"})
        time.sleep(0.2)
    return client.run("lineage_tree", image=job.outputs[0], thumbnail=112)[0].image()


@picture("flows sheets stable_diffusion")
def flows(client):
    """The flow `forecast`: cheap previews, and those of them that were picked, drawn in full."""
    asks = {"prompt": "a yellow star on a green background", "count": 6, "preview_steps": 3, "steps": 24, "seed": 11}
    job = client.submit("forecast", asks)
    while not (asked := [each["artifact"] for each in job.refresh().record.get("waits_for", []) if "artifact" in each]):
        time.sleep(0.2)
    previews = sorted((client.artifact(id) for id in asked), key=lambda each: each.record["facts"]["seed"])
    for number, preview in enumerate(previews):
        client.call("review", {"ids": [preview.id], "state": "picked" if number in (1, 4) else "rejected"})
    job.wait()
    captions = [f"seed {each.record['facts']['seed']}, 3 steps" for each in previews]
    captions += [f"seed {each.record['facts']['seed']}, in full" for each in job.outputs]
    pictures = [*previews, *job.outputs]
    return client.run("contact_sheet", images=pictures, captions=captions, columns=4)[0].image()


@picture("sequence stable_diffusion")
def sequence(client):
    """The first chapter of the tale in plugins/sequence/README.md, in both styles."""
    tale = (ROOT / "plugins/sequence/README.md").read_text("utf-8").split("```markdown\n")[1].split("```")[0]
    styles = [
        {"style": f"on a {color} background", "file_tag": color, "weight": weight}
        for color, weight in (("blue", 0.7), ("white", 0.9))
    ]
    common = {"width": 192, "height": 192, "steps": 12, "seed": 3, "save_individual": False}
    squares = [each.image() for each in client.run("sequence", story=tale, styles=styles, **common)]
    return grid(squares, 2, above=("blue grid-0", "white grid-0"), margin=16)


@picture("sweeps stable_diffusion")
def sweep(client):
    """Shapes across, colours down, at two strengths of the prompt."""
    words = {"x_type": "Prompt S/R", "x_values": "circle, star, square", "y_type": "Prompt S/R"}
    words |= {"y_values": "red, green, yellow", "z_type": "CFG Scale", "z_values": "2, 7"}
    prompt = "a red circle on a blue background"
    return client.run("xyz_plot", prompt=prompt, steps=12, seed=3, margin=8, **words)[0].image()


def save(name, image):
    """In a palette where that is not to be seen: files of the docs are small."""
    image = image.convert("RGB")
    few = image.quantize(256, dither=PIL.Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PICTURES)
    plugins = {plugin for name in wanted for plugin in PICTURES[name][1]}
    with serve({name: ROOT / "plugins" / name for name in sorted(plugins)}) as server, server.client() as client:
        for name in wanted:
            save(name, PICTURES[name][0](client))
            print(f"draw  docs/images/{name}.png")
