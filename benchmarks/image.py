"""What enlarging costs in tiles, and through the whole stack, beside spandrel called directly on the whole picture."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from PIL import Image

from benchmarks.cost import median
from benchmarks.light import Light
from benchmarks.sd import TRYING, peak_bytes, ratio
from core.ops import environments
from tests.serving import ROOT, serve

PLUGIN = ROOT / "plugins/upscale"
SCALE, ROUNDS = 4, 5
SIDES = {"Compact": 1536, "ESRGAN": 256}  # pixels, before it is enlarged


class Bare:
    """benchmarks/bare_upscaler.py, whose processes start as `start` says."""

    def __init__(self, start):
        python = environments.ensure(PLUGIN, ROOT / ".envs")
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-m", "benchmarks.bare_upscaler", start],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def ask(self, id, **fields):
        self._process.stdin.write(json.dumps({"id": id} | fields) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"benchmarks/bare_upscaler.py has ended with exit code {self._process.wait()}")
        return json.loads(line)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def measure(scale):
    start = "fork" if scale < TRYING and sys.platform == "linux" else "spawn"  # in memory of its own it is measured
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = {"Compact": Path(folder, "compact-x4.safetensors"), "ESRGAN": Path(folder, "6B.pth")}
        shutil.copy(PLUGIN / "builtin/compact-x4.safetensors", folder)
        bare = stack.enter_context(contextlib.closing(Bare(start)))
        bare.ask("random", way="random", weights=str(files["ESRGAN"]), device="cpu")
        server = stack.enter_context(serve({"upscale": PLUGIN}, lambda data: add_models(data, files.values())))
        for name, side in SIDES.items():
            picture = Path(folder, f"{name}.png")
            draw(max(32, int(side * min(scale, 1)))).save(picture)
            yield from together(server, bare, name, files[name], picture, max(1, int(ROUNDS * scale)))


def add_models(folder, files):
    (folder / "models/upscaler").mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder / "models/upscaler")


def draw(side):
    """Slow changes and noise: nothing that compresses to nothing."""
    slow, size = Image.radial_gradient("L").resize((side, side)), (side, side)
    return Image.merge("RGB", [Image.blend(slow, Image.effect_noise(size, sigma), 0.2) for sigma in (9, 20, 40)])


def together(server, bare, name, weights, picture, rounds):
    """The three ways take turns, so that what slows the machine slows all."""
    headers = {"Authorization": f"Bearer {server.token}"}
    answer = requests.put(f"{server.url}/artifacts", data=picture.read_bytes(), headers=headers, timeout=60)
    job = {"job": "upscale", "params": {"model": weights.name}, "fresh": True}
    job["inputs"] = {"image": answer.json()["artifact"]["id"]}

    def through_server():
        with Light(server) as client:  # one that is silent for long is closed
            started = time.perf_counter()
            id = client.call("submit", job)["job"]["id"]
            while id not in client.until("done"):
                pass
            return time.perf_counter() - started

    through_server()
    with Light(server) as client:
        worker = client.call("queue")["workers"][0]
    spent, before = {"spandrel": [], "tiles": [], "server": []}, {}
    for way in ("spandrel", "tiles"):
        before[way] = bare.ask(way, way=way, weights=str(weights), device=worker["device"])
        bare.ask(way, picture=str(picture))
    for _ in range(rounds):
        for way in before:
            spent[way].append(bare.ask(way, picture=str(picture)))
        spent["server"].append(through_server())
    grown = {way: bare.ask(way) - most for way, most in before.items()}
    with Image.open(picture) as image:
        megapixels = image.width * image.height * SCALE**2 / 1e6
    yield f"{name}: in tiles / spandrel", ratio(spent["spandrel"], spent["tiles"]), ""
    yield f"{name}: in tiles", megapixels / median(spent["tiles"]), "MP/s"
    yield f"{name}: spandrel, the whole picture", megapixels / median(spent["spandrel"]), "MP/s"
    yield f"{name}: through the server / spandrel", ratio(spent["spandrel"], spent["server"]), ""
    yield f"{name}: through the server", megapixels / median(spent["server"]), "MP/s"
    yield f"{name}: memory in tiles, peak", grown["tiles"] / 1e6, "MB"
    yield f"{name}: memory of spandrel, peak", grown["spandrel"] / 1e6, "MB"
    yield f"{name}: the result's pixels", megapixels * 3, "MB"
    if worker_peak := peak_bytes(worker["pid"]):
        yield f"{name}: worker's memory, peak", worker_peak / 1e6, "MB"
