"""What enlarging costs in tiles, and through the whole stack, beside spandrel called directly on the whole picture."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import requests
from PIL import Image

from benchmarks.cost import median
from benchmarks.light import Light
from benchmarks.sd import peak_bytes, ratio
from core.ops import environments
from tests.serving import ROOT, serve

PLUGIN = ROOT / "plugins/upscale"
SCALE, ROUNDS = 4, 5
SIDES = {"Compact": 1536, "ESRGAN": 256}  # pixels, before it is enlarged


class Bare:
    """One way of enlarging, in a process of its own."""

    def __init__(self, python, way, weights, device):
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-m", "benchmarks.bare_upscaler", way, str(weights), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self._before = self._answer()

    def seconds(self, picture):
        self._process.stdin.write(json.dumps({"picture": str(picture)}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"benchmarks/bare_upscaler.py has ended with exit code {self._process.wait()}")
        return json.loads(line)

    def close(self):
        """Ends it; returns by how many bytes its memory grew."""
        self._process.stdin.close()
        grown = self._answer() - self._before
        self._process.wait()
        self._process.stdout.close()
        return grown


def measure(scale):
    python = environments.ensure(PLUGIN, ROOT / ".envs")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = {"Compact": Path(folder, "compact-x4.safetensors"), "ESRGAN": Path(folder, "6B.pth")}
        shutil.copy(PLUGIN / "builtin/compact-x4.safetensors", folder)
        make = [str(python), "-W", "ignore", "-m", "benchmarks.bare_upscaler", "random", str(files["ESRGAN"]), "cpu"]
        subprocess.run(make, check=True, cwd=ROOT)
        server = stack.enter_context(serve({"upscale": PLUGIN}, lambda data: add_models(data, files.values())))
        for name, side in SIDES.items():
            picture = Path(folder, f"{name}.png")
            draw(max(32, int(side * min(scale, 1)))).save(picture)
            yield from together(server, python, name, files[name], picture, max(1, int(ROUNDS * scale)))


def add_models(folder, files):
    (folder / "models/upscaler").mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder / "models/upscaler")


def draw(side):
    """Slow changes and noise: nothing that compresses to nothing."""
    slow, size = Image.radial_gradient("L").resize((side, side)), (side, side)
    return Image.merge("RGB", [Image.blend(slow, Image.effect_noise(size, sigma), 0.2) for sigma in (9, 20, 40)])


def together(server, python, name, weights, picture, rounds):
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
    ways = {way: Bare(python, way, weights, worker["device"]) for way in ("spandrel", "tiles")}
    spent = {"server": []}
    for way, bare in ways.items():
        bare.seconds(picture)
        spent[way] = []
    for _ in range(rounds):
        for way, bare in ways.items():
            spent[way].append(bare.seconds(picture))
        spent["server"].append(through_server())
    grown = {way: bare.close() for way, bare in ways.items()}
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
