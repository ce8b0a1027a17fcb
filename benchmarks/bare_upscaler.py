"""Ways of enlarging pictures, each in a process of its own, run by the plugin's own Python.

Argument: "spawn", or "fork" for processes that start in no time and share memory. For each line of JSON on stdin it
prints a number. {"id", "way", "weights", "device"} begins a process, whose way is "spandrel" (the network called
directly, with the whole picture), "tiles" (the plugin's job, without a server) or "random" (the weights of a
Real-ESRGAN with 6 blocks, of random numbers, are written); it answers with the most bytes of memory that the process
had. {"id", "picture"} enlarges one and answers with the seconds from pixels to pixels; {"id"} ends the process, which
answers again with the most bytes."""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from spandrel import ModelLoader
from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

from core.library.models import Models
from core.plugin import Context
from plugins.upscale import UpscaleParams
from plugins.upscale.upscaling import Upscalers, upscaled


def main(start):
    context, connections = multiprocessing.get_context(start), {}
    for line in sys.stdin:
        asked = json.loads(line)
        id = asked.pop("id")
        if "way" in asked:
            connections[id], its = context.Pipe()
            context.Process(target=work, args=(its,), kwargs=asked, daemon=True).start()
            its.close()
        else:
            connections[id].send(asked.get("picture"))
        print(connections[id].recv(), flush=True)


def work(connection, way, weights, device):
    if way == "random":
        save_random(weights)
        return connection.send(peak_bytes(device))
    enlarge = {"spandrel": whole, "tiles": tiled}[way](Path(weights), device)
    connection.send(peak_bytes(device))
    while picture := connection.recv():
        image = Image.open(picture)
        image.load()
        started = time.perf_counter()
        enlarge(image)
        connection.send(time.perf_counter() - started)
    connection.send(peak_bytes(device))


def save_random(weights):
    torch.manual_seed(0)
    torch.save(RRDBNet(num_blocks=6, scale=4).state_dict(), weights)


def whole(weights, device):
    """One call, one tensor."""
    network = ModelLoader(device).load_from_file(weights).eval()
    if device.startswith("cuda") and network.supports_half:  # as the plugin has it
        network.half()

    def enlarge(image):
        with torch.inference_mode():
            pixels = torch.from_numpy(numpy.array(image)).to(device).permute(2, 0, 1)[None].to(network.dtype) / 255
            made = network(pixels)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
            return Image.fromarray(made.cpu().numpy())

    return enlarge


def tiled(weights, device):
    upscalers = Upscalers(device, "auto")
    models = Models(Path("models"), [{"kind": "upscaler", "name": "it", "path": str(weights)}])
    context = Context("job", Path(tempfile.gettempdir(), "upscale"), models, lambda event, body: None)
    params = UpscaleParams(model="it", scale=upscalers.get(weights).scale)
    return lambda image: upscaled(upscalers, image, params, context).value


def peak_bytes(device):
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
